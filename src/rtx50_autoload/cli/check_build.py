"""``check-build PACKAGE``: whether a package that was built from source holds code for the GPU."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from rtx50_autoload.cli.device_arguments import capability
from rtx50_autoload.cli.exit_codes import FINDING, OK
from rtx50_autoload.errors import UsageError

if TYPE_CHECKING:
    import argparse

    from rtx50_autoload.cli.command_parser import CommandParser
    from rtx50_autoload.installer.build_check import BuildCheck

__all__ = ["LogFileError", "add_parser", "run"]


class LogFileError(UsageError, OSError):
    """The file with the build's output cannot be read."""


def add_parser(subparsers: argparse._SubParsersAction[CommandParser]) -> None:
    """Add the command to the program's parser; what it parses carries `run` as ``run``."""
    parser = subparsers.add_parser(
        "check-build",
        help="whether a package that was built from source holds code for the GPU",
        description="Read the GPU code of an installed package, judge it, and say what went wrong in its build. "
        "Exit status: 0 every GPU can run it, 1 one cannot or the package is not installed, 2 usage.",
        examples=(
            ("rtx50-autoload check-build flash-attn", "whether the build is one for this GPU"),
            ("rtx50-autoload check-build flash-attn --log build.log", "also what the build itself printed"),
        ),
    )
    parser.add_argument("package", metavar="PACKAGE", help="its name, such as flash-attn")
    parser.add_argument(
        "--device",
        type=capability,
        action="append",
        metavar="CAPABILITY",
        help="the compute capability to judge for, such as 12.0; may be repeated (default: those of the devices here)",
    )
    parser.add_argument("--log", type=Path, metavar="FILE", help="what the build printed, to say what it was asked for")
    parser.add_argument("--json", action="store_true", help="the same as JSON on stdout")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Check a build and print the result on stdout.

    Returns:
        0 where every GPU can run it, 1 where one cannot.

    Raises:
        UsageError: the file with the build's output cannot be read.

    """
    # A command imports what it needs: the parser of every other command is built without these.
    from rtx50_autoload.evidence.subject import subjects, survey_devices  # noqa: PLC0415
    from rtx50_autoload.installer.build_check import check_build  # noqa: PLC0415

    devices = arguments.device or [each.target.capability for each in subjects(survey_devices())]
    log = None if arguments.log is None else _read(arguments.log)
    check = check_build(arguments.package, list(dict.fromkeys(devices)), log)
    if arguments.json:
        print(json.dumps(check.as_json(), indent=2))  # noqa: T201
    else:
        _show(check)
    return OK if check.problem is None else FINDING


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise LogFileError(f"{path} cannot be read: {error.strerror}") from error


def _show(check: BuildCheck) -> None:
    from rtx50_autoload.cli.layout import show, show_numbered  # noqa: PLC0415
    from rtx50_autoload.cli.verdict_styles import STYLES  # noqa: PLC0415
    from rtx50_autoload.evidence.verdict import Verdict  # noqa: PLC0415
    from rtx50_autoload.report.words import MEANINGS, verdict_word  # noqa: PLC0415
    from rtx50_autoload.safe_console import SafeConsole  # noqa: PLC0415

    console = SafeConsole()
    show(console, f"{check.package} {check.version or 'is not installed'}", style="bold")
    for device, verdict in check.verdicts.items():
        words = f"{verdict_word(verdict)}, {MEANINGS[verdict]}"
        show(console, f"On a GPU of compute capability {device}: {words}.", style=STYLES[Verdict(verdict)])
    if check.architectures:
        show(console, f"GPU code: {' '.join(check.architectures)}")
    if check.problem and check.next:
        console.print()
        show(console, f"What went wrong: {check.problem}", style="bold")
        show(console, "Next:", style="bold")
        show_numbered(console, [check.next])
