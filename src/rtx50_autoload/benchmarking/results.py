"""What was measured, and where."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rtx50_autoload.benchmarking.timing import Method, Timing

__all__ = ["About", "Benchmark", "Measurement", "WorkResult"]


@dataclass(frozen=True, slots=True)
class Measurement:
    """One piece of work in one place.

    Attributes:
        place: ``cpu``, or a GPU as torch names it.
        dtype: torch's name of the type that it was computed in.
        timing: None where it could not be computed, or came out wrong.
        largest_error: the largest distance from the CPU's result, as a share of that one's largest value; infinite
            where a value is not finite. None for the CPU's own.
        bound: how large `largest_error` may be.
        error: the error that kept it from being computed; empty where there was none.

    """

    place: str
    dtype: str
    timing: Timing | None
    largest_error: float | None = None
    bound: float | None = None
    error: str = ""

    @property
    def wrong(self) -> bool:
        """Whether it has a result, and that is not the CPU's."""
        return self.largest_error is not None and self.bound is not None and not self.largest_error <= self.bound

    def as_json(self) -> dict[str, Any]:
        """Give what `bench --json` prints of it; a largest error that is infinite is the text "inf"."""
        infinite = self.largest_error is not None and not math.isfinite(self.largest_error)
        return {**asdict(self), "wrong": self.wrong, **({"largest_error": "inf"} if infinite else {})}


@dataclass(frozen=True, slots=True)
class WorkResult:
    """One piece of work in all places.

    Attributes:
        what: one clause with the shapes.
        size: the numbers in it and those that are not.
        reduced: whether it is smaller than elsewhere, because this CPU would have taken too long.
        operations: floating-point operations of one call.
        cpu: what is compared with.
        gpu: in each type; empty where there is no GPU.

    """

    name: str
    what: str
    size: Mapping[str, int]
    reduced: bool
    operations: int
    cpu: Measurement
    gpu: tuple[Measurement, ...]

    def speed_up(self, measurement: Measurement) -> float | None:
        """Say how many times faster than the CPU it was; None where one of the two has no time."""
        if self.cpu.timing is None or measurement.timing is None:
            return None
        return self.cpu.timing.median / measurement.timing.median

    def as_json(self) -> dict[str, Any]:
        """Give what `bench --json` prints of it."""
        return {
            "name": self.name,
            "what": self.what,
            "size": dict(self.size),
            "reduced": self.reduced,
            "operations": self.operations,
            "cpu": self.cpu.as_json(),
            "gpu": [{**each.as_json(), "speed_up": self.speed_up(each)} for each in self.gpu],
        }


@dataclass(frozen=True, slots=True)
class About:
    """Where it was computed.

    Attributes:
        gpu: the GPU's name, its true one where NVML answers; None where there is none, or its name is not known.
        driver: the driver's version; None where NVML does not tell.
        simulated: whether RTX50_SIMULATE names devices, which are no GPUs.
        cpu: the processor's name.
        threads: how many of the CPU's torch uses.
        versions: of this package, Python, torch, and the CUDA that torch was built for (None: for none).
        float32_precision: what torch may do in matrix products of float32: ``highest`` is no TF32.

    """

    gpu: str | None
    driver: str | None
    simulated: bool
    cpu: str
    threads: int
    versions: Mapping[str, str | None]
    float32_precision: str


@dataclass(frozen=True, slots=True)
class Benchmark:
    """All that was measured.

    Attributes:
        date: when, in UTC, as ISO 8601 writes it.
        place: the GPU as torch names it, such as ``cuda:0``.
        no_gpu: why nothing was computed on a GPU, as a clause; empty where something was.

    """

    date: str
    place: str
    no_gpu: str
    about: About
    method: Method
    works: tuple[WorkResult, ...]

    @property
    def ok(self) -> bool:
        """Whether all was computed on a GPU, and rightly."""
        return not self.no_gpu and not any(each.wrong or each.error for work in self.works for each in work.gpu)

    def as_json(self) -> dict[str, Any]:
        """Give what `bench --json` prints of it."""
        return {
            "ok": self.ok,
            "date": self.date,
            "place": self.place,
            "no_gpu": self.no_gpu,
            **asdict(self.about),
            "method": asdict(self.method),
            "works": [work.as_json() for work in self.works],
        }
