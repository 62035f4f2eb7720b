"""How far long work has come: a bar on stderr that goes away at its end; nothing where stderr is no terminal."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TypeVar

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column

from rtx50_autoload.printable import printable
from rtx50_autoload.safe_console import SafeConsole

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import Console

__all__ = ["Tell", "bar", "moves", "show_progress", "teller", "with_progress"]

_Item = TypeVar("_Item")


class Tell(Protocol):
    """What long work tells."""

    def __call__(self, what: str, done: int = 0, total: int | None = None) -> None:
        """Say what is done now, how much of all is done, and how much that is where it is known."""


def bar(console: Console) -> Progress:
    """Give a bar for a console that is a terminal; it shows nothing elsewhere."""
    columns = (
        # As wide as is left, and one line: a path may be long.
        TextColumn("{task.description}", markup=False, table_column=Column(ratio=1, no_wrap=True)),
        BarColumn(12),
        TextColumn("{task.fields[count]}"),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=console, transient=True, expand=True, disable=not moves(console))


def moves(console: Console) -> bool:
    """Tell whether lines can move on a console; rich alone takes FORCE_COLOR for a terminal."""
    return console.is_interactive and console.file.isatty()


def teller(progress: Progress, what: str = "") -> Tell:
    """Give what moves a bar."""
    task = progress.add_task(what, total=None, count="")

    def tell(what: str, done: int = 0, total: int | None = None) -> None:
        count = "" if total is None else f"{done}/{total}"
        progress.update(task, description=printable(what), completed=done, total=total, count=count)

    return tell


@contextmanager
def show_progress(what: str) -> Iterator[Tell]:
    """Show inside the block how far it has come, by what it tells."""
    with bar(SafeConsole(stderr=True)) as progress:
        yield teller(progress, what)


def with_progress(binaries: Iterable[_Item]) -> Iterator[_Item]:
    """Find all binaries first, then yield each, and show how far the reader has come."""
    with show_progress("Looking for binaries") as tell:
        found = list(binaries)
        for number, binary in enumerate(found):
            tell("Reading", number, len(found))
            yield binary
