"""Questions to the person at the terminal: on stderr, answered by a line."""

from __future__ import annotations

import contextlib
import select
import sys
from typing import TYPE_CHECKING, Final

from rtx50_autoload.folding import folded
from rtx50_autoload.printable import printable

from .choice import NOBODY

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .assistants import Found
    from .choice import Chosen
    from .prompt import Prompt

__all__ = ["agrees", "picks", "taken_out", "tell"]

_YES: Final = frozenset({"y", "yes"})
_SHOW: Final = frozenset({"s", "show"})


def tell(text: str = "") -> None:
    """Print on stderr, where all that is no result belongs."""
    print(folded(printable(text), sys.stderr), file=sys.stderr, flush=True)  # noqa: T201 - the answer to what a person has started


def taken_out(prompt: Prompt) -> str:
    """Say how long a question is, and what was taken out of it."""
    kinds = ", ".join(f"{count} x {kind}" for kind, count in prompt.redacted.items())
    return f"{len(prompt.text):,} characters; taken out: {kinds or 'nothing that looks private was in it'}"


def agrees(assistants: Sequence[Chosen], prompt: Prompt, patience: float | None = None) -> bool:
    """Ask whether the chosen assistants may be asked, one after the other until one answers.

    Args:
        assistants: those that would be asked.
        prompt: what would be sent.
        patience: seconds after which silence means no; None waits for ever.

    """
    for number, chosen in enumerate(assistants):
        name = chosen.found.title + (f", model {chosen.model}" if chosen.model else "")
        tell(f"{'It would be asked' if number == 0 else 'If there is no answer'}: {name}. {chosen.found.destination}")
    tell(f"The question has {taken_out(prompt)}.")
    return _reply("Ask? [y/N/s], s shows the question: ", prompt, patience) in _YES


def picks(
    found: Sequence[Found], prompt: Prompt, keep: Callable[[Sequence[str]], None], patience: float | None = None
) -> tuple[str, ...]:
    """Ask which assistants may be asked, now and later; whom the person names may be asked this question.

    Args:
        found: those that are here.
        prompt: what would be sent.
        keep: keeps the choice, also that of nobody.
        patience: seconds after which silence means nobody this time; None waits for ever.

    Returns:
        their names, the first one first; nothing where nobody may be asked.

    """
    ready = [each for each in found if each.ready is not False]
    tell("Which assistant may be asked? The choice is kept, and is asked for only once.")
    for number, each in enumerate(ready, start=1):
        tell(f"  {number}. {each.title} ({each.name}). {each.destination}")
    tell("  0. Nobody, now and later.")
    for each in found:
        if each.ready is False:
            tell(f"  Not ready: {each.title}. {each.reason} {each.next}")
    tell(f"The question has {taken_out(prompt)}.")
    question = (
        "A number, or several in the order in which they are to be asked; s shows the question; Enter asks nobody now: "
    )
    while True:
        words = _reply(question, prompt, patience).replace(",", " ").split()
        if words in ([], ["n"], ["no"]):
            return ()
        if words == ["0"]:
            keep([NOBODY])
            return ()
        if all(word.isdecimal() and 1 <= int(word) <= len(ready) for word in words):
            names = tuple(dict.fromkeys(ready[int(word) - 1].name for word in words))
            keep(names)
            return names
        question = f"Numbers from 1 to {len(ready)}, 0 or Enter: "


def _reply(question: str, prompt: Prompt, patience: float | None) -> str:
    """Give the answer to a question in small letters, the prompt shown as often as it is asked for; empty for none."""
    while True:
        _forget_what_was_typed()
        print(question, end="", file=sys.stderr, flush=True)  # noqa: T201 - likewise
        if patience is not None and sys.platform != "win32" and not select.select([sys.stdin], [], [], patience)[0]:
            tell(f"\nNo answer within {patience:g} seconds: nobody is asked.")
            return ""
        line = sys.stdin.readline()
        if not line:
            tell()
        answer = line.strip().lower()
        if answer not in _SHOW:
            return answer
        # As it would be sent: its lines are not broken.
        print(f"\n{printable(prompt.text)}", file=sys.stderr, flush=True)  # noqa: T201 - likewise


def _forget_what_was_typed() -> None:
    """Leave out what was typed before the question could be read: it is no answer to it."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        if sys.platform == "win32":
            import msvcrt  # noqa: PLC0415

            while msvcrt.kbhit():
                msvcrt.getwch()
        else:
            import termios  # noqa: PLC0415

            termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)
