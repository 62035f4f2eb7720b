"""One function that is watched: what is known of its kernels, and what answers where they cannot be loaded.

Reached from the library's own function (`replacing.py`): nothing of ours is raised here.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
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
        probe: a function of the library that takes a query, keys and values, as it was before us.
        failing: for each kind of call that has failed, why.
        loaded: for a device and a dtype, whether `probe` has loaded its kernel.
        calls: how many the stand-in has answered.

    """

    library: Library
    name: str
    function: FunctionType
    original: FunctionType
    torch: ModuleType
    surroundings: Surroundings
    foreseen: dict[tuple[int, object], str] = field(default_factory=dict)
    probe: Callable[..., Any] | None = None
    failing: dict[_Key, str] = field(default_factory=dict)
    loaded: dict[tuple[object, object], bool] = field(default_factory=dict)
    calls: int = 0
    _answer: Any = None
    _takes: frozenset[str] = frozenset()
    _defaults: dict[str, Any] = field(default_factory=dict)
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

    def fails_traced(self, arguments: dict[str, Any]) -> bool:
        """Tell whether a call that a compiler traces has to be answered by the stand-in. Traced itself."""
        if self.alert and self.why(arguments) is not None:
            return True
        tensor = self._tensor(arguments)
        return tensor is not None and not self.loads(tensor.device, tensor.dtype)

    def loads(self, device: Any, dtype: object) -> bool:
        """Tell whether the library's kernel loads, by a tiny call of it, once for each device and dtype.

        Runs while a compiler traces; the compiler takes the answer for a constant.
        """
        if (device, dtype) not in self.loaded:
            self._try(device, dtype)
        return self.loaded.get((device, dtype), True)

    def load(self) -> bool:
        """Load the stand-in. Run at once by a compiler that traces, too."""
        if self._answer is None:
            answer = getattr(import_module(self.library.stand_ins), self.name)
            self._takes = frozenset(signature(answer).parameters)
            self._defaults = {name: one.default for name, one in signature(self.original).parameters.items()}
            self._answer = answer
        return True

    def traced(self, arguments: dict[str, Any]) -> Any:
        """Answer a call that a compiler traces and whose kernel does not load. Traced itself."""
        self.load()
        return self._answer(**self._understood(arguments))

    def before(self, arguments: dict[str, Any]) -> Outcome | None:
        """Answer a call whose kernel is known not to load; None for any other call."""
        try:
            reason = self.why(arguments)
            if reason is None:
                return None
            if reason not in self._told:
                self._tell(self._tensor(arguments).device.index or 0, reason, None)
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
                try:
                    self._remember(arguments, failure.what, error)
                except Exception as fault:  # noqa: BLE001 - the program has its answer
                    hook.record(fault)
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
            self.load()
            value = self._answer(**self._understood(arguments))
        except getattr(self.torch, "OutOfMemoryError", self.torch.cuda.OutOfMemoryError):
            raise
        except Exception as error:  # noqa: BLE001 - the library's own error is the answer then
            return Outcome(error=error)
        self.calls += 1
        return Outcome(value)

    def _try(self, device: Any, dtype: object) -> None:
        """Find out whether the library's kernel loads, unless nothing is computed here now (FakeTensorMode)."""
        try:
            with self.torch.no_grad():
                query = self.torch.zeros(1, 16, 1, 64, device=device, dtype=dtype)
                if type(query) is not self.torch.Tensor:
                    return
                # An error that somebody else has left behind does not come twice.
                failed = self._probed(query) and self._probed(query)
            self.loaded[device, dtype] = failed is None
            if failed is not None:
                self._tell(device.index or 0, *failed)
        except Exception as fault:  # noqa: BLE001 - the compiler gets the library's own function
            hook.record(fault)

    def _probed(self, query: Any) -> tuple[str, Exception] | None:
        """Give why the library's kernel does not load for a query, and the error; None where it may."""
        try:
            if self.probe is not None:
                self.probe(query, query, query)
        except Exception as error:  # noqa: BLE001 - its kind is asked for
            failure = self._failure(error, {"query": query})
            return None if failure is None else (failure.what, error)
        return None

    def _understood(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Leave out what the stand-in does not know and the call does not use: a newer version's parameter."""
        return {
            name: value
            for name, value in arguments.items()
            if name in self._takes or value is not self._defaults.get(name, _NO_DEFAULT)
        }

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
        self.failing[self._key(tensor, arguments)] = reason
        self.alert = True
        self._tell(tensor.device.index or 0, reason, error)

    def _tell(self, index: int, reason: str, error: Exception | None) -> None:
        with self._lock:
            first = reason not in self._told
            self._told.add(reason)
        if first:
            self.surroundings.stepped_in(self, index, reason, error)


# torch.compile runs functions with this mark at once and takes what they give for a constant; torch's own function that
# sets it, `torch._dynamo.assume_constant_result`, would load the compiler.
Watched.load._dynamo_marked_constant = True  # type: ignore[attr-defined]
Watched.loads._dynamo_marked_constant = True  # type: ignore[attr-defined]


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
