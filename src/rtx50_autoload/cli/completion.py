"""``completion SHELL``: the script by which a shell completes our commands, which shtab makes from the parser."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Final

from rtx50_autoload.cli.exit_codes import OK
from rtx50_autoload.errors import UsageError

if TYPE_CHECKING:
    from rtx50_autoload.cli.command_parser import CommandParser

__all__ = ["add_parser", "run"]

_SHELLS: Final = ("bash", "zsh", "fish", "powershell")
#: What an argument is called where it is the name of a file or a folder.
_FILES: Final = ("FILE", "PATH")


def add_parser(subparsers: argparse._SubParsersAction[CommandParser], program: CommandParser) -> None:
    """Add the command to the program's parser, which it completes; what it parses carries `run` as ``run``."""
    parser = subparsers.add_parser(
        "completion",
        help="the script by which your shell completes these commands",
        description="Print a script for a shell. Kept where that shell looks for it, it completes commands, options "
        "and names of files when you press Tab; nothing of this package runs then. It needs the extra: "
        "pip install 'rtx50-autoload[completion]'. Exit status: 0 printed, 2 usage.",
        examples=(
            ("rtx50-autoload completion bash", "the script for bash"),
            ("rtx50-autoload completion fish", "the script for fish"),
        ),
    )
    parser.add_argument("shell", metavar="SHELL", choices=_SHELLS, help=f"one of {', '.join(_SHELLS)}")
    parser.set_defaults(run=run, program=program)


def run(arguments: argparse.Namespace) -> int:
    """Print the script on stdout.

    Raises:
        UsageError: shtab is not installed.

    """
    try:
        import shtab  # noqa: PLC0415 - it is optional
    except ImportError as error:
        raise UsageError(f"`completion` needs its extra ({error}): pip install 'rtx50-autoload[completion]'") from error
    _complete_files(arguments.program, shtab.FILE)
    sys.stdout.write(f"{shtab.complete(arguments.program, arguments.shell)}\n")
    return OK


def _complete_files(parser: CommandParser, files: object) -> None:
    """Say to shtab, in its way, which arguments are names of files or folders."""
    for action in parser.arguments:
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - argparse has no public name for it
            for command in action.choices.values():
                _complete_files(command, files)
        elif str(action.metavar).startswith(_FILES):
            action.complete = files  # type: ignore[attr-defined]
