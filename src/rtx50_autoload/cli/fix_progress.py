"""How far a fix has come: one moving line at a terminal, plain lines elsewhere."""

from __future__ import annotations

import io
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from rtx50_autoload.diagnosis import this_machine
from rtx50_autoload.diagnosis.classifier import classify
from rtx50_autoload.printable import printable
from rtx50_autoload.safe_console import SafeConsole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rtx50_autoload.installer.plan import Step

__all__ = ["Progress", "show_progress"]

_NARROWEST: Final = 20


class Progress:
    """What `installer.application` tells how it goes."""

    def __init__(self, *, on_stderr: bool) -> None:
        self._console = SafeConsole(stderr=on_stderr)
        self._moving = self._console.is_terminal
        self._status = self._console.status("")

    def start(self) -> None:
        """Begin to show the moving line, where there is one."""
        if self._moving:
            self._status.start()

    def stop(self) -> None:
        """Take the moving line away."""
        if self._moving:
            self._status.stop()

    def say(self, text: str) -> None:
        """Say what is done now."""
        if self._moving:
            self._status.update(Text(text))
        else:
            self._console.print(Text(text, "dim"))

    def begin(self, number: int, count: int, step: Step) -> None:
        """Say that a step begins."""
        title = printable(f"Step {number} of {count}: {step.what}")
        self._console.print(Text(title, "bold"))
        if self._moving:
            self._status.update(Text(title))

    def line(self, text: str) -> None:
        """Show what a command says."""
        shown = printable(text.rstrip())
        if shown and self._moving:
            self._status.update(Text(shown[: max(_NARROWEST, self._console.width - 4)]))
        elif shown:
            self._console.print(f"  {shown}", soft_wrap=True)


@contextmanager
def show_progress(*, on_stderr: bool) -> Iterator[Progress]:
    """Show inside the block how far a fix has come."""
    _preload()
    progress = Progress(on_stderr=on_stderr)
    progress.start()
    try:
        yield progress
    finally:
        progress.stop()


def _preload() -> None:
    """Import what the console and the diagnosis import late: a step may replace or remove it."""
    silent = Console(file=io.StringIO(), force_terminal=True)
    with silent.status("…"):
        table = Table.grid()
        table.add_row("日本", Padding(Text("…", "bold red"), 1))
        silent.print(table)
    classify("ERROR: No matching distribution found for torch", this_machine.look())
