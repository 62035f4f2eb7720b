"""Programs that are looked for by name, and which of them may be started.

Whoever puts a folder on PATH trusts its owner, and nobody else. So a program is passed over where somebody else could
have put it: in the working directory that a relative entry stands for, in a folder that everybody may write to, or as a
file of a third user in a folder that several may write to.
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["SUFFIX", "absolute_path", "find_program", "path_folders", "why_not_started"]

#: How the names of programs end; what ends in `.cmd` or `.bat` is read by a shell.
SUFFIX: Final = ".exe" if sys.platform == "win32" else ""


def path_folders(environ: Mapping[str, str]) -> list[str]:
    """Give the folders of PATH in their order, but not those that depend on where the process stands."""
    entries = (entry.strip('"') for entry in environ.get("PATH", "").split(os.pathsep))
    return [entry for entry in dict.fromkeys(entries) if Path(entry).is_absolute()]


def absolute_path(environ: Mapping[str, str]) -> str:
    """Give PATH without the entries that depend on where the process stands, for a child."""
    return os.pathsep.join(path_folders(environ))


def find_program(name: str, folders: Sequence[str] | None = None, suffix: str = SUFFIX) -> str | None:
    """Give the first program of this name that may be started, with its full path.

    Args:
        name: without a folder.
        folders: where to look, by default on PATH; `shutil.which` would look in the working directory first on Windows.
        suffix: how its name ends on this system.

    """
    for folder in path_folders(os.environ) if folders is None else folders:
        path = os.path.join(folder, name + suffix)  # noqa: PTH118 - texts, of which many are tried
        if os.path.isfile(path) and os.access(path, os.X_OK) and why_not_started(path) is None:  # noqa: PTH113
            return path
    return None


def why_not_started(path: str) -> str | None:
    """Tell why a program is not started though it is there, a clause; None where it may be.

    On Windows nothing is known of that: who may write where is not told by a file's mode.
    """
    if sys.platform == "win32":
        return None
    try:
        entry, program = os.lstat(path), os.stat(path)  # noqa: PTH116 - likewise
        folders = [os.stat(os.path.dirname(each)) for each in (path, os.path.realpath(path))]  # noqa: PTH116, PTH120
    except OSError as error:
        return f"it cannot be looked at ({error.strerror})"
    if any(folder.st_mode & stat.S_IWOTH for folder in folders):
        return "everybody on this machine may write to its folder"
    if program.st_mode & stat.S_IWOTH:
        return "everybody on this machine may change it"
    trusted = {0, os.geteuid(), folders[0].st_uid}
    if entry.st_uid not in trusted:
        return f"it belongs to another user (number {entry.st_uid}) than you and the owner of its folder"
    return None
