"""How Linux finds the libraries that a library needs (ld.so(8), "Dynamic Linking" of the System V ABI).

What is modelled is the loader of glibc. Names already loaded, and what torch loads on purpose, are the caller's matter.
"""

from __future__ import annotations

import os
import struct
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rtx50_autoload.evidence.elf_linkage import Linkage, read_linkage
from rtx50_autoload.evidence.positioned import MalformedError, open_source

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from rtx50_autoload.evidence.environment.place import Place

__all__ = ["Loader", "linkage_of"]

_CACHE: Final = "/etc/ld.so.cache"
_CACHE_MAGIC: Final = b"glibc-ld.so.cache1.1"
#: Magic, number of entries, length of the strings; then flags, an offset of extensions, and room
_CACHE_HEADER = struct.Struct("<20sII20x")
#: Flags, offset of the name, offset of the path; then a version and capabilities of the processor
_CACHE_ENTRY = struct.Struct("<iII12x")
#: The bits of the flags that tell 64-bit architectures; 0 is 32-bit x86 (glibc, sysdeps/generic/ldconfig.h).
_ARCHITECTURE_BITS: Final = 0xFF00

#: Searched after the cache. A cache that lags behind misses what was installed there by hand.
_DEFAULT_FOLDERS: Final = (
    "/lib64",
    "/usr/lib64",
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/lib",
    "/usr/lib",
)


def linkage_of(path: Path) -> Linkage:
    """Read what a library needs; a file that cannot be read needs nothing, for others report that."""
    try:
        with open_source(path) as source:
            return read_linkage(source)
    except (OSError, MalformedError):
        return Linkage()


class Loader:
    """The search of one process."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._preferred = _folders(place.environ.get("LD_LIBRARY_PATH", ""))

    def find(
        self, name: str, origin: Path | None = None, linkage: Linkage | None = None, inherited: Iterable[Path] = ()
    ) -> Path | None:
        """Find the library that satisfies `name`; None where the loader would give up.

        Args:
            name: as in the needing library's dynamic section.
            origin: the needing library; None for what a program opens by name.
            linkage: of the needing library.
            inherited: run paths of the libraries that loaded that one (`search_path` of each).

        """
        for folder in self._folders(origin, linkage, inherited):
            if (folder / name).is_file():
                return folder / name
        cached = self._cache.get(name)
        if cached and cached.is_file():
            return cached
        defaults = (self._place.system(folder) / name for folder in _DEFAULT_FOLDERS)
        return next((path for path in defaults if path.is_file()), None)

    def _folders(self, origin: Path | None, linkage: Linkage | None, inherited: Iterable[Path]) -> Iterator[Path]:
        if linkage and linkage.runpath and origin:
            yield from self._preferred
            yield from expand(linkage.runpath, origin)
            return
        if linkage and origin:
            yield from expand(linkage.rpath, origin)
        yield from inherited
        yield from self._executable
        yield from self._preferred

    @cached_property
    def _executable(self) -> tuple[Path, ...]:
        """The run path of the interpreter, which holds for everything: conda's leads to the environment's libraries."""
        program = self._place.python.executable.resolve()
        linkage = linkage_of(program)
        return () if linkage.runpath else expand(linkage.rpath, program)

    @cached_property
    def _cache(self) -> Mapping[str, Path]:
        try:
            data = self._place.system(_CACHE).read_bytes()
        except OSError:
            return {}
        return {name: self._place.system(path) for name, path in _cached(data)}


def expand(folders: Iterable[str], origin: Path) -> tuple[Path, ...]:
    """Replace ``$ORIGIN`` in run paths; entries with other tokens, which depend on the processor, are left out."""
    here = str(origin.parent)
    texts = (folder.replace("${ORIGIN}", here).replace("$ORIGIN", here) for folder in folders)
    return tuple(Path(os.path.normpath(text)) for text in texts if "$" not in text)


def _folders(text: str) -> tuple[Path, ...]:
    return tuple(Path(folder) for folder in text.replace(";", ":").split(":") if folder)


def _cached(data: bytes) -> Iterator[tuple[str, str]]:
    # Before glibc 2.32 ldconfig put a table in the older format in front.
    start = data.find(_CACHE_MAGIC)
    if start < 0 or start + _CACHE_HEADER.size > len(data):
        return
    _, count, _ = _CACHE_HEADER.unpack_from(data, start)
    end = min(len(data), start + _CACHE_HEADER.size + count * _CACHE_ENTRY.size)
    table = data[start + _CACHE_HEADER.size : end]
    for flags, name, path in _CACHE_ENTRY.iter_unpack(table[: len(table) // _CACHE_ENTRY.size * _CACHE_ENTRY.size]):
        if flags & _ARCHITECTURE_BITS:
            yield _text(data, start + name), _text(data, start + path)


def _text(data: bytes, offset: int) -> str:
    return data[offset : data.find(b"\0", offset)].decode("utf-8", "surrogateescape")
