"""A shadow of the environment: the metadata of its packages and nothing else, for the installer to plan with.

What the first command of a plan would do, the next one has to find there. So pip or uv makes its dry run in the
shadow, the shadow is changed as the dry run says, and the same tool then looks whether the requirements of all
packages are still met.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rtx50_autoload.evidence.installed import normalised

from .environment import child_environ, child_folder
from .errors import FixError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .installer_commands import InstallerCommand

__all__ = ["Install", "PipShadow", "Shadow", "UvShadow"]

#: What of a distribution's metadata the installers read.
_READ: Final = (
    "METADATA",
    "PKG-INFO",
    "INSTALLER",
    "RECORD",
    "WHEEL",
    "direct_url.json",
    "requires.txt",
    "top_level.txt",
    "uv_cache.json",
)
#: Seconds; a resolution may have to download packages whose index does not give their metadata.
_LONGEST: Final = 1800.0
#: What uv says that it would do: ` + torch==2.11.0`, ` - torch==2.9.0 (from file:///…)`.
_UV_CHANGE: Final = re.compile(r"^ ([+~]) (\S+?)==(\S+)( \(from .*\))?$", re.MULTILINE)

# Runs pip with the shadow's packages in the place of the environment's, of which only pip itself is found.
_PIP_IN_SHADOW: Final = """
import json, runpy, sys
from importlib.machinery import PathFinder
shadow, home, hidden = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
class OnlyPip:
    @staticmethod
    def find_spec(name, path=None, target=None):
        return PathFinder.find_spec(name, [home]) if name == "pip" else None
sys.path = [place for place in sys.path if place not in hidden] + [shadow]
sys.meta_path.append(OnlyPip)
sys.argv = ["pip", *sys.argv[4:]]
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""


@dataclass(frozen=True, slots=True)
class Install:
    """One package that a command would install.

    Attributes:
        name: as PEP 503 compares it.
        requires: what its metadata requires; empty where the tool does not tell.
        is_direct: it comes from a file or an address, not from an index.

    """

    name: str
    version: str
    requires: tuple[str, ...] = ()
    is_direct: bool = False


class Shadow(ABC):
    """What the environment is, or would be after the commands that were tried."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def would_install(self, command: InstallerCommand) -> tuple[Install, ...]:
        """Make the dry run of an installation.

        Raises:
            FixError: the tool finds no way; the text has its words.

        """

    @abstractmethod
    def broken(self) -> tuple[str, ...]:
        """Give a sentence of the tool for each requirement that an installed package has and that is not met."""

    def versions(self) -> dict[str, str]:
        """Give what is installed, by name."""
        return {
            normalised(found.metadata["Name"]): found.version
            for found in importlib.metadata.distributions(path=[str(self.folder)])
            if found.metadata["Name"]
        }

    def copy_installed(self) -> None:
        """Fill it with what this Python finds; of two with one name, with the one that it finds first."""
        seen: set[str] = set()
        for found in importlib.metadata.distributions():
            # The path is no public attribute, and there is no public way to a distribution's folder.
            info = Path(str(getattr(found, "_path", "")))
            name = found.metadata["Name"]
            if not name or normalised(name) in seen or not info.exists():
                continue
            seen.add(normalised(name))
            target = self.folder / info.name
            if info.is_file():
                shutil.copyfile(info, target)
                continue
            target.mkdir(exist_ok=True)
            for file in _READ:
                if (info / file).is_file():
                    shutil.copyfile(info / file, target / file)

    def remove(self, name: str) -> None:
        """Take a package out."""
        for found in list(importlib.metadata.distributions(path=[str(self.folder)])):
            if found.metadata["Name"] and normalised(found.metadata["Name"]) == normalised(name):
                info = Path(str(getattr(found, "_path", "")))
                if info.is_dir():
                    shutil.rmtree(info)
                else:
                    info.unlink()

    def add(self, install: Install) -> None:
        """Put a package in, in the place of what has its name."""
        self.remove(install.name)
        info = self.folder / f"{install.name.replace('-', '_')}-{install.version}.dist-info"
        info.mkdir()
        lines = ["Metadata-Version: 2.1", f"Name: {install.name}", f"Version: {install.version}"]
        lines += [f"Requires-Dist: {requirement}" for requirement in install.requires]
        (info / "METADATA").write_text("\n".join(lines) + "\n", encoding="utf-8")
        # Without these, uv takes the package for an incomplete one.
        (info / "WHEEL").write_text("Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n", encoding="utf-8")
        (info / "RECORD").write_text("", encoding="utf-8")


class PipShadow(Shadow):
    """For the pip of the environment."""

    def __init__(self, folder: Path, executable: Path, hidden: Sequence[Path]) -> None:
        packages = folder / "packages"
        packages.mkdir()
        super().__init__(packages)
        self._report = folder / "report.json"
        try:
            home = str(importlib.metadata.distribution("pip").locate_file(""))
        except importlib.metadata.PackageNotFoundError:
            raise FixError(f"pip is not installed here; get it first: {executable} -m ensurepip") from None
        self._program = [
            str(executable),
            "-I",
            "-c",
            _PIP_IN_SHADOW,
            str(packages),
            home,
            json.dumps([*map(str, hidden), home]),
        ]
        self.copy_installed()

    def would_install(self, command: InstallerCommand) -> tuple[Install, ...]:
        """Read it from pip's report."""
        self._report.unlink(missing_ok=True)
        options = ["--dry-run", "--quiet", "--report", str(self._report)]
        done = _run([*self._program, "install", *options, *command.arguments], command.environ)
        if done.returncode:
            raise FixError(_said(done))
        report: dict[str, Any] = json.loads(self._report.read_text(encoding="utf-8"))
        return tuple(
            Install(
                normalised(each["metadata"]["name"]),
                each["metadata"]["version"],
                tuple(each["metadata"].get("requires_dist", ())),
                bool(each["is_direct"]),
            )
            for each in report["install"]
        )

    def broken(self) -> tuple[str, ...]:
        """Ask `pip check`."""
        done = _run([*self._program, "check"], {})
        return tuple(line for line in done.stdout.splitlines() if done.returncode and line.strip())


class UvShadow(Shadow):
    """For uv, which asks an interpreter for its environment."""

    def __init__(self, folder: Path, executable: Path, uv: str) -> None:
        venv = folder / "venv"
        self._uv = uv
        command = [uv, "venv", "--quiet", "--no-project", "--no-config", "--python", str(executable), str(venv)]
        done = _run(command, {})
        if done.returncode:
            raise FixError(_said(done))
        windows = sys.platform == "win32"
        self._python = venv / ("Scripts/python.exe" if windows else "bin/python")
        (packages,) = [venv / "Lib" / "site-packages"] if windows else venv.glob("lib/python*/site-packages")
        super().__init__(packages)
        self.copy_installed()

    def would_install(self, command: InstallerCommand) -> tuple[Install, ...]:
        """Read it from what uv prints; its JSON is newer, and announced as a preview."""
        done = _run(command.line(self._python, "--dry-run", "--no-progress"), command.environ)
        if done.returncode:
            raise FixError(_said(done))
        return tuple(
            Install(normalised(name), version, is_direct=bool(origin))
            for _, name, version, origin in _UV_CHANGE.findall(done.stderr)
        )

    def broken(self) -> tuple[str, ...]:
        """Ask `uv pip check`."""
        done = _run([self._uv, "pip", "check", "--python", str(self._python)], {})
        return tuple(line for line in done.stderr.splitlines() if done.returncode and line.startswith("The package"))


def _run(command: Sequence[str], environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603 - pip or uv, and what a plan of ours tells them
            command,
            cwd=child_folder(command[0]),
            env=child_environ(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=_LONGEST,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise FixError(f"{command[0]} was still looking for packages after {_LONGEST / 60:.0f} minutes") from error
    except OSError as error:
        raise FixError(f"{command[0]} cannot be started: {error.strerror}") from error


def _said(done: subprocess.CompletedProcess[str]) -> str:
    """Give the words with which a tool has failed, without its warnings."""
    lines = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith(("WARNING", "Using Py"))]
    return "\n".join(lines or [f"exit code {done.returncode}"])
