"""``doctor``: what in this environment runs on the GPU, what does not, why, and what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from rtx50_autoload.cli import fleet
from rtx50_autoload.cli.device_arguments import add_device_arguments
from rtx50_autoload.cli.exit_codes import FINDING, OK
from rtx50_autoload.errors import UsageError

if TYPE_CHECKING:
    import argparse
    from typing import Any

    from rtx50_autoload.cli.command_parser import CommandParser
    from rtx50_autoload.evidence.probe_report import ProbeReport

__all__ = ["ReportFileError", "add_parser", "run"]


class ReportFileError(UsageError, OSError):
    """The file for the report cannot be written."""


def add_parser(subparsers: argparse._SubParsersAction[CommandParser]) -> None:
    """Add the command to the program's parser; what it parses carries `run` as ``run``."""
    parser = subparsers.add_parser(
        "doctor",
        help="which installed libraries run on this GPU, what is wrong, and what to do",
        description="Judge every installed library with GPU code for the devices here, and say what follows. CUDA is "
        "not initialised, and no library is imported. Exit status: 0 nothing wrong, 1 an error or a warning, 2 usage.",
        examples=(
            ("rtx50-autoload doctor", "what runs on this GPU, what does not, and why"),
            ("rtx50-autoload doctor --html report.html", "the same as a page for a browser"),
            ("rtx50-autoload doctor --device 12.0", "for an RTX 50 that is not in this computer yet"),
            ("rtx50-autoload doctor --probe", "also compute something on the GPU"),
        ),
    )
    add_device_arguments(parser, "those of the devices here")
    parser.add_argument(
        "--probe", action="store_true", help="also compute something with each library, if a GPU is here"
    )
    parser.add_argument("--json", action="store_true", help="the same as JSON on stdout")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page for a browser as well")
    parser.add_argument("--no-cache", action="store_true", help="read every file anew and keep nothing")
    fleet.add_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Examine the environment and print the result on stdout.

    Returns:
        0 where nothing is wrong, 1 where there is an error or a warning.

    Raises:
        UsageError: the file for the page cannot be written; with ``--ray``, no cluster can be reached.

    """
    if fleet.is_meant(arguments):
        return fleet.run(arguments)
    # A command imports what it needs: the parser of every other command is built without these.
    from rtx50_autoload.cli.doctor_console import show_examination  # noqa: PLC0415
    from rtx50_autoload.cli.progress import with_progress  # noqa: PLC0415
    from rtx50_autoload.evidence.doctor import examine  # noqa: PLC0415
    from rtx50_autoload.evidence.imagecache import ImageCache  # noqa: PLC0415

    cache = None if arguments.no_cache else ImageCache()
    probes = _run_probes() if arguments.probe else None
    document = examine(arguments.device, arguments.driver, cache, with_progress, probes).as_json()
    if arguments.html is not None:
        _write_page(arguments.html, document)
    if arguments.json:
        print(json.dumps(document, indent=2))  # noqa: T201
    else:
        show_examination(document, arguments.html)
    return OK if document["ok"] else FINDING


def _run_probes() -> ProbeReport:
    """Compute on the GPU, and show on a terminal how far that has come."""
    from rtx50_autoload.cli.progress import show_progress  # noqa: PLC0415
    from rtx50_autoload.evidence.probe import probe  # noqa: PLC0415

    with show_progress("Computing on the GPU, in processes of their own") as tell:
        return probe(on_result=lambda result: tell(f"Computed {result.name}: {result.state.value}"))


def _write_page(file: Path, document: dict[str, Any]) -> None:
    from rtx50_autoload.report.page import page  # noqa: PLC0415

    try:
        file.write_text(page(document), encoding="utf-8")
    except OSError as error:
        raise ReportFileError(f"{file} cannot be written: {error.strerror}") from error
