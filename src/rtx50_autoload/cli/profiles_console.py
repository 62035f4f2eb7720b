"""What a person sees of the profiles at the terminal, from 60 columns up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from rtx50_autoload.capability import format_capability
from rtx50_autoload.cli.tables import plain_table
from rtx50_autoload.safe_console import SafeConsole

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["show_checked", "show_profiles"]


def show_profiles(document: dict[str, Any]) -> None:
    """Print what each library is told, by whose profile, and what is wrong with others."""
    console = SafeConsole()
    capability = format_capability(tuple(document["capability"]))
    console.print(f"What libraries are told of a GPU of {capability}, in mode {document['mode']}:")
    console.print()
    table = plain_table()
    table.add_column("module", overflow="fold")
    table.add_column("version", overflow="fold")
    table.add_column("told")
    table.add_column("profile", overflow="fold")
    table.add_column("why", ratio=1)
    for profile in document["profiles"]:
        origin = profile["origin"]
        for row in profile["modules"]:
            replaced = row["replaced_by"]
            told = "the truth" if row["reported"] is None else Text(format_capability(tuple(row["reported"])), "green")
            table.add_row(
                row["module"],
                profile["installed"] or "-",
                "-" if replaced else told,
                origin["package"] or {"user": "your own"}.get(origin["kind"], origin["kind"]),
                Text(f"replaced by {replaced}", "yellow") if replaced else row["reason"],
            )
    console.print(table)
    console.print()
    console.print("Everyone else is told the truth.")
    if document["user_file"]:
        console.print(f"Your own profiles: {document['user_file']}")
    _show_problems(console, document)


def show_checked(document: dict[str, Any]) -> None:
    """Print which profiles of a file are valid, and what is wrong with the others."""
    console = SafeConsole()
    valid = ", ".join(document["profiles"]) or "no profile"
    console.print(Text(f"Valid in {document['file']}: {valid}.", "green" if document["profiles"] else ""))
    _show_problems(console, document)


def _show_problems(console: Console, document: dict[str, Any]) -> None:
    for problem in document["problems"]:
        console.print(Text(problem["text"], "red"))
