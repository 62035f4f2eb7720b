"""What a person sees of an examination at the terminal, from 60 columns up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from rtx50_autoload.cli.layout import show, show_numbered
from rtx50_autoload.cli.tables import show_table
from rtx50_autoload.cli.verdict_styles import STYLES
from rtx50_autoload.evidence.verdict import Verdict
from rtx50_autoload.printable import printable
from rtx50_autoload.report.words import MEANINGS, headline, judged_for, next_steps, others, probe_detail, verdict_word
from rtx50_autoload.safe_console import SafeConsole

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

__all__ = ["SEVERITY_STYLES", "show_examination"]

_PROBE_STYLES: Final = {"works": "green", "not installed": "dim"}
#: How rich shows the severity of a finding.
SEVERITY_STYLES: Final = {"error": "bold red", "warning": "bold yellow", "info": "dim"}


def show_examination(document: dict[str, Any], page: Path | None = None) -> None:
    """Print what ``doctor --json`` gives, and where it was written as a page."""
    console = SafeConsole()
    for line in judged_for(document):
        show(console, line)
    console.print()
    if document["libraries"]:
        _show_libraries(console, document)
    shown = {verdict for library in document["libraries"] for verdict in library["verdicts"].values()}
    for verdict, meaning in MEANINGS.items():
        if verdict in shown:
            show(console, f"{verdict_word(verdict)}: {meaning}", style="dim")
    show(console, others(document), style="dim")
    if document["probes"] is not None:
        console.print()
        show(console, document["probes"]["reason"])
        _show_probes(console, document["probes"])
    for (severity, why), whats in _by_meaning(document["findings"]).items():
        console.print()
        mark = Text(f"{severity}: ", SEVERITY_STYLES[severity])
        show(console, Text.assemble(mark, (printable(" ".join(whats)), "bold")))
        show(console, why, 2)
    console.print()
    show(console, f"{headline(document)}.", style="green" if document["ok"] else "bold")
    steps = next_steps(document)
    if steps:
        console.print(Text("Next:", "bold"))
        show_numbered(console, steps)
    if page is not None:
        console.print()
        show(console, f"To be opened in a browser: {page}")


def _by_meaning(findings: list[dict[str, str]]) -> dict[tuple[str, str], list[str]]:
    # What means the same is one paragraph: a machine that builds nothing lacks all that building needs.
    found: dict[tuple[str, str], list[str]] = {}
    for finding in findings:
        found.setdefault((finding["severity"], finding["why"]), []).append(finding["what"])
    return found


def _show_probes(console: Console, report: dict[str, Any]) -> None:
    rows = [
        (
            result["name"],
            printable(result["library"]),
            Text(result["state"], _PROBE_STYLES.get(result["state"], "bold red")),
            printable(probe_detail(result)),
        )
        for result in report["results"]
    ]
    if rows:
        show_table(console, ("computation", "library", "result", "detail"), rows)


def _show_libraries(console: Console, document: dict[str, Any]) -> None:
    several = len(document["judged_for"]) > 1
    heads = [subject["capability"] if several else "verdict" for subject in document["judged_for"]]
    rows: list[tuple[str | Text, ...]] = [
        (
            printable(f"{library['name']} {library['version'] or ''}".rstrip()),
            *(Text(verdict_word(verdict), STYLES[Verdict(verdict)]) for verdict in library["verdicts"].values()),
            printable(library["idle"] or library["reason"]),
        )
        for library in document["libraries"]
    ]
    show_table(console, ("library", *heads, "why"), rows)
