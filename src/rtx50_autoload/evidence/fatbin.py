"""The containers of GPU code in a binary, from their entry headers alone.

nvcc packs the images of one translation unit into a container ("fatbin"). A wrapper per container registers it with the
CUDA runtime. The headers are never compressed, so nothing has to be: one read per image.

The layout of wrappers follows ``fatbinary_section.h`` of CUDA 13.0. The layout of containers and entries is not
documented; it was found by experiment and agrees with ``cuobjdump -all`` on all 96,897 images of 254 libraries. All
numbers are little-endian.
"""

from __future__ import annotations

import enum
import struct
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from rtx50_autoload.evidence.arch import Architecture, Code, PtxIsa
from rtx50_autoload.evidence.positioned import MalformedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rtx50_autoload.evidence.layout import Layout, Section
    from rtx50_autoload.evidence.positioned import Source

__all__ = ["Container", "Image", "Role", "read_containers"]


class Role(str, enum.Enum):
    """How a container gets to the driver."""

    #: Registered by itself: the driver loads one of its images.
    MODULE = "module"
    #: Registered as the device linker's result. The driver can link the relocatable containers anew in its stead.
    LINKED = "linked"
    #: What the device linker made the linked container from.
    RELOCATABLE = "relocatable"
    #: Not registered: a left-over, or loaded by the library's own code.
    UNREGISTERED = "unregistered"


class Image(NamedTuple):
    """One piece of GPU code."""

    architecture: Architecture
    #: Of PTX the version of its language, of other code None.
    isa: PtxIsa | None = None


class Container(NamedTuple):
    """The images of which the driver loads one or none."""

    role: Role
    #: No image is large enough to hold a kernel.
    empty: bool
    images: tuple[Image, ...]


#: Bytes, uncompressed. Cubins without a kernel have 680 to 2,064 in those 254 libraries; the smallest kernel that CUDA
#: 13.0 compiles has 2,856 (sm_75).
_LARGEST_EMPTY_IMAGE: Final = 2100

_WRAPPER_MAGIC: Final = 0x466243B1
#: magic, version, address of the container
_WRAPPER = struct.Struct("<IIQ8x")
_LINKED_VERSION: Final = 2
#: In place of the offset of a container whose wrapper has no address.
_NOWHERE: Final = -1
_MAX_WRAPPERS: Final = 2 * 2**20

_CONTAINER_MAGIC: Final = b"\x50\xed\x55\xba"
#: size of this header, size of all entries; after magic and version
_CONTAINER = struct.Struct("<6xHQ")
_ALIGNMENT: Final = 8
_MAX_PADDING: Final = 4096

#: kind, size of this header, size of the payload, PTX minor and major version, architecture, flags, uncompressed size
_ENTRY = struct.Struct("<HxxIQ8xHHI8xQ8xQ")
_MAX_ENTRY_HEADER: Final = 64 * 2**10
_KINDS: Final = {1: Code.PTX, 2: Code.SASS, 8: Code.LTO}
_SUFFIX_FLAGS: Final = 0x300000
_SUFFIXES: Final = {0: "", 0x100000: "a", 0x200000: "f"}
_ARCHITECTURES: Final = range(10, 1000)


class _Reading:
    """A container while it is read: its header is known, its entries come one by one."""

    __slots__ = ("_images", "_largest", "end", "offset", "position", "role")

    def __init__(self, role: Role, offset: int, head: bytes, limit: int) -> None:
        if len(head) < _CONTAINER.size or not head.startswith(_CONTAINER_MAGIC):
            raise MalformedError(f"no container of GPU code at byte {offset:,}")
        header_size, size = _CONTAINER.unpack(head)
        if header_size < _CONTAINER.size or offset + header_size + size > limit:
            raise MalformedError(f"the container of GPU code at byte {offset:,} claims {header_size + size:,} bytes")
        self.role = role
        self.offset = offset
        #: Where the next entry begins.
        self.position = offset + header_size
        self.end = self.position + size
        self._images: list[Image] = []
        self._largest = 0

    def read_entry(self, source: Source) -> None:
        kind, header_size, payload, minor, major, number, flags, unpacked = _ENTRY.unpack(
            source.read(self.position, _ENTRY.size)
        )
        if not _ENTRY.size <= header_size <= _MAX_ENTRY_HEADER or self.position + header_size + payload > self.end:
            raise MalformedError(f"the image at byte {self.position:,} claims {header_size:,} and {payload:,} bytes")
        self._images.append(_image(kind, number, flags & _SUFFIX_FLAGS, (major, minor)))
        self._largest = max(self._largest, unpacked or payload)
        self.position += header_size + payload

    def result(self) -> Container:
        return Container(self.role, self._largest <= _LARGEST_EMPTY_IMAGE, tuple(self._images))


def read_containers(source: Source, layout: Layout) -> Counter[Container]:
    """Read every container of a binary; equal ones are counted.

    Raises:
        MalformedError: what is there is no sequence of containers, or a wrapper points elsewhere.

    """
    containers = list(_linked_containers(source, layout) if layout.linked else _object_containers(source, layout))
    unfinished = [container for container in containers if container.position < container.end]
    while unfinished:
        # One entry of every container at a time. An entry tells where the next one is, so that within a container a
        # cold disk has to be waited for each time; of all containers together it can serve many at once.
        for container in unfinished:
            container.read_entry(source)
        unfinished = [container for container in unfinished if container.position < container.end]
        source.expect([container.position for container in unfinished], _ENTRY.size)
    return Counter(container.result() for container in containers)


def _object_containers(source: Source, layout: Layout) -> Iterator[_Reading]:
    # In an object file the wrappers' addresses are still to come, and either kind of section holds what the next linker
    # can use.
    for section in (*layout.code, *layout.relocatable):
        yield from _walk(source, section, {}, Role.MODULE)


def _linked_containers(source: Source, layout: Layout) -> Iterator[_Reading]:
    registered = _registered(source, layout)
    # Wrappers without an address: a linker that leaves it to the dynamic relocations. Which container is whose is then
    # not known; taking all for registered does not turn loadable into impossible.
    default = registered.pop(_NOWHERE, Role.UNREGISTERED)
    source.expect(registered, _CONTAINER.size)
    elsewhere = dict(registered)
    for section in layout.code:
        for container in _walk(source, section, registered, default):
            elsewhere.pop(container.offset, None)
            yield container
    for section in layout.relocatable:
        for container in _walk(source, section, {}, Role.RELOCATABLE):
            elsewhere.pop(container.offset, None)
            yield container
    for offset, role in elsewhere.items():
        yield _Reading(role, offset, source.read(offset, _CONTAINER.size), source.size)


def _registered(source: Source, layout: Layout) -> dict[int, Role]:
    """Return the roles of the containers that wrappers register, by offset."""
    roles: dict[int, Role] = {}
    size = sum(section.size for section in layout.wrappers)
    if size > _MAX_WRAPPERS:
        raise MalformedError(f"its wrappers of GPU code take {size:,} bytes")
    for section in layout.wrappers:
        data = source.read(section.offset, section.size)
        position = 0
        while position + _WRAPPER.size <= len(data):
            magic, version, address = _WRAPPER.unpack_from(data, position)
            if magic != _WRAPPER_MAGIC:
                if data[position : position + _ALIGNMENT].strip(b"\0"):
                    raise MalformedError(f"no wrapper of GPU code at byte {section.offset + position:,}")
                position += _ALIGNMENT
                continue
            offset = layout.offset_of(address) if address else _NOWHERE
            if offset is None:
                raise MalformedError(f"a wrapper of GPU code points to {address:#x}, where it has no section")
            roles[offset] = Role.LINKED if version == _LINKED_VERSION else roles.get(offset, Role.MODULE)
            position += _WRAPPER.size
    return roles


def _walk(source: Source, section: Section, roles: Mapping[int, Role], default: Role) -> Iterator[_Reading]:
    """Yield the containers of a section by their headers, with the roles known by offset or else the default."""
    offset, end = section.offset, section.offset + section.size
    padding = 0
    while offset < end:
        head = source.read(offset, min(_CONTAINER.size, end - offset))
        if head[:_ALIGNMENT].strip(b"\0"):
            padding = 0
            container = _Reading(roles.get(offset, default), offset, head, end)
            yield container
            offset = -(-container.end // _ALIGNMENT) * _ALIGNMENT
        else:
            # Linkers align what comes from another object file.
            padding += _ALIGNMENT
            offset += _ALIGNMENT
            if padding > _MAX_PADDING:
                raise MalformedError(f"more than {_MAX_PADDING:,} zeros among its GPU code, before byte {offset:,}")


@lru_cache(maxsize=1024)
def _image(kind: int, number: int, suffix: int, version: tuple[int, int]) -> Image:
    """Make an image of an entry's numbers; the same few make up every library."""
    if kind not in _KINDS or suffix not in _SUFFIXES or number not in _ARCHITECTURES:
        raise MalformedError(f"an image of unknown kind {kind} or architecture {number} (flags {suffix:#x})")
    code = _KINDS[kind]
    return Image(Architecture(code, divmod(number, 10), _SUFFIXES[suffix]), version if code is Code.PTX else None)
