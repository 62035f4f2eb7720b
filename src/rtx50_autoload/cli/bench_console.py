"""What a person sees of a benchmark at the terminal, from 60 columns up."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from rtx50_autoload.benchmarking.numbers import three_digits
from rtx50_autoload.cli.layout import show
from rtx50_autoload.cli.tables import plain_table
from rtx50_autoload.safe_console import SafeConsole

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["show_benchmark"]

_UNITS: Final = (("s", 1.0), ("ms", 1e3), ("us", 1e6))


def show_benchmark(document: dict[str, Any]) -> None:
    """Print what ``bench --json`` gives."""
    console = SafeConsole()
    for line in _where(document):
        show(console, line)
    console.print()
    console.print(_table(document))
    console.print()
    for work in document["works"]:
        reduced = " Smaller than usual, because this CPU takes long for it." if work["reduced"] else ""
        show(console, f"{work['name']}: {work['what']}.{reduced}", style="dim")
    show(console, _method(document), style="dim")
    for line in _faults(document):
        show(console, line, style="bold red")
    if document["no_gpu"]:
        console.print()
        show(console, f"Nothing was measured on a GPU: {document['no_gpu']}.", style="bold yellow")
    if document["simulated"]:
        words = "RTX50_SIMULATE names devices that are no GPUs: nothing can be computed on them."
        show(console, words, style="yellow")
    if not document["ok"]:
        show(console, "Next: `rtx50-autoload doctor` says what keeps this environment from the GPU.")
    if document["payback"]:
        console.print()
        show(console, _payback(document["payback"]))


def _where(document: dict[str, Any]) -> list[str]:
    versions = document["versions"]
    cuda = f"CUDA {versions['cuda']}" if versions["cuda"] else "built without CUDA"
    lines = [f"CPU: {document['cpu']}, {document['threads']} threads"]
    if not document["no_gpu"]:
        driver = f", driver {document['driver']}" if document["driver"] else ""
        lines.append(f"GPU: {document['gpu'] or 'its name is not known'} ({document['place']}){driver}")
    measured = f"{datetime.fromisoformat(document['date']):%Y-%m-%d %H:%M} UTC"
    lines.append(f"torch {versions['torch']}, {cuda}, Python {versions['python']}, {measured}")
    return lines


def _table(document: dict[str, Any]) -> Table:
    table = plain_table()
    table.add_column("work", overflow="fold")
    table.add_column("CPU float32", justify="right")
    dtypes = list(dict.fromkeys(row["dtype"] for work in document["works"] for row in work["gpu"]))
    for dtype in dtypes:
        table.add_column(f"GPU {dtype}", justify="right")
    for work in document["works"]:
        table.add_row(work["name"], _cell(work["cpu"]), *(_cell(row) for row in work["gpu"]))
    return table


def _cell(row: dict[str, Any]) -> Text:
    timing = row["timing"]
    if timing is None:
        return Text("wrong" if row["wrong"] else "failed", "bold red")
    unit, factor = next(each for each in _UNITS if timing["median"] * each[1] >= 1 or each == _UNITS[-1])
    median, lower, upper = (three_digits(timing[name] * factor) for name in ("median", "lower", "upper"))
    cell = Text(f"{median} {unit}")
    cell.append(f"\n{lower} - {upper} {unit}", "dim")
    if row.get("speed_up"):
        cell.append(f"\n{three_digits(row['speed_up'])}x", "bold green")
    return cell


def _method(document: dict[str, Any]) -> str:
    method = document["method"]
    text = (
        f"For one call: the median of the rounds ({method['rounds']} or more, for {method['seconds']:g} s or more, "
        "after a warm-up), and the range that holds half of them"
    )
    if document["no_gpu"]:
        return f"{text}."
    tf32 = "without" if document["float32_precision"] == "highest" else "possibly with"
    return (
        f"{text}; below, how many times as fast as the CPU that is. GPU float32 is the same work ({tf32} TF32 in "
        "matrix products); bfloat16 rounds more, and is how models usually run on a GPU. Copying to the GPU is not "
        "counted."
    )


def _faults(document: dict[str, Any]) -> list[str]:
    lines = []
    for work in document["works"]:
        for row in work["gpu"]:
            what = f"{work['name']}, GPU {row['dtype']}"
            if row["error"]:
                lines.append(f"{what}: {row['error']}")
            elif row["wrong"]:
                off = row["largest_error"]
                share = off if isinstance(off, str) else f"{off:.2g}"
                lines.append(
                    f"{what}: the result is not the CPU's: off by {share} of its largest value, where "
                    f"{row['bound']:g} can be rounding."
                )
    return lines


def _payback(payback: dict[str, float]) -> str:
    price, rent, hours = payback["card_price"], payback["cloud_price"], payback["hours_per_day"]
    return (
        f"By these prices the card has paid for itself after {three_digits(payback['days'])} days: {price:g} / "
        f"({rent:g} an hour x {hours:g} hours a day). That takes a card that does what the rented GPU would do; "
        "nothing that was measured enters it. Electricity, the rest of the computer and what the card is worth "
        "afterwards are not counted."
    )
