"""Bytes of a binary, read by position and within bounds.

Mapping the file would be shorter, but costs more: page faults make it three to four times slower on a warm file, the
kernel's read-ahead pulls in most of a cold one, and a file that is cut short meanwhile ends the process with SIGBUS.
"""

from __future__ import annotations

import contextlib
import os
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

from rtx50_autoload.errors import RTX50Error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

__all__ = ["MAX_BYTES", "MAX_READS", "MalformedError", "Source", "open_source", "source_of"]

#: Bounds for one file. One read per image: libtorch_cuda.so of torch 2.13.0 takes 3,274 reads of 201,019 bytes in all.
MAX_BYTES = 64 * 2**20
MAX_READS = 2**16


class MalformedError(RTX50Error, ValueError):
    """The bytes are not what their format says; the message says what was found."""


class _Spent:
    """What has been read from one file, through all of its windows."""

    __slots__ = ("bytes", "reads")

    def __init__(self) -> None:
        self.bytes = 0
        self.reads = 0


class Source:
    """A file, or a window of one, as bytes at positions."""

    __slots__ = ("_advise", "_base", "_read_at", "_spent", "size")

    def __init__(
        self,
        read_at: Callable[[int, int], bytes],
        size: int,
        advise: Callable[[int, int, int], None] | None = None,
    ) -> None:
        self._read_at = read_at
        self._advise = advise
        self._base = 0
        self._spent = _Spent()
        #: Length in bytes.
        self.size = size

    @property
    def bytes_read(self) -> int:
        """How many bytes have been asked for, from the whole file."""
        return self._spent.bytes

    @property
    def reads(self) -> int:
        """How many reads have been made, from the whole file."""
        return self._spent.reads

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes from `offset`.

        Raises:
            MalformedError: they are not all there, or the file has used up what may be read of one.
            OSError: the operating system cannot read them.

        """
        if offset < 0 or offset + length > self.size:
            raise MalformedError(f"bytes {offset:,} to {offset + length:,} lie outside its {self.size:,}")
        spent = self._spent
        spent.bytes += length
        spent.reads += 1
        if spent.bytes > MAX_BYTES or spent.reads > MAX_READS:
            raise MalformedError(f"its tables take more than {MAX_BYTES:,} bytes or {MAX_READS:,} reads")
        data = self._read_at(length, self._base + offset)
        if len(data) != length:
            raise MalformedError(f"it ends before byte {offset + length:,} although its size is {self.size:,}")
        return data

    def expect(self, offsets: Iterable[int], length: int) -> None:
        """Tell where `length` bytes will be read soon, so that a cold disk can fetch them meanwhile, many at once."""
        if self._advise is not None:
            base, last, advise = self._base, self.size - length, self._advise
            for offset in offsets:
                if offset <= last:
                    advise(base + offset, length, os.POSIX_FADV_WILLNEED)  # type: ignore[attr-defined,unused-ignore]

    def window(self, offset: int, size: int) -> Source:
        """Return a part of this source as one of its own; what is read through it counts for the whole."""
        if offset < 0 or offset + size > self.size:
            raise MalformedError(f"a part of {size:,} bytes at {offset:,} reaches past its {self.size:,}")
        window = Source(self._read_at, size, self._advise)
        window._base = self._base + offset
        window._spent = self._spent
        return window


def source_of(file: BinaryIO, size: int) -> Source:
    """Make a source of an open file object; its position is moved about."""

    def read_at(length: int, offset: int) -> bytes:
        file.seek(offset)
        return file.read(length)

    return Source(read_at, size)


def _positioned(descriptor: int) -> Callable[[int, int], bytes]:
    if hasattr(os, "pread"):
        return partial(os.pread, descriptor)

    def seek_and_read(length: int, offset: int) -> bytes:  # Windows
        os.lseek(descriptor, offset, os.SEEK_SET)
        return os.read(descriptor, length)

    return seek_and_read


@contextlib.contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """Open a file for reading by position.

    Raises:
        OSError: it cannot be opened.

    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0))
    try:
        advise = None
        if hasattr(os, "posix_fadvise"):
            # Without this a cold gigabyte is read for eleven megabytes of headers.
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)  # type: ignore[attr-defined,unused-ignore]
            advise = partial(os.posix_fadvise, descriptor)
        yield Source(_positioned(descriptor), os.fstat(descriptor).st_size, advise)
    finally:
        os.close(descriptor)
