"""Which of our start-up files Python can find, and whether they are the ones that were installed."""

from __future__ import annotations

import site
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .installations import installations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .installations import Installation, RecordedFile

__all__ = [
    "SECOND_DOOR",
    "STARTUP_MODULE",
    "StartupFile",
    "import_folders",
    "second_door_present",
    "site_folders",
    "startup_files",
]

#: The module that the start-up file names, and the one that torch is told of.
STARTUP_MODULE: Final = "_rtx50_autoload_importlib_bootstrap"
SECOND_DOOR: Final = "rtx50_autoload_second_door"
_NAMES = ("rtx50_autoload.pth", f"{STARTUP_MODULE}.py")


@dataclass(frozen=True, slots=True)
class StartupFile:
    """One of the two files that run at interpreter start.

    Attributes:
        matches_record: its SHA-256 is the one in the RECORD that names it; False where none does.

    """

    path: Path
    present: bool
    matches_record: bool


def startup_files(installed: Sequence[Installation] | None = None) -> list[StartupFile]:
    """Give both files where each installation put them, and every further copy that Python would find.

    The one in the source tree of an editable install is none: the installed copy comes before it.
    """
    installed = installations() if installed is None else installed
    recorded = {
        file.path: file
        for installation in installed
        for file in installation.recorded or ()
        if file.path.name in _NAMES
    }
    trees = [installation.source.resolve() for installation in installed if installation.source]
    found = {
        place / name
        for place in import_folders()
        for name in _NAMES
        if (place / name).is_file() and not any(place.is_relative_to(tree) for tree in trees)
    }
    return [
        StartupFile(path, present=path.is_file(), matches_record=path in recorded and _matches(recorded[path]))
        for path in sorted({*recorded, *found})
    ]


def _matches(file: RecordedFile) -> bool:
    try:
        return file.is_as_recorded()
    except OSError:
        return False


def second_door_present() -> bool:
    """Tell whether torch would find the entry point by which it calls us."""
    return any(entry.name == "rtx50_autoload" for entry in metadata.entry_points(group="torch.backends"))


def import_folders() -> list[Path]:
    """Give the folders where Python looks for start-up files or modules, each once."""
    return list(dict.fromkeys(Path(path).resolve() for path in (*map(str, site_folders()), *sys.path) if path))


def site_folders() -> list[Path]:
    """Give the folders whose start-up files Python runs."""
    user = site.getusersitepackages() if site.ENABLE_USER_SITE else None
    return [Path(path) for path in (*site.getsitepackages(), *([user] if user else []))]
