"""What a person sees of a diagnosis at the terminal, from 60 columns up."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from rtx50_autoload.diagnosis.categories import load_categories
from rtx50_autoload.printable import printable
from rtx50_autoload.safe_console import SafeConsole

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

    from rtx50_autoload.diagnosis.diagnosis import Diagnosis, FixStep
    from rtx50_autoload.diagnosis.incident import Incident

__all__ = ["show_diagnosis", "when"]

_MARGIN: Final = "   "
#: A command of several words within a sentence.
_COMMAND: Final = re.compile(r"`([^`]* [^`]*)`")

#: What to do where the plan, or the absence of one, has not helped.
_OTHERWISE: Final = {
    "unrelated": "Look for the cause in the program itself or in its documentation: no GPU code, driver or "
    "installation is at fault as far as the text tells.",
    "other": "Give the whole output of the program, from its start to the error, and do so where it happened.",
}
_IF_IT_STAYS: Final = (
    "If an error stays: explain the new one, for its text may be another. This looks at every installed library: "
    "`rtx50-autoload doctor`"
)


def show_diagnosis(diagnosis: Diagnosis, incident: Incident | None = None) -> None:
    """Print what ``explain --json`` gives.

    Args:
        diagnosis: what the error means.
        incident: the recorded failure that it belongs to, where there is one.

    """
    console = SafeConsole()
    if incident is not None:
        times = "once" if incident.count == 1 else f"{incident.count} times"
        program = f" in {incident.program}" if incident.program else ""
        console.print(
            printable(f"The latest incident, {incident.id}: {times}{program}, last on {when(incident)}."), style="dim"
        )
        console.print()
    category = load_categories().get(diagnosis.category)
    title = diagnosis.category if category is None else category.title
    console.print(Text(printable(title), "bold yellow" if diagnosis.abstains else "bold red"))
    if not diagnosis.abstains:
        console.print(Text(f"{printable(diagnosis.category)}, {diagnosis.confidence:.0%} sure", "dim"))
    if diagnosis.culprit is not None:
        console.print(Text.assemble("At fault: ", (printable(diagnosis.culprit), "bold")))
    console.print()
    console.print(printable(diagnosis.cause))
    _list(console, "Known from:", diagnosis.evidence)
    _list(console, "Not known:", diagnosis.missing_evidence)
    if diagnosis.fix:
        console.print()
        console.print(Text("What to do:", "bold"))
        for number, step in enumerate(diagnosis.fix, start=1):
            _show_step(console, number, step)
    console.print()
    _show_sentences(console, _OTHERWISE.get(diagnosis.category, _IF_IT_STAYS))


def when(incident: Incident) -> str:
    """Write when an incident was seen last, as clocks show it here."""
    return f"{incident.last_seen.astimezone():%Y-%m-%d %H:%M}"


def _list(console: Console, title: str, lines: Iterable[str]) -> None:
    table = Table.grid(padding=(0, 1))
    for line in lines:
        table.add_row(" -", printable(line))
    if table.rows:
        console.print()
        console.print(Text(title, "bold"))
        console.print(table)


def _show_step(console: Console, number: int, step: FixStep) -> None:
    console.print()
    head = Table.grid(padding=(0, 1))
    head.add_row(f"{number}.", Text(printable(step.step), "bold"))
    head.add_row("", printable(step.why))
    if step.changes:
        head.add_row("", Text(f"Changes: {printable(step.changes)}", "dim"))
    console.print(head)
    for command in step.commands:
        _show_command(console, command)
    if step.check:
        _show_sentences(console, f"Check: {step.check}", _MARGIN)


def _show_command(console: Console, command: str) -> None:
    """Print a command so that it can be copied whole: not folded, with nothing around it."""
    for line in printable(command).splitlines():
        console.print(Text(f"{_MARGIN}  {line}", "cyan"), soft_wrap=True)


def _show_sentences(console: Console, text: str, margin: str = "") -> None:
    """Print text; a command in it gets a line of its own where it might be folded."""
    parts = [text] if len(margin) + len(text) <= console.width else _COMMAND.split(text)
    for number, part in enumerate(parts):
        if number % 2:
            _show_command(console, part)
        elif part.strip():
            console.print(Padding(Text(printable(part.strip())), (0, 0, 0, len(margin)), expand=False))
