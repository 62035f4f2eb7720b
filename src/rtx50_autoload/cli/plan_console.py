"""What a person sees of a plan at the terminal, from 60 columns up."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from rtx50_autoload.capability import format_capability
from rtx50_autoload.installer.commanding import typed_lines
from rtx50_autoload.printable import printable
from rtx50_autoload.safe_console import SafeConsole

if TYPE_CHECKING:
    from rich.console import Console

    from rtx50_autoload.diagnosis.situation import OperatingSystem
    from rtx50_autoload.installer.machine import Machine
    from rtx50_autoload.installer.plan import Change, Conflict, Plan, Step, Unsolved

__all__ = ["show_plan"]

_MARGIN: Final = "   "
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
#: A command of several words within a sentence.
_COMMAND: Final = re.compile(r"`([^`]* [^`]*)`")
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
        console.print(Text(printable(line), "dim"))
    console.print(Text(f"Wanted: {', '.join(map(str, plan.goals))}", "dim"))
    console.print()
    console.print(Text(printable(plan.summary), _OUTCOME_STYLES[plan.outcome]))
    for number, step in enumerate(plan.steps, start=1):
        _show_step(console, number, step, machine)
    if plan.conflicts:
        _show_conflicts(console, plan.conflicts)
    if plan.unsolved:
        _show_unsolved(console, plan.unsolved)
    console.print()
    console.print(Text(f"What is known of versions is of {plan.facts_of}.", "dim"))


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
    head = Table.grid(padding=(0, 1))
    head.add_row(f"{number}.", Text(printable(step.what), "bold"))
    head.add_row("", printable(step.why))
    console.print(head)
    if step.by_hand:
        console.print(Text(f"{_MARGIN}By hand:", "dim"))
    for text in step.by_hand:
        _show_by_hand(console, text)
    for command in step.commands:
        for line in typed_lines(command.arguments, command.environ, machine.system):
            _show_command(console, line)
    details = Table.grid(padding=(0, 1))
    for title, text in (
        ("Changes:", _changes(step.changes)),
        ("Fetches:", _size(step.download)),
        ("Takes:", f"about {step.minutes} minutes" if step.minutes else ""),
    ):
        if text:
            details.add_row(_MARGIN[1:], Text(title, "dim"), printable(text))
    if details.rows:
        console.print(details)
    _show_sentence(console, "Check", step.check)
    _show_sentence(console, "Way back", step.back)


def _show_by_hand(console: Console, text: str) -> None:
    """Print what a person has to do; a command in it gets a line of its own, to be copied whole."""
    sentence, colon, command = text.rpartition(": ")
    if colon and not command.rstrip().endswith("."):
        console.print(Padding(Text(f"- {printable(sentence)}:"), (0, 0, 0, len(_MARGIN)), expand=False))
        _show_command(console, command)
    elif text.rstrip().endswith("."):
        console.print(Padding(Text(f"- {printable(text)}"), (0, 0, 0, len(_MARGIN)), expand=False))
    else:
        _show_command(console, text)


def _show_command(console: Console, line: str) -> None:
    """Print a command so that it can be copied whole: not folded, with nothing around it."""
    console.print(Text(f"{_MARGIN}  {printable(line)}", "cyan"), soft_wrap=True)


def _show_sentence(console: Console, title: str, text: str) -> None:
    """Print a sentence; a command in it gets a line of its own where it would be folded."""
    if not text:
        return
    whole = f"{title}: {printable(text)}"
    parts = [whole] if len(_MARGIN) + len(whole) <= console.width else _COMMAND.split(whole)
    for number, part in enumerate(parts):
        if number % 2:
            console.print(Text(f"{_MARGIN}  {part}", "dim"), soft_wrap=True)
        elif part.strip():
            console.print(Padding(Text(part.strip(), "dim"), (0, 0, 0, len(_MARGIN)), expand=False))


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
    console.print(Text("This would break what other packages need:", "bold red"))
    table = Table.grid(padding=(0, 1))
    for each in conflicts[:_NAMED]:
        table.add_row(" -", printable(f"{each.package} needs {each.requirement}; the plan has {each.planned}"))
    if len(conflicts) > _NAMED:
        table.add_row(" -", f"and {len(conflicts) - _NAMED} more; --json lists all")
    console.print(table)
    console.print(
        "Nothing is carried out while that is so. Update those packages, remove those that you do not need, or make an "
        "environment of its own for what is wanted here."
    )


def _show_unsolved(console: Console, unsolved: tuple[Unsolved, ...]) -> None:
    console.print()
    console.print(Text("What remains:", "bold"))
    table = Table.grid(padding=(0, 1))
    for each in unsolved:
        table.add_row(" -", Text(printable(each.what), "bold"))
        table.add_row("", printable(each.why))
        table.add_row("", printable(each.next))
    console.print(table)
