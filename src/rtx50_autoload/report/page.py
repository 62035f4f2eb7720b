"""An examination as HTML: a page that needs nothing beside itself, and the part of it that a notebook shows."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

from rtx50_autoload.commands import split_step
from rtx50_autoload.report.markup import Markup, element, joined
from rtx50_autoload.report.matrix import draw_legend, draw_matrix
from rtx50_autoload.report.words import MEANINGS, headline, judged_for, next_steps, others, probe_detail, verdict_word

__all__ = ["fragment", "page"]

#: How the states of a probe are marked, by the marks of verdicts and findings.
_PROBE_MARKS = {"works": "native", "not installed": "info"}


def page(document: dict[str, Any]) -> str:
    """Write a whole page from what ``doctor --json`` gives."""
    title = f"rtx50-autoload doctor: {headline(document)}"
    head = element(
        "head",
        Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup('<meta name="color-scheme" content="light dark">'),
        element("title", title),
        # The rest of the style comes with the fragment.
        Markup("<style>body{margin:0;display:grid;min-height:100vh}</style>"),
    )
    return f"<!doctype html>\n{element('html', head, element('body', fragment(document)), lang='en')}\n"


def fragment(document: dict[str, Any]) -> Markup:
    """Write the part that a notebook shows; its style holds for itself alone."""
    return joined(
        [
            Markup(f"<style>{_style()}</style>"),
            element(
                "main",
                element("h1", headline(document), class_="ok" if document["ok"] else "error"),
                *(element("p", line, class_="soft") for line in judged_for(document)),
                *_next_steps(document),
                *_findings(document),
                *_libraries(document),
                *_probes(document),
                *_matrices(document),
                element("p", f"rtx50-autoload {document['rtx50_autoload']}", class_="soft"),
                class_="rtx50",
            ),
        ]
    )


@cache
def _style() -> str:
    return files(__package__).joinpath("page.css").read_text(encoding="utf-8")


def _next_steps(document: dict[str, Any]) -> list[Markup]:
    steps = [element("li", *_step(step)) for step in next_steps(document)]
    return [element("h2", "Next"), element("ol", *steps)] if steps else []


def _step(step: str) -> list[str]:
    """Mark the command at the end of a step, and those between backticks."""
    sentence, command = split_step(step)
    return [*_sentence(sentence), " " if sentence else "", element("code", command)] if command else _sentence(sentence)


def _sentence(text: str) -> list[str]:
    return [element("code", part) if number % 2 else part for number, part in enumerate(text.split("`"))]


def _findings(document: dict[str, Any]) -> list[Markup]:
    cards = [
        element(
            "section",
            element(
                "h3", element("span", finding["severity"], class_=f"mark {finding['severity']}"), " ", finding["what"]
            ),
            element("p", *_sentence(finding["why"])),
            element("p", element("b", "Next: "), *_step(finding["next"])) if finding["next"] else "",
            class_="card",
        )
        for finding in document["findings"]
    ]
    return [element("h2", "Findings"), *cards] if cards else []


def _libraries(document: dict[str, Any]) -> list[Markup]:
    head = element("tr", *(element("th", word, scope="col") for word in ("library", "verdict", "why")))
    rows = [
        element(
            "tr",
            element("th", f"{library['name']} {library['version'] or ''}", scope="row"),
            element("td", _verdicts(library)),
            element("td", library["idle"] or library["reason"]),
        )
        for library in document["libraries"]
    ]
    shown = {verdict for library in document["libraries"] for verdict in library["verdicts"].values()}
    return [
        element("h2", "Libraries"),
        element("table", element("thead", head), element("tbody", *rows))
        if rows
        else element("p", "None with GPU code."),
        *(
            element("p", f"{verdict_word(word)}: {meaning}", class_="soft")
            for word, meaning in MEANINGS.items()
            if word in shown
        ),
        element("p", others(document), class_="soft"),
    ]


def _probes(document: dict[str, Any]) -> list[Markup]:
    report = document["probes"]
    if report is None:
        return []
    head = element("tr", *(element("th", word, scope="col") for word in ("computation", "result", "detail")))
    rows = [
        element(
            "tr",
            element("th", result["name"], scope="row"),
            element("td", element("div", result["state"], class_=f"mark {_PROBE_MARKS.get(result['state'], 'error')}")),
            element("td", probe_detail(result)),
        )
        for result in report["results"]
    ]
    table = [element("table", element("thead", head), element("tbody", *rows))] if rows else []
    return [element("h2", "Computed on the GPU"), element("p", f"{report['reason']} {report['date']}"), *table]


def _verdicts(library: dict[str, Any]) -> Markup:
    several = len(library["verdicts"]) > 1
    return joined(
        [
            element("div", f"{verdict_word(verdict)}{f' on {device}' if several else ''}", class_=f"mark {verdict}")
            for device, verdict in library["verdicts"].items()
        ]
    )


def _matrices(document: dict[str, Any]) -> list[Markup]:
    cards = [
        element(
            "section",
            element("h3", f"{library['name']} on {library['judged_for']}"),
            draw_matrix(library),
            class_="card",
        )
        for library in document["libraries"]
        if library["binaries"]
    ]
    if not cards:
        return []
    return [
        element("h2", "GPU code in the binaries"),
        element(
            "p", "A column is a GPU architecture: 120 stands for sm_120. The shaded one is this GPU's.", class_="soft"
        ),
        draw_legend(),
        element("div", *cards, class_="matrices"),
    ]
