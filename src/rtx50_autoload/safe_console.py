"""The terminal, as all texts of ours reach it: nothing that somebody else has written can steer it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

from rtx50_autoload.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import ConsoleOptions, RenderableType
    from rich.segment import Segment

__all__ = ["SafeConsole"]


class SafeConsole(Console):
    """A console of rich for texts that may hold anything: names of files, errors, answers.

    Brackets and colons are no markup. rich itself lets escape sequences pass; here each is written out.
    """

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, highlight=False, markup=False, emoji=False)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Write out what steers a terminal; colours and the movements of a progress bar are none of the text."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))
