"""The lines of a script as its shell takes them: with what continues them, and without what it takes away."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .extract import Language

__all__ = ["commands", "plain"]

# A comment behind a command. One with a quotation mark in it may be none.
_COMMENT_BEHIND: Final = re.compile(r"""[ \t]#[^'"]*$""")


def commands(text: str, language: Language) -> Iterator[tuple[int, str]]:
    """Give each line with what it is continued by, and the number that it begins at; comments are left out.

    A line that looks like a comment is none where a quotation mark may still be open, or a here-document runs.
    """
    quotes = 0
    has_here_document = False
    pending = ""
    first = 1
    lines = text.split("\n")
    for number, line in enumerate(lines, start=1):
        stripped = line.strip()
        if not pending and not quotes % 2 and not has_here_document and _is_comment(stripped, language):
            continue
        quotes += line.count('"') + line.count("'")
        has_here_document |= "<<" in line
        if not pending:
            first = number
        if stripped.endswith(language.continuation):
            # Even in the middle of a word.
            pending += line.rstrip().removesuffix(language.continuation)
            continue
        code = _COMMENT_BEHIND.sub("", line).rstrip()
        following = lines[number].lstrip() if number < len(lines) else ""
        if code.endswith(("|", "&&", "||")) or following.startswith(("|", "&&")):
            if code != line.rstrip():
                yield number, line
            pending += f"{code} "
            continue
        yield first, pending + line
        pending = ""
    if pending:
        yield first, pending


def plain(line: str) -> str:
    r"""Undo what a shell undoes before it looks for the command: `r''m`, `\rm`, `"rm"`, `rm${IFS}-rf`, `r^m`."""
    spaced = re.sub(r"\$\{?IFS\}?", " ", line)
    return re.sub(r"""\\(?=[A-Za-z-])|["'`^]""", "", spaced)


def _is_comment(stripped: str, language: Language) -> bool:
    return stripped in {"", language.comment} or stripped.lower().startswith((f"{language.comment} ", "#!"))
