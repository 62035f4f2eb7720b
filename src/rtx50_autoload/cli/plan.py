"""``plan``: what would mend this environment, or one that a file describes, step by step; nothing is changed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rtx50_autoload.cli.complaints import complain
from rtx50_autoload.cli.exit_codes import FINDING, OK
from rtx50_autoload.errors import UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    import argparse

    from rtx50_autoload.cli.command_parser import CommandParser
    from rtx50_autoload.installer.machine import Machine
    from rtx50_autoload.installer.plan import Goal

__all__ = ["MachineFileError", "add_goal_arguments", "add_parser", "goals_of", "run"]

_EXAMPLE: Final = 'a machine in TOML, such as: driver = "580.95.05", with [[gpu]] and [packages] (docs/plans.md)'


class MachineFileError(UsageError):
    """The file that describes a machine does not."""


def add_parser(subparsers: argparse._SubParsersAction[CommandParser]) -> None:
    """Add the command to the program's parser; what it parses carries `run` as ``run``."""
    parser = subparsers.add_parser(
        "plan",
        help="what would mend this environment, step by step; changes nothing",
        description="Say which steps lead to a torch, and libraries on top of it, that run on this machine's GPUs: the "
        "commands, why, what they change, and the way back. Nothing is downloaded or changed. "
        "Exit status: 0 nothing to do, 1 there is something to do or it is impossible, 2 usage.",
        examples=(
            ("rtx50-autoload plan", "what would mend this environment"),
            ("rtx50-autoload plan --run torch --run xformers", "for torch and xformers"),
            ("rtx50-autoload plan --machine desktop.toml", "for the computer that a file describes"),
        ),
    )
    add_goal_arguments(parser)
    parser.add_argument(
        "--machine", type=Path, metavar="FILE.toml", help="plan for the machine that a file describes, not for this one"
    )
    parser.add_argument(
        "--refresh-facts",
        type=Path,
        metavar="FILE.toml",
        help="first take newer facts about versions from a file, and keep them for this user",
    )
    parser.add_argument("--json", action="store_true", help="the same as JSON on stdout")
    parser.set_defaults(run=run)


def add_goal_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what is wanted."""
    parser.add_argument(
        "--run", dest="wanted", action="append", metavar="PACKAGE", default=[], help="it has to run; by default torch"
    )
    parser.add_argument(
        "--build", action="append", metavar="PACKAGE", default=[], help="it has to be built from source for this GPU"
    )


def goals_of(arguments: argparse.Namespace) -> tuple[Goal, ...]:
    """Give what the options say; where they say nothing, that torch has to run."""
    from rtx50_autoload.installer.goals import goals_for  # noqa: PLC0415 - only where a plan is made

    return goals_for(arguments.wanted, arguments.build)


def run(arguments: argparse.Namespace) -> int:
    """Make a plan and print it on stdout.

    Returns:
        0 where there is nothing to do, 1 where there is, or where nothing can be done.

    Raises:
        UsageError: a file cannot be read or understood, or nothing is known of a package that is wanted.

    """
    # A command imports what it needs: the parser of every other command is built without these.
    from rtx50_autoload.cli.plan_console import show_plan  # noqa: PLC0415
    from rtx50_autoload.installer.here import machine_here  # noqa: PLC0415
    from rtx50_autoload.installer.planner import make_plan  # noqa: PLC0415

    _attend_to_facts(arguments.refresh_facts)
    goals = goals_of(arguments)
    if arguments.machine is None:
        machine = machine_here()
    else:
        machine, described = _described(arguments.machine)
        if described and not (arguments.wanted or arguments.build):
            goals = described
    plan = make_plan(machine, goals)
    if arguments.json:
        print(json.dumps(plan.as_json(), indent=2))  # noqa: T201
    else:
        show_plan(plan, machine)
    return OK if plan.outcome == "nothing" else FINDING


def _attend_to_facts(file: Path | None) -> None:
    """Take newer facts where a file is given, and say what is wrong with those that were kept."""
    from rtx50_autoload.installer.facts import load_facts  # noqa: PLC0415
    from rtx50_autoload.installer.refresh import facts_problem, refresh_facts  # noqa: PLC0415

    if file is not None:
        old = load_facts().dated
        new = refresh_facts(file)
        complain(f"the facts of {new} are used from now on, those of {old} no longer.")
    if problem := facts_problem():
        complain(problem)


def _described(path: Path) -> tuple[Machine, tuple[Goal, ...]]:
    from rtx50_autoload.cli.error_text import read_file  # noqa: PLC0415
    from rtx50_autoload.installer.describe import MachineError, read_goals, read_machine  # noqa: PLC0415

    try:
        description: dict[str, Any] = tomllib.loads(read_file(path, _EXAMPLE))
        return read_machine(description), read_goals(description)
    except MachineError as error:
        raise MachineFileError(f"{path}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise MachineFileError(f"{path} is not TOML ({error}); give a file that holds {_EXAMPLE}") from error
