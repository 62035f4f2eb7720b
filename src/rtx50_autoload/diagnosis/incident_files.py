"""The folder with one JSON file for each incident: how they are read, written, locked and kept few.

A file is written whole under another name and renamed, so that readers, who need no lock, see the old or the new one
and never a part. Nothing is forced to the disk: a power cut may leave an empty file, which is listed as unreadable.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rtx50_autoload.errors import RTX50Error
from rtx50_autoload.private_files import DRAFT, check_folder, read_private, write_private
from rtx50_autoload.user_folders import NoHomeError, user_folder

from .incident import Incident

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = [
    "IncidentStoreError",
    "Kept",
    "file_of",
    "folder",
    "is_ours",
    "locked",
    "make_room",
    "read_all",
    "take_up",
    "write",
]

#: The incidents that were seen longest ago go first.
_MOST: Final = 200
#: Bytes; texts are kept short, so no file of ours has as many.
_LARGEST_FILE: Final = 2_000_000

_LOCK: Final = ".lock"
#: Seconds that a crashing program waits for others that record at the same time; each of them takes milliseconds.
_LONGEST_WAIT: Final = 10.0
_POLL: Final = 0.02

_FILE: Final = re.compile(r"[0-9a-f]{12}\.json")
#: What stood in the place of an incident and was none.
_ASIDE: Final = re.compile(r"[0-9a-f]{12}\.[0-9a-f]{4}\.unreadable")
#: Seconds after which its writer has been killed, no matter how slow the disk is.
_DRAFT_IS_STALE: Final = 3600.0


class IncidentStoreError(RTX50Error, OSError):
    """The incidents cannot be read or removed."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What lies in the folder.

    Attributes:
        incidents: the one that was seen last first.
        unreadable: files that are no incidents, each with the reason.

    """

    incidents: tuple[Incident, ...]
    unreadable: dict[Path, str]


def folder() -> Path:
    """Return where the incidents of this user lie.

    Raises:
        IncidentStoreError: this user has no home folder.

    """
    try:
        return user_folder("state") / "incidents"
    except NoHomeError as error:
        raise IncidentStoreError(str(error)) from None


@contextlib.contextmanager
def locked(place: Path) -> Iterator[None]:
    """Keep other processes and threads from changing the folder inside the block.

    Raises:
        OSError: the lock cannot be had, because of the disk or because others hold it too long.
        NotImplementedError: the file system knows no locks.

    """
    from filelock import FileLock  # noqa: PLC0415 - a program that never fails does not need it

    with FileLock(place / _LOCK, timeout=_LONGEST_WAIT, mode=0o600).acquire(poll_interval=_POLL):
        yield


def file_of(place: Path, id_: str) -> Path:
    """Return where an incident lies."""
    return place / f"{id_}.json"


def take_up(place: Path, id_: str) -> Incident | None:
    """Read the incident that is to be counted up; what stands in its place and is none goes aside."""
    file = file_of(place, id_)
    try:
        return _read(file)
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError):
        # Not where reading it fails: a program that crashes for want of file handles would throw away a good one.
        file.rename(place / f"{id_}.{os.urandom(2).hex()}.unreadable")
        return None


def _read(file: Path) -> Incident:
    """Read one file; a link is not followed, and what is no file, such as a pipe, is not waited for.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no incident.
        RecursionError: it is no incident, and nested deep.

    """
    incident = Incident.from_json(json.loads(read_private(file, _LARGEST_FILE)))
    if file_of(file.parent, incident.id) != file:
        raise ValueError(f"it holds the incident {incident.id}")
    return incident


def read_all(place: Path) -> Kept:
    """Read what lies in the folder; one that does not exist holds nothing.

    Raises:
        IncidentStoreError: the folder cannot be read.

    """
    incidents, unreadable = [], {}
    try:
        check_folder(place)
        files = sorted(place.iterdir())
    except FileNotFoundError:
        files = []
    except OSError as error:
        raise IncidentStoreError(f"{place} cannot be read: {error.strerror or error}") from error
    for file in files:
        if file.name.startswith("."):
            continue
        try:
            incidents.append(_read(file))
        except FileNotFoundError:
            continue  # removed meanwhile
        except (OSError, ValueError, RecursionError) as error:
            unreadable[file] = f"{getattr(error, 'strerror', None) or error}"
    incidents.sort(key=lambda incident: incident.last_seen, reverse=True)
    return Kept(tuple(incidents), unreadable)


def write(place: Path, incident: Incident) -> None:
    """Write the file of an incident, in the place of what it was before.

    Raises:
        OSError: it cannot be written; it is as it was before.

    """
    write_private(file_of(place, incident.id), json.dumps(incident.as_json(), indent=2) + "\n")


def make_room(place: Path) -> None:
    """Remove the incidents that were seen longest ago, as many as there are too many, and what killed writers left."""
    with contextlib.suppress(OSError):
        names = os.listdir(place)  # noqa: PTH208 - names are enough
        for name in names:
            if name.endswith(DRAFT) and time.time() - (place / name).stat().st_mtime > _DRAFT_IS_STALE:
                (place / name).unlink()
        too_many = sum(map(bool, map(_FILE.fullmatch, names))) - _MOST
        if too_many > 0:
            for incident in read_all(place).incidents[-too_many:]:
                file_of(place, incident.id).unlink()


def is_ours(path: Path) -> bool:
    """Tell by its name whether a file was written here."""
    return bool(_FILE.fullmatch(path.name) or _ASIDE.fullmatch(path.name) or path.name.endswith(DRAFT))
