"""The command line: which command was meant, and how faults reach a person."""

from __future__ import annotations

import io
import json
import os
import sys
from typing import TYPE_CHECKING, Any

from rtx50_autoload import __version__, voice
from rtx50_autoload.errors import RTX50Error, UsageError

from . import (
    assistants,
    bench,
    check_build,
    completion,
    doctor,
    explain,
    fix,
    incidents,
    mcp,
    plan,
    profiles,
    scan,
    scripts,
    troubleshoot,
)
from .command_parser import CommandParser
from .complaints import complain
from .exit_codes import FINDING, INTERRUPTED, OK, USAGE

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

__all__ = ["build_parser", "main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 where nothing is wrong, 1 for a finding, 2 for wrong usage.

    """
    _write_all_characters()
    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return USAGE
    try:
        result: int = options.run(options)
    except RTX50Error as error:
        complain(str(error))
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
        complain(
            f"internal fault in `{options.command}`: {type(error).__name__}: {error}\n"
            "Run it again with RTX50_DEBUG=1 for the traceback, which a bug report needs."
        )
        return FINDING
    return result


def _write_all_characters() -> None:
    """Show characters that the terminal's encoding lacks as Python escapes them, rather than to stop at the first."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def build_parser() -> CommandParser:
    """Give the parser of all commands."""
    parser = CommandParser(
        prog="rtx50-autoload",
        description="Lets libraries that refuse an RTX 50-series GPU as too new use it, and says what it does and why.",
        examples=(
            ("rtx50-autoload doctor", "what runs on this GPU, what does not, and what to do"),
            ("rtx50-autoload explain error.txt", "what the error in a file means"),
            ("rtx50-autoload fix", "what would mend this environment"),
            ("rtx50-autoload doctor --help", "more on one command"),
        ),
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")

    status = commands.add_parser(
        "status",
        help="what is on here, who is told what, and why",
        description="Say whether the package acts here, which GPUs there are, which libraries are told another compute "
        "capability than the true one, and why. Exit status: 0 the package is on; with --verify, every file is as "
        "installed, 1 it is off; with --verify, a file is not, 2 usage.",
        examples=(
            ("rtx50-autoload status", "what is on here"),
            ("rtx50-autoload status --verify", "whether the files are as installed"),
        ),
    )
    status.add_argument(
        "--verify", action="store_true", help="instead, compare every file of this package with what was installed"
    )
    status.add_argument("--json", action="store_true", help="the same as JSON on stdout")
    status.set_defaults(run=_status)

    demo = commands.add_parser(
        "demo",
        help="the whole job on a simulated RTX 5090, with and without us",
        description="Show on a simulated RTX 5090 who is told which compute capability. No GPU is needed, and nothing "
        "is computed. Exit status: 0 shown, 1 the package is off, or torch's answers cannot be had, 2 usage.",
        examples=(("rtx50-autoload demo", "no GPU is needed"),),
    )
    demo.add_argument("--json", action="store_true", help="the same as JSON on stdout")
    demo.set_defaults(run=_demo)

    for name, help_text in (("enable", "switch on"), ("disable", "switch off")):
        command = commands.add_parser(
            name,
            help=f"{help_text} for one environment or for the user",
            description=f"Switch this package {help_text.split()[-1]} for programs that are started from now on; it "
            "stays installed. Exit status: 0 done, 1 the settings file cannot be read or written, 2 usage, also a "
            "folder that is no environment.",
            examples=(
                (f"rtx50-autoload {name}", "in the environment that runs this"),
                (f"rtx50-autoload {name} --venv .venv", "in another one"),
                (f"rtx50-autoload {name} --user", "in all of yours"),
            ),
        )
        place = command.add_mutually_exclusive_group()
        place.add_argument("--venv", metavar="PATH", help="this environment instead of the one that runs the command")
        place.add_argument("--user", action="store_true", help="all environments of this user")
        command.set_defaults(run=_switch)
    profiles.add_parser(commands)
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
    completion.add_parser(commands, parser)
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
    from rtx50_autoload.safe_console import SafeConsole  # noqa: PLC0415

    from .layout import show  # noqa: PLC0415
    from .switch import switch  # noqa: PLC0415

    console = SafeConsole()
    for line in switch(on=options.command == "enable", venv=options.venv, user=options.user):
        show(console, line)
    return OK
