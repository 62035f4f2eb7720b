"""Which of our start-up files Python can find, and whether they are the ones that were installed."""

from __future__ import annotations

import base64
import csv
import hashlib
import site
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["DISTRIBUTION", "StartupFile", "second_door_present", "startup_files"]

DISTRIBUTION = "rtx50-autoload"
_NAMES = ("rtx50_autoload.pth", "_rtx50_autoload_importlib_bootstrap.py")


@dataclass(frozen=True, slots=True)
class StartupFile:
    """One of the two files that run at interpreter start.

    Attributes:
        matches_record: its SHA-256 is the one in the distribution's RECORD; False where no RECORD names it.

    """

    path: Path
    present: bool
    matches_record: bool


def startup_files() -> list[StartupFile]:
    """Give both files where the distribution put them, and every further copy that Python would find."""
    recorded = dict(_recorded())
    places = {Path(path).resolve() for path in (*_site_directories(), *sys.path) if path}
    found = {place / name for place in places for name in _NAMES if (place / name).is_file()}
    return [
        StartupFile(path, present=path.is_file(), matches_record=path.is_file() and _sha256(path) == recorded.get(path))
        for path in sorted({*recorded, *found})
    ]


def second_door_present() -> bool:
    """Tell whether torch would find the entry point by which it calls us."""
    return any(entry.name == "rtx50_autoload" for entry in metadata.entry_points(group="torch.backends"))


def _site_directories() -> list[str]:
    user = site.getusersitepackages() if site.ENABLE_USER_SITE else None
    return [*site.getsitepackages(), *([user] if user else [])]


def _recorded() -> Iterator[tuple[Path, str]]:
    """Read RECORD itself: `Distribution.files` leaves out what is missing, which is what has to be found."""
    try:
        distribution = metadata.distribution(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return
    with suppress(ValueError, csv.Error):  # damaged: not UTF-8, or no table
        for row in csv.reader((distribution.read_text("RECORD") or "").splitlines()):
            if row and row[0] in _NAMES:
                digest = row[1] if len(row) > 1 else ""
                yield Path(str(distribution.locate_file(row[0]))).resolve(), digest.removeprefix("sha256=")


def _sha256(path: Path) -> str:
    # As RECORD writes it (PEP 376): URL-safe base64 without padding.
    return base64.urlsafe_b64encode(hashlib.sha256(path.read_bytes()).digest()).rstrip(b"=").decode()
