"""The GPU code of one binary, whatever its format, as a value: readable or with the reason why not."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, cast

from rtx50_autoload.evidence import archive, elf, pe
from rtx50_autoload.evidence.fatbin import Container, Role, read_containers
from rtx50_autoload.evidence.positioned import MalformedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rtx50_autoload.evidence.arch import Code, PtxIsa
    from rtx50_autoload.evidence.positioned import Source

__all__ = ["READER_VERSION", "BinaryFormat", "GpuCode", "binary_format", "format_by_name", "read_gpu_code"]

#: To be raised whenever the same file would be read differently than before.
READER_VERSION: Final = 1

BinaryFormat: TypeAlias = Literal["elf", "pe", "ar"]

_MAGICS: Final[Mapping[bytes, BinaryFormat]] = {elf.MAGIC: "elf", pe.MAGIC: "pe", archive.MAGIC: "ar"}
_MAGIC_SIZE: Final = max(map(len, _MAGICS))

#: GPU code that is there but neither listed nor registered: nothing follows from it.
_LOADED_BY_HAND: Final = Container(Role.UNREGISTERED, empty=False, images=())

_COFF_OBJECT: Final = b"\x64\x86"


@dataclass(frozen=True)
class GpuCode:
    """What a binary holds for GPUs, independent of any device."""

    format: BinaryFormat
    #: Of the file, in bytes.
    size: int
    #: The containers of GPU code and how often each composition occurs.
    containers: Mapping[Container, int] = field(default_factory=dict)
    #: Why the binary cannot be read; then `containers` is empty.
    problem: str | None = None

    def images(self, code: Code) -> dict[str, int]:
        """Count the images of one kind by architecture, those of unregistered containers included."""
        counts: Counter[str] = Counter()
        for container, times in self.containers.items():
            for image in container.images:
                if image.architecture.code is code:
                    counts[str(image.architecture)] += times
        return dict(sorted(counts.items(), key=lambda item: (len(item[0].rstrip("af")), item[0])))

    @property
    def newest_ptx(self) -> PtxIsa | None:
        """The newest version of PTX in the binary; None where it holds none."""
        versions = (image.isa for container in self.containers for image in container.images if image.isa is not None)
        return max(versions, default=None)


def binary_format(head: bytes) -> BinaryFormat | None:
    """Tell a binary by its first bytes (eight suffice); None for any other file."""
    return next((format_ for magic, format_ in _MAGICS.items() if head.startswith(magic)), None)


#: The groups are named after the formats. One pattern, since a scan of folders asks it about every file. What follows
#: `.so` is bounded: a name in a wheel may have 65,535 characters.
_NAMES: Final = re.compile(r"\.(?:(?P<elf>so(?:\.[\w.]{1,80})?)|(?P<pe>dll|pyd|exe)|(?P<ar>a|lib))\Z", re.IGNORECASE)


def format_by_name(name: str) -> BinaryFormat | None:
    """Tell by its name what a file is meant to be; None where the name says nothing."""
    match = _NAMES.search(name)
    return cast("BinaryFormat", match.lastgroup) if match is not None else None


def read_gpu_code(source: Source) -> GpuCode | None:
    """Read what a binary holds for GPUs; None where the file is no ELF, PE or ar file.

    A damaged, cut or hostile binary is a value too, with its `problem`.

    Raises:
        OSError: the bytes cannot be read; unlike a problem this says nothing of the binary.

    """
    try:
        format_ = binary_format(source.read(0, min(_MAGIC_SIZE, source.size)))
    except MalformedError:
        return None  # files of /sys say that they are longer than they are
    if format_ is None:
        return None
    try:
        return GpuCode(format_, source.size, _READERS[format_](source))
    except MalformedError as error:
        return GpuCode(format_, source.size, problem=str(error))


def _read_elf(source: Source) -> Counter[Container]:
    if elf.is_cubin(source):
        # A bare cubin does not record its suffix reliably, and is loaded by whoever knows it.
        return Counter([_LOADED_BY_HAND])
    layout = elf.find_layout(source)
    return read_containers(source, layout) if layout.has_gpu_code else Counter()


def _read_pe(source: Source) -> Counter[Container]:
    layout = pe.find_layout(source)
    return read_containers(source, layout) if layout.has_gpu_code else Counter()


def _read_archive(source: Source) -> Counter[Container]:
    containers: Counter[Container] = Counter()
    for member in archive.members(source):
        head = member.read(0, min(_MAGIC_SIZE, member.size))
        if head.startswith(elf.MAGIC):
            containers.update(_read_elf(member))
        elif head.startswith(_COFF_OBJECT):
            # Objects of Windows are not looked into; that a library has some must not read as "no GPU code".
            containers[_LOADED_BY_HAND] = 1
    return containers


_READERS: Final = {"elf": _read_elf, "pe": _read_pe, "ar": _read_archive}
