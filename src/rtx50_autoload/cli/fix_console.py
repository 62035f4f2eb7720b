"""What a person sees of a fix at the terminal, from 60 columns up."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.text import Text

from rtx50_autoload.cli.layout import show, show_command, show_list
from rtx50_autoload.diagnosis import this_machine
from rtx50_autoload.diagnosis.classifier import classify
from rtx50_autoload.safe_console import SafeConsole

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

    from rtx50_autoload.installer.application import Preparation
    from rtx50_autoload.installer.journal import Journal
    from rtx50_autoload.installer.plan import Plan
    from rtx50_autoload.installer.undoing import Undoing, Undone
    from rtx50_autoload.installer.verification import Verification

__all__ = [
    "show_last_fix",
    "show_next",
    "show_outcome",
    "show_preparation",
    "show_script",
    "show_sentence",
    "show_undoing",
    "show_undone",
    "show_verification",
]

_NAMED: Final = 30
_LAST_LINES: Final = 12
#: Of a log, what a diagnosis is made of.
_READ: Final = 100_000
_BACK: Final = "`rtx50-autoload fix --undo` goes back."
_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86400


def show_last_fix(last: Journal | None, *, works: bool, on_stderr: bool) -> None:
    """Say first of all that the last fix was stopped half way, or that one works at this moment."""
    if last is None or last.is_over:
        return
    console = _console(on_stderr=on_stderr)
    if works:
        show(console, f"A fix works here at this moment: process {last.pid}, begun {_ago(last)}.", style="bold yellow")
    elif last.changed_nothing:
        show(console, f"The last fix stopped before it changed anything, {_ago(last)}.", style="dim")
    elif last.status == "undoing":
        show(
            console,
            f"The way back from the last fix was stopped: {_BACK} It goes on where it was.",
            style="bold yellow",
        )
    else:
        number, step = last.stopped_in or (len(last.steps), last.steps[-1])
        show(
            console,
            f"The last fix stopped in step {number} of {len(last.steps)} ({step.what.rstrip('.')}), {_ago(last)}: "
            "`rtx50-autoload fix --undo` goes back, `rtx50-autoload fix --apply` goes back and tries again.",
            style="bold yellow",
        )
    console.print()


def show_next(plan: Plan) -> None:
    """Say how the plan is carried out."""
    if plan.outcome == "steps" and not plan.conflicts:
        options = "".join(f" --{goal.kind} {goal.package}" for goal in plan.goals)
        console = _console(on_stderr=False)
        show(console, "Next:", style="bold")
        show_command(console, f"rtx50-autoload fix --apply{options}")


def show_script(file: Path, plan: Plan) -> None:
    """Say that the script is written."""
    console = _console(on_stderr=False)
    show(console, f"{file} has the plan: {plan.summary}")
    show(console, "Read it, then run it. Nothing was changed.")


def show_preparation(preparation: Preparation, *, on_stderr: bool) -> None:
    """Show what the steps would do, as pip or uv have found, before anybody is asked."""
    console, resolution = _console(on_stderr=on_stderr), preparation.resolution
    if resolution.broken:
        console.print()
        show(console, "Other installed packages would no longer have what they require:", style="bold red")
        _list(console, resolution.broken)
        show(
            console,
            "Nothing was changed. Update or remove those packages, or make an environment of its own for what is "
            "wanted here.",
        )
        return
    if resolution.steps:
        console.print()
        show(console, "This would change:", style="bold")
        changes = [
            f"{each.package} {each.before or '(new)'} -> {each.after or '(gone)'}" for each in resolution.changes
        ]
        named = {each.package for each in resolution.changes}
        changes += [f"{name}, installed anew" for name in resolution.touched if name not in named]
        _list(console, changes or ["nothing: all of it is installed"])
        _list(console, resolution.unknown)
        show(console, _way(preparation), style="dim")
    if preparation.left:
        console.print()
        first = "The first step" if not resolution.steps else "After that, a step"
        show(console, f"{first} is for you to do:", style="bold")
        for step in preparation.left[:1]:
            show(console, step.what, 2)
            _list(console, step.by_hand)
        rest = "" if resolution.steps else " Nothing was changed."
        show(console, f"Then run `rtx50-autoload fix` again.{rest}")


def show_outcome(story: Journal, preparation: Preparation, *, on_stderr: bool) -> None:
    """Show how the steps went; of a failure, the last lines, what they mean, and how to go back."""
    console = _console(on_stderr=on_stderr)
    console.print()
    if story.status in {"done", "left"}:
        show(console, Text.assemble(("All steps have been run.", "green"), f" {_BACK}"))
        if preparation.left:
            show(console, f"Left for you: {preparation.left[0].what}", style="bold")
        return
    number, step = story.stopped_in or (len(story.steps), story.steps[-1])
    word = "was interrupted" if story.status == "interrupted" else "failed"
    show(console, f"Step {number} of {len(story.steps)} {word}: {step.what}", style="bold red")
    entry = next(each for each in step.commands if each.status != "done")
    if entry.problem:
        show(console, entry.problem)
    text = _read(entry.log)
    _list(console, [line for line in text.splitlines() if line.strip()][-_LAST_LINES:])
    if entry.log:
        show(console, f"All of it: {entry.log}", style="dim")
    if story.status == "failed":
        diagnosis = classify(text, this_machine.look())
        if not diagnosis.abstains:
            show(console, diagnosis.cause, style="bold")
            for fix in diagnosis.fix:
                show_list(console, [fix.step])
                for command in fix.commands:
                    show_command(console, command, 5)
    show(console, f"What was changed so far is kept. {_BACK}")


def show_verification(verification: Verification, *, on_stderr: bool) -> None:
    """Show what doctor says before and after."""
    console = _console(on_stderr=on_stderr)
    for title, lines, style in (
        ("Solved:", verification.solved, "green"),
        ("Still found:", verification.remaining, "yellow"),
        ("New:", verification.new, "bold red"),
    ):
        if lines:
            show(console, title, style=style)
            _list(console, lines)
    if verification.left is not None:
        show(console, f"Not reached: {verification.left}", style="bold red")
    elif verification.is_mended:
        show(console, "Verified: what was wanted is reached, and nothing new is wrong.", style="bold green")


def show_sentence(text: str) -> None:
    """Print one sentence."""
    show(_console(on_stderr=False), text)


def show_undoing(undoing: Undoing, *, on_stderr: bool) -> None:
    """Show what going back would change."""
    console = _console(on_stderr=on_stderr)
    show(console, f"Going back to what was before the fix of {_moment(undoing.story.started)}:", style="bold")
    _list(console, [f"{each} goes" for each in undoing.remove])
    _list(console, [f"{each} comes back, from the kept files" for each in undoing.restore])
    _list(console, [f"{each} has to be downloaded: its files were not kept" for each in undoing.download])
    if undoing.aside:
        where = undoing.story.folder / "aside"
        _list(console, [f"{len(undoing.aside)} files that an interrupted installer has left go to {where}"])
    if undoing.is_nothing:
        _list(console, ["nothing: everything is as it was"])
    if undoing.by_hand:
        show(console, "Changed since by somebody else, and left alone:", style="yellow")
        _list(console, undoing.by_hand)


def show_undone(undone: Undone, undoing: Undoing, *, on_stderr: bool) -> None:
    """Show whether everything is as it was."""
    console = _console(on_stderr=on_stderr)
    for failure in undone.failures[:_NAMED]:
        show(console, failure, style="red")
    if undone.is_as_before:
        show(console, f"As before: {undone.packages} packages.", style="bold green")
        return
    show(console, "Not everything is as it was (- before, + now):", style="bold red")
    _list(console, undone.different)
    show(console, f"What was installed before: {undoing.story.folder / 'freeze.txt'}")


def _way(preparation: Preparation) -> str:
    size = f"{preparation.kept_bytes / 1e9:.1f} GB"
    downloads = [step.step.download for step in preparation.resolution.steps]
    known = [each for each in downloads if each]
    fetch = f"About {sum(known) / 1e9:.1f} GB are downloaded. " if known else "How much is downloaded is not known. "
    return (
        fetch
        + {
            "links": "The way back is kept without taking room, and needs no network.",
            "copies": f"The way back takes {size} of copies, and needs no network.",
            "pins": f"There is no room for {size} of copies, so going back would have to download the packages.",
        }[preparation.way]
    )


def _list(console: Console, lines: Iterable[str]) -> None:
    given = list(lines)
    more = [f"and {len(given) - _NAMED} more; --json lists all"] if len(given) > _NAMED else []
    show_list(console, [*given[:_NAMED], *more])


def _read(log: str | None) -> str:
    if log is None:
        return ""
    try:
        return Path(log).read_text(encoding="utf-8", errors="replace")[-_READ:]
    except OSError:
        return ""


def _ago(story: Journal) -> str:
    seconds = (datetime.now(timezone.utc) - story.last_moment).total_seconds()
    for unit, length in (("day", _DAY), ("hour", _HOUR), ("minute", _MINUTE)):
        number = int(seconds // length)
        if number >= 1:
            return f"{number} {unit}{'' if number == 1 else 's'} ago"
    return "less than a minute ago"


def _moment(time: str) -> str:
    return f"{datetime.fromisoformat(time).astimezone():%Y-%m-%d %H:%M}"


def _console(*, on_stderr: bool) -> Console:
    return SafeConsole(stderr=on_stderr)
