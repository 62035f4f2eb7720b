"""The file of facts about versions: the package's own, or a newer one that somebody gave us and that is kept."""

from __future__ import annotations

import sys
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from rtx50_autoload.evidence.environment.versions_schema import FactsFileError, check, dated
from rtx50_autoload.knowledge import read_tables
from rtx50_autoload.private_files import check_folder, read_private
from rtx50_autoload.user_folders import NoHomeError, user_folder

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["InUse", "in_use", "kept_file", "parse", "read_text"]

_MOST_BYTES = 1_000_000


class InUse(NamedTuple):
    """The facts that are in use."""

    tables: Mapping[str, Any]
    #: Why a kept file is not used though it is newer or cannot be read; None where nothing is wrong.
    problem: str | None


def kept_file() -> Path:
    """Give where a newer file is kept for this user.

    Raises:
        NoHomeError: this user has no home folder.

    """
    return user_folder("data") / "versions.toml"


@cache
def in_use() -> InUse:
    """Give the newer one of the two; a kept file that cannot be used is passed over."""
    own = read_tables(__package__, "versions.toml")
    try:
        file = kept_file()
        check_folder(file.parent)
        kept = parse(_plain(read_private(file, _MOST_BYTES)))
        return InUse(kept if dated(kept) > dated(own) else own, None)
    except (FileNotFoundError, NoHomeError):
        return InUse(own, None)
    except (OSError, ValueError, FactsFileError) as error:
        return InUse(own, f"the kept facts are not used: {error}")


def read_text(file: Path) -> str:
    """Read a file that may hold facts.

    Raises:
        OSError: it cannot be read.
        FactsFileError: it is too large, or not plain ASCII.

    """
    with file.open("rb") as stream:
        content = stream.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise FactsFileError(f"it is larger than {_MOST_BYTES:,} bytes")
    return _plain(content)


def _plain(content: bytes) -> str:
    try:
        return content.decode("ascii")
    except UnicodeDecodeError:
        raise FactsFileError("it has to be plain ASCII") from None


def parse(text: str) -> dict[str, Any]:
    """Read facts and see to it that they can be used.

    Raises:
        FactsFileError: they cannot.

    """
    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number may be too long for Python, which is no error of TOML's
        raise FactsFileError(f"it is not TOML: {str(error) or type(error).__name__}") from None
    check(tables)
    return tables
