"""The folders for what belongs to one user. Some users have none: that of a container without an entry for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from rtx50_autoload.errors import RTX50Error
from rtx50_autoload.private_files import FOLDER

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["NoHomeError", "user_folder"]


class NoHomeError(RTX50Error, OSError):
    """The user has no home folder."""


def user_folder(kind: Literal["cache", "config", "data", "state"]) -> Path:
    """Return where this package keeps something for the user; the folder need not exist.

    Raises:
        NoHomeError: this user has no home folder.

    """
    import platformdirs  # noqa: PLC0415 - nothing else of a process's start needs it

    try:
        path: Path | None = getattr(platformdirs, f"user_{kind}_path")(FOLDER, appauthor=False)
    except RuntimeError:
        path = None
    # Earlier versions of platformdirs leave "~" as it is, which would be a folder where the program runs.
    if path is None or not path.is_absolute():
        raise NoHomeError(f"this user has no home folder; set HOME, or XDG_{kind.upper()}_HOME on Linux")
    return path
