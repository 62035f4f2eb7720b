"""``scripts list``, ``scripts show ID`` and ``scripts run ID``: the scripts that assistants have written."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

from rtx50_autoload.cli.asking import ask, has_terminal, is_agreed
from rtx50_autoload.cli.exit_codes import FINDING, INTERRUPTED, OK
from rtx50_autoload.errors import UsageError
from rtx50_autoload.own_python import own_command

if TYPE_CHECKING:
    import argparse

    from rtx50_autoload.cli.command_parser import CommandParser
    from rtx50_autoload.troubleshooter.scripts import Check, SavedScript

__all__ = ["NoTerminalError", "add_parser"]


class NoTerminalError(UsageError):
    """Nobody is there who could read a script and say yes."""


def add_parser(subparsers: argparse._SubParsersAction[CommandParser]) -> None:
    """Add the command to the program's parser; what it parses carries what runs it as ``run``."""
    parser = subparsers.add_parser(
        "scripts",
        help="list, read and, one by one, run the scripts that an assistant has written",
        description="The scripts that assistants have written for errors on this machine. Nothing runs them but "
        "`scripts run ID`, which shows the script and asks first. Exit status: 0 done, 1 a file there cannot be read, "
        "2 usage, also an ID that is not known.",
        examples=(
            ("rtx50-autoload scripts list", "which there are"),
            ("rtx50-autoload scripts show 6456874d", "one of them; runs nothing"),
        ),
    )
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)

    listing = verbs.add_parser(
        "list",
        help="all scripts, the newest first; runs nothing",
        examples=(("rtx50-autoload scripts list", "all of them"),),
    )
    listing.add_argument("--json", action="store_true", help="the same as JSON on stdout")
    listing.set_defaults(run=_list)

    show = verbs.add_parser(
        "show",
        help="a script, and what is known of its lines; runs nothing",
        examples=(("rtx50-autoload scripts show 6456874d", "that one"),),
    )
    show.add_argument("id", metavar="ID", help="as `scripts list` gives it")
    show.add_argument("--json", action="store_true", help="the same as JSON on stdout")
    show.set_defaults(run=_show)

    run = verbs.add_parser(
        "run",
        help="show a script, ask, run it, and examine the environment again",
        description="Show a script, ask at the terminal, run it up to its first error with its output in a log, and "
        "run `doctor` again. Exit status: 0 it has worked and doctor finds nothing, or the answer was no, "
        "1 otherwise, 2 usage.",
        examples=(("rtx50-autoload scripts run 6456874d", "that one, after a yes"),),
    )
    run.add_argument("id", metavar="ID", help="as `scripts list` gives it")
    run.set_defaults(run=_run)


def _list(arguments: argparse.Namespace) -> int:
    # A command imports what it needs: the parser of every other command is built without these.
    from rtx50_autoload.cli.scripts_console import show_list  # noqa: PLC0415
    from rtx50_autoload.troubleshooter.scripts import check, load_all  # noqa: PLC0415

    scripts, problems = load_all()
    checked = [(saved, check(saved.script)) for saved in scripts]
    if arguments.json:
        document = {"scripts": [_as_json(saved, found) for saved, found in checked], "problems": problems}
        print(json.dumps(document, indent=2))  # noqa: T201
    else:
        show_list(checked, problems)
    return FINDING if problems else OK


def _show(arguments: argparse.Namespace) -> int:
    from rtx50_autoload.cli.scripts_console import show_script  # noqa: PLC0415
    from rtx50_autoload.troubleshooter.scripts import check, load  # noqa: PLC0415

    saved = load(arguments.id)
    found = check(saved.script)
    if arguments.json:
        print(json.dumps({**_as_json(saved, found), "text": saved.script.text}, indent=2))  # noqa: T201
    else:
        show_script(saved, found)
    return OK


def _run(arguments: argparse.Namespace) -> int:
    from rtx50_autoload.cli.scripts_console import show_line, show_outcome, show_script, show_sentence  # noqa: PLC0415
    from rtx50_autoload.troubleshooter.scripts import check, load  # noqa: PLC0415
    from rtx50_autoload.troubleshooter.scripts.runner import command, run  # noqa: PLC0415

    saved = load(arguments.id)
    if not has_terminal():
        raise NoTerminalError(
            "a script is run only at a terminal, where somebody can read it and say yes; "
            f"`rtx50-autoload scripts show {saved.id}` shows it"
        )
    command(saved)
    found = check(saved.script)
    show_script(saved, found)
    if found.syntax_errors:
        show_sentence("Its shell cannot read it, so it is not run.")
        return FINDING
    if not _is_agreed(saved, found):
        show_sentence("Nothing was run.")
        return OK
    outcome = run(saved, show_line)
    show_outcome(outcome)
    if outcome.is_interrupted:
        return INTERRUPTED
    # A process of its own: the script may have changed the packages that this one has loaded.
    doctor = subprocess.run(own_command("doctor"), check=False)  # noqa: S603 - this program
    return FINDING if outcome.exit_code or doctor.returncode else OK


def _is_agreed(saved: SavedScript, found: Check) -> bool:
    """Ask the person at the terminal; a flagged script, and one that was changed, takes more than a letter."""
    if found.is_flagged or saved.is_changed:
        return ask(f"Type {saved.id} to run it, anything else to leave it: ") == saved.id
    return is_agreed("Run it?")


def _as_json(saved: SavedScript, found: Check) -> dict[str, object]:
    return {
        **saved.as_json(),
        "syntax_errors": list(found.syntax_errors),
        "flagged": found.is_flagged,
        "findings": [
            {"line": finding.line, "id": finding.id, "severity": finding.severity, "what": finding.what}
            for finding in found.findings
        ],
        "asked": list(found.asked),
    }
