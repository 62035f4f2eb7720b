"""The image matrix of a library: which of its binaries hold code for which GPUs, as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rtx50_autoload.capability import parse_capability
from rtx50_autoload.evidence.arch import Architecture, Code, loads_on, parse_architecture
from rtx50_autoload.report.markup import Markup, element, joined
from rtx50_autoload.report.words import verdict_word

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rtx50_autoload.capability import Capability

__all__ = ["draw_legend", "draw_matrix"]

#: Lengths in CSS pixels.
_CELL: Final = 30
_ROW: Final = 48
_HEAD: Final = 22
_LEAST_WIDTH: Final = 330
_SQUARE: Final = 15
_DOT: Final = 4

#: In characters, beside the longest verdict.
_LONGEST_NAME: Final = 36

_UNITS: Final = {Code.SASS: "sass", Code.PTX: "ptx"}


def draw_matrix(library: dict[str, Any]) -> Markup:
    """Draw the binaries of one library of ``doctor --json``, one above the other, with a column for each architecture.

    Coloured is what loads on the device that the library was judged for.
    """
    device = parse_capability(library["judged_for"])
    binaries = sorted(library["binaries"], key=lambda binary: binary["unused"] is not None)
    # The device's own column is there even where it stays empty: that is the answer.
    own = f"{device[0]}{device[1]}"
    columns = sorted({own, *(_column(one) for binary in binaries for one in _images(binary))}, key=_order)
    width = max(_LEAST_WIDTH, len(columns) * _CELL)
    height = _HEAD + len(binaries) * _ROW
    band = element("rect", x=columns.index(own) * _CELL, y=0, width=_CELL, height=height, rx=4, class_="band")
    heads = [_label(column, index, is_own=column == own) for index, column in enumerate(columns)]
    rows = [_draw_row(binary, columns, _HEAD + index * _ROW, width, device) for index, binary in enumerate(binaries)]
    title = f"GPU code in {library['name']}, and what loads on {library['judged_for']}"
    return element(
        "svg",
        element("title", title),
        element("desc", " ".join(_in_words(binary) for binary in binaries)),
        band,
        *heads,
        *rows,
        role="img",
        aria_label=title,
        viewBox=f"0 0 {width} {height}",
        width=width,
        height=height,
    )


def draw_legend() -> Markup:
    """Draw what the signs of the matrices mean."""
    signs = (
        (_square(0, 0, loads=True), "SASS that loads"),
        (_dot(0, 0, loads=True), "PTX that the driver can compile"),
        (joined([_square(0, 0, loads=False), _dot(0, 0, loads=False)]), "code for other GPUs"),
    )
    return element(
        "p",
        *(
            element(
                "span",
                element("svg", sign, viewBox=f"0 0 {_CELL} {_CELL}", width=22, height=22, aria_hidden="true"),
                words,
            )
            for sign, words in signs
        ),
        class_="legend",
    )


def _images(binary: dict[str, Any]) -> Iterator[Architecture]:
    for name in (*binary["sass"], *binary["ptx"]):
        yield parse_architecture(name)


def _column(architecture: Architecture) -> str:
    return str(architecture).partition("_")[2]


def _order(column: str) -> tuple[int, str]:
    number = column.rstrip("af")
    return int(number), column.removeprefix(number)


def _label(column: str, index: int, *, is_own: bool) -> Markup:
    x = index * _CELL + _CELL / 2
    return element("text", column, x=x, y=14, class_="head own" if is_own else "head", text_anchor="middle")


def _draw_row(binary: dict[str, Any], columns: Sequence[str], top: int, width: int, device: Capability) -> Markup:
    verdict = binary["verdict"]
    signs = [
        (_square if code is Code.SASS else _dot)(
            index * _CELL, top + 18, loads=loads_on(parse_architecture(f"{code.value}_{column}"), device)
        )
        for index, column in enumerate(columns)
        for code, unit in _UNITS.items()
        if f"{code.value}_{column}" in binary[unit]
    ]
    return element(
        "g",
        element("path", d=f"M0 {top}H{width}", class_="line"),
        element("text", _shortened(binary["name"]), x=0, y=top + 15, class_="name"),
        element("text", verdict_word(verdict), x=width, y=top + 15, class_=f"mark {verdict}", text_anchor="end"),
        *signs,
        class_="unused" if binary["unused"] else None,
    )


def _shortened(path: str) -> str:
    """Return a path without the library's own folder, cut in the middle where it would run into the verdict."""
    name = path.partition("/")[2] or path
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 16]}…{name[-15:]}"


def _square(x: float, y: float, *, loads: bool) -> Markup:
    offset = (_CELL - _SQUARE) / 2
    kind = "sass loads" if loads else "sass"
    return element("rect", x=x + offset, y=y + offset, width=_SQUARE, height=_SQUARE, rx=3, class_=kind)


def _dot(x: float, y: float, *, loads: bool) -> Markup:
    kind = "ptx loads" if loads else "ptx"
    return element("circle", cx=x + _CELL / 2, cy=y + _CELL / 2, r=_DOT, class_=kind)


def _in_words(binary: dict[str, Any]) -> str:
    images = ", ".join((*binary["sass"], *binary["ptx"])) or "no listed code"
    unused = f", not used: {binary['unused']}" if binary["unused"] else ""
    return f"{binary['name']}: {images}; {verdict_word(binary['verdict'])}{unused}."
