"""``bench``: how much faster the GPU is than the CPU here, and when the card has paid for itself."""

from __future__ import annotations

import argparse
import json
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rtx50_autoload.cli.complaints import complain
from rtx50_autoload.cli.exit_codes import FINDING, OK
from rtx50_autoload.errors import UsageError

if TYPE_CHECKING:
    from rtx50_autoload.benchmarking.comparing import Engine
    from rtx50_autoload.benchmarking.payback import Payback
    from rtx50_autoload.benchmarking.results import Benchmark
    from rtx50_autoload.cli.command_parser import CommandParser

__all__ = ["PriceError", "add_parser", "run"]


class PriceError(UsageError):
    """Prices that nothing can be computed from."""


def add_parser(subparsers: argparse._SubParsersAction[CommandParser]) -> None:
    """Add the command to the program's parser; what it parses carries `run` as ``run``."""
    parser = subparsers.add_parser(
        "bench",
        help="how much faster the GPU is than the CPU here, measured",
        description="Compute matrix products, embeddings and the inference of a transformer on the CPU and on the GPU "
        "with the installed torch, compare the results, and print how long each took. Takes about a minute. "
        "Exit status: 0 measured, 1 no GPU that can be used, a result that is not the CPU's, or no torch, 2 usage.",
        examples=(
            ("rtx50-autoload bench", "GPU against CPU; takes about a minute"),
            ("rtx50-autoload bench --plot speed.png", "also as a picture"),
            ("rtx50-autoload bench --card-price 2000 --cloud-price 1.20", "also when the card has paid for itself"),
        ),
    )
    parser.add_argument("--device", type=_device, default="cuda:0", metavar="cuda:N", help="the GPU (default: cuda:0)")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the speed-ups: .png, .svg or .pdf")
    parser.add_argument("--card-price", type=_positive, metavar="PRICE", help="what the card costs, in any currency")
    parser.add_argument(
        "--cloud-price", type=_positive, metavar="PRICE", help="what a comparable GPU costs for an hour to rent"
    )
    parser.add_argument(
        "--hours-per-day", type=_hours, metavar="HOURS", help="how long a GPU is in use on each day (default: 24)"
    )
    parser.add_argument("--json", action="store_true", help="the same as JSON on stdout")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure and print the result on stdout.

    Returns:
        0 where all was computed on the GPU as on the CPU, 1 where not.

    Raises:
        UsageError: a picture cannot be drawn or written, prices are incomplete, or there is no such device.
        TorchMissingError: torch cannot be imported.

    """
    # A command imports what it needs: the parser of every other command is built without these.
    from rtx50_autoload.benchmarking.engine import TorchEngine  # noqa: PLC0415
    from rtx50_autoload.benchmarking.plot import check_picture, draw  # noqa: PLC0415
    from rtx50_autoload.cli.bench_console import show_benchmark  # noqa: PLC0415

    payback = _payback(arguments)
    if arguments.plot is not None:
        check_picture(arguments.plot)
    benchmark = _measure(TorchEngine(), arguments.device)
    document: dict[str, Any] = {**benchmark.as_json(), "payback": payback.as_json() if payback else None}
    if arguments.json:
        print(json.dumps(document, indent=2))  # noqa: T201
    else:
        show_benchmark(document)
    if arguments.plot is not None:
        if any(row["speed_up"] for work in document["works"] for row in work["gpu"]):
            draw(document, arguments.plot)
        else:
            complain("no picture is drawn: nothing was measured on a GPU.")
    return OK if benchmark.ok else FINDING


def _measure(engine: Engine, device: str) -> Benchmark:
    """Measure, and show on a terminal how far that has come."""
    from rtx50_autoload.benchmarking.comparing import compare  # noqa: PLC0415
    from rtx50_autoload.cli.progress import show_progress  # noqa: PLC0415

    with show_progress("Beginning") as tell:
        return compare(engine, device, on_step=tell)


def _payback(arguments: argparse.Namespace) -> Payback | None:
    from rtx50_autoload.benchmarking.payback import Payback  # noqa: PLC0415

    card, cloud, hours = arguments.card_price, arguments.cloud_price, arguments.hours_per_day
    if card is None and cloud is None:
        if hours is not None:
            raise PriceError("--hours-per-day says something only with --card-price and --cloud-price")
        return None
    if card is None or cloud is None:
        raise PriceError("--card-price and --cloud-price go together: one alone says nothing")
    return Payback(card, cloud, 24.0 if hours is None else hours)


def _device(text: str) -> str:
    found = re.fullmatch(r"cuda(?::(0|[1-9]\d{0,3}))?", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no GPU; write cuda:0, cuda:1 and so on")
    return f"cuda:{found[1] or 0}"


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0, such as 2000 or 1.20")
    return number


def _hours(text: str) -> float:
    number = _positive(text)
    if number > 24:  # noqa: PLR2004 - a day's hours
        raise argparse.ArgumentTypeError(f"{text!r} is more than a day has")
    return number
