"""``fix``: shows what would mend this environment, writes it as a script, applies it, and goes back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rtx50_autoload.cli.asking import has_terminal, is_agreed
from rtx50_autoload.cli.exit_codes import FINDING, INTERRUPTED, OK
from rtx50_autoload.cli.plan import add_goal_arguments
from rtx50_autoload.errors import UsageError
from rtx50_autoload.installer.errors import BusyError, FixError, NoTerminalError, NothingToUndoError

if TYPE_CHECKING:
    import argparse

    from rtx50_autoload.cli.command_parser import CommandParser
    from rtx50_autoload.installer.application import Preparation
    from rtx50_autoload.installer.environment import Environment
    from rtx50_autoload.installer.machine import Machine
    from rtx50_autoload.installer.plan import Plan
    from rtx50_autoload.installer.verification import Verification

__all__ = ["add_parser", "run"]


def add_parser(subparsers: argparse._SubParsersAction[CommandParser]) -> None:
    """Add the command to the program's parser; what it parses carries `run` as ``run``."""
    parser = subparsers.add_parser(
        "fix",
        help="mend this environment: show the plan, apply it, go back",
        description="Show what would mend this environment. With --apply, try it, ask, keep the way back, do it step "
        "by step up to the first failure, and examine the environment again. Only the environment of the Python that "
        "runs this is ever changed. Exit status: 0 nothing to do, mended, or undone; 1 there is something to do, or it "
        "failed; 2 usage.",
        examples=(
            ("rtx50-autoload fix", "show the plan; change nothing"),
            ("rtx50-autoload fix --apply", "carry it out, after a yes"),
            ("rtx50-autoload fix --undo", "go back to what was before"),
            ("rtx50-autoload fix --script mend.sh", "write the plan as a script to read and run"),
        ),
    )
    add_goal_arguments(parser)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--apply", action="store_true", help="do it, after a yes")
    form.add_argument("--undo", action="store_true", help="go back to what was before the last fix, after a yes")
    form.add_argument(
        "--script", type=Path, metavar="FILE", help="write the plan as a script: for PowerShell if FILE ends in .ps1"
    )
    parser.add_argument("--yes", action="store_true", help="with --apply or --undo: do not ask; for scripts")
    parser.add_argument("--json", action="store_true", help="the same as JSON on stdout; nobody is asked")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Do what was asked for and print the result on stdout.

    Returns:
        0 where there is nothing to do, or it has worked; 1 otherwise.

    Raises:
        UsageError: nobody is there to be asked, or a file cannot be written.
        FixError: something hinders it.

    """
    changes = arguments.apply or arguments.undo
    if arguments.yes and not changes:
        raise UsageError("--yes goes with --apply or --undo")
    if changes and not arguments.yes and (arguments.json or not has_terminal()):
        option = "--apply" if arguments.apply else "--undo"
        raise NoTerminalError(
            f"packages are changed only at a terminal, where somebody can read what will change and say yes; a script "
            f"says `rtx50-autoload fix {option} --yes`"
        )
    from rtx50_autoload.installer.environment import Environment  # noqa: PLC0415 - a command imports what it needs

    environment = Environment.active()
    try:
        if arguments.undo:
            return _undo(arguments, environment)
        if arguments.apply:
            return _apply(arguments, environment)
        return _show(arguments, environment)
    except FixError as error:
        if not arguments.json:
            raise
        _print({"error": str(error)})
        return FINDING


def _show(arguments: argparse.Namespace, environment: Environment) -> int:
    """Show the plan, or write it as a script."""
    from rtx50_autoload.cli.fix_console import show_last_fix, show_next, show_script  # noqa: PLC0415
    from rtx50_autoload.cli.plan_console import show_plan  # noqa: PLC0415
    from rtx50_autoload.installer.journal import latest  # noqa: PLC0415
    from rtx50_autoload.installer.script import language_of, script, write_script  # noqa: PLC0415
    from rtx50_autoload.installer.state_folder import is_busy  # noqa: PLC0415

    last = latest(environment)
    works = last is not None and not last.is_over and is_busy(environment)
    show_last_fix(last, works=works, on_stderr=arguments.json)
    machine, plan = _plan(arguments)
    if arguments.script is not None:
        write_script(arguments.script, script(plan, environment, language_of(arguments.script)))
    if arguments.json:
        written = None if arguments.script is None else str(arguments.script)
        _print({"plan": plan.as_json(), "script": written, "last_fix": last and last.as_json(), "running": works})
    elif arguments.script is not None:
        show_script(arguments.script, plan)
    else:
        show_plan(plan, machine)
        show_next(plan)
    return OK if plan.outcome == "nothing" else FINDING


def _apply(arguments: argparse.Namespace, environment: Environment) -> int:
    # Everything that is needed is imported before the first package is changed.
    from rtx50_autoload.cli.fix_console import show_outcome, show_preparation, show_verification  # noqa: PLC0415
    from rtx50_autoload.cli.fix_progress import show_progress  # noqa: PLC0415
    from rtx50_autoload.cli.plan_console import show_plan  # noqa: PLC0415
    from rtx50_autoload.installer.application import apply, prepare  # noqa: PLC0415
    from rtx50_autoload.installer.verification import examine, verify  # noqa: PLC0415

    _refuse_if_busy(environment)
    if not _is_back_from_the_last(arguments, environment):
        return FINDING
    machine, plan = _plan(arguments)
    document: dict[str, Any] = {"plan": plan.as_json()}
    if not arguments.json:
        show_plan(plan, machine)
    if plan.outcome != "steps" or plan.conflicts:
        return _end(document, arguments, OK if plan.outcome == "nothing" else FINDING)
    with show_progress(on_stderr=arguments.json) as progress:
        progress.say("Asking what would be installed; nothing is changed yet")
        preparation = prepare(plan, machine, environment)
    document["resolution"] = preparation.resolution.as_json()
    show_preparation(preparation, on_stderr=arguments.json)
    if not _may_begin(preparation, arguments):
        return _end(document, arguments, FINDING)
    probe = bool(machine.gpus)
    with show_progress(on_stderr=arguments.json) as progress:
        progress.say("Looking at what is wrong now")
        before = examine(environment, probe=probe)
        story = apply(preparation, progress)
    document["fix"] = story.as_json()
    show_outcome(story, preparation, on_stderr=arguments.json)
    if story.status == "interrupted":
        return _end(document, arguments, INTERRUPTED)
    if story.status == "failed":
        return _end(document, arguments, FINDING)
    with show_progress(on_stderr=arguments.json) as progress:
        progress.say("Examining the environment again")
        verification: Verification = verify(environment, before, plan.goals, probe=probe)
    document["verification"] = verification.as_json()
    show_verification(verification, on_stderr=arguments.json)
    is_good = verification.is_mended and not preparation.left
    return _end(document, arguments, OK if is_good else FINDING)


def _is_back_from_the_last(arguments: argparse.Namespace, environment: Environment) -> bool:
    """Go back from a fix that was stopped half way, so that the next one begins with what was whole."""
    from rtx50_autoload.cli.fix_console import show_last_fix, show_undoing, show_undone  # noqa: PLC0415
    from rtx50_autoload.installer.journal import latest  # noqa: PLC0415
    from rtx50_autoload.installer.undoing import look_back, undo  # noqa: PLC0415

    last = latest(environment)
    if last is None or not last.is_half_done:
        return True
    show_last_fix(last, works=False, on_stderr=arguments.json)
    undoing = look_back(environment)
    show_undoing(undoing, on_stderr=arguments.json)
    if not arguments.yes and not is_agreed("Go back to that first?"):
        return False
    undone = undo(undoing, environment)
    show_undone(undone, undoing, on_stderr=arguments.json)
    return not undone.failures


def _may_begin(preparation: Preparation, arguments: argparse.Namespace) -> bool:
    if preparation.resolution.broken or not preparation.resolution.steps:
        return False
    return arguments.yes or is_agreed("Do it?")


def _undo(arguments: argparse.Namespace, environment: Environment) -> int:
    from rtx50_autoload.installer.undoing import look_back, undo, use_kept_packages  # noqa: PLC0415

    # Before anything that is not ours is imported: it may be what the fix has broken.
    use_kept_packages(environment)
    from rtx50_autoload.cli.fix_console import show_sentence, show_undoing, show_undone  # noqa: PLC0415

    _refuse_if_busy(environment)
    try:
        undoing = look_back(environment)
    except NothingToUndoError as error:
        _print({"undo": None, "reason": str(error)}) if arguments.json else show_sentence(f"{error}.")
        return OK
    show_undoing(undoing, on_stderr=arguments.json)
    if not arguments.yes and not is_agreed("Go back?"):
        return FINDING
    by_hand_too = bool(undoing.changed_by_hand) and not arguments.yes and is_agreed("Bring those back too?")
    undone = undo(undoing, environment, by_hand_too=by_hand_too)
    show_undone(undone, undoing, on_stderr=arguments.json)
    if arguments.json:
        _print({"undo": undoing.as_json(), "undone": undone.as_json()})
    return OK if undone.is_as_before else FINDING


def _refuse_if_busy(environment: Environment) -> None:
    """Say who works here, where somebody does; the lock itself knows no names."""
    from rtx50_autoload.installer.journal import latest  # noqa: PLC0415
    from rtx50_autoload.installer.state_folder import is_busy  # noqa: PLC0415

    last = latest(environment)
    if last is not None and is_busy(environment):
        raise BusyError(
            f"a fix works here at this moment: process {last.pid}, since {last.started}. Nothing was changed; wait "
            "until it has ended"
        )


def _plan(arguments: argparse.Namespace) -> tuple[Machine, Plan]:
    from rtx50_autoload.installer.goals import goals_for  # noqa: PLC0415
    from rtx50_autoload.installer.here import machine_here  # noqa: PLC0415
    from rtx50_autoload.installer.planner import make_plan  # noqa: PLC0415

    machine = machine_here()
    return machine, make_plan(machine, goals_for(arguments.wanted, arguments.build))


def _end(document: dict[str, Any], arguments: argparse.Namespace, code: int) -> int:
    if arguments.json:
        _print(document)
    return code


def _print(document: dict[str, Any]) -> None:
    print(json.dumps(document, indent=2))  # noqa: T201
