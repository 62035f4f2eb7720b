"""`guard()`: for frameworks that catch errors, so that none of the other ways sees them."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

__all__ = ["Guard"]

_Function = TypeVar("_Function", bound="Callable[..., Any]")


class Guard:
    """Attends to errors that pass, and lets them pass: as a context manager, and as a decorator.

    Args:
        attend: is called with each error; does not raise.

    """

    def __init__(self, attend: Callable[[BaseException], None]) -> None:
        self._attend = attend

    def __enter__(self) -> Guard:  # noqa: PYI034 - `typing` has `Self` from 3.11 on
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._attend(error)

    def __call__(self, function: _Function) -> _Function:
        """Guard every call of a function, generator function or coroutine function."""
        run: Callable[..., Any]
        if inspect.iscoroutinefunction(function):

            async def run(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401
                try:
                    return await function(*arguments, **options)
                except BaseException as error:
                    self._passes(error)
                    raise

        elif inspect.isgeneratorfunction(function):

            def run(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401
                try:
                    return (yield from function(*arguments, **options))
                except BaseException as error:
                    self._passes(error)
                    raise

        else:

            def run(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401
                try:
                    return function(*arguments, **options)
                except BaseException as error:
                    self._passes(error)
                    raise

        return cast("_Function", functools.wraps(function)(run))

    def _passes(self, error: BaseException) -> None:
        """Take the frame of ours out of the traceback, which from Python 3.11 on does not come back, and attend."""
        if error.__traceback__ is not None:
            error.__traceback__ = error.__traceback__.tb_next
        self._attend(error)
