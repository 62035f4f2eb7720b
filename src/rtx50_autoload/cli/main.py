"""The command line: which command was meant, and how faults reach a person."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from typing import TYPE_CHECKING, Any

from rtx50_autoload import __version__, voice
from rtx50_autoload.errors import RTX50Error, UsageError
from rtx50_autoload.printable import printable

from . import assistants, bench, check_build, doctor, explain, fix, incidents, mcp, plan, scan, scripts, troubleshoot
from .exit_codes import FINDING, INTERRUPTED, OK, USAGE

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 where nothing is wrong, 1 for a finding, 2 for wrong usage.

    """
    _write_all_characters()
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return USAGE
    try:
        result: int = options.run(options)
    except RTX50Error as error:
        print(printable(f"rtx50-autoload: {error}"), file=sys.stderr)  # noqa: T201
        return USAGE if isinstance(error, UsageError) else FINDING
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has gone (`| head`); what Python would flush at its end has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except Exception as error:
        if voice.wants_debug():
            raise
        print(  # noqa: T201
            printable(f"rtx50-autoload: internal fault in `{options.command}`: {type(error).__name__}: {error}\n")
            + "Run it again with RTX50_DEBUG=1 for the traceback, which a bug report needs.",
            file=sys.stderr,
        )
        return FINDING
    return result


def _write_all_characters() -> None:
    """Show characters that the terminal's encoding lacks as Python escapes them, rather than to stop at the first."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rtx50-autoload",
        description="Lets libraries that refuse an RTX 50-series GPU as too new use it, and says what it does and why.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    status = commands.add_parser(
        "status",
        help="what is on here, who is told what, and why",
        description="Say what is on here, who is told what, and why. Exit status: 0 the package is on; with --verify, "
        "every file is as installed, 1 it is off; with --verify, a file is not, 2 usage.",
    )
    status.add_argument(
        "--verify", action="store_true", help="instead, compare every file of this package with what was installed"
    )
    status.add_argument("--json", action="store_true", help="the same as JSON on stdout")
    status.set_defaults(run=_status)

    demo = commands.add_parser(
        "demo",
        help="the whole job on a simulated RTX 5090, with and without us",
        description="Show who is told what on a simulated RTX 5090, with and without us. Exit status: 0 shown, 1 the "
        "package is off, or torch's answers cannot be had, 2 usage.",
    )
    demo.add_argument("--json", action="store_true", help="the same as JSON on stdout")
    demo.set_defaults(run=_demo)

    for name, help_text in (("enable", "switch on"), ("disable", "switch off")):
        command = commands.add_parser(
            name,
            help=f"{help_text} for one environment or for the user",
            description=f"{help_text.capitalize()} for programs that are started from now on. Exit status: 0 done, "
            "1 the settings file cannot be read or written, 2 usage, also a folder that is no environment.",
        )
        place = command.add_mutually_exclusive_group()
        place.add_argument("--venv", metavar="PATH", help="this environment instead of the one that runs the command")
        place.add_argument("--user", action="store_true", help="all environments of this user")
        command.set_defaults(run=_switch)
    doctor.add_parser(commands)
    scan.add_parser(commands)
    check_build.add_parser(commands)
    bench.add_parser(commands)
    explain.add_parser(commands)
    plan.add_parser(commands)
    fix.add_parser(commands)
    incidents.add_parser(commands)
    assistants.add_parser(commands)
    scripts.add_parser(commands)
    troubleshoot.add_parser(commands)
    mcp.add_parser(commands)
    return parser


def _status(options: argparse.Namespace) -> int:
    if options.verify:
        from .verify import run_verify  # noqa: PLC0415 - a command imports what it needs

        return run_verify(as_json=options.json)
    from rtx50_autoload.state import status  # noqa: PLC0415

    return _show(status(), "show_status", as_json=options.json)


def _demo(options: argparse.Namespace) -> int:
    from .demo import run_demo  # noqa: PLC0415

    return _show(run_demo(), "show_demo", as_json=options.json)


def _show(result: dict[str, Any], show: str, *, as_json: bool) -> int:
    """Print a result as JSON, or as a function of `console` does."""
    if as_json:
        print(json.dumps(result, indent=2))  # noqa: T201
    else:
        from . import console  # noqa: PLC0415

        getattr(console, show)(result)
    return OK if result["active"] else FINDING


def _switch(options: argparse.Namespace) -> int:
    from .switch import switch  # noqa: PLC0415

    for line in switch(on=options.command == "enable", venv=options.venv, user=options.user):
        print(printable(line))  # noqa: T201
    return OK
