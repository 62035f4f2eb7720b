"""How far a fix has come: a bar at a terminal, plain lines elsewhere."""

from __future__ import annotations

import io
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from rtx50_autoload.cli.layout import show
from rtx50_autoload.cli.progress import bar, moves, teller
from rtx50_autoload.diagnosis import this_machine
from rtx50_autoload.diagnosis.classifier import classify
from rtx50_autoload.printable import printable
from rtx50_autoload.safe_console import SafeConsole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rtx50_autoload.installer.plan import Step

__all__ = ["Progress", "show_progress"]


class Progress:
    """What `installer.application` tells how it goes."""

    def __init__(self, *, on_stderr: bool) -> None:
        self._console = SafeConsole(stderr=on_stderr)
        self._moving = moves(self._console)
        self._bar = bar(self._console)
        self._tell = teller(self._bar)
        self._steps: tuple[int, int | None] = (0, None)

    def start(self) -> None:
        """Begin to show the bar, where there is one."""
        self._bar.start()

    def stop(self) -> None:
        """Take the bar away."""
        self._bar.stop()

    def say(self, text: str) -> None:
        """Say what is done now."""
        if self._moving:
            self._tell(text, *self._steps)
        else:
            show(self._console, text, style="dim")

    def begin(self, number: int, count: int, step: Step) -> None:
        """Say that a step begins."""
        title = f"Step {number} of {count}: {step.what}"
        show(self._console, title, style="bold")
        self._steps = number - 1, count
        self._tell(title, *self._steps)

    def line(self, text: str) -> None:
        """Show what a command says."""
        shown = printable(text.rstrip())
        if shown and self._moving:
            self._tell(shown, *self._steps)
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
    with bar(silent) as progress:
        teller(progress)("日本", 0, 1)
        show(silent, Text("… `two words`", "bold red"), mark="- ")
    classify("ERROR: No matching distribution found for torch", this_machine.look())
