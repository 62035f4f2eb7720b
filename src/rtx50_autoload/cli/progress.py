"""A progress bar on stderr for commands that read many files; nothing where stderr is no terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["with_progress"]

_Item = TypeVar("_Item")


def with_progress(binaries: Iterable[_Item]) -> Iterator[_Item]:
    """Find all binaries first, then yield each, and show how far the reader has come."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = Console(stderr=True)
    # Even transient, it would leave an empty line where there is no terminal.
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("Looking for binaries", total=None)
        found = list(binaries)
        progress.update(task, description="Reading", total=len(found))
        for binary in found:
            yield binary
            progress.advance(task)
