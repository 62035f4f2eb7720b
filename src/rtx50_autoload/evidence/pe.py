"""The sections of a Windows program or library that hold GPU code (Microsoft, "PE Format")."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from rtx50_autoload.evidence.layout import Layout, Section
from rtx50_autoload.evidence.positioned import MalformedError

if TYPE_CHECKING:
    from rtx50_autoload.evidence.positioned import Source

__all__ = ["MAGIC", "find_layout"]

MAGIC: Final = b"MZ"

_SIGNATURE: Final = b"PE\0\0"
_SIGNATURE_POINTER: Final = 0x3C
_WITH_64_BIT_ADDRESSES: Final = 0x20B

#: NumberOfSections, SizeOfOptionalHeader; after the signature
_FILE_HEADER = struct.Struct("<2xH12xH2x")
#: Magic, ImageBase
_OPTIONAL_HEADER = struct.Struct("<H22xQ")
#: Name, VirtualSize, VirtualAddress, SizeOfRawData, PointerToRawData
_SECTION = struct.Struct("<8sIIII16x")

# PE keeps eight characters of a section's name.
_CODE: Final = b".nv_fatb"
_RELOCATABLE: Final = b"__nv_rel"
_WRAPPERS: Final = b".nvFatBi"


def find_layout(source: Source) -> Layout:
    """Find the sections of a PE file that hold GPU code.

    Files with 32-bit addresses, for which CUDA has no tools, and programs for DOS hold none.

    Raises:
        MalformedError: the file is cut short or damaged.

    """
    layout = Layout(linked=True)
    (signature,) = struct.unpack("<I", source.read(_SIGNATURE_POINTER, 4))
    headers = source.read(signature, len(_SIGNATURE) + _FILE_HEADER.size + _OPTIONAL_HEADER.size)
    if not headers.startswith(_SIGNATURE):
        raise MalformedError("no PE signature where its first header points")
    section_count, optional_size = _FILE_HEADER.unpack_from(headers, len(_SIGNATURE))
    magic, image_base = _OPTIONAL_HEADER.unpack_from(headers, len(_SIGNATURE) + _FILE_HEADER.size)
    if magic != _WITH_64_BIT_ADDRESSES:
        return layout
    table = source.read(
        signature + len(_SIGNATURE) + _FILE_HEADER.size + optional_size,
        section_count * _SECTION.size,
    )
    places = {_CODE: layout.code, _RELOCATABLE: layout.relocatable, _WRAPPERS: layout.wrappers}
    end = 0
    for name, virtual_size, virtual_address, raw_size, raw_offset in _SECTION.iter_unpack(table):
        if raw_size == 0:
            continue
        end = max(end, raw_offset + raw_size)
        # On disk a section is padded to the file's alignment.
        section = Section(image_base + virtual_address, raw_offset, min(raw_size, virtual_size or raw_size))
        places.get(name, layout.sections).append(section)
    if layout.has_gpu_code and end > source.size:
        raise MalformedError(f"its sections end at {end:,}, past its {source.size:,} bytes")
    return layout
