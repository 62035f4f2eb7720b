"""What a benchmark hands on: a table for the terminal, and the same table with its raw figures as a JSON file.

The files lie in benchmarks/results; docs/benchmarks.md shows their tables, so that no figure is written down by hand.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import json
import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Result", "arguments"]


def arguments(description: str | None) -> argparse.ArgumentParser:
    """Make a parser with the option that every benchmark has."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, metavar="FOLDER", help="write tables and raw figures there, as JSON")
    return parser


@dataclass(frozen=True)
class Result:
    """One table.

    Attributes:
        name: what its file is called.
        title: what was measured.
        command: how to do it again, from the root of the checkout.
        columns: the headings; the first column is text, the others are figures.
        rows: a row of cells each.
        raw: what the cells were made of, for JSON.
        packages: distributions whose versions belong to the figures.

    """

    name: str
    title: str
    command: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    raw: Any
    packages: Sequence[str] = ()

    def finish(self, folder: Path | None) -> None:
        """Print the table, and write the file where a folder is given."""
        print(self.text())
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            output = folder / f"{self.name}.json"
            output.write_text(json.dumps(self.document(), indent=1) + "\n", encoding="utf-8")

    def text(self) -> str:
        """Give the table for a terminal."""
        lines = [list(self.columns), *(list(row) for row in self.rows)]
        widths = [max(len(line[index]) for line in lines) for index in range(len(self.columns))]
        head = "; ".join(f"{name} {value}" for name, value in surroundings(self.packages).items())
        table = (
            "  ".join(
                cell.rjust(width) if index else cell.ljust(width)
                for index, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        )
        return "\n".join([f"\n{self.title}", head, *table])

    def document(self) -> dict[str, Any]:
        """Give the content of the file."""
        return {
            "title": self.title,
            "command": self.command,
            "surroundings": surroundings(self.packages),
            "columns": list(self.columns),
            "rows": [list(row) for row in self.rows],
            "raw": self.raw,
        }


def surroundings(packages: Sequence[str]) -> dict[str, str]:
    """Tell the day, the machine and the versions."""
    found = {
        "date": dt.datetime.now(dt.timezone.utc).date().isoformat(),
        "Python": platform.python_version(),
        "CPU": f"{cpu()}, {os.cpu_count()} threads",
        **gpu(),
    }
    for package in packages:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def cpu() -> str:
    """Give the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def gpu() -> dict[str, str]:
    """Give the GPU and its driver, where NVIDIA's library knows one."""
    try:
        from rtx50_autoload.evidence import nvml
    except ImportError:
        return {}
    reading = nvml.read(time_limit=60)
    return {"GPU": reading.gpus[0].name, "driver": reading.driver or "unknown"} if reading.gpus else {}
