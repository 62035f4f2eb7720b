"""What is taken out of a text, read from `rules.toml`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from rtx50_autoload.knowledge import fill_fragments, read_tables

__all__ = ["Rule", "Rules", "load_rules"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One form of what is taken out; what its fields mean stands at the head of the file."""

    id: str
    kind: str
    pattern: re.Pattern[str]
    examples: tuple[tuple[str, str], ...]
    second: str | None = None
    unless: re.Pattern[str] | None = None


@dataclass(frozen=True)
class Rules:
    """All rules, in their order.

    Attributes:
        kept: by kind, the words that are no secret, in lower case.

    """

    rules: tuple[Rule, ...]
    kept: dict[str, frozenset[str]]


@cache
def load_rules() -> Rules:
    """Read `rules.toml`.

    Raises:
        TypeError: a key of the file is unknown or missing (the tests read the file, so a release's is sound).

    """
    tables = read_tables(__package__, "rules.toml")
    fragments: dict[str, str] = tables["fragment"]

    def compiled(pattern: str) -> re.Pattern[str]:
        return re.compile(fill_fragments(pattern, fragments))

    rules = tuple(
        Rule(
            pattern=compiled(entry.pop("pattern")),
            unless=compiled(entry.pop("unless")) if "unless" in entry else None,
            examples=tuple((before, after) for before, after in entry.pop("examples")),
            **entry,
        )
        for entry in tables["rule"]
    )
    return Rules(rules, {kind: frozenset(words) for kind, words in tables["kept"].items()})
