"""``explain [FILE|-]``: what an error means, and what mends it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rtx50_autoload.cli.exit_codes import FINDING, OK
from rtx50_autoload.errors import UsageError

if TYPE_CHECKING:
    import argparse

    from rtx50_autoload.cli.command_parser import CommandParser
    from rtx50_autoload.diagnosis.diagnosis import Diagnosis
    from rtx50_autoload.diagnosis.incident import Incident

__all__ = ["EnvironmentFileError", "NoIncidentError", "add_parser", "latest_incident", "run"]


_EXAMPLE: Final = 'an object such as {"gpu": "RTX 5090", "torch": "2.4.1+cu124"}'


class EnvironmentFileError(UsageError):
    """The file that describes a machine does not."""


class NoIncidentError(UsageError):
    """There is nothing to explain: no text was given, and no incident has been recorded."""


def add_parser(subparsers: argparse._SubParsersAction[CommandParser]) -> None:
    """Add the command to the program's parser; what it parses carries `run` as ``run``."""
    parser = subparsers.add_parser(
        "explain",
        help="what an error means, whose fault it is, and what mends it",
        description="Say what an error means. Without FILE: what is piped, or at a terminal the latest incident. "
        "Exit status: 0 diagnosed, 1 not a fault of this kind or too little known, 2 usage.",
        examples=(
            ("rtx50-autoload explain error.txt", "what the error in a file means"),
            ("rtx50-autoload explain -", "paste the error, or pipe it into this"),
            ("rtx50-autoload explain", "the latest error that was recorded here"),
        ),
    )
    parser.add_argument("file", nargs="?", metavar="FILE", help="a traceback or a log; - for what is piped or typed")
    parser.add_argument("--json", action="store_true", help="the same as JSON on stdout")
    parser.add_argument(
        "--environment",
        type=Path,
        metavar="FILE.json",
        help="the machine that the error comes from, rather than this one: an object with any of the keys gpu, "
        "capability, torch, cuda, driver, os, python",
    )
    parser.add_argument(
        "--no-local-evidence", action="store_true", help="go by the text alone, and look at nothing here"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Explain an error and print the result on stdout.

    Returns:
        0 where there is a diagnosis, 1 where nothing can be said.

    Raises:
        UsageError: there is no text, or it cannot be read; or the machine's description cannot.

    """
    # A command imports what it needs: the parser of every other command is built without these.
    from rtx50_autoload.cli.error_text import read_file, read_stdin  # noqa: PLC0415

    environment: dict[str, Any] | None = {} if arguments.no_local_evidence else None
    if arguments.environment is not None:
        environment = _read_environment(arguments.environment)
    incident = None
    if arguments.file not in {None, "-"}:
        diagnosis = _explain(read_file(Path(arguments.file)), environment)
    elif arguments.file == "-" or not (sys.stdin is None or sys.stdin.isatty()):
        diagnosis = _explain(read_stdin(), environment)
    else:
        incident = latest_incident()
        # What was seen in the program itself, unless another machine is asked about.
        diagnosis = incident.diagnosis if environment is None else _explain(incident.text, environment)
    if arguments.json:
        print(json.dumps(diagnosis.as_json(), indent=2))  # noqa: T201
    else:
        from rtx50_autoload.cli.explain_console import show_diagnosis  # noqa: PLC0415

        show_diagnosis(diagnosis, incident)
    return FINDING if diagnosis.abstains else OK


def _explain(text: str, environment: dict[str, Any] | None) -> Diagnosis:
    """Explain a text; where it is this machine's, the binaries of the package that it blames are looked into, too."""
    from rtx50_autoload.diagnosis import classify, this_machine  # noqa: PLC0415
    from rtx50_autoload.diagnosis.confirmed import confirmed  # noqa: PLC0415
    from rtx50_autoload.explaining import explain, without_own_lines  # noqa: PLC0415

    if environment is not None:
        return explain(text, environment)
    here = this_machine.look()
    return confirmed(classify(without_own_lines(text), here), here)


def _read_environment(path: Path) -> dict[str, Any]:
    from rtx50_autoload.cli.error_text import read_file  # noqa: PLC0415

    try:
        environment = json.loads(read_file(path, _EXAMPLE))
    except (ValueError, RecursionError) as error:
        raise EnvironmentFileError(f"{path} is not JSON ({error}); give a file that holds {_EXAMPLE}") from error
    if not isinstance(environment, dict):
        raise EnvironmentFileError(f"{path} holds no JSON object; give a file that holds {_EXAMPLE}")
    return environment


def latest_incident() -> Incident:
    """Give the incident that was seen last.

    Raises:
        NoIncidentError: there is none.
        IncidentStoreError: the folder cannot be read.

    """
    from rtx50_autoload.diagnosis.incidents import latest  # noqa: PLC0415

    incident = latest()
    if incident is None:
        raise NoIncidentError(
            "no incident has been recorded; give a file with the error, or `rtx50-autoload explain -` to paste it"
        )
    return incident
