"""Where this package is installed, as its own metadata says it: each installation with what its RECORD names."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit
from urllib.request import url2pathname

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["DISTRIBUTION", "Installation", "RecordedFile", "installations"]

DISTRIBUTION: Final = "rtx50-autoload"
#: What RECORD writes before a digest (PEP 376); pip and uv use no other algorithm.
_ALGORITHM: Final = "sha256="


@dataclass(frozen=True, slots=True)
class RecordedFile:
    """One line of RECORD."""

    path: Path
    #: Its SHA-256 as RECORD writes it; None where it gives none.
    digest: str | None
    size: int | None

    def is_as_recorded(self) -> bool:
        """Tell whether the file is there and is the one that was recorded; never where no digest was.

        Raises:
            OSError: the file is there and cannot be read.

        """
        try:
            content = self.path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return False
        # URL-safe base64 without padding.
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        return digest == self.digest and self.size in (None, len(content))


@dataclass(frozen=True, slots=True)
class Installation:
    """One place where the package is installed.

    Attributes:
        info: the folder of its metadata.
        source: the source tree of an editable install, whose files no RECORD lists.
        recorded: what its RECORD names; None where there is no RECORD.

    """

    info: Path
    version: str
    source: Path | None
    recorded: tuple[RecordedFile, ...] | None

    @property
    def root(self) -> Path:
        """The folder that its packages are imported from."""
        return self.info.parent


def installations(path: Sequence[str] | None = None) -> list[Installation]:
    """Find all of them on `sys.path`, or on another path; the first is the one that Python imports.

    A wheel that is itself on the path, as an archive, is none: nothing of it was installed.
    """
    found: dict[Path, Installation] = {}
    where: dict[str, Any] = {} if path is None else {"path": list(path)}
    for distribution in metadata.distributions(name=DISTRIBUTION, **where):
        # There is no public way to the folder where two versions lie side by side.
        info = Path(str(getattr(distribution, "_path", ""))).resolve()
        if info.is_dir() and info not in found:
            found[info] = Installation(
                info, distribution.version or "unknown", _source(distribution), _recorded(distribution, info)
            )
    return list(found.values())


def _recorded(distribution: metadata.Distribution, info: Path) -> tuple[RecordedFile, ...] | None:
    # Read here: `Distribution.files` leaves out what is missing, which is what has to be found.
    try:
        text = distribution.read_text("RECORD")
        return None if text is None else tuple(_rows(text, info.parent))
    except (OSError, ValueError, csv.Error):  # not to be read, not UTF-8, or no table
        return None


def _rows(text: str, root: Path) -> Iterator[RecordedFile]:
    for name, *rest in filter(None, csv.reader(text.splitlines())):
        digest, size = [*rest, "", ""][:2]
        yield RecordedFile(
            (root / name).resolve(),
            digest.removeprefix(_ALGORITHM) if digest.startswith(_ALGORITHM) else None,
            int(size) if size.isdecimal() else None,
        )


def _source(distribution: metadata.Distribution) -> Path | None:
    """Give the project's folder as PEP 610 has it, where the install is editable."""
    try:
        origin = json.loads(distribution.read_text("direct_url.json") or "{}")
        return Path(url2pathname(urlsplit(origin["url"]).path)) if origin["dir_info"]["editable"] else None
    except (OSError, ValueError, KeyError, TypeError):  # no such file, not an editable install, or something else in it
        return None
