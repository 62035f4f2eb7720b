"""The note on an exception: what it says, and how it gets there.

From Python 3.11 on, exceptions have notes and every printer of tracebacks shows them. On 3.10 the same list is put on
the exception, where the modules that show notes there look for it, too (`before_3_11.py`, the package exceptiongroup).
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from rtx50_autoload.printable import printable

if TYPE_CHECKING:
    from rtx50_autoload.diagnosis.diagnosis import Diagnosis

__all__ = ["PREFIX", "drop_repeated", "is_noted", "line", "our_note", "put", "words"]

#: What each line of ours begins with; also how a note of ours is known.
PREFIX = "rtx50-autoload: "
_LAST_LINE = f"{PREFIX}Run: rtx50-autoload "

_LONGEST_LINE = 400


def words(diagnosis: Diagnosis, incident: str | None) -> str:
    """Write the note: what and why, whose fault, the first step, and the command that tells more.

    Args:
        diagnosis: what the error means.
        incident: the id under which it was recorded; None where that was not possible.

    """
    lines = [diagnosis.cause]
    if diagnosis.culprit is not None and diagnosis.culprit not in diagnosis.cause:
        lines.append(f"At fault: {diagnosis.culprit}")
    if diagnosis.fix:
        first = diagnosis.fix[0]
        lines.append(" ".join(("First step:", first.step, *(f"`{command}`" for command in first.commands[:1]))))
    command = "explain" if incident is None else f"incidents show {incident}"
    return "\n".join((*(PREFIX + line(text) for text in lines), _LAST_LINE + command))


def line(text: str) -> str:
    """Make one line of a text that may hold what others have written."""
    one = printable(" ".join(text.split()))
    return one if len(one) <= _LONGEST_LINE else one[: _LONGEST_LINE - 1] + "…"


def our_note(error: BaseException) -> str | None:
    """Give the note of ours that an exception carries."""
    notes: Any = getattr(error, "__notes__", None)
    if not isinstance(notes, (list, tuple)):
        return None
    return next((note for note in notes if isinstance(note, str) and note.startswith(PREFIX)), None)


def is_noted(error: BaseException) -> bool:
    """Tell whether an exception carries a note of ours, also within the text of another process's traceback."""
    if our_note(error) is not None:
        return True
    with suppress(Exception):  # an error that cannot be written
        return f"\n{_LAST_LINE}" in str(error)
    return False


def drop_repeated(error: BaseException) -> None:
    """Take our note off an error whose text has it already.

    Ray writes the worker's traceback with its notes into the text of an error, and lends it the notes of its cause.
    """
    holder: Any = error
    note = our_note(error)
    if note is not None and note in str(error):
        holder.__notes__.remove(note)


def put(error: BaseException, note: str) -> None:
    """Put a note on an exception."""
    target: Any = error
    if hasattr(target, "add_note"):
        target.add_note(note)
    else:
        target.__notes__ = [*getattr(target, "__notes__", ()), note]
