"""The commands that a plan may hold: what they do, and whether they stay in the environment."""

from __future__ import annotations

import os
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rtx50_autoload.own_python import ISOLATED
from rtx50_autoload.search_path import find_program, path_folders

from .errors import NotAllowedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .environment import Environment
    from .machine import Installer
    from .plan import Command

__all__ = ["InstallerCommand", "find_uv", "pip_program", "read_command"]

#: With these, packages go elsewhere, or into what is not ours.
_ELSEWHERE: Final = (
    "--target",
    "--prefix",
    "--root",
    "--user",
    "--system",
    "--python",
    "--break-system-packages",
    "--src",
    "--directory",
    "--project",
)
#: Options of pip and uv that begin like one of those and are none.
_HARMLESS: Final = ("--pre", "--python-version", "--python-platform", "--prefer-binary", "--root-user-action")
_CACHE: Final = "cache"
_VERBS: Final = {"install", "uninstall", _CACHE}
#: The verb of what is not pip or uv: the environment's own Python, with code of the plan or a command of ours.
_RUN: Final = "run"


@dataclass(frozen=True, slots=True)
class InstallerCommand:
    """One command of a plan.

    Attributes:
        tool: None for one that is neither of pip nor of uv.
        program: what stands before the verb: the interpreter with ``-m pip``, or uv with ``pip``.
        verb: ``run`` for one that is neither of pip nor of uv; it is no word of the command then.
        arguments: what stands behind the verb, without the interpreter that uv is told.

    """

    tool: Installer | None
    program: tuple[str, ...]
    verb: str
    arguments: tuple[str, ...]
    environ: Mapping[str, str]

    @property
    def builds_with_what_is_there(self) -> bool:
        """Whether packages are built with what is installed by then, so that it cannot be tried beforehand."""
        return "--no-build-isolation" in self.arguments

    @property
    def names(self) -> tuple[str, ...]:
        """What is not an option: for an uninstallation, the packages."""
        return tuple(argument for argument in self.arguments if not argument.startswith("-"))

    def line(self, python: Path | str, *more: str) -> list[str]:
        """Give what is run, for the environment of an interpreter.

        Args:
            python: which uv is told; pip is run by its own.
            more: further arguments.

        """
        if self.tool is None:
            return [*self.program, *self.arguments]
        if self.tool == "pip" or self.verb == _CACHE:
            return [*self.program, self.verb, *self.arguments, *more]
        return [*self.program, self.verb, "--python", str(python), *self.arguments, *more]


def pip_program(python: Path | str) -> list[str]:
    """Give what runs the pip of a Python, and not a module of its name in the working directory."""
    return [str(python), *ISOLATED, "-m", "pip"]


def find_uv() -> str | None:
    """Find uv: beside this Python, or where commands are looked for."""
    return find_program("uv", [sysconfig.get_path("scripts"), *path_folders(os.environ)])


def read_command(command: Command, environment: Environment) -> InstallerCommand:
    """Read a command of a plan.

    Raises:
        NotAllowedError: it is none that is run here, or it would change something else than this environment.

    """
    shown = " ".join(command.arguments)
    python, found = _read(command, shown)
    if found.tool and found.verb not in _VERBS:
        raise NotAllowedError(f"this neither installs nor removes packages: {shown}")
    if found.verb != _CACHE and (python is None or not _is_same(python, environment.executable)):
        raise NotAllowedError(f"this is for another Python than {environment.executable}: {shown}")
    for argument in found.arguments if found.tool else ():
        if _leads_elsewhere(argument):
            raise NotAllowedError(f"{argument} would install outside of this environment: {shown}")
    return found


def _read(command: Command, shown: str) -> tuple[str | None, InstallerCommand]:
    """Give the Python that a command is for, and what it does."""
    words, environ = command.arguments, command.environ
    if Path(words[0]).stem.lower() == "uv" and words[1:2] in {("pip",), ("cache",)}:
        uv = words[0] if Path(words[0]).is_absolute() else find_uv()
        if uv is None:
            raise NotAllowedError(f"uv is not installed here, so this cannot be run: {shown}")
        if words[1] == _CACHE:
            return None, InstallerCommand("uv", (uv,), _CACHE, words[2:], environ)
        python, arguments = _without_python(words[3:])
        return python, InstallerCommand("uv", (uv, "pip"), words[2], arguments, environ)
    if words[1:3] == ("-m", "pip"):
        return words[0], InstallerCommand("pip", tuple(pip_program(words[0])), words[3], words[4:], environ)
    if words[1:2] == ("-c",) or words[1:3] == ("-m", "rtx50_autoload"):
        return words[0], InstallerCommand(None, (words[0], *ISOLATED), _RUN, words[1:], environ)
    raise NotAllowedError(f"only pip and uv are run here, so this is for you to run: {shown}")


def _without_python(words: tuple[str, ...]) -> tuple[str | None, tuple[str, ...]]:
    """Take uv's choice of the interpreter out of its arguments."""
    python, rest, given = None, [], iter(words)
    for word in given:
        if word in {"--python", "-p"}:
            python = next(given, None)
        elif word.startswith("--python="):
            python = word.partition("=")[2]
        else:
            rest.append(word)
    return python, tuple(rest)


def _leads_elsewhere(argument: str) -> bool:
    option = argument.partition("=")[0]
    if option.startswith(("-t", "-p")):
        return True
    # pip takes the beginning of an option for the whole.
    short = len("--xx")
    return (
        option.startswith("--")
        and option not in _HARMLESS
        and len(option) >= short
        and any(each.startswith(option) for each in _ELSEWHERE)
    )


def _is_same(python: str, executable: Path) -> bool:
    """Tell whether two names are of the same environment's interpreter; every environment's link leads to one file."""
    first, second = (Path(os.path.abspath(each)) for each in (python, executable))  # noqa: PTH100 - links are kept
    try:
        return first == second or (first.parent.samefile(second.parent) and first.samefile(second))
    except OSError:
        return False
