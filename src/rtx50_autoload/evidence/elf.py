"""The sections of a 64-bit little-endian ELF file that hold GPU code (System V ABI, "Object Files")."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from rtx50_autoload.evidence.layout import Layout, Section
from rtx50_autoload.evidence.positioned import MalformedError

if TYPE_CHECKING:
    from rtx50_autoload.evidence.positioned import Source

__all__ = ["MAGIC", "find_layout", "is_cubin"]

MAGIC: Final = b"\x7fELF"

_64_BIT_LITTLE_ENDIAN: Final = b"\x02\x01"
_RELOCATABLE_OBJECT: Final = 1
_CUDA_MACHINE: Final = 190
_EXTENDED_INDEX: Final = 0xFFFF
_NO_BITS: Final = 8

#: e_type, e_machine, e_shoff, e_shentsize, e_shnum, e_shstrndx
_HEADER = struct.Struct("<16xHH20xQ10xHHH")
#: sh_name, sh_type, sh_addr, sh_offset, sh_size, sh_link
_SECTION = struct.Struct("<II8xQQQI20x")

#: Far above what linkers write, for objects built with one section per function too.
_MAX_SECTION_TABLE: Final = 16 * 2**20
_MAX_NAMES: Final = 16 * 2**20

# The names are compared whole: bitsandbytes ships ROCm libraries with a section .hip_fatbin.
_CODE: Final = b".nv_fatbin"
_RELOCATABLE: Final = b"__nv_relfatbin"
_WRAPPERS: Final = b".nvFatBinSegment"
_LONGEST_NAME: Final = len(_WRAPPERS)


def is_cubin(source: Source) -> bool:
    """Whether this ELF file is GPU code itself."""
    return source.size >= _HEADER.size and _HEADER.unpack(source.read(0, _HEADER.size))[1] == _CUDA_MACHINE


def find_layout(source: Source) -> Layout:
    """Find the sections of an ELF file that hold GPU code.

    Files for 32-bit and big-endian machines, for which CUDA has no tools, hold none.

    Raises:
        MalformedError: the file is cut short or damaged, or its section table has been removed.

    """
    header = source.read(0, _HEADER.size)
    kind = _HEADER.unpack(header)[0]
    layout = Layout(linked=kind != _RELOCATABLE_OBJECT)
    if header[4:6] != _64_BIT_LITTLE_ENDIAN:
        return layout
    table, names = _sections_and_names(source, header)
    if not any(name in names for name in (_CODE, _RELOCATABLE, _WRAPPERS)):
        return layout

    places = {_CODE: layout.code, _RELOCATABLE: layout.relocatable, _WRAPPERS: layout.wrappers}
    for name_offset, section_type, address, offset, size, _ in _SECTION.iter_unpack(table):
        if section_type == _NO_BITS or size == 0:
            continue
        section = Section(address, offset, size)
        place = places.get(names[name_offset : name_offset + _LONGEST_NAME + 1].partition(b"\0")[0])
        if place is None:
            layout.sections.append(section)
        elif offset + size > source.size:
            raise MalformedError(f"a section of GPU code ends at {offset + size:,}, past its {source.size:,} bytes")
        else:
            place.append(section)
    return layout


def _sections_and_names(source: Source, header: bytes) -> tuple[bytes, bytes]:
    """Read the table of section headers and the section names that it refers to."""
    _kind, _machine, table_offset, entry_size, count, names_index = _HEADER.unpack(header)
    if table_offset == 0:
        raise MalformedError("its section table has been removed")
    if entry_size != _SECTION.size:
        raise MalformedError(f"its section headers have {entry_size} bytes instead of {_SECTION.size}")
    if count == 0 or names_index == _EXTENDED_INDEX:
        # More than 65,279 sections: the true numbers stand in the first, otherwise unused, section header.
        first = _SECTION.unpack(source.read(table_offset, _SECTION.size))
        count = count or first[4]
        names_index = first[5] if names_index == _EXTENDED_INDEX else names_index
    if count * _SECTION.size > _MAX_SECTION_TABLE:
        raise MalformedError(f"it claims {count:,} sections")
    if names_index >= count:
        raise MalformedError(f"its section names are in section {names_index:,} of {count:,}")
    table = source.read(table_offset, count * _SECTION.size)
    _, _, _, names_offset, names_size, _ = _SECTION.unpack_from(table, names_index * _SECTION.size)
    if names_size > _MAX_NAMES:
        raise MalformedError(f"it claims {names_size:,} bytes of section names")
    return table, source.read(names_offset, names_size)
