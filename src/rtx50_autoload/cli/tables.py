"""How tables look at the terminal."""

from __future__ import annotations

from rich import box
from rich.table import Table

__all__ = ["plain_table"]


def plain_table(*, show_header: bool = True) -> Table:
    """Give an empty table with a line under its head and no other."""
    return Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, show_header=show_header)
