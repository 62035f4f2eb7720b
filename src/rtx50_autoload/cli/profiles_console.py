"""What a person sees of the profiles at the terminal, from 60 columns up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from rtx50_autoload.capability import format_capability
from rtx50_autoload.cli.layout import show
from rtx50_autoload.cli.tables import show_table
from rtx50_autoload.printable import printable
from rtx50_autoload.safe_console import SafeConsole

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["show_checked", "show_profiles"]


def show_profiles(document: dict[str, Any]) -> None:
    """Print what each library is told, by whose profile, and what is wrong with others."""
    console = SafeConsole()
    capability = format_capability(tuple(document["capability"]))
    show(console, f"What libraries are told of a GPU of {capability}, in mode {document['mode']}:")
    console.print()
    rows = [_row(profile, module) for profile in document["profiles"] for module in profile["modules"]]
    show_table(console, ("module", "version", "told", "profile", "why"), rows)
    console.print()
    show(console, "Everyone else is told the truth.")
    if document["user_file"]:
        show(console, f"Your own profiles: {document['user_file']}")
    _show_problems(console, document)


def show_checked(document: dict[str, Any]) -> None:
    """Print which profiles of a file are valid, and what is wrong with the others."""
    console = SafeConsole()
    valid = ", ".join(document["profiles"]) or "no profile"
    show(console, f"Valid in {document['file']}: {valid}.", style="green" if document["profiles"] else "")
    _show_problems(console, document)


def _row(profile: dict[str, Any], module: dict[str, Any]) -> tuple[str | Text, ...]:
    origin, replaced = profile["origin"], module["replaced_by"]
    told = "the truth" if module["reported"] is None else Text(format_capability(tuple(module["reported"])), "green")
    return (
        printable(module["module"]),
        printable(profile["installed"] or "-"),
        "-" if replaced else told,
        printable(origin["package"] or {"user": "your own"}.get(origin["kind"], origin["kind"])),
        Text(f"replaced by {replaced}", "yellow") if replaced else printable(module["reason"]),
    )


def _show_problems(console: Console, document: dict[str, Any]) -> None:
    for problem in document["problems"]:
        show(console, problem["text"], mark="- ", style="red")
