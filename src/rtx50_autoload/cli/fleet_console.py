"""What a person sees of the examination of a cluster at the terminal, from 60 columns up."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from rtx50_autoload.cli.doctor_console import SEVERITY_STYLES
from rtx50_autoload.cli.layout import show, show_numbered
from rtx50_autoload.cli.tables import plain_table
from rtx50_autoload.cli.verdict_styles import STYLES
from rtx50_autoload.evidence.verdict import Verdict
from rtx50_autoload.printable import printable
from rtx50_autoload.report.words import MEANINGS, headline, verdict_word
from rtx50_autoload.safe_console import SafeConsole

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["show_fleet"]

#: How many nodes are named in a sentence.
_NAMED: Final = 5
_SEVERITIES: Final = ("error", "warning", "info")


def show_fleet(fleet: dict[str, Any]) -> None:
    """Print what ``doctor --ray --json`` gives."""
    console = SafeConsole()
    console.print(_nodes(fleet["nodes"]))
    libraries = [library for node in fleet["nodes"] if node["document"] for library in node["document"]["libraries"]]
    shown = {verdict for library in libraries for verdict in library["verdicts"].values()}
    for verdict, meaning in MEANINGS.items():
        if verdict in shown:
            show(console, f"{verdict_word(verdict)}: {meaning}", style="dim")
    if fleet["left_before"]:
        gone = _listed([node["name"] for node in fleet["left_before"]])
        show(console, f"Left the cluster before, and not looked at: {gone}", style="dim")
    found = _findings(fleet)
    # What to do may differ from node to node where what is wrong does not.
    findings = _merged(found, "severity", "what", "why")
    for finding, names in findings:
        console.print()
        severity = f"{finding['severity']}{f' on {_where(names, fleet)}' if names else ''}: "
        head = Text.assemble((severity, SEVERITY_STYLES[finding["severity"]]), (printable(finding["what"]), "bold"))
        show(console, head)
        show(console, finding["why"], 2)
    console.print()
    plural = "" if len(fleet["nodes"]) == 1 else "s"
    examined = sum(node["document"] is not None for node in fleet["nodes"])
    found_in_all = headline({"findings": [finding for finding, _ in findings]})
    line = f"{examined} of {len(fleet['nodes'])} node{plural} examined. {found_in_all}."
    show(console, line, style="green" if fleet["ok"] else "bold")
    steps = [(finding["next"], names) for finding, names in _merged(found, "next") if finding["next"]]
    if steps:
        console.print(Text("Next:", "bold"))
        show_numbered(console, [f"{_where(names, fleet)}: {step}" if names else step for step, names in steps])
    show(console, "What else is known of each node, and why a verdict is what it is: --json", style="dim")


def _nodes(nodes: list[dict[str, Any]]) -> Table:
    table = plain_table()
    table.add_column("node", overflow="fold")
    table.add_column("library", overflow="fold")
    table.add_column("verdict")
    for node in nodes:
        name = Text(printable(node["name"]), "bold")
        document = node["document"]
        if document is None:
            table.add_row(name, "-", Text(node["state"], "bold red"))
            continue
        about = [Text(printable(subject), "dim") for subject in _judged_for(document)]
        libraries = [
            (printable(f"{library['name']} {library['version'] or ''}".rstrip()), _verdicts(library["verdicts"]))
            for library in document["libraries"]
        ]
        rows = zip_longest([name, *about], libraries or [("none with GPU code", Text())], fillvalue=None)
        for left, right in rows:
            table.add_row(left or "", *(right or ("", "")))
    return table


def _judged_for(document: dict[str, Any]) -> list[str]:
    if not document["devices"]:
        return ["no GPU: for " + ", ".join(subject["capability"] for subject in document["judged_for"])]
    return [f"{subject['name']} ({subject['capability']})" for subject in document["judged_for"]]


def _verdicts(verdicts: dict[str, str]) -> Text:
    """Write one line for each capability."""
    return Text("\n").join(
        Text(
            f"{verdict_word(verdict)}{f' on {device}' if len(verdicts) > 1 else ''}",
            # Another version of the package may know other verdicts.
            STYLES[Verdict(verdict)] if verdict in MEANINGS else "",
        )
        for device, verdict in verdicts.items()
    )


def _findings(fleet: dict[str, Any]) -> list[tuple[dict[str, str], str]]:
    """Give what is wrong, each with its node; the most important first."""
    found = [(finding, "") for finding in fleet["findings"]]
    for node in fleet["nodes"]:
        own = [node["finding"]] if node["document"] is None else node["document"]["findings"]
        found += [(finding, node["name"]) for finding in own if finding["severity"] != "info"]
    return sorted(found, key=lambda each: _SEVERITIES.index(each[0]["severity"]))


def _merged(found: list[tuple[dict[str, str], str]], *keys: str) -> list[tuple[dict[str, str], list[str]]]:
    """Give those that are the same in these keys once, with the names of all their nodes."""
    merged: dict[tuple[str, ...], tuple[dict[str, str], list[str]]] = {}
    for finding, name in found:
        _, names = merged.setdefault(tuple(finding[key] for key in keys), (finding, []))
        if name and name not in names:
            names.append(name)
    return list(merged.values())


def _where(names: list[str], fleet: dict[str, Any]) -> str:
    everywhere = len(names) == len(fleet["nodes"]) > 1
    return "all nodes" if everywhere else _listed(names)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return printable(", ".join(names[:_NAMED]) + more)
