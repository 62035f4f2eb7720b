"""What the probes have found: one result each, and the report of all."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rtx50_autoload.capability import Capability

__all__ = ["ProbeError", "ProbeReport", "ProbeResult", "State"]


class State(str, Enum):
    """How a probe went."""

    WORKS = "works"
    FAILS = "fails"
    #: It ran, and its result is not the CPU's.
    WRONG_NUMBERS = "wrong numbers"
    #: It gave no answer within the time limit.
    HANGS = "hangs"
    NOT_INSTALLED = "not installed"


@dataclass(frozen=True, slots=True)
class ProbeError:
    """An error of a probe.

    Attributes:
        type: the name of the exception's class; of the signal, or the exit code, where the process ended.
        message: its first line.
        code: the number of the CUDA runtime's error where torch gives it (209: no kernel image).
        text: all of it, up to a few thousand characters, with the warnings that came before; the last that the process
            said where it ended.

    """

    type: str
    message: str
    code: int | None = None
    text: str = ""

    def __str__(self) -> str:
        code = "" if self.code is None else f" {self.code}"
        return f"{self.type}{code}: {self.message}" if self.message else f"{self.type}{code}"


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """One probe and how it went.

    Attributes:
        name: kebab-case, stable between releases.
        library: whose code was tried.
        what: what it computes.
        seconds: how long it took, compiling and loading included; None where it never ended.
        largest_error: the largest distance from the CPU's result, as a share of that result's largest value; infinite
            where a value was not finite. None where there is no result.
        bound: how large `largest_error` may be.
        why: what a state other than "works" means, in plain words, without a full stop; empty where it is not known.
        next: what to do about it, as sentences; likewise.
        one_of: probes that share this are alternatives, as the back ends of torch's attention are.

    """

    name: str
    library: str
    what: str
    state: State
    error: ProbeError | None = None
    seconds: float | None = None
    largest_error: float | None = None
    bound: float | None = None
    why: str = ""
    next: str = ""
    one_of: str = ""

    def as_json(self) -> dict[str, Any]:
        """Give what `doctor --json` prints of it; a largest error that is infinite is the text "inf"."""
        infinite = self.largest_error is not None and math.isinf(self.largest_error)
        return {**asdict(self), "state": self.state.value, **({"largest_error": "inf"} if infinite else {})}


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """What was found.

    Attributes:
        results: one for each probe, in the order in which they ran; empty where CUDA cannot be used.
        reason: one sentence: where they ran, or why they did not.
        obstacle: what kept them from running, kebab-case; empty where they ran.
        device: the GPU's name, its true one where NVML answers; as is its `capability`.
        driver: the driver's version; None where NVML does not tell.
        cuda: the CUDA version that torch was built for.
        date: when it was, in UTC, as ISO 8601 writes it.

    """

    results: tuple[ProbeResult, ...]
    reason: str
    date: str
    obstacle: str = ""
    device: str | None = None
    capability: Capability | None = None
    driver: str | None = None
    torch: str | None = None
    cuda: str | None = None

    @property
    def usable(self) -> bool:
        """Whether anything could be run."""
        return not self.obstacle

    def as_json(self) -> dict[str, Any]:
        """Give what `doctor --json` prints of it."""
        return {
            **asdict(self),
            "usable": self.usable,
            "results": [result.as_json() for result in self.results],
        }

    def __str__(self) -> str:
        width = max((len(result.name) for result in self.results), default=0)
        rows = [f"{result.name:{width}}  {_summary(result)}" for result in self.results]
        return "\n".join([self.reason, self.date, *rows])


def _summary(result: ProbeResult) -> str:
    """Tell in one line how a probe went."""
    parts: list[str] = [result.state.value]
    if result.seconds is not None:
        parts.append(f"{result.seconds:.2f} s")
    if result.largest_error is not None:
        parts.append(f"largest error {result.largest_error:.1e} of {result.bound:g} allowed")
    if result.error is not None:
        parts.append(str(result.error))
    return ", ".join(parts) + (f": {result.why}" if result.why else "")
