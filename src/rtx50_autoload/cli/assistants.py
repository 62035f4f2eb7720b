"""``assistants``: which assistants are on this machine, and whether a question to one would leave it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rtx50_autoload.cli.complaints import complain
from rtx50_autoload.cli.exit_codes import FINDING, OK

if TYPE_CHECKING:
    import argparse

    from rtx50_autoload.cli.command_parser import CommandParser

__all__ = ["add_parser", "run"]


def add_parser(subparsers: argparse._SubParsersAction[CommandParser]) -> None:
    """Add the command to the program's parser; what it parses carries `run` as ``run``."""
    parser = subparsers.add_parser(
        "assistants",
        help="which AI assistants are on this machine, and whether a question would leave it",
        description="Look for AI assistants that could be asked about an error. Nothing is started or sent. Exit "
        "status: 0 one is ready or may be, 1 none is, or the setting names one that is not here, 2 usage.",
        examples=(("rtx50-autoload assistants", "who could be asked, and where a question goes"),),
    )
    parser.add_argument("--json", action="store_true", help="the same as JSON on stdout")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Look for assistants and print the result on stdout.

    Returns:
        0 where one can be asked, or may be; 1 where none can.

    Raises:
        UnknownAssistantError: the setting names nobody that we know.

    """
    # A command imports what it needs: the parser of every other command is built without these.
    from rtx50_autoload.cli.assistants_console import show_assistants  # noqa: PLC0415
    from rtx50_autoload.settings import load  # noqa: PLC0415
    from rtx50_autoload.troubleshooter.assistants import load_knowledge  # noqa: PLC0415
    from rtx50_autoload.troubleshooter.choice import choice  # noqa: PLC0415
    from rtx50_autoload.troubleshooter.detection import detect  # noqa: PLC0415

    found = detect()
    chosen = load().assistant
    if arguments.json:
        knowledge = load_knowledge()
        absent = sorted(set(knowledge.names) - {each.name for each in found})
        document = {
            "chosen": list(chosen),
            "assistants": [each.as_json() for each in found],
            "not_found": absent,
            "left_out": dict(knowledge.left_out),
        }
        print(json.dumps(document, indent=2))  # noqa: T201
    else:
        show_assistants(found, chosen)
    choosing = choice(found, chosen)
    for missing in choosing.missing.values():
        complain(str(missing))
    able = found if not chosen or choosing.is_nobody else [each.found for each in choosing.assistants]
    return OK if any(each.ready is not False for each in able) else FINDING
