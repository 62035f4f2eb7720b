"""A picture of the speed-ups. matplotlib is an extra, so whether it is there is asked before the work is done."""

from __future__ import annotations

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
    try:
        import matplotlib.figure  # noqa: F401, PLC0415 - an extra, which may be there and broken
    except ImportError as error:
        raise PictureError(f"`--plot` needs its extra ({error}): pip install 'rtx50-autoload[plot]'") from error


def draw(document: dict[str, Any], file: Path) -> None:
    """Draw what ``bench --json`` gives, where it has speed-ups.

    Raises:
        PictureError: the file cannot be written.

    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra

    figure = Figure(figsize=(10, 2 + 0.9 * len(document["works"])), layout="constrained")
    axes = figure.add_subplot()
    _bars(axes, document["works"])
    title = f"{document['gpu'] or 'GPU'} against the CPU beside it"
    axes.set_title(title, loc="left", size=12, weight="bold", pad=40, parse_math=False)
    above = {"xycoords": "axes fraction", "xytext": (0, 8), "textcoords": "offset points"}
    axes.annotate(_subtitle(document), (0, 1), **above, size=9, color="#444444", parse_math=False)
    figure.legend(loc="outside lower left", ncols=2, frameon=False, fontsize=10)
    try:
        figure.savefig(file, dpi=150)
    except OSError as error:
        raise PictureError(f"{file} cannot be written: {error.strerror}") from error


def _bars(axes: Any, works: list[dict[str, Any]]) -> None:  # noqa: ANN401 - matplotlib is absent where types are checked
    speed_ups = [row["speed_up"] for work in works for row in work["gpu"] if row["speed_up"]]
    logarithmic = max(speed_ups) / min(speed_ups) > _LOGARITHMIC_FROM
    if logarithmic:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
    # There is no zero on a logarithmic scale. From 1, as fast as the CPU, a bar's length has a meaning there, too.
    base = 1 if logarithmic else 0
    dtypes = list(dict.fromkeys(row["dtype"] for work in works for row in work["gpu"]))
    height = 0.8 / len(dtypes)
    for number, dtype in enumerate(dtypes):
        found = [
            (place + (number - (len(dtypes) - 1) / 2) * height, row["speed_up"])
            for place, work in enumerate(works)
            for row in work["gpu"]
            if row["dtype"] == dtype and row["speed_up"]
        ]
        bars = axes.barh(
            [place for place, _ in found],
            [speed_up - base for _, speed_up in found],
            height * 0.9,
            left=base,
            color=_COLOURS[number % len(_COLOURS)],
            label=f"GPU in {dtype}" + (", the same work" if number == 0 else ", as models usually run there"),
        )
        axes.bar_label(bars, [f"{three_digits(speed_up)}x" for _, speed_up in found], padding=4, size=10)
    axes.set_yticks(range(len(works)), [work["name"] for work in works], size=11)
    axes.set_ylim(len(works) - 0.5, -0.5)
    axes.margins(x=0.12)
    axes.set_xlabel("times as fast as the CPU in float32" + (", logarithmic" if logarithmic else ""))
    axes.grid(axis="x", color="#dddddd")
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _subtitle(document: dict[str, Any]) -> str:
    versions = document["versions"]
    software = [f"torch {versions['torch']}", f"CUDA {versions['cuda']}"]
    software += [f"driver {document['driver']}"] if document["driver"] else []
    software += [f"rtx50-autoload {versions['rtx50-autoload']}"]
    return f"{document['cpu']}, {document['threads']} threads, float32\n{', '.join(software)}, {document['date'][:10]}"
