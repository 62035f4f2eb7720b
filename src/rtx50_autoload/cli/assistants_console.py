"""What a person sees of the assistants at the terminal, from 60 columns up."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from rich.text import Text

from rtx50_autoload.cli.layout import show
from rtx50_autoload.cli.tables import show_table
from rtx50_autoload.printable import printable
from rtx50_autoload.safe_console import SafeConsole
from rtx50_autoload.troubleshooter.assistants import load_knowledge

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtx50_autoload.troubleshooter.assistants import Found

__all__ = ["show_assistants"]

_READY: Final = {True: Text("ready", "green"), False: Text("not ready", "bold red"), None: Text("may be", "yellow")}


def show_assistants(found: Sequence[Found], chosen: Sequence[str]) -> None:
    """Print who was found, whether a question leaves the machine, and what is to be done."""
    console = SafeConsole()
    if found:
        rows = [
            (
                each.name,
                printable(each.version or "-"),
                Text("stays here", "green") if each.local else Text("leaves", "yellow"),
                _READY[each.ready],
                printable(_shortened(each.where)),
            )
            for each in found
        ]
        show_table(console, ("assistant", "version", "question", "ready", "found"), rows)
    else:
        show(console, "No assistant that we know is on this machine.", style="bold")
    for each in found:
        console.print()
        show(console, each.title, style="bold")
        step = "Next" if each.ready is False else "If it has none"
        for sentence in (each.reason, each.destination, f"{step}: {each.next}" if each.next else ""):
            if sentence:
                show(console, sentence, 2)
    console.print()
    here = {each.name for each in found}
    absent = [name for name in load_knowledge().names if name not in here]
    if absent:
        show(console, f"Known and not found here: {', '.join(absent)}.", style="dim")
    if chosen:
        show(console, f"To be asked: {', then '.join(chosen)} (setting `assistant`).")
    elif found:
        show(console, "None is chosen. Name one with RTX50_ASSISTANT, or as `assistant` in a settings file.")


def _shortened(where: str) -> str:
    # Not Path.home, which raises where a user has none.
    home = os.path.expanduser("~")  # noqa: PTH111
    return f"~{where[len(home) :]}" if where.startswith(home + os.sep) else where
