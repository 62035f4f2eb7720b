"""A picture of the speed-ups. matplotlib is an extra, so whether it is there is asked before the work is done."""

from __future__ import annotations

import importlib.util
import os
from typing import TYPE_CHECKING, Any, Final

from rtx50_autoload.benchmarking.numbers import three_digits
from rtx50_autoload.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["PictureError", "check_picture", "draw"]

_SUFFIXES: Final = (".png", ".svg", ".pdf")
#: Okabe and Ito's blue and orange, which people of all kinds of colour vision tell apart.
_COLOURS: Final = ("#0072B2", "#E69F00")
#: Where the longest bar is so many times the shortest, that one could not be seen on an even scale.
_LOGARITHMIC_FROM: Final = 12


class PictureError(UsageError):
    """The picture cannot be drawn or written."""


def check_picture(file: Path) -> None:
    """See that a picture can be drawn and written there, before anything is measured.

    Raises:
        PictureError: it cannot.

    """
    if file.suffix.lower() not in _SUFFIXES:
        raise PictureError(f"{file} has to end in one of {', '.join(_SUFFIXES)}")
    if file.is_dir() or not os.access(file if file.exists() else file.parent, os.W_OK):
        raise PictureError(f"{file} cannot be written: its folder has to be there, and writable")
    if importlib.util.find_spec("matplotlib") is None:
        raise PictureError("`--plot` needs its extra: pip install 'rtx50-autoload[plot]'")


def draw(document: dict[str, Any], file: Path) -> None:
    """Draw what ``bench --json`` gives, where it has speed-ups.

    Raises:
        PictureError: the file cannot be written.

    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra

    figure = Figure(figsize=(9, 1.9 + 0.9 * len(document["works"])), layout="constrained")
    axes = figure.add_subplot()
    _bars(axes, document["works"])
    title = figure.suptitle(
        f"{document['gpu'] or 'GPU'} against the CPU beside it", x=0.02, ha="left", size=14, weight="bold"
    )
    axes.set_title(_subtitle(document), loc="left", size=9, color="#444444", parse_math=False)
    title.set_parse_math(False)
    try:
        figure.savefig(file, dpi=150)
    except OSError as error:
        raise PictureError(f"{file} cannot be written: {error.strerror}") from error


def _bars(axes: Any, works: list[dict[str, Any]]) -> None:  # noqa: ANN401 - matplotlib is absent where types are checked
    speed_ups = [row["speed_up"] for work in works for row in work["gpu"] if row["speed_up"]]
    if max(speed_ups) / min(speed_ups) > _LOGARITHMIC_FROM:
        axes.set_xscale("log")
    dtypes = list(dict.fromkeys(row["dtype"] for work in works for row in work["gpu"]))
    height = 0.8 / len(dtypes)
    # A bar begins at 1, as fast as the CPU, so that on a logarithmic scale its length has a meaning, too.
    for number, dtype in enumerate(dtypes):
        found = [
            (place + (number - (len(dtypes) - 1) / 2) * height, row["speed_up"])
            for place, work in enumerate(works)
            for row in work["gpu"]
            if row["dtype"] == dtype and row["speed_up"]
        ]
        bars = axes.barh(
            [place for place, _ in found],
            [speed_up - 1 for _, speed_up in found],
            height * 0.9,
            left=1,
            color=_COLOURS[number % len(_COLOURS)],
            label=f"GPU in {dtype}" + (", the same work" if number == 0 else ", as models usually run there"),
        )
        axes.bar_label(bars, [f"{three_digits(speed_up)}x" for _, speed_up in found], padding=4, size=10)
    axes.set_yticks(range(len(works)), [work["name"] for work in works], size=11)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel("times as fast as the CPU in float32" + (", logarithmic" if axes.get_xscale() == "log" else ""))
    axes.grid(axis="x", color="#dddddd")
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=len(dtypes), frameon=False, size=10)


def _subtitle(document: dict[str, Any]) -> str:
    versions = document["versions"]
    software = [f"torch {versions['torch']}", f"CUDA {versions['cuda']}"]
    software += [f"driver {document['driver']}"] if document["driver"] else []
    software += [f"rtx50-autoload {versions['rtx50-autoload']}"]
    return (
        f"{document['cpu']}, {document['threads']} threads, float32\n{', '.join(software)}, measured {document['date']}"
    )
