"""Where lines are broken: between words, and never inside of what is to be copied.

Without rich, which may be what is broken.
"""

from __future__ import annotations

import os
import re
from itertools import pairwise
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

__all__ = ["breaks", "folded"]

#: A word with the blanks around it; what stands between backticks is one.
_WORD: Final = re.compile(r"\s*(?:`[^`\n]+`|\S)+\s*")


def folded(text: str, stream: TextIO) -> str:
    """Break the lines of a text for a terminal; elsewhere they stay whole, for programs to find."""
    try:
        # A terminal that does not know its width says 0; IDLE's is none for the system.
        width = os.get_terminal_size(stream.fileno()).columns if stream.isatty() else 0
    except OSError:
        width = 0
    if not width:
        return text
    lines = []
    for line in text.split("\n"):
        places = [0, *breaks(line, width), len(line)]
        lines += [line[start:end].rstrip() for start, end in pairwise(places)]
    return "\n".join(lines)


def breaks(text: str, width: int, length: Callable[[str], int] = len) -> list[int]:
    """Give the places where the lines of a paragraph begin, but for the first.

    A word that is longer than a line stays whole.

    Args:
        text: the paragraph.
        width: how much goes into a line.
        length: how much of it a text takes.

    """
    places: list[int] = []
    column = 0
    for word in _WORD.finditer(text):
        if column and column + length(word[0].rstrip()) > width:
            places.append(word.start())
            column = 0
        column += length(word[0])
    return places
