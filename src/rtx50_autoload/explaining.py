"""`rtx50_autoload.explain()`: what an error means, for a program or a notebook."""

from __future__ import annotations

import re
import sys
import traceback
from typing import TYPE_CHECKING, Any

from rtx50_autoload.diagnosis import classify, this_machine
from rtx50_autoload.diagnosis.described import read_description
from rtx50_autoload.diagnosis.situation import Situation

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rtx50_autoload.diagnosis.diagnosis import Diagnosis

__all__ = ["explain", "without_own_lines"]

# What this package has said of an error already is no evidence; traceback puts a margin before the notes of a group.
_OWN_LINES = re.compile(r"^[ |]*rtx50-autoload: .*\n?", re.MULTILINE)


def explain(error: str | BaseException, environment: Mapping[str, Any] | None = None) -> Diagnosis:
    """Say what an error means and what mends it. CUDA is not initialised for it, and no library is imported.

    Args:
        error: an exception, or the text of an error: a traceback, a log, one line.
        environment: where it comes from, if not from this machine and this Python; all keys are optional: `gpu`,
            `capability`, `torch`, `cuda`, `driver`, `os`, `python` and versions of other packages. An empty one
            means that nothing is known. This machine is looked at where it is None.

    Raises:
        UsageError: the `capability` in `environment` is none.

    """
    text = without_own_lines(error if isinstance(error, str) else _text_of(error))
    if environment is None:
        return classify(text, this_machine.look())
    return classify(text, read_description(environment) if environment else Situation())


def without_own_lines(text: str) -> str:
    """Leave out of a text what this package has said of it already."""
    return _OWN_LINES.sub("", text)


def _text_of(error: BaseException) -> str:
    """Write an exception as Python does, with those that it is linked to, and with the notes of all."""
    lines = traceback.format_exception(error)
    if sys.version_info < (3, 11):
        # This traceback knows no notes; packages that bring them to this Python keep them in the same place.
        lines += [f"{note}\n" for note in _notes_of(error)]
    return "".join(lines)


def _notes_of(error: BaseException) -> Iterator[str]:
    seen: set[int] = set()
    linked: BaseException | None = error
    while linked is not None and id(linked) not in seen:
        seen.add(id(linked))
        notes = getattr(linked, "__notes__", None)
        yield from map(str, notes if isinstance(notes, (list, tuple)) else ())
        linked = linked.__cause__ or linked.__context__
