"""Lines of a script that a person should look at twice, found by the patterns of `danger.toml`.

This is no sandbox and no proof: what no pattern knows is not safe for that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from rtx50_autoload.knowledge import fill_fragments, read_tables
from rtx50_autoload.troubleshooter.redaction import Identity, placeholders, redact

from .extract import LANGUAGES
from .lines import commands, plain
from .unicode_tricks import tricks
from .unknown import functions_of, unknown_commands

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .extract import Script

__all__ = ["DangerRule", "Finding", "Severity", "findings", "load_danger_rules"]

Severity: TypeAlias = Literal["danger", "note"]

# What redaction takes out of texts, but which gives nobody access to anything.
_NO_SECRETS: Final = frozenset(
    {"e-mail address", "GPU UUID", "home", "host name", "IP address", "MAC address", "network share", "serial number"}
    | {"user name", "Windows account"}
)

# Lines are looked at one by one as far as this; what is longer is a finding by itself.
_LONGEST_LINE: Final = 1000


@dataclass(frozen=True, slots=True)
class Finding:
    """What a person should know of a line.

    Attributes:
        line: its number, from 1; where it is continued, that of the first one.
        id: the rule's.
        what: what the line does, in words that a beginner understands.

    """

    line: int
    id: str
    severity: Severity
    what: str


@dataclass(frozen=True, slots=True)
class DangerRule:
    """One kind of dangerous line; what its fields mean stands at the head of the file."""

    id: str
    severity: Severity
    what: str
    pattern: re.Pattern[str]
    languages: frozenset[str]
    examples: tuple[str, ...]
    harmless: tuple[str, ...]


@cache
def load_danger_rules() -> tuple[DangerRule, ...]:
    """Read `danger.toml`.

    Raises:
        TypeError: a key of the file is unknown or missing (the tests read the file, so a release's is sound).

    """
    tables = read_tables(__package__, "danger.toml")
    fragments: dict[str, str] = tables["fragment"]

    return tuple(
        DangerRule(
            pattern=re.compile(fill_fragments(entry.pop("pattern"), fragments), re.IGNORECASE),
            languages=frozenset(entry.pop("languages", LANGUAGES)),
            examples=tuple(entry.pop("examples")),
            harmless=tuple(entry.pop("harmless", ())),
            **entry,
        )
        for entry in tables["rule"]
    )


def findings(script: Script) -> tuple[Finding, ...]:
    """Give what a person should know of the lines, in their order."""
    language = LANGUAGES[script.language]
    rules = [rule for rule in load_danger_rules() if language.id in rule.languages]
    found = []
    for number, line in enumerate(script.text.split("\n"), start=1):
        found += [Finding(number, id_, "danger", f"It holds {what}.") for id_, what in tricks(line)]
        found += _what_redaction_knows(number, line)
    functions = functions_of(script.text)
    # What stands in a here-document is text, of which nothing says where it ends.
    is_text = False
    for number, line in commands(script.text, language):
        if len(line) > _LONGEST_LINE:
            what = f"It is longer than {_LONGEST_LINE} characters: too long to be read."
            found.append(Finding(number, "long-line", "danger", what))
        # A pattern may take time with the square of a line's length.
        views = {line[:_LONGEST_LINE], plain(line[:_LONGEST_LINE])}
        found += [
            Finding(number, rule.id, rule.severity, rule.what)
            for rule in rules
            if any(rule.pattern.search(view) for view in views)
        ]
        if language.id == "bash" and not is_text:
            found += [
                Finding(number, "unknown-command", "note", f"Calls `{command}`, which these patterns know nothing of.")
                for command in unknown_commands(line[:_LONGEST_LINE], functions)
            ]
        is_text |= "<<" in line
    return tuple(sorted(dict.fromkeys(found), key=lambda finding: (finding.line, finding.severity)))


def _what_redaction_knows(number: int, line: str) -> Iterator[Finding]:
    """Find secrets that stand in the script, and what stands in the place of one."""
    placeholder = placeholders().search(line)
    if placeholder:
        what = f"{placeholder[0]} stands in the place of something that the assistant was not shown: write it yourself."
        yield Finding(number, "placeholder", "danger", what)
    elif redact(line, Identity()).counts.keys() - _NO_SECRETS:
        yield Finding(number, "secret-inside", "danger", "It holds what looks like a password, key or token.")
