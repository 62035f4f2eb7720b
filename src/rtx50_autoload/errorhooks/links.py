"""Which errors a traceback shows with one: its cause, what was being handled, the members of a group."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["linked"]

# How many errors are looked at: a loop that fails again and again links all its errors.
_MOST = 32


def linked(error: BaseException) -> Iterator[BaseException]:
    """Give an error and those that a traceback shows with it, the error itself first."""
    waiting: list[BaseException] = [error]
    seen: set[int] = set()
    while waiting and len(seen) < _MOST:
        current = waiting.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        members: Any = getattr(current, "exceptions", ())
        if isinstance(members, (list, tuple)):  # an ExceptionGroup, or what looks like one
            waiting += [member for member in members if isinstance(member, BaseException)]
        before = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
        if before is not None:
            waiting.append(before)
