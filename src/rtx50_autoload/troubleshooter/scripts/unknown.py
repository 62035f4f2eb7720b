"""Commands of bash scripts that nothing is known of: what no pattern knows is not safe for that."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Final

from rtx50_autoload.knowledge import read_tables

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["functions_of", "unknown_commands"]

_QUOTED: Final = re.compile(r"""'[^']*'|"(?:\\.|[^"\\])*"|\$\{[^}]*\}|#.*""")
_ENDS_A_COMMAND: Final = re.compile(r"[;&|(){}`\n]+|\$\(")
_BEFORE_A_COMMAND: Final = re.compile(
    r"\s*(?:(?:if|then|elif|else|while|until|do|done|fi|esac|!|time|exec|command|\w+\+?=\S*)(?:\s+|$))*"
)
_WORD: Final = re.compile(r"(?:[\w.~$/-]*/)?([A-Za-z_][\w.+-]*)(?![\w=/$*])")
_FUNCTION: Final = re.compile(r"(?:^|[;\n])[ \t]*(?:function[ \t]+)?([\w-]+)[ \t]*\(\)")


def unknown_commands(line: str, functions: frozenset[str]) -> Iterator[str]:
    """Give the programs that a line of bash calls and that are neither known nor functions of the script."""
    for part in _ENDS_A_COMMAND.split(_QUOTED.sub('""', line)):
        before = _BEFORE_A_COMMAND.match(part)
        word = _WORD.match(part, before.end() if before else 0)
        if word and word[1] not in _known() and word[1] not in functions:
            yield word[1]


def functions_of(text: str) -> frozenset[str]:
    """Give the names of the functions that a script of bash defines."""
    return frozenset(_FUNCTION.findall(text))


@cache
def _known() -> frozenset[str]:
    return frozenset(read_tables(__package__, "danger.toml")["known_commands"])
