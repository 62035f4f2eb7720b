"""What a person sees of a diagnosis at the terminal, from 60 columns up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.text import Text

from rtx50_autoload.cli.layout import show, show_command, show_list
from rtx50_autoload.diagnosis.categories import load_categories
from rtx50_autoload.printable import printable
from rtx50_autoload.safe_console import SafeConsole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from rtx50_autoload.diagnosis.diagnosis import Diagnosis, FixStep
    from rtx50_autoload.diagnosis.incident import Incident

__all__ = ["show_diagnosis", "when"]

#: How far from the left what belongs to a numbered step stands.
_MARGIN: Final = 3

#: What to do where the plan, or the absence of one, has not helped.
_OTHERWISE: Final = {
    "unrelated": "Look for the cause in the program itself or in its documentation: no GPU code, driver or "
    "installation is at fault as far as the text tells.",
    "other": "Give the whole output of the program, from its start to the error, and do so where it happened.",
}
_IF_IT_STAYS: Final = (
    "If an error stays, explain the new one, for its text may be another. `rtx50-autoload doctor` looks at every "
    "installed library."
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
        show(console, f"The latest incident, {incident.id}: {times}{program}, last on {when(incident)}.", style="dim")
        console.print()
    category = load_categories().get(diagnosis.category)
    title = diagnosis.category if category is None else category.title
    show(console, title, style="bold yellow" if diagnosis.abstains else "bold red")
    if not diagnosis.abstains:
        show(console, f"{diagnosis.category}, {diagnosis.confidence:.0%} sure", style="dim")
    if diagnosis.culprit is not None:
        show(console, Text.assemble("At fault: ", (printable(diagnosis.culprit), "bold")))
    console.print()
    show(console, diagnosis.cause)
    _show_lines(console, "Known from:", diagnosis.evidence)
    _show_lines(console, "Not known:", diagnosis.missing_evidence)
    if diagnosis.fix:
        console.print()
        show(console, "What to do:", style="bold")
        for number, step in enumerate(diagnosis.fix, start=1):
            _show_step(console, number, step)
    console.print()
    show(console, _OTHERWISE.get(diagnosis.category, _IF_IT_STAYS))


def when(incident: Incident) -> str:
    """Write when an incident was seen last, as clocks show it here."""
    return f"{incident.last_seen.astimezone():%Y-%m-%d %H:%M}"


def _show_lines(console: Console, title: str, lines: Sequence[str]) -> None:
    if lines:
        console.print()
        show(console, title, style="bold")
        show_list(console, lines)


def _show_step(console: Console, number: int, step: FixStep) -> None:
    console.print()
    show(console, Text(printable(step.step), "bold"), mark=f"{number}. ")
    show(console, step.why, _MARGIN)
    if step.changes:
        show(console, f"Changes: {step.changes}", _MARGIN, style="dim")
    for command in step.commands:
        show_command(console, command, _MARGIN + 2)
    if step.check:
        show(console, f"Check: {step.check}", _MARGIN)
