"""What one target of the fuzzer is, and what the targets have in common."""

from __future__ import annotations

import atexit
import shutil
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import TypeVar

    _Item = TypeVar("_Item")

__all__ = ["TESTS", "Chooser", "Target", "scratch", "text_of"]

#: Where the tests' own builders lie.
TESTS = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Target:
    """One reader of bytes or text from outside, and what must hold for whatever it is given.

    Attributes:
        check: reads the bytes and raises where something does not hold.
        seeds: inputs to begin with.
        dictionary: pieces that the fuzzer puts into inputs.
        longest: the most bytes of one input.

    """

    name: str
    check: Callable[[bytes], None]
    seeds: Callable[[], Iterable[bytes]]
    dictionary: tuple[bytes, ...] = ()
    longest: int = 4096


class Chooser:
    """Takes decisions by the first bytes of an input; the rest is its content."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    def number(self, below: int) -> int:
        """Give a number from 0; 0 where the bytes are used up."""
        byte = self._data[self._place : self._place + 1]
        self._place += 1
        return (byte[0] if byte else 0) % below

    def one_of(self, items: Sequence[_Item]) -> _Item:
        """Give one of at most 256 items."""
        return items[self.number(len(items))]

    def rest(self) -> bytes:
        """Give what is left."""
        return self._data[self._place :]


def text_of(data: bytes) -> str:
    """Decode as Python decodes what comes from outside: bytes that are no UTF-8 become surrogates."""
    return data.decode("utf-8", "surrogateescape")


@cache
def scratch() -> Path:
    """Give a folder for files, in memory where there is such a place."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it
    folder = Path(tempfile.mkdtemp(prefix="rtx50-fuzz-", dir=memory if memory.is_dir() else None))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


if str(TESTS) not in sys.path:
    sys.path.append(str(TESTS))
