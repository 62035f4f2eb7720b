"""Characters that make a script look other than it is."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

__all__ = ["tricks", "visible"]

_INVISIBLE: Final = "a character that cannot be seen, so that the line is not what it looks like"
_LOOKALIKE: Final = "letters of different alphabets in one word, so that it may be another word than it looks like"
_DIRECTION: Final = (
    "a character that turns the direction of writing, so that the line runs in another order than it shows"
)
_CONTROL: Final = "a control character, which can move the cursor and hide or overwrite what a terminal shows"
_TYPOGRAPHIC: Final = (
    "a quotation mark, dash or space from a word processor, which a shell takes for an ordinary letter"
)

_BIDI: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# Fillers and blanks that are letters or symbols by their category.
_BLANK: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
_TYPOGRAPHIC_CHARACTERS: Final = frozenset("\u2018\u2019\u201a\u201c\u201d\u201e\u2010\u2011\u2012\u2013\u2014\u2212")
_WORD: Final = re.compile(r"\w+")


def tricks(line: str) -> list[tuple[str, str]]:
    """Give what is wrong with a line's characters: an id and a sentence's part each."""
    found = {reason for character in line if (reason := _reason(character)) is not None}
    if any(_mixes_alphabets(word) for word in _WORD.findall(line)):
        found.add(("lookalike", _LOOKALIKE))
    return sorted(found)


def visible(text: str) -> str:
    r"""Write what cannot be seen, or moves what can, as Python does, such as ``\u202e``."""
    return "".join(
        character.encode("unicode_escape").decode("ascii") if _must_be_written_out(character) else character
        for character in text
    )


def _must_be_written_out(character: str) -> bool:
    reason = _reason(character)
    return reason is not None and reason[1] != _TYPOGRAPHIC


def _reason(character: str) -> tuple[str, str] | None:
    if character.isascii():
        return None if character.isprintable() or character in "\n\t" else ("control", _CONTROL)
    if character in _BIDI:
        return "direction", _DIRECTION
    category = unicodedata.category(character)
    if category in {"Cc", "Cs", "Zl", "Zp"}:
        return "control", _CONTROL
    if category in {"Cf", "Co", "Cn"} or character in _BLANK or unicodedata.name(character, "").startswith("VARIATION"):
        return "invisible", _INVISIBLE
    if category == "Zs" or character in _TYPOGRAPHIC_CHARACTERS:
        return "typographic", _TYPOGRAPHIC
    return None


def _mixes_alphabets(word: str) -> bool:
    """Tell whether a word has Latin letters and such of another alphabet, or forms of them made for other uses."""
    if word.isascii():
        return False
    alphabets = {unicodedata.name(character, "?").partition(" ")[0] for character in word if character.isalpha()}
    styled = any(not character.isascii() and unicodedata.normalize("NFKC", character).isascii() for character in word)
    return styled or ("LATIN" in alphabets and len(alphabets) > 1)
