"""The parser of a command: its help ends with examples, and what it complains of names that help."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from .complaints import complain
from .exit_codes import USAGE

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["CommandParser"]


class CommandParser(argparse.ArgumentParser):
    """A parser whose commands are parsers of the same kind.

    Attributes:
        examples: command lines as they are typed, each with what it does.

    """

    def __init__(self, *, examples: Sequence[tuple[str, str]] = (), **options: Any) -> None:  # noqa: ANN401
        super().__init__(**options)
        self.examples = tuple(examples)

    @property
    def arguments(self) -> list[argparse.Action]:
        """What the parser knows, in the order in which its help has it."""
        return self._actions

    def format_help(self) -> str:
        """Give the help, with the examples as they are typed: not folded."""
        shown = "".join(f"  {line}\n      {meaning}\n" for line, meaning in self.examples)
        return f"{super().format_help()}\nExamples:\n{shown}"

    def error(self, message: str) -> NoReturn:
        """Say on stderr what is wrong, and end with 2."""
        self.print_usage(sys.stderr)
        complain(f"error: {message}; `{self.prog} --help` has the options, and examples", self.prog)
        sys.exit(USAGE)
