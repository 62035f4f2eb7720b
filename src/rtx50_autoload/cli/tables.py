"""How tables look at the terminal: a line under the head and no other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.box import SIMPLE_HEAD, Box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from .layout import show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, ConsoleOptions

__all__ = ["plain_table", "show_table"]

_GAP: Final = 3
#: A column of sentences that is narrower than this is hard to read.
_NARROWEST: Final = 30


class _LineUnderHead(Box):
    """rich would draw all lines of a table where the terminal's encoding lacks the one for this."""

    def substitute(self, options: ConsoleOptions, *, safe: bool = True) -> Box:  # type: ignore[override]
        return _LINE_OF_DASHES if options.ascii_only else super().substitute(options, safe=safe)


_LINE: Final = _LineUnderHead(str(SIMPLE_HEAD))
_LINE_OF_DASHES: Final = Box(str(SIMPLE_HEAD).replace("\N{BOX DRAWINGS LIGHT HORIZONTAL}", "-"), ascii=True)


def plain_table(*, show_header: bool = True) -> Table:
    """Give an empty table."""
    return Table(box=_LINE, show_edge=False, pad_edge=False, show_header=show_header)


def show_table(console: Console, heads: Sequence[str], rows: Sequence[Sequence[str | Text]], notes: int = 1) -> None:
    """Print rows whose last cells are sentences or paths: beside the others where there is room, else below them.

    Args:
        console: where.
        heads: what stands over each column.
        rows: the cells of each row.
        notes: how many of the last columns hold sentences or paths.

    """
    short = len(heads) - notes
    widths = [max(_width(cells[number]) for cells in (heads, *rows)) for number in range(short)]
    room = console.width - sum(widths) - _GAP * short
    longest = max((_width(cell) for row in rows for cell in row[short:]), default=0)
    if room >= notes * _NARROWEST or (notes == 1 and room >= longest):
        table = plain_table()
        for number, head in enumerate(heads):
            table.add_column(head, no_wrap=number < short, ratio=None if number < short else 1, overflow="fold")
        for row in rows:
            table.add_row(*row)
        console.print(table)
        return
    # A name that is longer than a line is folded; the columns of all rows stay below each other.
    widths[0] = min(widths[0], console.width - sum(widths[1:]) - _GAP * (short - 1))
    console.print(_beside_each_other(heads[:short], widths, show_header=True))
    for row in rows:
        table = _beside_each_other(heads[:short], widths, show_header=False)
        table.add_row(*row[:short])
        console.print(table)
        for head, cell in zip(heads[short:], row[short:], strict=True):
            show(console, Text.assemble("" if head == heads[short] else f"{head}: ", cell), 2)


def _beside_each_other(heads: Sequence[str], widths: Sequence[int], *, show_header: bool) -> Table:
    table = plain_table(show_header=show_header)
    for head, width in zip(heads, widths, strict=True):
        table.add_column(head, width=width, overflow="fold")
    return table


def _width(cell: str | Text) -> int:
    return max(map(cell_len, str(cell).split("\n")))
