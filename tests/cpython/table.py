"""The table of the documentation: one line for each Python, written anew for those that were run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

HEAD = [
    "| Python | run on | files | tests | failed: without | inactive | wrapped | new failures | remarks |",
    "|---|---|---|---|---|---|---|---|---|",
]


@dataclass(frozen=True, slots=True)
class Row:
    """What one Python says.

    Attributes:
        python: its version, with a "t" where it is a free-threaded build.
        failed: for each column, how many tests failed.
        new: those that do so because of the package, and nobody knew.
        remarks: what is known, and what did not repeat.

    """

    python: str
    suites: int
    tests: int
    failed: dict[str, int]
    new: list[str]
    remarks: list[str]

    def line(self) -> str:
        """Give the line of the table."""
        cells = [
            self.python,
            f"{datetime.now(tz=timezone.utc):%Y-%m-%d}",
            str(self.suites),
            f"{self.tests:,}",
            *map(str, self.failed.values()),
            "**none**" if not self.new else f"{len(self.new)}: " + ", ".join(f"`{name}`" for name in self.new),
            "; ".join(self.remarks),
        ]
        return f"| {' | '.join(cells)} |"


def write(file: Path, rows: list[Row]) -> None:
    """Write the rows to a file, in the place of the rows of the same Pythons."""
    old = file.read_text(encoding="utf-8").splitlines()[len(HEAD) :] if file.exists() else []
    lines = {python_of(line): line for line in [*old, *(row.line() for row in rows)]}
    ordered = sorted(lines, key=lambda python: ([int(number) for number in re.findall(r"\d+", python)], python))
    file.write_text("\n".join([*HEAD, *(lines[python] for python in ordered)]) + "\n", encoding="utf-8")


def python_of(line: str) -> str:
    """Give the first cell."""
    return line.split("|")[1].strip()
