"""What a person sees of an examination at the terminal, from 60 columns up."""

from __future__ import annotations

from typing import Any, Final

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from rtx50_autoload.cli.tables import plain_table
from rtx50_autoload.cli.verdict_styles import STYLES
from rtx50_autoload.evidence.verdict import Verdict
from rtx50_autoload.printable import printable
from rtx50_autoload.report.words import MEANINGS, headline, judged_for, next_steps, others, probe_detail, verdict_word
from rtx50_autoload.safe_console import SafeConsole

__all__ = ["SEVERITY_STYLES", "numbered", "show_examination"]

_PROBE_STYLES: Final = {"works": "green", "not installed": "dim"}
#: How rich shows the severity of a finding.
SEVERITY_STYLES: Final = {"error": "bold red", "warning": "bold yellow", "info": "dim"}


def show_examination(document: dict[str, Any]) -> None:
    """Print what ``doctor --json`` gives."""
    console = SafeConsole()
    for line in judged_for(document):
        console.print(printable(line))
    console.print()
    if document["libraries"]:
        console.print(_libraries(document))
    shown = {verdict for library in document["libraries"] for verdict in library["verdicts"].values()}
    for verdict, meaning in MEANINGS.items():
        if verdict in shown:
            console.print(Text(f"{verdict_word(verdict)}: {meaning}", "dim"))
    console.print(Text(others(document), "dim"))
    if document["probes"] is not None:
        console.print()
        console.print(printable(document["probes"]["reason"]))
        console.print(_probes(document["probes"]))
    for finding in document["findings"]:
        console.print()
        severity = Text(f"{finding['severity']}: ", SEVERITY_STYLES[finding["severity"]])
        console.print(Text.assemble(severity, (printable(finding["what"]), "bold")))
        console.print(Padding(Text(printable(finding["why"])), (0, 0, 0, 2), expand=False))
    console.print()
    console.print(Text(f"{headline(document)}.", "green" if document["ok"] else "bold"))
    steps = next_steps(document)
    if steps:
        console.print(Text("Next:", "bold"))
        console.print(numbered(steps))


def numbered(steps: list[str]) -> Table:
    """Lay out the next steps with their numbers."""
    table = Table.grid(padding=(0, 1))
    for number, step in enumerate(steps, start=1):
        # A path that is longer than the line stays whole.
        table.add_row(f"{number}.", Text(printable(step), overflow="fold"))
    return table


def _probes(report: dict[str, Any]) -> Table:
    table = plain_table(show_header=bool(report["results"]))
    for column in ("computation", "library", "result"):
        table.add_column(column, overflow="fold")
    table.add_column("detail", ratio=1)
    for result in report["results"]:
        state = Text(result["state"], _PROBE_STYLES.get(result["state"], "bold red"))
        table.add_row(result["name"], printable(result["library"]), state, printable(probe_detail(result)))
    return table


def _libraries(document: dict[str, Any]) -> Table:
    table = plain_table()
    table.add_column("library", overflow="fold")
    several = len(document["judged_for"]) > 1
    for subject in document["judged_for"]:
        table.add_column(subject["capability"] if several else "verdict", no_wrap=True)
    table.add_column("why", ratio=1)
    for library in document["libraries"]:
        verdicts = [Text(verdict_word(verdict), STYLES[Verdict(verdict)]) for verdict in library["verdicts"].values()]
        name = f"{library['name']} {library['version'] or ''}".rstrip()
        table.add_row(printable(name), *verdicts, printable(library["idle"] or library["reason"]))
    return table
