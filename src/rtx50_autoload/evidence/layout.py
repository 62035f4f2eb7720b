"""Where in an executable file its GPU code lies: what the readers of ELF and PE tell the reader of fatbins."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

__all__ = ["Layout", "Section"]


class Section(NamedTuple):
    """A run of bytes in the file that has an address once loaded."""

    address: int
    offset: int
    size: int


@dataclass
class Layout:
    """The sections that nvcc's host objects carry, and the file's other sections for looking up addresses."""

    #: Addresses are final: a program or shared library, not an object file.
    linked: bool
    #: Containers of whole-program and of linked code, ``.nv_fatbin``.
    code: list[Section] = field(default_factory=list)
    #: Containers of relocatable code, ``__nv_relfatbin``.
    relocatable: list[Section] = field(default_factory=list)
    #: The wrappers with which the containers are registered, ``.nvFatBinSegment``.
    wrappers: list[Section] = field(default_factory=list)
    #: Every section that has bytes in the file.
    sections: list[Section] = field(default_factory=list)

    @property
    def has_gpu_code(self) -> bool:
        """Whether any section is one of nvcc's."""
        return bool(self.code or self.relocatable or self.wrappers)

    def offset_of(self, address: int) -> int | None:
        """Return the place in the file of what is loaded at `address`; None where nothing of the file is."""
        index = bisect_right(self._starts, address) - 1
        if index < 0:
            return None
        section = self._loaded[index]
        inside = address - section.address
        return section.offset + inside if inside < section.size else None

    # Looked up once per wrapper, in a table that a hostile file can make long: hence sorted, and only once.
    @cached_property
    def _loaded(self) -> list[Section]:
        # Address 0: not loaded at all (debug information, comments).
        return sorted(each for each in (*self.code, *self.relocatable, *self.sections) if each.address)

    @cached_property
    def _starts(self) -> list[int]:
        return [section.address for section in self._loaded]
