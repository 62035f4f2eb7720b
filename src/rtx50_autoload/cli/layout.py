"""How what a person reads is laid out: one look for all commands, from 60 columns up.

Lines are broken between words alone. What is to be copied - a path, a command - stays whole, also where it is longer
than a line: a terminal folds that by itself, and what is copied there has no line break in it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from rich.cells import cell_len
from rich.text import Text

from rtx50_autoload.commands import split_step
from rtx50_autoload.folding import breaks
from rtx50_autoload.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rich.console import Console

__all__ = ["show", "show_command", "show_list", "show_numbered", "show_pairs"]

#: A command of several words within a sentence.
_COMMAND: Final = re.compile(r"`([^`\n]+ [^`\n]*)`")
#: How much further to the right than the text around it a command of its own line stands.
_STEP: Final = 2
#: How much of a line a command within a sentence may take.
_INLINE: Final = 0.67


def show(console: Console, text: str | Text, indent: int = 0, *, mark: str = "", style: str = "") -> None:
    """Print a paragraph; a command in it that would fill a line gets one of its own.

    Args:
        console: where.
        text: what; a new line in it begins a line.
        indent: how far from the left.
        mark: what stands before the first line, such as a number; the others begin below the text.
        style: how rich shows the text.

    """
    whole = Text(printable(text)) if isinstance(text, str) else text.copy()
    whole.stylize_before(style)
    left = indent + cell_len(mark)
    lead = " " * indent + mark
    for part, is_command in _parts(whole, console.width - left):
        if is_command:
            if lead.strip():
                console.print(Text(lead.rstrip(), style))
            show_command(console, part.plain, left + _STEP)
            lead = " " * left
            continue
        for paragraph in part.split("\n", allow_blank=True):
            for line in _lines(paragraph, console.width - left):
                console.print(Text.assemble((lead, style), line), soft_wrap=True)
                lead = " " * left


def show_command(console: Console, command: str, indent: int = _STEP) -> None:
    """Print a command so that it can be copied whole: not folded, with nothing around it."""
    for line in printable(command).splitlines():
        console.print(Text(f"{' ' * indent}{line}", "cyan"), soft_wrap=True)


def show_list(console: Console, lines: Iterable[str], indent: int = 1) -> None:
    """Print one line after the other, each with its dash."""
    for line in lines:
        show(console, line, indent, mark="- ")


def show_numbered(console: Console, steps: Iterable[str]) -> None:
    """Print the next steps; the command in one gets a line of its own."""
    for number, step in enumerate(steps, start=1):
        sentence, command = split_step(step)
        show(console, sentence or "Run this:", mark=f"{number}. ")
        if command:
            show_command(console, command, len(f"{number}. ") + _STEP)


def show_pairs(console: Console, pairs: Mapping[str, str]) -> None:
    """Print names with their values below each other."""
    width = max(map(cell_len, pairs), default=0) + 2
    for name, value in pairs.items():
        show(console, value, mark=name.ljust(width))


def _parts(text: Text, width: int) -> list[tuple[Text, bool]]:
    """Take out the commands that would fill a line, where the text has several lines."""
    parts: list[tuple[Text, bool]] = []
    end = 0
    longest = width * _INLINE if cell_len(text.plain) > width else width
    for found in _COMMAND.finditer(text.plain):
        if cell_len(found[0]) > longest:
            parts += [(text[end : found.start()], False), (text[found.start(1) : found.end(1)], True)]
            end = found.end() + text.plain[found.end() :].startswith(" ")
    parts.append((text[end:], False))
    return [(part, is_command) for part, is_command in parts if part.plain.strip() or len(parts) == 1]


def _lines(text: Text, width: int) -> Iterable[Text]:
    """Break between words; one that is longer than a line stays whole."""
    for line in text.divide(breaks(text.plain, width, cell_len)):
        line.rstrip()
        yield line
