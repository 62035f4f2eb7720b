"""One function that is watched: what is known of its kernels, and what answers where they cannot be loaded.

Reached from the library's own function (`replacing.py`): nothing of ours is raised here.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from inspect import signature
from typing import TYPE_CHECKING, Any

import _rtx50_autoload_importlib_bootstrap as hook

from .failures import failure_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FunctionType, ModuleType

    from rtx50_autoload.capability import Capability

    from .failures import Failure
    from .functions import Library

__all__ = ["Outcome", "Surroundings", "Watched"]

# What a call is known by. Kernels are chosen by these, so one that works is still used where another one fails.
_Key = tuple[object, ...]

_NO_DEFAULT = object()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a stand-in gave: a value, or an error where `error` is not None."""

    value: Any = None
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a watched function needs of the process around it.

    Attributes:
        capability: gives the true capability of the device of an index; None where it is not known.
        stepped_in: is told, once for each function and reason: the function, its device's index, the reason, the error
            that was caught (None where nothing was tried).
        refused: is told of an error that goes on to the program, and why no stand-in has answered.

    """

    capability: Callable[[int], Capability | None]
    stepped_in: Callable[[Watched, int, str, Exception | None], None]
    refused: Callable[[Exception, str], None]


@dataclass
class Watched:
    """One function of one library.

    Attributes:
        function: the library's own, which asks us.
        original: does what it did before us.
        foreseen: for the index of a device and a dtype, why the kernel is not to be tried.
        failing: for each kind of call that has failed, why.
        calls: how many the stand-in has answered.

    """

    library: Library
    name: str
    function: FunctionType
    original: FunctionType
    torch: ModuleType
    surroundings: Surroundings
    foreseen: dict[tuple[int, object], str] = field(default_factory=dict)
    failing: dict[_Key, str] = field(default_factory=dict)
    calls: int = 0
    _told: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        #: Whether there is anything to look up before a call.
        self.alert = bool(self.foreseen)
        self.is_compiling: Callable[[], bool] = getattr(
            getattr(self.torch, "compiler", None), "is_dynamo_compiling", lambda: False
        )

    @property
    def target(self) -> str:
        """The function's dotted name, where it is defined."""
        return f"{self.library.module}.{self.name}"

    @property
    def known_as(self) -> str:
        """The function's dotted name, where programs find it."""
        return f"{self.library.public}.{self.name}"

    @property
    def reasons(self) -> list[str]:
        """Why the stand-in answers, each reason once."""
        return sorted(self._told)

    def why(self, arguments: dict[str, Any]) -> str | None:
        """Give why a call's kernel is known not to load; None where it may. Traced by compilers, too."""
        tensor = self._tensor(arguments)
        if tensor is None:
            return None
        return self.failing.get(self._key(tensor, arguments)) or self.foreseen.get(
            (tensor.device.index or 0, tensor.dtype)
        )

    def traced(self, arguments: dict[str, Any]) -> Any:
        """Answer a call that a compiler traces and whose kernel is known not to load."""
        return self._answer(**self._understood(arguments))

    def before(self, arguments: dict[str, Any]) -> Outcome | None:
        """Answer a call whose kernel is known not to load; None for any other call."""
        try:
            reason = self.why(arguments)
            if reason is None:
                return None
            if reason not in self._told:
                self._remember(arguments, reason, None)
        except Exception as error:  # noqa: BLE001 - the library's own function answers then
            hook.record(error)
            return None
        return self._stand_in(arguments)

    def after(self, error: Exception, tried: Outcome | None, arguments: dict[str, Any]) -> Outcome | None:
        """Answer a call that has raised an error; None where the error is the answer.

        Args:
            error: what the function has raised.
            tried: what `before` gave, which is an error if it is anything.
            arguments: all of the call, by name.

        """
        try:
            failure = self._failure(error, arguments)
            if failure is None:
                return None
            why = self._hindrance(tried, arguments)
            if why is None and failure.pending and not self._fails_again(failure, arguments):
                return None
        except Exception as fault:  # noqa: BLE001 - the library's own error is the answer then
            hook.record(fault)
            return None
        if why is None:
            outcome = self._stand_in(arguments)
            if outcome.error is None:
                self._remember(arguments, failure.what, error)
                return outcome
            why = _words(outcome.error)
        self.surroundings.refused(error, why)
        return None

    def clean(self, error: Exception) -> None:
        """Take the frame of our code out of an error's traceback, which from Python 3.11 on does not come back."""
        if error.__traceback__ is not None:
            error.__traceback__ = error.__traceback__.tb_next

    def _stand_in(self, arguments: dict[str, Any]) -> Outcome:
        """Let the stand-in answer.

        Raises:
            OutOfMemoryError: torch's. Programs take smaller pieces then, as they would without us.

        """
        try:
            value = self._answer(**self._understood(arguments))
        except getattr(self.torch, "OutOfMemoryError", self.torch.cuda.OutOfMemoryError):
            raise
        except Exception as error:  # noqa: BLE001 - the library's own error is the answer then
            return Outcome(error=error)
        self.calls += 1
        return Outcome(value)

    def _understood(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Leave out what the stand-in does not know and the call does not use: a newer version's parameter."""
        parameters = signature(self._answer).parameters
        return {
            name: value
            for name, value in arguments.items()
            if name in parameters or value is not self._defaults.get(name, _NO_DEFAULT)
        }

    @cached_property
    def _answer(self) -> Callable[..., Any]:
        answer: Callable[..., Any] = getattr(import_module(self.library.stand_ins), self.name)
        return answer

    @cached_property
    def _defaults(self) -> dict[str, Any]:
        return {name: parameter.default for name, parameter in signature(self.original).parameters.items()}

    def _tensor(self, arguments: dict[str, Any]) -> Any:
        """Give the first tensor of a call, which is the query; None where there is none."""
        return next((value for value in arguments.values() if isinstance(value, self.torch.Tensor)), None)

    def _key(self, tensor: Any, arguments: dict[str, Any]) -> _Key:
        return (
            tensor.device,
            tensor.dtype,
            tensor.ndim,
            tensor.shape[-1],
            tensor.requires_grad and self.torch.is_grad_enabled(),
            *map(type, arguments.values()),
        )

    def _failure(self, error: Exception, arguments: dict[str, Any]) -> Failure | None:
        tensor = self._tensor(arguments)
        return None if tensor is None else failure_of(error, self.surroundings.capability(tensor.device.index or 0))

    def _hindrance(self, tried: Outcome | None, arguments: dict[str, Any]) -> str | None:
        """Give why no stand-in can answer a call now; None where one can be tried."""
        if tried is not None and tried.error is not None:
            return _words(tried.error)
        if self._tensor(arguments).is_cuda and self.torch.cuda.is_current_stream_capturing():
            return "a CUDA graph is being captured, which this error ends: call the function once before that"
        return None

    def _fails_again(self, failure: Failure, arguments: dict[str, Any]) -> bool:
        """Tell whether the function fails in the same way without what others may have left behind."""
        try:
            self.original(**arguments)
        except Exception as error:  # noqa: BLE001 - only its kind is asked for
            return self._failure(error, arguments) == failure
        return False

    def _remember(self, arguments: dict[str, Any], reason: str, error: Exception | None) -> None:
        tensor = self._tensor(arguments)
        with self._lock:
            self.failing[self._key(tensor, arguments)] = reason
            self.alert = True
            first = reason not in self._told
            self._told.add(reason)
        if first:
            self.surroundings.stepped_in(self, tensor.device.index or 0, reason, error)


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
