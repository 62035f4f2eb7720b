"""The directive ``{rtx50-measured} NAME``: a table that a benchmark has written to ``benchmarks/results/NAME.json``.

So no figure of these pages is copied by hand. Below the table stand the day, the machine, the versions and the command.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docutils import nodes
from rtx50_tables import text
from sphinx.util.docutils import SphinxDirective

if TYPE_CHECKING:
    from sphinx.application import Sphinx

RESULTS = Path(__file__).resolve().parent.parent.parent / "benchmarks" / "results"


class MeasuredDirective(SphinxDirective):
    """Show one result."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Give the table and what it was measured on."""
        file = RESULTS / f"{self.arguments[0]}.json"
        self.env.note_dependency(str(file))
        result = json.loads(file.read_text(encoding="utf-8"))
        said = "; ".join(f"{name} {value}" for name, value in result["surroundings"].items())
        source = nodes.paragraph("", f"{said}. Again: ", nodes.literal("", result["command"]), classes=["source"])
        title = text(result["title"])
        title["classes"].append("measured")
        return [title, _table(result), source]


def _table(result: dict[str, Any]) -> nodes.table:
    columns = result["columns"]
    group = nodes.tgroup("", *(nodes.colspec(colwidth=40 if not index else 10) for index in range(len(columns))))
    group["cols"] = len(columns)
    group += [nodes.thead("", _row(columns)), nodes.tbody("", *map(_row, result["rows"]))]
    return nodes.table("", group, classes=["measured"])


def _row(cells: list[str]) -> nodes.row:
    return nodes.row("", *(nodes.entry("", text(cell)) for cell in cells))


def setup(app: Sphinx) -> dict[str, object]:
    """Register the directive."""
    app.add_directive("rtx50-measured", MeasuredDirective)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
