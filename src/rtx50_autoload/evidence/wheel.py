"""The binaries inside a wheel, readable by position, without unpacking the wheel."""

from __future__ import annotations

import struct
import tempfile
import zipfile
import zlib
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from rtx50_autoload.evidence.gpucode import GpuCode, binary_format, format_by_name, read_gpu_code
from rtx50_autoload.evidence.positioned import source_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["read_wheel"]

_HEAD: Final = 8
_CHUNK: Final = 2**20
#: A member up to this size stays in memory, a larger one goes to a temporary file while it is read.
_IN_MEMORY: Final = 16 * 2**20
#: Four times the largest libraries of released wheels; what a small hostile wheel can grow to would fill the disk.
_MAX_MEMBER: Final = 8 * 2**30

#: Every wheel's, as installers write and read them. The others would bring the errors of their own libraries.
_COMPRESSIONS: Final = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
#: What zipfile raises for damaged and encrypted files: RuntimeError for a missing password, the last three for nonsense
#: in a header.
_ZIP_ERRORS: Final = (
    *(zipfile.BadZipFile, zlib.error, EOFError, RuntimeError),
    *(ValueError, OverflowError, struct.error),
)


def read_wheel(path: Path) -> Iterator[tuple[str, GpuCode]]:
    """Yield each binary of a wheel and what it holds for GPUs; other members are passed over.

    A damaged member is yielded with its problem, a damaged wheel as a single member without a name.

    Raises:
        OSError: the wheel cannot be read, or the disk has no room for a member.

    """
    try:
        wheel = zipfile.ZipFile(path)
    except _ZIP_ERRORS as error:
        yield "", GpuCode("elf", path.stat().st_size, problem=f"not a readable wheel: {error}")
        return
    with wheel:
        for member in wheel.infolist():
            code = _read_member(wheel, member)
            if code is not None:
                yield member.filename, code


def _read_member(wheel: zipfile.ZipFile, member: zipfile.ZipInfo) -> GpuCode | None:
    expected = format_by_name(member.filename)
    if member.compress_type not in _COMPRESSIONS:
        problem = f"compressed in a way that wheels are not (method {member.compress_type})"
        return None if expected is None else GpuCode(expected, member.file_size, problem=problem)
    try:
        with wheel.open(member) as stream:
            head = stream.read(_HEAD)
            expected = binary_format(head)
            if expected is None:
                return None
            if member.file_size > _MAX_MEMBER:
                return GpuCode(expected, member.file_size, problem=f"it unpacks to {member.file_size:,} bytes")
            # Reading by position needs the member inflated: it is one deflate stream, and an ELF file says only at its
            # end where its GPU code lies.
            with tempfile.SpooledTemporaryFile(_IN_MEMORY) as spool:
                spool.write(head)
                while chunk := stream.read(_CHUNK):
                    spool.write(chunk)
                return read_gpu_code(source_of(cast("BinaryIO", spool), spool.tell()))
    except _ZIP_ERRORS as error:
        if expected is None:
            return None
        return GpuCode(expected, member.file_size, problem=f"not a readable member of the wheel: {error}")
