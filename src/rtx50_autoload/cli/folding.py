"""Where lines are broken: between words, and never inside of what is to be copied."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["breaks"]

#: A word with the blanks around it; what stands between backticks is one.
_WORD: Final = re.compile(r"\s*(?:`[^`\n]+`|\S)+\s*")


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
