"""The directive ``{rtx50-commands}``: every command with its arguments and exit codes, as the parser has them.

A command whose description does not say "Exit status: …", and whose parent's does not, is an error.
"""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

from docutils import nodes
from rtx50_tables import text
from sphinx.util.docutils import SphinxDirective

from rtx50_autoload.cli.main import build_parser

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sphinx.application import Sphinx

_CODE = re.compile(r"(?:^|[,;] )([012]) ")
#: An option in a sentence of the parser's, which is no place for marks of code.
_OPTION = re.compile(r"(?<![`\w-])--[a-z][a-z-]*")


class CommandsDirective(SphinxDirective):
    """Describe each command."""

    def run(self) -> list[nodes.Node]:
        """Give a section for each command, those of several words too."""
        return [
            section
            for name, parser, codes in _commands(build_parser(), "", "")
            for section in [self._section(name, parser, codes)]
        ]

    def _section(self, name: str, parser: argparse.ArgumentParser, codes: str) -> nodes.section:
        if not codes:
            raise self.error(f"the description of `{name}` does not say what its exit status means")
        section = nodes.section("", nodes.title("", "", nodes.literal("", name)), ids=[name.replace(" ", "-")])
        about = (parser.description or "").partition(" Exit status: ")[0]
        if about:
            section += _text(about)
        usage = parser.format_usage().removeprefix("usage: ").strip()
        section += nodes.literal_block("", re.sub(r"\s+", " ", usage), classes=["wrap"])
        arguments = nodes.definition_list()
        for action in parser._actions:  # noqa: SLF001 - argparse has no other list of them
            if not isinstance(action, (argparse._HelpAction, argparse._SubParsersAction)):  # noqa: SLF001 - likewise
                words = ", ".join(action.option_strings)
                value = "" if action.nargs == 0 else str(action.metavar or action.dest)
                term = nodes.term("", "", nodes.literal("", f"{words} {value}".strip()))
                arguments += nodes.definition_list_item("", term, nodes.definition("", _text(action.help or "")))
        if len(arguments):
            section += arguments
        pieces = _CODE.split(codes.rstrip("."))[1:]
        ends = nodes.definition_list()
        for code, meaning in zip(pieces[::2], pieces[1::2], strict=True):
            if code != "2" or meaning != "usage":
                term = nodes.term("", f"Exit code {code}")
                ends += nodes.definition_list_item("", term, nodes.definition("", _text(meaning)))
        section += ends
        return section


def _text(words: str) -> nodes.paragraph:
    return text(_OPTION.sub(r"`\g<0>`", words))


def _commands(
    parser: argparse.ArgumentParser, name: str, codes: str
) -> Iterator[tuple[str, argparse.ArgumentParser, str]]:
    """Give the name, the parser and the exit codes of each command below a parser."""
    for action in parser._actions:  # noqa: SLF001 - argparse has no other list of them
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - likewise
            for word, below in action.choices.items():
                own = (below.description or "").partition("Exit status: ")[2] or codes
                full = f"{name} {word}".strip()
                yield full, below, own
                yield from _commands(below, full, own)


def setup(app: Sphinx) -> dict[str, object]:
    """Register the directive."""
    app.add_directive("rtx50-commands", CommandsDirective)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
