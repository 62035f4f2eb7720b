"""``scan PATH…``: which installed binaries can run on a GPU."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from rtx50_autoload.capability import format_capability, parse_capability
from rtx50_autoload.errors import RTX50Error
from rtx50_autoload.evidence.arch import JitSwitches, driver_branch
from rtx50_autoload.evidence.imagecache import ImageCache
from rtx50_autoload.evidence.scan import find_files, scan_file
from rtx50_autoload.evidence.verdict import Target, Verdict

if TYPE_CHECKING:
    from rtx50_autoload.capability import Capability
    from rtx50_autoload.evidence.scan import ScanResult

__all__ = ["add_parser", "run"]

_NOTHING_WRONG: Final = 0
_FINDINGS: Final = 1
_USAGE: Final = 2

_FINDING_VERDICTS: Final = frozenset({Verdict.IMPOSSIBLE, Verdict.PARTIAL, Verdict.UNREADABLE})
_STYLES: Final = {
    Verdict.NATIVE: "green",
    Verdict.JIT: "yellow",
    Verdict.PARTIAL: "bold yellow",
    Verdict.IMPOSSIBLE: "bold red",
    Verdict.UNKNOWN: "dim",
    Verdict.UNREADABLE: "bold red",
    Verdict.NO_GPU_CODE: "dim",
}

#: The capability of every RTX 50-series GPU, asked about where there is no device to ask.
_RTX_50: Final = (12, 0)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the program's parser; the parsed arguments carry `run` as ``run``."""
    parser = subparsers.add_parser(
        "scan",
        help="which GPU code binaries hold, and what a device can do with it",
        description="Read from shared libraries, static libraries, programs and wheels which GPU code they hold, and "
        "judge module by module what a device can do with it. Exit status: 0 nothing wrong, 1 something does not run or "
        "cannot be read, 2 usage.",
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="a file, a folder or a wheel")
    parser.add_argument(
        "--device",
        type=_capability,
        metavar="CAPABILITY",
        help="judge for a device of this compute capability, such as 12.0 (default: the first device here)",
    )
    parser.add_argument(
        "--driver",
        type=_driver,
        metavar="VERSION",
        help="judge for this driver, such as 570.124.06 (default: the device's; any, for a device that is not here)",
    )
    parser.add_argument("--json", action="store_true", help="print a JSON list instead of a table")
    parser.add_argument("--no-cache", action="store_true", help="read every file anew and keep nothing")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Scan, print on stdout, and return the exit status."""
    messages = Console(stderr=True)
    target, reason = _target(arguments.device, arguments.driver)
    try:
        results = _scan(arguments.paths, target, None if arguments.no_cache else ImageCache(), messages)
    except RTX50Error as error:
        messages.print(Text(f"scan: {error}"))
        return _USAGE
    if arguments.json:
        json.dump([result.as_json() for result in results], sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        _print_table(results, f"What a device of compute capability {format_capability(target.capability)} {reason}")
    return _FINDINGS if any(result.judgement.verdict in _FINDING_VERDICTS for result in results) else _NOTHING_WRONG


def _capability(text: str) -> Capability:
    try:
        return parse_capability(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _driver(text: str) -> int:
    try:
        return driver_branch(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
