"""What a 64-bit little-endian ELF file needs of other libraries: its dynamic section (System V ABI, "Dynamic Linking").

The section table may have been stripped; the dynamic section is found as the loader finds it, by the program headers.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rtx50_autoload.evidence.positioned import MalformedError

if TYPE_CHECKING:
    from rtx50_autoload.evidence.positioned import Source

__all__ = ["Linkage", "read_linkage"]

_MAGIC_64_LITTLE: Final = b"\x7fELF\x02\x01"

#: e_phoff, e_phentsize, e_phnum
_HEADER = struct.Struct("<32xQ14xHH6x")
#: p_type, p_offset, p_vaddr, p_filesz
_SEGMENT = struct.Struct("<I4xQQ8xQ16x")
#: d_tag, d_val
_ENTRY = struct.Struct("<qQ")

_LOAD: Final = 1
_DYNAMIC: Final = 2

_NEEDED: Final = 1
_STRING_TABLE: Final = 5
_SONAME: Final = 14
_RPATH: Final = 15
_RUNPATH: Final = 29

#: Far above what linkers write: libtorch_cuda.so of torch 2.13.0 has 0.6 kB of entries, its longest run path 220 bytes.
_MAX_DYNAMIC: Final = 2**20
_MAX_TEXT: Final = 16 * 2**10


@dataclass(frozen=True, slots=True)
class Linkage:
    """What the loader is told by one library."""

    #: The libraries that have to be there, as they are named: ``libcudart.so.12``.
    needed: tuple[str, ...] = ()
    #: Folders to search for them, as written (``$ORIGIN/lib``); searched for what they need in turn, too.
    rpath: tuple[str, ...] = ()
    #: Folders to search for them, as written; where there are any, `rpath` is ignored.
    runpath: tuple[str, ...] = ()
    #: The name under which it satisfies others once loaded.
    soname: str | None = None


def read_linkage(source: Source) -> Linkage:
    """Read the dynamic section; a file without one, or for other kinds of machines, needs nothing.

    Raises:
        MalformedError: the file is cut short or damaged.

    """
    if source.size < _HEADER.size or source.read(0, len(_MAGIC_64_LITTLE)) != _MAGIC_64_LITTLE:
        return Linkage()
    table_offset, entry_size, count = _HEADER.unpack(source.read(0, _HEADER.size))
    if count and entry_size != _SEGMENT.size:
        raise MalformedError(f"its program headers have {entry_size} bytes instead of {_SEGMENT.size}")
    segments = list(_SEGMENT.iter_unpack(source.read(table_offset, count * _SEGMENT.size)))
    entries = [
        entry
        for kind, offset, _, size in segments
        if kind == _DYNAMIC
        for entry in _ENTRY.iter_unpack(source.read(offset, _bounded(size) // _ENTRY.size * _ENTRY.size))
    ]
    strings = next((value for tag, value in entries if tag == _STRING_TABLE), None)
    if strings is None:
        return Linkage()
    base = _offset_of(strings, [(address, offset, size) for kind, offset, address, size in segments if kind == _LOAD])

    def texts(wanted: int) -> tuple[str, ...]:
        return tuple(_text(source, base + value) for tag, value in entries if tag == wanted)

    def folders(wanted: int) -> tuple[str, ...]:
        return tuple(folder for text in texts(wanted) for folder in text.split(":") if folder)

    return Linkage(texts(_NEEDED), folders(_RPATH), folders(_RUNPATH), next(iter(texts(_SONAME)), None))


def _bounded(size: int) -> int:
    if size > _MAX_DYNAMIC:
        raise MalformedError(f"it claims {size:,} bytes of dynamic section")
    return size


def _offset_of(address: int, loaded: list[tuple[int, int, int]]) -> int:
    for start, offset, size in loaded:
        if start <= address < start + size:
            return offset + address - start
    raise MalformedError("its string table is in no part of the file that is loaded")


def _text(source: Source, offset: int) -> str:
    # The table itself may have tens of megabytes (libtorch_cpu.so: the names of its C++ symbols) and is not read whole.
    raw = source.read(offset, max(0, min(_MAX_TEXT, source.size - offset)))
    text, end, _ = raw.partition(b"\0")
    if not end:
        raise MalformedError("a name in its dynamic section does not end")
    return text.decode("utf-8", "surrogateescape")
