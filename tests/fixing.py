"""Environments that are mended, and brought back: with pip or with uv, and packages from a folder."""

from __future__ import annotations

import base64
import hashlib
import json
import zipfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import rig

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping, Sequence
    from pathlib import Path

DRIVER = rig.FAKES / "fixed_plan.py"
#: Real packages, from the registry of the person who runs the tests; in each row, one version of each.
WHEELS = (
    ("six==1.15.0", "idna==2.10", "urllib3==1.26.18", "requests==2.25.1", "colorama==0.4.6", "packaging==24.0"),
    ("six==1.16.0", "urllib3==2.2.1"),
)
#: What is installed before, beside this package and what it needs.
BEFORE = ("six==1.15.0", "idna==2.10", "urllib3==1.26.18", "requests==2.25.1")


@dataclass
class Bench:
    """One environment, one installer, and the plans that are tried on it."""

    venv: rig.Venv
    tool: str
    wheels: Path
    before: str = ""
    environ: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Nothing of the person who runs the tests but the system's programs: no uv where pip is meant.
        self.environ["PATH"] = "/usr/bin:/bin"
        self.before = self.freeze()

    def command(self, verb: str, *arguments: str) -> list[str]:
        options = ["--no-index", "--find-links", str(self.wheels)] if verb == "install" else []
        python = str(self.venv.python)
        if self.tool == "uv":
            return ["uv", "pip", verb, "--python", python, *options, *arguments]
        return [python, "-m", "pip", verb, *(["-y"] if verb == "uninstall" else options), *arguments]

    def install(self, *packages: str) -> dict[str, object]:
        return self.step(self.command("install", *packages))

    def step(self, *commands: Sequence[str], by_hand: Sequence[str] = (), **more: object) -> dict[str, object]:
        what = " ".join(commands[0][-1:]) if commands else "something"
        return {"id": "a-step", "what": f"Do {what}.", "why": "Why.", "commands": commands, "by_hand": by_hand, **more}

    def plan(self, *steps: Mapping[str, object], **more: object) -> None:
        document = {"steps": list(steps), **more}
        (self.venv.home / "plan.json").write_text(json.dumps(document), encoding="utf-8")

    def arguments(self, *options: str) -> list[str]:
        return [str(self.venv.python), str(DRIVER), str(self.venv.home / "plan.json"), "fix", *options]

    def fix(self, *options: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return self.venv.run(*self.arguments(*options), env={**self.environ, **(env or {})})

    def json(self, *options: str, env: Mapping[str, str] | None = None) -> dict[str, object]:
        result = self.fix(*options, "--json", env=env)
        assert result.stdout, rig.describe(result)
        return json.loads(result.stdout)

    def freeze(self) -> str:
        return rig.uv_pip("freeze", self.venv)

    def version(self, name: str) -> str | None:
        lines = dict(line.split("==") for line in self.freeze().splitlines() if "==" in line)
        return lines.get(name)

    def put(self, *packages: str) -> None:
        """Install as a person does, without a fix; from a folder and with nothing but what is named."""
        rig.uv_pip("install", self.venv, "--no-index", "--no-deps", "--find-links", str(self.wheels), *packages)

    @property
    def states(self) -> list[Path]:
        return sorted((self.venv.home / "state").glob("rtx50-autoload/fixes/*/2*"))

    def is_as_before(self) -> bool:
        return self.freeze() == self.before


def make_wheel(folder: Path, name: str, version: str, files: Mapping[str, bytes], *more: str) -> Path:
    """Write a wheel of Python files; `more` are lines of its metadata."""
    info = f"{name}-{version}.dist-info"
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *more, ""]
    content = {
        **files,
        f"{info}/METADATA": "\n".join(lines).encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},sha256={_digest(data)},{len(data)}\n" for path, data in content.items())
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, data in {**content, f"{info}/RECORD": f"{record}{info}/RECORD,,\n".encode()}.items():
            archive.writestr(path, data)
    return wheel


def hashes(folder: Path) -> dict[str, str]:
    """Give a hash of every file below a folder, byte code left out."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink() and "__pycache__" not in path.parts
    }


def differing(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Give the files that are there in one of two states only, or are not the same in both."""
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def link_uv(venv: rig.Venv) -> None:
    """Put uv where a person has it who has installed it beside Python."""
    from uv import find_uv_bin  # noqa: PLC0415

    venv.script("uv").symlink_to(find_uv_bin())


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
