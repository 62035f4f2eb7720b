"""An answer as plain text: what the assistant says, and what became of its scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rtx50_autoload.printable import printable

from .scripts import check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .consult import Consultation

__all__ = ["answer_lines"]


def answer_lines(consultation: Consultation) -> Iterator[str]:
    """Write a consultation; no line of it steers a terminal."""
    model = f", model {consultation.model}" if consultation.model else ""
    when = f"{consultation.asked.astimezone():%Y-%m-%d %H:%M}"
    before = f"Asked on {when}, " if consultation.is_kept else ""
    yield printable(f"{before}{consultation.assistant}{model} says - it can be wrong, and cannot see your machine:")
    yield ""
    yield from printable(consultation.answer).splitlines()
    for saved in consultation.scripts:
        yield ""
        yield f"Its {saved.script.language} script is kept, and nothing has run it. Read it, and what is known of it:"
        yield f"  rtx50-autoload scripts show {saved.id}"
        yield from (f"  It cannot be run as it is: {printable(error)}" for error in check(saved.script).syntax_errors)
    for problem in consultation.problems:
        yield ""
        yield printable(problem)
