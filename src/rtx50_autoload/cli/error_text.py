"""The text of an error as people have it: a file or a pipe, in whatever encoding a shell has written it."""

from __future__ import annotations

import codecs
import re
import sys
from typing import TYPE_CHECKING, Final

from rtx50_autoload.cli.complaints import complain
from rtx50_autoload.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

__all__ = ["UnreadableTextError", "read_file", "read_stdin"]

#: Bytes kept from the beginning of a text, and as many from its end: what fails first, and what fails last.
_HALF: Final = 2**20
#: Windows PowerShell's `>` writes UTF-16.
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
#: Characters that no log has, apart from those that move the cursor; a log has few, a binary file many.
_NO_TEXT: Final = re.compile("[\x00-\x06\x0e-\x1a\x1c-\x1f]")
_MOST_NO_TEXT: Final = 0.05


class UnreadableTextError(UsageError):
    """The text that a command was given cannot be read, or is none."""


def read_file(path: Path, holds: str = "what the program printed") -> str:
    """Read the text in a file; of a huge one, the beginning and the end.

    Args:
        path: the file.
        holds: what a file has to hold that would do.

    Raises:
        UnreadableTextError: the file cannot be read, is not text, or is empty.

    """
    try:
        with path.open("rb") as stream:
            return _read(stream, str(path), holds)
    except OSError as error:
        raise UnreadableTextError(
            f"{path} cannot be read ({error.strerror}); give a file that holds {holds}"
        ) from error


def read_stdin() -> str:
    """Read the text that is piped or typed.

    Raises:
        UnreadableTextError: there is none, or it is not text.

    """
    if sys.stdin.isatty():
        end = "Ctrl+Z and Enter" if sys.platform == "win32" else "Ctrl+D on a line of its own"
        print(f"Paste the error, then press {end}.", file=sys.stderr)  # noqa: T201
    return _read(sys.stdin.buffer, "stdin", "what the program printed")


def _read(stream: BinaryIO, name: str, holds: str) -> str:
    head, tail = stream.read(_HALF), b""
    text = _decode(head)
    if len(_NO_TEXT.findall(text)) > _MOST_NO_TEXT * len(head):
        raise UnreadableTextError(f"{name} is not text; give a file that holds {holds}")
    left_out = 0
    while chunk := stream.read(_HALF):
        left_out += max(0, len(tail) + len(chunk) - _HALF)
        tail = (tail + chunk)[-_HALF:]
    if left_out:
        complain(f"{name} is long: read were its first and last MiB.")
        text += "\n" + _decode(tail, head)
    elif tail:
        text = _decode(head + tail)
    if not text.strip():
        raise UnreadableTextError(f"{name} is empty; give a file that holds {holds}")
    return text


def _decode(data: bytes, beginning: bytes | None = None) -> str:
    """Decode text; its encoding shows at the beginning of the file. Bytes that are none of it are shown as such."""
    first = data if beginning is None else beginning
    encoding = next((encoding for mark, encoding in _MARKS if first.startswith(mark)), None)
    if encoding is None:
        # Without a mark, every second byte of a text in UTF-16 gives it away: most of an error is ASCII.
        encoding = "utf-16-le" if first[1::2].count(0) > len(first) // 4 > first[::2].count(0) else "utf-8"
    return data.decode(encoding, errors="backslashreplace").removeprefix("\ufeff")
