"""``mcp``: the same facts as tools for assistants that speak the Model Context Protocol."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rtx50_autoload.cli.exit_codes import OK
from rtx50_autoload.errors import UsageError

if TYPE_CHECKING:
    import argparse

    from rtx50_autoload.cli.command_parser import CommandParser

__all__ = ["add_parser", "run"]


def add_parser(subparsers: argparse._SubParsersAction[CommandParser]) -> None:
    """Add the command to the program's parser; what it parses carries `run` as ``run``."""
    parser = subparsers.add_parser(
        "mcp",
        help="answer an assistant that speaks the Model Context Protocol",
        description="Serve doctor, scan, explain, plan and probe as tools of the Model Context Protocol. An assistant "
        "starts this command and speaks with it over stdin and stdout; nothing listens on a network. It needs "
        "the extra: pip install 'rtx50-autoload[mcp]'. It ends when stdin does. Exit status: 0 stdin has ended, "
        "2 usage, also without the extra.",
        examples=(("rtx50-autoload mcp", "as an assistant starts it"),),
    )
    parser.set_defaults(run=run)


def run(_arguments: argparse.Namespace) -> int:
    """Serve until stdin ends.

    Raises:
        UsageError: the SDK is not installed, or is another version than the extra asks for.

    """
    try:
        from rtx50_autoload.mcp_server.server import serve  # noqa: PLC0415 - the SDK is optional
    except ImportError as error:
        raise UsageError(f"`mcp` needs its extra ({error}): pip install 'rtx50-autoload[mcp]'") from error
    if sys.stdin.isatty():
        print("Waiting for an assistant, which starts this command by itself. Ctrl+C ends it.", file=sys.stderr)  # noqa: T201
    serve()
    return OK
