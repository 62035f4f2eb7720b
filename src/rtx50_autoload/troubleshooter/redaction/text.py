"""Takes out of a text what nobody else has to see."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from .identity import Identity, this_machine
from .rules import load_rules

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Redacted", "placeholders", "redact"]

# While the rules run, one character of the last private plane stands for each placeholder: no rule takes it for text.
_FIRST: Final = 0x10_F000
_STAND_IN: Final = re.compile(f"[{chr(_FIRST)}-{chr(_FIRST + 0xFFD)}]")
_STAND_INS: Final = re.compile(f"{_STAND_IN.pattern}+")

# What one rule has taken out can bring to light what another one knows. Two rounds do for whatever a program prints; a
# text made for it may want more, and shall not have as many as it likes.
_MAX_ROUNDS: Final = 5

# How much of the line before a match a rule's `unless` sees.
_BEFORE: Final = 80


@dataclass(frozen=True, slots=True)
class Redacted:
    """A text that may be shown.

    Attributes:
        text: with ``<kind>`` in the place of all that was taken out.
        counts: how many placeholders of each kind stand in the text, those that it had before included.

    """

    text: str
    counts: Mapping[str, int]


def redact(text: str, identity: Identity | None = None) -> Redacted:
    """Take out secrets and what tells who and where somebody is, as `rules.toml` says.

    What comes out goes through unchanged a second time. The time it takes grows with the length of the text.

    Args:
        text: any text. The private characters from U+10F000 on become U+FFFD.
        identity: the names to take out; by default those of this machine and of who runs this process.

    """
    kinds = _kinds()
    stand_in = {kind: chr(_FIRST + number) for number, kind in enumerate(kinds)}
    text = _STAND_IN.sub("\ufffd", text)
    text = placeholders().sub(lambda match: stand_in[match[0][1:-1]], text)
    steps = _steps(this_machine() if identity is None else identity)
    for _ in range(_MAX_ROUNDS):
        before = text
        for step in steps:
            text = step(text)
        if text == before:
            break
    counts = Counter(kinds[ord(character) - _FIRST] for character in _STAND_IN.findall(text))
    shown = _STAND_IN.sub(lambda match: f"<{kinds[ord(match[0]) - _FIRST]}>", text)
    return Redacted(shown, MappingProxyType({kind: counts[kind] for kind in kinds if counts[kind]}))


@cache
def placeholders() -> re.Pattern[str]:
    """Find what stands in the place of something taken out."""
    return re.compile(f"<(?:{'|'.join(map(re.escape, _kinds()))})>")


@cache
def _kinds() -> tuple[str, ...]:
    rules = load_rules().rules
    return tuple(dict.fromkeys([*(rule.kind for rule in rules), *(rule.second for rule in rules if rule.second)]))


@cache
def _steps(identity: Identity) -> tuple[Callable[[str], str], ...]:
    """Give what runs over a text, in this order."""
    rules = load_rules().rules
    steps = [_step(rule.pattern, rule.kind, rule.second or rule.kind, rule.unless) for rule in rules]
    return (*steps, *(_step(pattern, kind, kind, None) for kind, pattern in identity.patterns()))


def _step(pattern: re.Pattern[str], kind: str, second: str, unless: re.Pattern[str] | None) -> Callable[[str], str]:
    """Give what takes one pattern's groups out of a text, or its whole matches where it has none."""
    groups: dict[str | int, str] = {
        group: of for group, of in (("x", kind), ("y", second)) if group in pattern.groupindex
    }
    numbers = _kinds()
    takers = [
        (group, chr(_FIRST + numbers.index(of)), load_rules().kept.get(of, frozenset()))
        for group, of in (groups or {0: kind}).items()
    ]

    def replaced(match: re.Match[str]) -> str:
        if unless is not None and unless.search(_line_before(match)):
            return match[0]
        result = []
        end = match.start()
        for group, stand_in, kept in takers:
            secret = match[group]
            if secret is not None and not _STAND_INS.fullmatch(secret) and not _is_ordinary(secret, kept):
                result += [match.string[end : match.start(group)], stand_in]
                end = match.end(group)
        return "".join([*result, match.string[end : match.end()]])

    return lambda text: pattern.sub(replaced, text)


def _line_before(match: re.Match[str]) -> str:
    before = match.string[max(0, match.start() - _BEFORE) : match.start()]
    return before[before.rfind("\n") + 1 :]


def _is_ordinary(word: str, words: frozenset[str]) -> bool:
    parts = word.lower().split(".")
    return any(".".join(parts[start:]) in words for start in range(len(parts)))
