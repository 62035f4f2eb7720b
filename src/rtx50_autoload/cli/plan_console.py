"""What a person sees of a plan at the terminal, from 60 columns up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.text import Text

from rtx50_autoload.capability import format_capability
from rtx50_autoload.cli.layout import show, show_command, show_list
from rtx50_autoload.commands import split_step
from rtx50_autoload.installer.commanding import typed_lines
from rtx50_autoload.printable import printable
from rtx50_autoload.safe_console import SafeConsole

if TYPE_CHECKING:
    from rich.console import Console

    from rtx50_autoload.diagnosis.situation import OperatingSystem
    from rtx50_autoload.installer.machine import Machine
    from rtx50_autoload.installer.plan import Change, Conflict, Plan, Step, Unsolved

__all__ = ["show_plan"]

#: How far from the left what belongs to a numbered step stands.
_MARGIN: Final = 3
_OUTCOME_STYLES: Final = {"nothing": "bold green", "steps": "bold", "impossible": "bold red"}
_SYSTEMS: Final[dict[OperatingSystem, str]] = {
    "linux": "Linux",
    "wsl": "WSL",
    "windows": "Windows",
    "macos": "macOS",
}
_KINDS: Final = {
    "venv": "a virtual environment",
    "conda": "a conda environment",
    "embedded": "an application's own Python",
    "system": "no environment of its own",
}
#: So many packages are named; of more, their number is.
_NAMED: Final = 12
_GIB: Final = 2**30
_MIB: Final = 2**20


def show_plan(plan: Plan, machine: Machine) -> None:
    """Print what ``plan --json`` gives, for a person who is to decide on it.

    Args:
        plan: what is to be done.
        machine: what it was made for; its shell decides how commands are typed.

    """
    console = SafeConsole()
    for line in _about(machine):
        show(console, line, style="dim")
    show(console, f"Wanted: {', '.join(map(str, plan.goals))}", style="dim")
    console.print()
    show(console, plan.summary, style=_OUTCOME_STYLES[plan.outcome])
    for number, step in enumerate(plan.steps, start=1):
        _show_step(console, number, step, machine)
    if plan.conflicts:
        _show_conflicts(console, plan.conflicts)
    if plan.unsolved:
        _show_unsolved(console, plan.unsolved)
    console.print()
    show(console, f"What is known of versions is of {plan.facts_of}.", style="dim")


def _about(machine: Machine) -> tuple[str, ...]:
    gpus = [
        f"{gpu.name or 'a GPU that the driver does not name'}"
        + (f" ({format_capability(gpu.capability)})" if gpu.capability else "")
        for gpu in machine.gpus
    ]
    driver = f"driver {machine.driver}" if machine.driver else "no NVIDIA driver"
    where = f" in {machine.container}" if machine.container else ""
    return (
        f"{', '.join(gpus) or 'No GPU'}, {driver}, {_SYSTEMS[machine.system]}{where}",
        f"Python {machine.python}, {_KINDS[machine.kind]}: {machine.executable}",
    )


def _show_step(console: Console, number: int, step: Step, machine: Machine) -> None:
    console.print()
    show(console, Text(printable(step.what), "bold"), mark=f"{number}. ")
    show(console, step.why, _MARGIN)
    if step.by_hand:
        show(console, "By hand:", _MARGIN, style="dim")
    for text in step.by_hand:
        sentence, command = split_step(text)
        if sentence:
            show(console, sentence, _MARGIN, mark="- ")
        if command:
            show_command(console, command, _MARGIN + 2)
    for each in step.commands:
        for line in typed_lines(each.arguments, each.environ, machine.system):
            show_command(console, line, _MARGIN + 2)
    if step.changes:
        show(console, _changes(step.changes), _MARGIN, mark="Changes: ", style="dim")
    for title, told in (
        ("Fetches", _size(step.download)),
        ("Takes", f"about {step.minutes} minutes" if step.minutes else ""),
        ("Check", step.check),
        ("Way back", step.back),
    ):
        if told:
            show(console, f"{title}: {told}", _MARGIN, style="dim")


def _changes(changes: tuple[Change, ...]) -> str:
    lines = [f"{each.package} {each.before or '(not there)'} -> {each.after or '(gone)'}" for each in changes[:_NAMED]]
    if len(changes) > _NAMED:
        lines.append(f"and {len(changes) - _NAMED} more; --json lists all")
    return "\n".join(lines)


def _size(size: int | None) -> str:
    if size is None:
        return ""
    return f"about {size / _GIB:.1f} GiB" if size >= _GIB else f"about {max(1, round(size / _MIB))} MiB"


def _show_conflicts(console: Console, conflicts: tuple[Conflict, ...]) -> None:
    console.print()
    show(console, "This would break what other packages need:", style="bold red")
    lines = [f"{each.package} needs {each.requirement}; the plan has {each.planned}" for each in conflicts[:_NAMED]]
    if len(conflicts) > _NAMED:
        lines.append(f"and {len(conflicts) - _NAMED} more; --json lists all")
    show_list(console, lines)
    show(
        console,
        "Nothing is carried out while that is so. Update those packages, remove those that you do not need, or make an "
        "environment of its own for what is wanted here.",
    )


def _show_unsolved(console: Console, unsolved: tuple[Unsolved, ...]) -> None:
    console.print()
    show(console, "What remains:", style="bold")
    for each in unsolved:
        show(console, Text(printable(each.what), "bold"), 1, mark="- ")
        show(console, each.why, _MARGIN)
        sentence, command = split_step(each.next)
        show(console, sentence or "Run this:", _MARGIN)
        if command:
            show_command(console, command, _MARGIN + 2)
