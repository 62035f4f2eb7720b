"""Which files of an environment belong to a distribution, by its RECORD; never one outside of the environment."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .environment import Distribution, Environment

__all__ = ["files_of", "is_complete", "present_files"]


def is_complete(distribution: Distribution) -> bool:
    """Tell whether an installer has finished it: RECORD, or its like of old days, is the last file that is written."""
    info = distribution.info
    return info.is_file() or any((info / name).is_file() for name in ("RECORD", "installed-files.txt"))


def files_of(distribution: Distribution, environment: Environment) -> Iterator[Path]:
    """Give the files and links of a distribution that are there and lie in the environment.

    A path that leads out of the environment, by dots or by links, is not one of them, whoever has written it.
    """
    info = distribution.info
    if info.is_file():
        yield info
        return
    named = [*_recorded(info), *(path for path in info.rglob("*") if not path.is_dir() or path.is_symlink())]
    for path in dict.fromkeys(Path(os.path.normpath(path)) for path in named):
        if environment.holds(path) and (path.is_symlink() or path.is_file()):
            yield path


def present_files(distributions: Iterable[Distribution], environment: Environment) -> set[Path]:
    """Give the files of several distributions."""
    return {path for each in distributions for path in files_of(each, environment)}


def _recorded(info: Path) -> Iterator[Path]:
    for name, base in (("RECORD", info.parent), ("installed-files.txt", info)):
        try:
            text = (info / name).read_text(encoding="utf-8")
            rows = [row[0] for row in csv.reader(text.splitlines()) if row and row[0] and "\x00" not in row[0]]
        except (OSError, ValueError, csv.Error):
            continue
        # An absolute path replaces the base; `holds` judges what comes of it.
        yield from (base / row for row in rows)
        return
