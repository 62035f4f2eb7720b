"""The members of a Unix archive (``.a``, ``.lib``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rtx50_autoload.evidence.positioned import MalformedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rtx50_autoload.evidence.positioned import Source

__all__ = ["MAGIC", "members"]

MAGIC: Final = b"!<arch>\n"

_HEADER_SIZE: Final = 60
_HEADER_END: Final = b"`\n"
_SIZE_FIELD: Final = slice(48, 58)


def members(source: Source) -> Iterator[Source]:
    """Yield the members of an archive, its symbol and name tables among them.

    Raises:
        MalformedError: the archive is cut short or damaged.

    """
    offset = len(MAGIC)
    while offset < source.size:
        header = source.read(offset, _HEADER_SIZE)
        size_field = header[_SIZE_FIELD].strip()
        if not header.endswith(_HEADER_END) or not size_field.isdigit():
            raise MalformedError(f"no archive member at byte {offset:,}")
        size = int(size_field)
        yield source.window(offset + _HEADER_SIZE, size)
        offset += _HEADER_SIZE + size
        offset += offset % 2
