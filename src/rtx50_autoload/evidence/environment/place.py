"""Where the environment is looked at: this machine and this Python, or what a test puts in their place."""

from __future__ import annotations

import os
import site
import subprocess
import sys
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rtx50_autoload.search_path import find_program, path_folders

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Place", "Python"]


@dataclass(frozen=True)
class Python:
    """An interpreter, as far as packages with compiled code depend on it."""

    version: tuple[int, int, int]
    free_threaded: bool
    #: Of a pointer.
    bits: int
    executable: Path
    #: The virtual environment, or the installation.
    prefix: Path
    #: The installation that a virtual environment was made from.
    base_prefix: Path
    #: Where ``Python.h`` has to be.
    include: Path
    #: Where ``pip install --user`` puts packages; None where this Python does not look there.
    user_site: Path | None

    @classmethod
    def running(cls) -> Python:
        """Describe the interpreter that runs this."""
        return cls(
            version=sys.version_info[:3],
            free_threaded=bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
            bits=64 if sys.maxsize > 2**32 else 32,
            executable=Path(sys.executable),
            prefix=Path(sys.prefix),
            base_prefix=Path(sys.base_prefix),
            include=Path(sysconfig.get_path("include")),
            user_site=Path(site.getusersitepackages()) if site.ENABLE_USER_SITE else None,
        )

    @property
    def name(self) -> str:
        """``3.13``, or ``3.13t`` where it runs without the global lock."""
        major, minor, _ = self.version
        return f"{major}.{minor}{'t' if self.free_threaded else ''}"


@dataclass(frozen=True)
class Place:
    """Everything that is looked at from outside."""

    python: Python
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    #: Folders with packages, in the order of the search.
    paths: tuple[Path, ...] = ()
    #: What holds ``/proc``, ``/dev``, ``/sys``, ``/etc`` and the system's libraries.
    root: Path = Path("/")
    #: As in `sys.platform`.
    platform: str = sys.platform
    #: Seconds that each program may take that is asked for its version.
    time_limit: float = 5.0

    @classmethod
    def here(cls) -> Place:
        """Give the machine and the interpreter that run this."""
        return cls(Python.running(), paths=tuple(dict.fromkeys(Path(path) for path in sys.path if path)))

    @property
    def is_linux(self) -> bool:
        """Whether it is Linux, WSL included."""
        return self.platform.startswith("linux")

    @property
    def is_windows(self) -> bool:
        """Whether it is Windows itself, not WSL."""
        return self.platform == "win32"

    def system(self, path: str | Path) -> Path:
        """Give the place of an absolute path of the system."""
        return self.root / str(path).lstrip("/")

    def read(self, path: str | Path) -> str | None:
        """Read a small text of the system, such as ``/proc/version``; None where it cannot be read."""
        try:
            return self.system(path).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None

    def find_program(self, name: str) -> Path | None:
        """Find a program as a shell would, but never one that somebody else could have put there."""
        found = find_program(name, path_folders(self.environ))
        return Path(found) if found else None

    def run(self, program: Path, *arguments: str) -> str | None:
        """Give what a program prints; None where it does not start, or takes longer than the time limit."""
        try:
            result = subprocess.run(  # noqa: S603 - the path is absolute, the arguments are ours
                [program, *arguments],
                env=dict(self.environ),
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=self.time_limit,
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return result.stdout.decode("utf-8", "replace")
