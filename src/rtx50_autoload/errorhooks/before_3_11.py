"""Python 3.10 has no notes: `traceback`, and with it `logging`, is taught to show them.

As the package exceptiongroup does it; where that has been there before us, it shows them.
"""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any

from rtx50_autoload.masquerading.patch import AttributePatch

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["traceback_patches"]


def traceback_patches() -> list[AttributePatch]:
    """Give the changes to `traceback`: none where another package has made them."""
    cls: Any = traceback.TracebackException
    create, lines = cls.__init__, cls.format_exception_only
    if create.__module__ != "traceback":
        return []

    def __init__(self: Any, exc_type: Any, exc_value: Any, *arguments: Any, **options: Any) -> None:  # noqa: ANN401, N807
        create(self, exc_type, exc_value, *arguments, **options)
        self.__notes__ = getattr(exc_value, "__notes__", None)

    def format_exception_only(self: Any) -> Iterator[str]:  # noqa: ANN401
        yield from lines(self)
        notes = getattr(self, "__notes__", None)
        for text in notes if isinstance(notes, (list, tuple)) else ():
            yield f"{text}\n"

    return [
        AttributePatch("traceback.TracebackException.__init__", cls, "__init__", __init__),
        AttributePatch(
            "traceback.TracebackException.format_exception_only", cls, "format_exception_only", format_exception_only
        ),
    ]
