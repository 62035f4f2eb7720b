"""What a person sees of recorded incidents at the terminal, from 60 columns up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.text import Text

from rtx50_autoload.cli.explain_console import show_diagnosis, when
from rtx50_autoload.cli.layout import show, show_pairs
from rtx50_autoload.cli.tables import show_table
from rtx50_autoload.diagnosis.categories import load_categories
from rtx50_autoload.printable import printable
from rtx50_autoload.safe_console import SafeConsole
from rtx50_autoload.troubleshooter.kept_answers import kept_answer

if TYPE_CHECKING:
    from rtx50_autoload.diagnosis.incident import Incident
    from rtx50_autoload.diagnosis.incidents import Kept

__all__ = ["show_incident", "show_list"]

#: The end of the text is where the error is; `--json` has all of it.
_LINES_SHOWN: Final = 12


def show_list(kept: Kept) -> None:
    """Print what ``incidents list --json`` gives."""
    console = SafeConsole()
    if kept.incidents:
        rows = [
            (incident.id, when(incident), str(incident.count), printable(incident.program), _what(incident))
            for incident in kept.incidents
        ]
        show_table(console, ("id", "last seen", "count", "program", "what"), rows)
        console.print()
        show(console, "`rtx50-autoload incidents show ID` tells what one means and what mends it.")
    else:
        show(console, "No incident has been recorded.")
    for file, reason in kept.unreadable.items():
        show(console, f"No incident, and left as it is: {file} ({reason})", style="yellow")


def show_incident(incident: Incident) -> None:
    """Print what was recorded of one incident."""
    console = SafeConsole()
    environment = incident.environment
    gpus = [gpu.get("name") or "unknown" for gpu in environment.get("gpus") or ()]
    rows = {
        "incident": incident.id,
        "seen": f"{incident.count} times, last on {when(incident)}" if incident.count > 1 else when(incident),
        "program": incident.program,
        "environment": environment.get("prefix"),
        "GPU": ", ".join(dict.fromkeys(gpus)),
        "torch": environment.get("torch"),
        "driver": environment.get("driver"),
    }
    show_pairs(console, {name: str(value) for name, value in rows.items() if value})
    console.print()
    lines = printable(incident.text).splitlines()
    left_out = len(lines) - _LINES_SHOWN
    if left_out > 0:
        show(
            console,
            f"({left_out} lines before: `rtx50-autoload incidents show {incident.id[:4]} --json`)",
            style="dim",
        )
    for line in lines[-_LINES_SHOWN:]:
        console.print(Text(line, "dim", overflow="fold"))
    console.print()
    show_diagnosis(incident.diagnosis)
    console.print()
    command = f"`rtx50-autoload troubleshoot --incident {incident.id}`"
    kept = kept_answer(incident.id)
    if kept is not None and kept.assistant is not None:
        show(console, f"{kept.assistant} has answered about it: {command} shows the answer.")
    else:
        show(console, f"{command} asks an assistant, if you agree.")


def _what(incident: Incident) -> Text:
    category = load_categories().get(incident.diagnosis.category)
    title = incident.diagnosis.category if category is None else category.title
    text = Text(printable(title))
    if incident.diagnosis.culprit is not None:
        text.append(f" ({printable(incident.diagnosis.culprit)})", "bold")
    return text
