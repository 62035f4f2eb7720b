"""Whether the byte code beside a module is what its source compiles to.

Python runs byte code without a look at the source where the header names the source's time and size, or says that
nothing is to be compared (PEP 552). So a file in `__pycache__` is a place for code that nobody reads.
"""

from __future__ import annotations

import importlib.util
import marshal
import re
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["foreign_byte_code"]

#: After the magic number: flags, then the source's time and size, or its hash.
_HEADER: Final = 16
_HASH_BASED: Final = 0b1
_OPTIMISED: Final = re.compile(r"\.opt-([12])\.pyc$")


def foreign_byte_code(source: Path) -> Iterator[tuple[Path, str]]:
    """Find byte code of a module that this Python would run and that its source does not compile to.

    Byte code of another Python, and what Python would not use because the source has changed since, is passed over.

    Yields:
        the file, and what is wrong with it, as a clause.

    """
    text = source.read_bytes()
    cached = {Path(importlib.util.cache_from_source(str(source), optimization=level)) for level in ("", "1", "2")}
    for path in sorted(file for file in cached if file.is_file()):
        try:
            why = _why_foreign(path.read_bytes(), text, source, path)
        except OSError as error:
            why = f"cannot be read: {error.strerror}"
        if why is not None:
            yield path, why


def _why_foreign(content: bytes, text: bytes, source: Path, path: Path) -> str | None:
    if not content.startswith(importlib.util.MAGIC_NUMBER):
        return None
    flags = int.from_bytes(content[4:8], "little")
    if flags & _HASH_BASED:
        if content[8:_HEADER] != importlib.util.source_hash(text):
            return "byte code of another source"
    elif content[8:_HEADER] != _time_and_size(source):
        return None
    optimised = _OPTIMISED.search(path.name)
    try:
        code = marshal.loads(content[_HEADER:])  # noqa: S302 - read as Python reads it, and not run
        expected = compile(text, str(source), "exec", dont_inherit=True, optimize=int(optimised[1]) if optimised else 0)
    except (EOFError, ValueError, TypeError, SyntaxError):
        return "byte code that cannot be compared with its source"
    if not isinstance(code, CodeType) or _as_it_runs(code) != _as_it_runs(expected):
        return "byte code that its source does not compile to"
    return None


def _time_and_size(source: Path) -> bytes:
    stat = source.stat()
    return b"".join((int(number) & 0xFFFFFFFF).to_bytes(4, "little") for number in (stat.st_mtime, stat.st_size))


def _as_it_runs(code: CodeType) -> CodeType:
    """Leave out what does not change what code does: names of files, and columns, which `-X no_debug_ranges` drops."""
    constants = tuple(_as_it_runs(item) if isinstance(item, CodeType) else item for item in code.co_consts)
    return code.replace(co_linetable=b"", co_filename="", co_consts=constants)
