"""Find the programs among the assistants, their versions and their logins, without starting anything."""

from __future__ import annotations

import glob
import json
import os
import re
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rtx50_autoload.knowledge import within
from rtx50_autoload.search_path import find_program, path_folders, why_not_started

from .assistants import Found

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .assistants import Knowledge, Program

__all__ = ["expand", "find_programs", "not_usable", "search_folders"]

_WINDOWS: Final = sys.platform == "win32"
#: Windows starts programs of these kinds; a batch file is read for what it starts and never run itself.
_SUFFIXES: Final = (".exe", ".cmd") if _WINDOWS else ("",)
#: What npm's and pnpm's batch files start.
_SHIM_TARGET: Final = re.compile(r'"%(?:~dp0|dp0%)\\([^"%]+?\.(?:exe|[cm]?js))"', re.IGNORECASE)
_SCRIPTS: Final = (".js", ".mjs", ".cjs")
_LONGEST_SHIM: Final = 16384
_VERSION: Final = re.compile(r"\d+\.\d+\.\d+[\w.+-]*")


def find_programs(knowledge: Knowledge, environ: Mapping[str, str]) -> Iterator[Found]:
    """Yield each program that is on this machine, and each thing that has the name of one and is none."""
    folders = search_folders(knowledge, environ)
    for program in knowledge.programs:
        found = _find(program, folders, environ)
        if found is not None:
            yield found


def search_folders(knowledge: Knowledge, environ: Mapping[str, str]) -> list[str]:
    """Give the folders in which programs are looked for: those of PATH, then where installers put them.

    The current folder is none of them, however PATH names it: what lies there may have come with a project.
    """
    named = path_folders(environ)
    for place in knowledge.places["windows" if _WINDOWS else "posix"]:
        named += sorted(glob.glob(expand(place, environ)), reverse=True)  # noqa: PTH207 - a text, which may be empty
    current = _current_folder()
    return [folder for folder in dict.fromkeys(named) if Path(folder).is_absolute() and _real(folder) != current]


def not_usable(program: Program, version: str) -> tuple[str, str] | None:
    """Tell why a version cannot be asked and what to do; None where it can."""
    if within(version, program.versions):
        return None
    name = f"{program.title} {version}"
    return (
        f"{name} is not known to be kept from acting on your machine; versions {program.versions} are.",
        program.update,
    )


def _find(program: Program, folders: Sequence[str], environ: Mapping[str, str]) -> Found | None:
    faults: list[Found] = []
    for folder in folders:
        for suffix in _SUFFIXES:
            path = Path(folder, program.command + suffix)
            try:
                kind = path.stat().st_mode
            except (OSError, ValueError):
                continue
            if not stat.S_ISREG(kind) or not os.access(path, os.X_OK):
                what = "a folder" if stat.S_ISDIR(kind) else "not a program that you may start"
                reason = f"What has the name of {program.title} is {what}."
                faults.append(Found(program, str(path), ready=False, reason=reason, next="Remove or rename it."))
                continue
            if planted := why_not_started(str(path)):
                reason = f"{program.title} is not started from here: {planted}."
                advice = "Install it in a folder of your own, or have that folder closed to others."
                faults.append(Found(program, str(path), ready=False, reason=reason, next=advice))
                continue
            return _describe(program, path, folders, environ)
    return faults[0] if faults else None


def _describe(program: Program, path: Path, folders: Sequence[str], environ: Mapping[str, str]) -> Found:
    target = _shim_target(path) if path.suffix.lower() == ".cmd" else path.resolve()
    if target is None:
        reason = f"{program.title} is started by a batch file that is not npm's, and such files are not run."
        return Found(program, str(path), ready=False, reason=reason, next="Install it with npm.")
    version = _version(program, target)
    command: tuple[str, ...] = (str(target if path.suffix.lower() == ".cmd" else path),)
    is_script = target.suffix.lower() in _SCRIPTS
    node = find_program("node", (str(path.parent), *folders), ".exe" if _WINDOWS else "") if is_script else None
    if _WINDOWS and node is not None:
        command = (node, *command)
    ready: bool | None
    fault = not_usable(program, version) if version is not None else None
    if fault:
        ready, (reason, advice) = False, fault
    elif is_script and node is None:
        ready, reason = False, f"{program.title} needs Node.js (`node`), which is not found."
        advice = "Install Node.js, or start from a terminal in which it is found."
    else:
        ready, reason, advice = _login(program, environ)
    return Found(program, str(path), command, version, ready, reason, advice)


def _login(program: Program, environ: Mapping[str, str]) -> tuple[bool | None, str, str]:
    """Tell whether there is a login, by what lies open."""
    credentials = program.credentials
    for name in credentials.variables:
        if environ.get(name):
            return True, f"There is a login: {name} is set.", ""
    for file in credentials.files:
        if _exists(file, environ):
            return True, f"There is a login: {file} is there.", ""
    if program.keychain and sys.platform in program.keychain:
        return None, "Not known: the login may lie in the system's keychain.", program.login
    for file in program.perhaps:
        if _exists(file, environ):
            return None, f"Not known: {file} is there and may name a login.", program.login
    return False, f"{program.title} is not logged in.", program.login


def _version(program: Program, target: Path) -> str | None:
    """Read the version from what the installer left behind."""
    if program.distribution:
        return _distribution_version(program.distribution, target)
    for folder in target.parents:
        try:
            package = json.loads((folder / "package.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(package, dict) and package.get("name") == program.package:
            return str(package.get("version"))
    # Claude Code's own installer and Homebrew have a folder or a file for each version.
    return next((part for part in reversed(target.parts) if _VERSION.fullmatch(part)), None)


def _distribution_version(distribution: str, target: Path) -> str | None:
    prefix = target.parent.parent
    for pattern in ("lib/python3.*/site-packages", "Lib/site-packages"):
        for info in prefix.glob(f"{pattern}/{distribution}-*.dist-info"):
            return info.name.removesuffix(".dist-info").rpartition("-")[2]
    return None


def _shim_target(path: Path) -> Path | None:
    """Give what a batch file of npm's or pnpm's starts."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            named = _SHIM_TARGET.findall(file.read(_LONGEST_SHIM))
    except OSError:
        return None
    # What it asks for before is node.exe, which may lie beside it.
    target = path.parent.joinpath(*named[-1].split("\\")).resolve() if named else None
    return target if target is not None and target.is_file() else None


def _exists(file: str, environ: Mapping[str, str]) -> bool:
    path = expand(file, environ)
    return bool(path) and os.path.exists(path)  # noqa: PTH110 - may be empty


def expand(text: str, environ: Mapping[str, str]) -> str:
    """Fill in ``~``, ``$NAME`` and ``%NAME%`` at the beginning; empty where the variable is not set."""
    head, separator, tail = text.partition("\\" if text.startswith("%") else "/")
    if head == "~":
        head = environ.get("USERPROFILE" if _WINDOWS else "HOME", "")
    elif head[:1] in "$%":
        head = environ.get(head.strip("$%"), "")
    else:
        return text
    return head + separator + tail if head else ""


def _current_folder() -> str | None:
    try:
        return _real(os.curdir)
    except OSError:  # it has been removed
        return None


def _real(path: str) -> str:
    return os.path.normcase(os.path.realpath(path))
