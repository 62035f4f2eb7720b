"""What a person sees of scripts at the terminal, from 60 columns up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.syntax import Syntax
from rich.text import Text

from rtx50_autoload.cli.layout import show
from rtx50_autoload.cli.tables import show_table
from rtx50_autoload.safe_console import SafeConsole
from rtx50_autoload.troubleshooter.scripts.unicode_tricks import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from rtx50_autoload.troubleshooter.scripts import Check, SavedScript
    from rtx50_autoload.troubleshooter.scripts.runner import Outcome

__all__ = ["show_line", "show_list", "show_outcome", "show_script", "show_sentence"]

_SEVERITY_STYLES: Final = {"danger": "bold red", "note": "dim"}
_NO_PROOF: Final = "What no check knows is not safe for that: run only what you understand."


def show_list(scripts: Sequence[tuple[SavedScript, Check]], problems: Sequence[str]) -> None:
    """Print what is kept, without any of its text."""
    console = _console()
    if scripts:
        rows: list[tuple[str | Text, ...]] = []
        for saved, found in scripts:
            when = f"{saved.saved:%Y-%m-%d %H:%M}"
            names = [_shown(console, name) for name in (saved.assistant, saved.incident)]
            rows.append((saved.id, when, *names, _result(saved, found)))
        show_table(console, ("id", "saved (UTC)", "written by", "for incident", "check"), rows)
        console.print()
        show(console, "`rtx50-autoload scripts show ID` shows one and runs nothing.")
    else:
        show(console, "No script is kept here.")
    for problem in problems:
        show(console, _shown(console, problem), style="yellow")


def show_script(saved: SavedScript, found: Check) -> None:
    """Print a script with the numbers of its lines, and what is known of them."""
    console = _console()
    origin = f"Script {saved.id}, written by {saved.assistant} for incident {saved.incident}"
    show(console, _shown(console, origin), style="bold")
    console.print(_shown(console, str(saved.path)), soft_wrap=True)
    if saved.is_changed:
        show(
            console, "It was changed after it was saved: somebody else may have written what stands here.", style="red"
        )
    console.print()
    text = _shown(console, saved.script.text.rstrip("\n"))
    console.print(
        Syntax(
            text,
            saved.script.language,
            theme="ansi_dark",
            background_color="default",
            line_numbers=True,
            word_wrap=True,
        )
    )
    console.print()
    for error in found.syntax_errors:
        show(console, Text.assemble(("syntax error: ", "bold red"), _shown(console, error)))
    for finding in found.findings:
        severity = Text(f"line {finding.line}, {finding.severity}: ", _SEVERITY_STYLES[finding.severity])
        show(console, Text.assemble(severity, _shown(console, finding.what)), 2)
    if not found.is_flagged and not found.syntax_errors:
        show(console, "No line is known to be dangerous.")
    readers = f" and {' and '.join(found.asked)}" if found.asked else "; the script's own shell could not be asked"
    show(console, f"Read by our own patterns{readers}. {_NO_PROOF}", style="dim")


def show_line(line: str) -> None:
    """Print a line that a running script says."""
    console = _console()
    console.print(_shown(console, line.rstrip("\n")), soft_wrap=True)


def show_outcome(outcome: Outcome) -> None:
    """Print how a script has ended."""
    console = _console()
    console.print()
    if outcome.is_interrupted:
        show(console, "It was interrupted, and what it had started was ended.", style="bold yellow")
    elif outcome.exit_code:
        console.print(Text(f"It stopped with exit code {outcome.exit_code}.", "bold red"))
    else:
        console.print(Text("It ended without an error.", "green"))
    console.print(_shown(console, f"Its output, redacted: {outcome.log}"), soft_wrap=True)
    console.print()


def show_sentence(sentence: str) -> None:
    """Print a sentence of our own."""
    show(_console(), sentence, style="bold")


def _console() -> Console:
    return SafeConsole()


def _shown(console: Console, text: str) -> str:
    """Write what cannot be seen, and what the terminal cannot show, as Python does."""
    return visible(text).encode(console.encoding, "backslashreplace").decode(console.encoding)


def _result(saved: SavedScript, found: Check) -> Text:
    dangers = len({finding.line for finding in found.findings if finding.severity == "danger"})
    parts = [
        ("changed since", "red") if saved.is_changed else None,
        ("syntax errors", "bold red") if found.syntax_errors else None,
        (f"{dangers} dangerous line{'s' if dangers > 1 else ''}", "bold red") if dangers else None,
    ]
    return Text(", ").join(Text(*part) for part in parts if part) or Text("no danger known")
