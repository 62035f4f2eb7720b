"""``scan PATH…``: which installed binaries can run on a GPU."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from rtx50_autoload.cli.device_arguments import add_device_arguments
from rtx50_autoload.cli.exit_codes import FINDING, OK

if TYPE_CHECKING:
    import argparse

    from rtx50_autoload.cli.command_parser import CommandParser

__all__ = ["add_parser", "run"]


def add_parser(subparsers: argparse._SubParsersAction[CommandParser]) -> None:
    """Add the command to the program's parser; what it parses carries `run` as ``run``."""
    parser = subparsers.add_parser(
        "scan",
        help="which GPU code binaries hold, and what a device can do with it",
        description="Read from libraries, programs and wheels which GPU code they hold, and judge module by module "
        "what a device can do with it. Exit status: 0 nothing wrong, 1 something cannot run in whole or cannot be "
        "read, 2 usage.",
        examples=(
            ("rtx50-autoload scan xformers-0.0.33-cp310-abi3-linux_x86_64.whl", "a wheel, before it is installed"),
            ("rtx50-autoload scan venv/lib --device 12.0", "a folder, judged for an RTX 50"),
        ),
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="a file, a folder or a wheel")
    add_device_arguments(parser, "that of the first device here")
    parser.add_argument("--json", action="store_true", help="the same as JSON on stdout")
    parser.add_argument("--no-cache", action="store_true", help="read every file anew and keep nothing")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Scan and print the result on stdout.

    Returns:
        0 where nothing is wrong, 1 where something cannot run in whole or cannot be read.

    Raises:
        UsageError: a path does not exist, or is not one to be scanned.

    """
    # A command imports what it needs: the parser of every other command is built without these.
    from rtx50_autoload.cli.scan_console import scan_with_progress, show_results  # noqa: PLC0415
    from rtx50_autoload.evidence.imagecache import ImageCache  # noqa: PLC0415
    from rtx50_autoload.evidence.subject import subjects, survey_devices  # noqa: PLC0415
    from rtx50_autoload.evidence.verdict import FINDINGS  # noqa: PLC0415

    subject = subjects(survey_devices(), arguments.device, arguments.driver)[0]
    results = scan_with_progress(arguments.paths, subject.target, None if arguments.no_cache else ImageCache())
    if arguments.json:
        print(json.dumps([result.as_json() for result in results], indent=2))  # noqa: T201
    else:
        show_results(results, subject)
    return FINDING if any(result.judgement.verdict in FINDINGS for result in results) else OK
