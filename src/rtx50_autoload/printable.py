"""Text from outside (file names, metadata, errors) in a form that can be shown, and lines for any stdout."""

from __future__ import annotations

import re
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["print_lines", "printable"]

# Control characters move a terminal's cursor or are no XML; surrogates stand for bytes that are no UTF-8; the
# directional marks show a name other than it is, and what has no width or is no character hides in one.
_UNSHOWABLE = (
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff"
    "\u061c\u200b\u2028\u2029\u2060\ufeff\U000e0000-\U000e007f]"
)


def printable(text: str) -> str:
    r"""Write what cannot be shown as Python does, such as ``\x1b``."""
    return re.sub(_UNSHOWABLE, lambda match: repr(match[0])[1:-1], text)


def print_lines(lines: Iterable[str]) -> bool:
    """Print lines on stdout, whatever its encoding, even where it is closed; tell whether there were any."""
    text = "".join(f"{line}\n" for line in lines)
    # ValueError: it is closed. None has neither attribute nor method.
    with suppress(OSError, ValueError, AttributeError):
        encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()
    return bool(text)
