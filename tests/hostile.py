"""A user's program in hostile surroundings: run with the package and without it, and what may differ.

What differs by intent: the answer that code of the stack gets, and lines on stderr that begin with our name. All else
that the program says, and its exit code, has to be the same.
"""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import rig

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

#: Asks for the capability in its own name and in that of a library that is told another one; the argument "fail" ends
#: it by an error that the package knows. What is hostile may come before torch, or after it.
PROGRAM = """
import sys
{before}
import torch
{after}
print("own", torch.cuda.get_device_capability(0))
library = {{"__name__": "xformers", "torch": torch}}
print("library", eval("torch.cuda.get_device_capability(0)", library))
if "fail" in sys.argv:
    raise torch.AcceleratorError("CUDA error: no kernel image is available for execution on the device")
"""

RUN = "exec $PYTHON program.py"
FAIL = "exec $PYTHON program.py fail"

#: What the library is told.
TOLD, UNTOLD = "library (9, 0)", "library (12, 0)"

#: The line that says so, and the lines of a note.
ANNOUNCEMENT = "xformers is told that Fake GPU 0 (12.0) is 9.0; your own code sees the truth."
NOTE = ("A compiled library holds ", "First step: ", "Run: rtx50-autoload ")
_OURS = "rtx50-autoload: "


@dataclass(frozen=True)
class Outcome:
    """What a program has said, with the paths of its side taken out, and how it ended."""

    stdout: str
    stderr: str
    code: int

    @property
    def said(self) -> list[str]:
        """The lines of ours."""
        return [line.removeprefix(_OURS) for line in self.stderr.splitlines() if line.startswith(_OURS)]

    @property
    def is_told(self) -> bool:
        """Whether the library was told another capability, which shows that the package is active."""
        return TOLD in self.stdout

    @property
    def without_ours(self) -> tuple[str, str, int]:
        """What has to be the same without us."""
        lines = self.stderr.splitlines(keepends=True)
        kept = "".join(line for line in lines if not line.startswith(_OURS))
        return self.stdout.replace(TOLD, UNTOLD), kept, self.code


@dataclass(frozen=True)
class Side:
    """An environment and the folder that its programs run in."""

    venv: rig.Venv
    folder: Path

    def run(self, script: str, env: Mapping[str, str | bytes] | None = None, *, timeout: float = 60) -> Outcome:
        """Run a script of the shell in the folder; ``$PYTHON`` is the environment's interpreter,
        ``$PACKAGES`` its site-packages.

        Args:
            script: begins in the folder, which holds `program.py`.
            env: variables on top of a clean environment with a simulated device; where a value is None, without it.

        """
        variables: dict[str, str | bytes | None] = {
            **{name: value for name, value in self.venv.environment().items() if not name.startswith("XDG_")},
            "FAKE_TORCH_DEVICES": "12.0",
            "PYTHON": str(self.venv.python),
            "PACKAGES": str(self.venv.site_packages),
            **(env or {}),
        }
        done = subprocess.run(
            ["/bin/sh", "-c", script],
            env={name: value for name, value in variables.items() if value is not None},
            cwd=self.folder,
            check=False,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=timeout,
        )
        return Outcome(self._plain(done.stdout), self._plain(done.stderr), done.returncode)

    def _plain(self, output: bytes) -> str:
        text = output.decode(errors="replace")
        for path, name in ((self.folder, "<folder>"), (self.venv.root, "<venv>")):
            text = text.replace(str(path), name)
        # What Python prints where it has lost sys.stderr.
        return re.sub(r"(object refcount : |0x)[0-9a-f]+", r"\1…", text)


@dataclass(frozen=True)
class Case:
    """One kind of surroundings.

    Attributes:
        script: see :meth:`Side.run`.
        env: likewise.
        before: a statement of the program before it imports torch.
        after: one after that.
        told: whether the library is told another capability, that is, whether the package is active; None where the
            output cannot be seen.
        noted: whether the error of a failing program is explained.
        says: what further lines of the package say, one after the other.

    """

    script: str = RUN
    env: Mapping[str, str | bytes] = field(default_factory=dict)
    before: str = ""
    after: str = ""
    told: bool | None = True
    noted: bool = False
    says: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sides:
    """The same program with the package and without it."""

    with_us: Side
    without: Side

    def compare(self, case: Case) -> Outcome:
        """Run the program on both sides and hold one outcome against the other; give the one with the package."""
        __tracebackhide__ = True
        for side in (self.with_us, self.without):
            (side.folder / "program.py").write_text(PROGRAM.format(before=case.before, after=case.after))
        ours, other = (side.run(case.script, case.env) for side in (self.with_us, self.without))
        assert ours.without_ours == (other.stdout, other.stderr, other.code), f"{ours}\n{other}"
        if case.told is not None:
            assert ours.is_told == case.told, ours
        assert case.noted == any(line.startswith("Run: ") for line in ours.said), ours
        usual = (ANNOUNCEMENT, *NOTE) if case.noted else (ANNOUNCEMENT,)
        further = [line for line in ours.said if not line.startswith(usual)]
        assert len(further) == len(case.says), further
        assert all(said in line for said, line in zip(case.says, further, strict=True)), further
        return ours


def make_sides(with_us: rig.Venv, without: rig.Venv, folder: Path) -> Sides:
    """Give both sides a folder of their own. Lines are not counted: that is seen where a program may write nothing."""
    sides = []
    for name, venv in (("with", with_us), ("without", without)):
        place = folder / name
        place.mkdir()
        sides.append(Side(dataclasses.replace(venv, coverage=False), place))
    return Sides(*sides)


def copy_of(venv: rig.Venv, root: Path) -> rig.Venv:
    """Give an environment of its own with the same packages, which the test may break.

    The files are copies: a change of one does not reach the other environment.
    """
    copied = rig.create_venv(root, coverage=False)
    shutil.copytree(venv.site_packages, copied.site_packages, symlinks=True, dirs_exist_ok=True)
    return copied
