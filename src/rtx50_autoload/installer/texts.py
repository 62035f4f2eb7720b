"""What the steps of a plan say: the texts of `steps.toml`, for the machine in question."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final, Literal

from rtx50_autoload.knowledge import read_tables

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["texts_of"]

_NOT_SHOWN: Final = ("where", "source")


def texts_of(
    kind: Literal["step", "unsolved"], identifier: str, facts: Iterable[str], words: Mapping[str, str]
) -> dict[str, Any]:
    """Give the texts of a step, or of what remains, by their names.

    Args:
        kind: which of the two.
        identifier: its name in the file.
        facts: what holds; of the other texts for a fact, the last one written wins.
        words: what stands in the place of the words in braces.

    """
    entry = _tables()[kind][identifier]
    holds = set(facts)
    texts = {name: value for name, value in entry.items() if name not in _NOT_SHOWN}
    for fact, others in entry.get("where", {}).items():
        if fact in holds:
            texts |= {name: value for name, value in others.items() if name not in _NOT_SHOWN}
    return {name: _filled(value, words) for name, value in texts.items()}


def _filled(value: str | list[str], words: Mapping[str, str]) -> str | tuple[str, ...]:
    if isinstance(value, str):
        return value.format_map(words)
    return tuple(each.format_map(words) for each in value)


@cache
def _tables() -> dict[str, Any]:
    return read_tables(__package__, "steps.toml")
