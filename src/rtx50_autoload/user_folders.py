"""The folders for what belongs to one user. Some users have none: that of a container without an entry for it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final, Literal

from rtx50_autoload.errors import RTX50Error

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FOLDER", "NoHomeError", "has_config_folder", "user_folder"]

#: The name of this package's folder among those of a user, by platformdirs.
FOLDER: Final = "rtx50-autoload"


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


def has_config_folder() -> bool:
    """Tell whether the user may have a folder with settings for us, before it is worth finding out where.

    Every `import torch` asks, and importing platformdirs takes longer than all other work with the settings. On Linux
    all versions of it look in one of two places; where neither has our folder, nothing has to be imported.
    """
    if sys.platform != "linux" or "ANDROID_DATA" in os.environ:
        return True
    places = os.environ.get("XDG_CONFIG_HOME", ""), os.path.expanduser("~/.config")  # noqa: PTH111 - never fails
    return any(os.path.lexists(f"{place}/{FOLDER}") for place in map(str.strip, places) if place)
