"""The environment of the Python that runs this: where its packages lie, which they are, and whose they are."""

from __future__ import annotations

import importlib.metadata
import os
import re
import sys
import sysconfig
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rtx50_autoload.evidence.installed import normalised
from rtx50_autoload.search_path import absolute_path

from .errors import NotAllowedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .machine import Machine

__all__ = ["Distribution", "Environment", "child_environ", "child_folder", "refuse_if_protected"]

#: What would make pip or uv install somewhere else, or do something else, than their arguments say.
_REDIRECTING: Final = re.compile(
    r"PIP_(TARGET|PREFIX|ROOT|USER|PYTHON|SRC|BREAK_SYSTEM_PACKAGES|DRY_RUN|REPORT|IGNORE_INSTALLED|REQUIREMENT|QUIET)"
    r"|UV_(SYSTEM_PYTHON|PYTHON|BREAK_SYSTEM_PACKAGES|TARGET|PREFIX|PROJECT|PROJECT_ENVIRONMENT|WORKING_DIR|DRY_RUN)"
    r"|PYTHON(HOME|PATH|USERBASE|STARTUP|OPTIMIZE)|VIRTUAL_ENV|CONDA_PREFIX|__PYVENV_LAUNCHER__",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Distribution:
    """One installed distribution.

    Attributes:
        name: as PEP 503 compares it.
        info: the folder, or the one file of old days, with its metadata.

    """

    name: str
    version: str
    info: Path


@dataclass(frozen=True, slots=True)
class Environment:
    """One environment.

    Attributes:
        executable: its interpreter.
        prefix: its folder; nothing outside of it is touched.
        folders: where its packages lie.
        scripts: where the commands of packages lie.

    """

    executable: Path
    prefix: Path
    folders: tuple[Path, ...]
    scripts: Path

    @classmethod
    def active(cls) -> Environment:
        """Give the environment of the Python that runs this."""
        places = [Path(sysconfig.get_path(name)) for name in ("platlib", "purelib")]
        # On some systems lib64 is a link to lib.
        folders = {os.path.realpath(place): place for place in places}
        return cls(Path(sys.executable), Path(sys.prefix), tuple(folders.values()), Path(sysconfig.get_path("scripts")))

    def distributions(self) -> list[Distribution]:
        """Give what is installed in it; what an interrupted uninstallation leaves (``~orch``) is not."""
        return sorted(_distributions(self.folders), key=lambda each: (each.name, each.info))

    def holds(self, path: Path) -> bool:
        """Tell whether a path lies in it, also where links on the way there are followed."""
        if not Path(os.path.normpath(path)).is_relative_to(self.prefix):
            return False
        return _real(path.parent).is_relative_to(_real(self.prefix))

    def relative(self, path: Path) -> str:
        """Write a path in it as it is called from its folder."""
        return Path(os.path.normpath(path)).relative_to(self.prefix).as_posix()


@lru_cache(maxsize=4096)
def _real(folder: Path) -> Path:
    return Path(os.path.realpath(folder))


def _distributions(folders: tuple[Path, ...]) -> Iterator[Distribution]:
    for folder in folders:
        try:
            entries = sorted(folder.iterdir())
        except OSError:
            continue
        for entry in entries:
            if entry.suffix in {".dist-info", ".egg-info"} and not entry.name.startswith(("~", ".")):
                name, version = _name_and_version(entry)
                yield Distribution(normalised(name), version, entry)


def _name_and_version(info: Path) -> tuple[str, str]:
    # The name of the folder has both; what a killed installer leaves may have no metadata in it.
    name, _, version = info.stem.partition("-")
    try:
        # Its type has `get` from Python 3.12 on only; to ask for what is missing by `[]` will be an error.
        metadata: Any = importlib.metadata.PathDistribution(info).metadata
        return metadata.get("Name") or name, metadata.get("Version") or version
    except (OSError, ValueError, KeyError, TypeError):
        return name, version


def refuse_if_protected(machine: Machine, environment: Environment) -> None:
    """See to it that packages may be installed here.

    Raises:
        NotAllowedError: they may not.

    """
    own = "make an environment of your own, `python -m venv my-environment`, and install what you need there"
    if machine.externally_managed:
        raise NotAllowedError(
            f"{environment.prefix} is managed by the operating system (PEP 668), so nothing is installed there: {own}"
        )
    if machine.kind == "system" and sys.platform != "win32" and os.geteuid() == 0:
        raise NotAllowedError(
            f"{environment.executable} is the system's Python and you are root, so nothing is installed there: {own}"
        )
    for folder in (environment.prefix, *environment.folders):
        if folder.exists() and not os.access(folder, os.W_OK):
            raise NotAllowedError(f"{folder} cannot be written by you, so nothing is installed there: {own}")


def child_folder(program: str) -> str | None:
    """Give where a program is to be started that installs; None where that does not matter.

    uv reads `uv.toml` and `pyproject.toml` in the folder where it is started and in those above it, and they may name
    another index. So it is started where only the administrator can write; the user's own configuration holds.
    """
    if Path(program).stem.lower() != "uv":
        return None
    return os.environ.get("SYSTEMROOT", r"C:\Windows") if sys.platform == "win32" else "/"


def child_environ(own: Mapping[str, str]) -> dict[str, str]:
    """Give the variables of a child that installs: ours, without what would lead it to another place, and its own.

    Args:
        own: what is set for this child alone.

    """
    variables = {name: value for name, value in {**os.environ, **own}.items() if not _REDIRECTING.fullmatch(name)}
    # torch finds ninja, which is installed for a build, by PATH alone, and compiles one file at a time without it.
    path = os.pathsep.join(filter(None, (str(Path(sys.executable).parent), absolute_path(variables))))
    return {
        **variables,
        "PATH": path,
        "PIP_USER": "0",
        # What was installed for the user lies outside of the environment, and is neither changed nor counted on.
        "PYTHONNOUSERSITE": "1",
        "PIP_NO_INPUT": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONUTF8": "1",
        "NO_COLOR": "1",
    }
