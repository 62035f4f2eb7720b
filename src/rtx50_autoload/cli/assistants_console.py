"""What a person sees of the assistants at the terminal, from 60 columns up."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from rich.padding import Padding
from rich.text import Text

from rtx50_autoload.cli.tables import plain_table
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
        table = plain_table()
        for column in ("assistant", "version", "question", "ready"):
            table.add_column(column, overflow="fold")
        table.add_column("found", ratio=1, overflow="fold")
        for each in found:
            question = Text("stays here", "green") if each.local else Text("leaves", "yellow")
            where = _shortened(each.where)
            table.add_row(each.name, printable(each.version or "-"), question, _READY[each.ready], printable(where))
        console.print(table)
    else:
        console.print(Text("No assistant that we know is on this machine.", "bold"))
    for each in found:
        console.print()
        console.print(Text(each.title, "bold"))
        step = "Next" if each.ready is False else "If it has none"
        for sentence in (each.reason, each.destination, f"{step}: {each.next}" if each.next else ""):
            if sentence:
                console.print(Padding(printable(sentence), (0, 0, 0, 2), expand=False))
    console.print()
    here = {each.name for each in found}
    absent = [name for name in load_knowledge().names if name not in here]
    if absent:
        console.print(Text(f"Known and not found here: {', '.join(absent)}.", "dim"))
    if chosen:
        console.print(printable(f"To be asked: {', then '.join(chosen)} (setting `assistant`)."))
    elif found:
        console.print("None is chosen. Name one with RTX50_ASSISTANT, or as `assistant` in a settings file.")


def _shortened(where: str) -> str:
    # Not Path.home, which raises where a user has none.
    home = os.path.expanduser("~")  # noqa: PTH111
    return f"~{where[len(home) :]}" if where.startswith(home + os.sep) else where
