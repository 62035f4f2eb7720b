"""What a program calls issues, as sentences: texts, findings, exceptions, whatever else it hands over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["sentences"]


def sentences(issues: object) -> Iterator[str]:
    """Give what a program calls issues as sentences; what cannot be written as one is left out."""
    are_several = isinstance(issues, Iterable) and not isinstance(issues, (str, bytes, Mapping, BaseException))
    # What a program hands over may raise anything when it is looked at.
    with suppress(Exception):
        for issue in cast("Iterable[object]", issues) if are_several else (issues,):
            with suppress(Exception):
                sentence = " ".join(_text(issue).split())
                if sentence:
                    yield sentence


def _text(issue: object) -> str:
    if isinstance(issue, BaseException):
        return f"{type(issue).__name__}: {issue}"
    if isinstance(issue, bytes):
        return issue.decode(errors="replace")
    # A finding, as JSON or as an object.
    what = issue.get("what") if isinstance(issue, Mapping) else getattr(issue, "what", None)
    return what if isinstance(what, str) else str(issue)
