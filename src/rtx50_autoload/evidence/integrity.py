"""Whether the files of this package are those that were installed, and what lies beside them."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from rtx50_autoload.settings import ENVIRONMENT_FILE

from .byte_code import foreign_byte_code
from .installations import installations
from .startup import SECOND_DOOR, STARTUP_MODULE, import_folders, site_folders

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from .installations import Installation, RecordedFile

__all__ = ["Difference", "verify"]

_PACKAGE: Final = "rtx50_autoload"
#: A line of a start-up file that Python runs, with a name of ours in it.
_RUNS_US: Final = re.compile(rf"^(?:import[ \t].*\b(?:{_PACKAGE}|{STARTUP_MODULE}|{SECOND_DOOR})\b)", re.MULTILINE)
#: The same in a `.start` file (PEP 829), where every line is run.
_STARTS_US: Final = re.compile(rf"^\s*(?:{_PACKAGE}|{STARTUP_MODULE}|{SECOND_DOOR})\b", re.MULTILINE)

State: TypeAlias = Literal["missing", "changed", "added", "not recorded", "unreadable", "byte code"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One file that is not as it was installed."""

    path: Path
    state: State
    why: str

    def as_json(self) -> dict[str, str]:
        """Give it with plain values."""
        return {"path": str(self.path), "state": self.state, "why": self.why}


def verify() -> dict[str, Any]:
    """Compare every file of every installation that this Python finds with its RECORD.

    Returns:
        a mapping with plain values: `sound`, `prefix`, `installations` (the first is the one that is imported) and
        `beside`, files that belong to none of them.

    """
    installed = installations()
    described = [_describe(installation) for installation in installed]
    beside = [difference.as_json() for difference in _beside(installed)]
    return {
        "sound": bool(described)
        and not beside
        and all(each["record"] and not each["differences"] for each in described),
        "prefix": sys.prefix,
        "installations": described,
        "beside": beside,
    }


def _describe(installation: Installation) -> dict[str, Any]:
    recorded = installation.recorded or ()
    return {
        "path": str(installation.info),
        "version": installation.version,
        "editable": None if installation.source is None else str(installation.source),
        "record": installation.recorded is not None,
        "files": len(recorded),
        "compared": sum(file.digest is not None for file in recorded),
        "differences": [difference.as_json() for difference in _differences(installation)],
    }


def _differences(installation: Installation) -> Iterator[Difference]:
    if installation.recorded is None:
        return
    for file in installation.recorded:
        yield from _difference(file, installation)
    known = {file.path for file in installation.recorded}
    for folder in (installation.root / _PACKAGE, installation.info):
        for path in sorted(folder.rglob("*")):
            if path not in known and not path.is_dir() and not _is_cache(path):
                yield Difference(path, "added", "it lies in a folder of ours, and RECORD does not name it")
    sources = {file.path for file in installation.recorded if file.path.suffix == ".py"}
    for source in sorted(sources):
        if source.is_file():
            for path, why in foreign_byte_code(source):
                yield Difference(path, "byte code", why)


def _difference(file: RecordedFile, installation: Installation) -> Iterator[Difference]:
    if file.digest is None:
        # Installers leave these without a digest, and so does `disable` its settings file.
        if (
            file.path != installation.info / "RECORD"
            and file.path.name != ENVIRONMENT_FILE
            and not _is_cache(file.path)
        ):
            yield Difference(file.path, "not recorded", "RECORD names it without a SHA-256")
        return
    try:
        same = file.is_as_recorded()
    except OSError as error:
        yield Difference(file.path, "unreadable", error.strerror or str(error))
        return
    if not same:
        if file.path.exists():
            yield Difference(file.path, "changed", "its SHA-256 or its size is not the recorded one")
        else:
            yield Difference(file.path, "missing", "RECORD names it")


def _is_cache(path: Path) -> bool:
    return path.suffix == ".pyc" and path.parent.name == "__pycache__"


def _beside(installed: Sequence[Installation]) -> Iterator[Difference]:
    """Find what Python would take for us, or what runs us at start-up, and that is of no installation."""
    known = {file.path for each in installed for file in each.recorded or ()}
    known |= {parent for path in known for parent in path.parents} | {each.info for each in installed}
    trees = [each.source.resolve() for each in installed if each.source is not None]
    for folder in import_folders():
        if not folder.is_dir() or any(folder.is_relative_to(tree) for tree in trees):
            continue
        for path in sorted(folder.iterdir()):
            if path not in known and path.name.partition(".")[0] in (_PACKAGE, STARTUP_MODULE, SECOND_DOOR):
                known.add(path)
                yield Difference(path, "added", "it has a name of ours, and no RECORD names it")
    for folder in dict.fromkeys(folder.resolve() for folder in site_folders()):
        for path in sorted((*folder.glob("*.pth"), *folder.glob("*.start"))):
            if path not in known and _names_us(path):
                yield Difference(path, "added", "a start-up file that runs us, and that no RECORD names")


def _names_us(path: Path) -> bool:
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError:
        return False
    return (_RUNS_US if path.suffix == ".pth" else _STARTS_US).search(text) is not None
