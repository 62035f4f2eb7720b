"""The libraries that a 64-bit Windows program or library imports (Microsoft, "PE Format", ".idata")."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from rtx50_autoload.evidence.positioned import MalformedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rtx50_autoload.evidence.positioned import Source

__all__ = ["read_imports"]

_SIGNATURE: Final = b"PE\0\0"
_SIGNATURE_POINTER: Final = 0x3C
_WITH_64_BIT_ADDRESSES: Final = 0x20B

#: NumberOfSections, SizeOfOptionalHeader; the signature before it
_FILE_HEADER = struct.Struct("<4s2xH12xH2x")
#: Magic, NumberOfRvaAndSizes, (export table), address and size of the import table
_OPTIONAL_HEADER = struct.Struct("<H106xI8xII")
#: VirtualSize, VirtualAddress, SizeOfRawData, PointerToRawData
_SECTION = struct.Struct("<8xIIII16x")
#: Name, of an import descriptor
_DESCRIPTOR = struct.Struct("<12xI4x")

_IMPORT_TABLE: Final = 1
_MAX_DESCRIPTORS: Final = 4096
_MAX_NAME: Final = 512


def read_imports(source: Source) -> tuple[str, ...]:
    """Name the DLLs that have to be there when this file is loaded; those loaded at first use are left out.

    Files with 32-bit addresses, and files of other kinds, import nothing here.

    Raises:
        MalformedError: the file is cut short or damaged.

    """
    if source.size < _SIGNATURE_POINTER + 4 or source.read(0, 2) != b"MZ":
        return ()
    (start,) = struct.unpack("<I", source.read(_SIGNATURE_POINTER, 4))
    signature, section_count, optional_size = _FILE_HEADER.unpack(source.read(start, _FILE_HEADER.size))
    if signature != _SIGNATURE:
        raise MalformedError("no PE signature where its first header points")
    optional = start + _FILE_HEADER.size
    magic, directories, table, _ = _OPTIONAL_HEADER.unpack(source.read(optional, _OPTIONAL_HEADER.size))
    if magic != _WITH_64_BIT_ADDRESSES or directories <= _IMPORT_TABLE or table == 0:
        return ()
    raw = source.read(optional + optional_size, section_count * _SECTION.size)
    sections = list(_SECTION.iter_unpack(raw))
    return tuple(_names(source, sections, _offset_of(table, sections)))


def _names(source: Source, sections: list[tuple[int, ...]], offset: int) -> Iterator[str]:
    for index in range(_MAX_DESCRIPTORS):
        (name,) = _DESCRIPTOR.unpack(source.read(offset + index * _DESCRIPTOR.size, _DESCRIPTOR.size))
        if name == 0:
            return
        place = _offset_of(name, sections)
        raw = source.read(place, max(0, min(_MAX_NAME, source.size - place)))
        yield raw.partition(b"\0")[0].decode("ascii", "replace")
    raise MalformedError(f"it claims more than {_MAX_DESCRIPTORS:,} imports")


def _offset_of(address: int, sections: list[tuple[int, ...]]) -> int:
    for virtual_size, start, raw_size, offset in sections:
        if start <= address < start + max(virtual_size, raw_size):
            return offset + address - start
    raise MalformedError("its imports are in no section")
