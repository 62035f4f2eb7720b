"""The same work on the CPU and on the GPU: in which size, how fast, and whether both say the same."""

from __future__ import annotations

import itertools
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Protocol

from rtx50_autoload.benchmarking.results import Benchmark, Measurement, WorkResult
from rtx50_autoload.benchmarking.timing import Method, measure
from rtx50_autoload.benchmarking.work import BOUNDS, DTYPES, WORKS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rtx50_autoload.benchmarking.results import About
    from rtx50_autoload.benchmarking.work import Work

__all__ = ["Engine", "compare"]

_CPU = "cpu"


class Engine(Protocol):
    """What computes."""

    def about(self, place: str) -> About:
        """Tell where it is computed."""

    def obstacle(self, place: str) -> str:
        """Say why a GPU cannot be used, as a clause; give an empty text where it can.

        Raises:
            UsageError: there are GPUs, and this is none of them.

        """

    def task(self, kind: str, size: Mapping[str, int]) -> Any:  # noqa: ANN401
        """Make work with its inputs, the same at each call."""

    def on(self, task: Any, place: str, dtype: str) -> Callable[[], Any]:  # noqa: ANN401
        """Give what computes it once in a place and a type, where its inputs now are."""

    def synchronise(self, place: str) -> None:
        """Wait until all that was called there is done."""

    def distance(self, result: Any, expected: Any) -> float:  # noqa: ANN401
        """Give the largest distance as a share of the largest expected value; infinite where that is no number."""


def compare(
    engine: Engine,
    place: str,
    *,
    works: Sequence[Work] = WORKS,
    method: Method | None = None,
    on_step: Callable[[str, int, int], object] = lambda _what, _done, _total: None,
) -> Benchmark:
    """Measure all work on the CPU and, where it can be used, on a GPU.

    Args:
        engine: what computes.
        place: the GPU, as torch names it.
        works: what is computed.
        method: how it is measured; `Method` as it is by default.
        on_step: is told what comes next, how many steps are done, and how many there are.

    Raises:
        UsageError: there are GPUs, and this is none of them.

    """
    method = method or Method()
    no_gpu = engine.obstacle(place)
    # Asked before the work: an error on a GPU may leave it unable to answer.
    about = engine.about(place)
    steps = len(works) * (1 if no_gpu else 1 + len(DTYPES))
    numbers = itertools.count()
    runner = _Runner(
        engine, None if no_gpu else place, method, lambda what: on_step(f"Computing {what}", next(numbers), steps)
    )
    results = tuple(runner.run(work) for work in works)
    return Benchmark(
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        place=place,
        no_gpu=no_gpu,
        about=about,
        method=method,
        works=results,
    )


class _Runner:
    def __init__(self, engine: Engine, gpu: str | None, method: Method, on_step: Callable[[str], object]) -> None:
        self._engine = engine
        self._gpu = gpu
        self._method = method
        self._on_step = on_step

    def run(self, work: Work) -> WorkResult:
        self._on_step(f"{work.name} on the CPU")
        size, task, expected = self._largest(work)
        call = self._engine.on(task, _CPU, DTYPES[0])
        timing = measure(call, lambda: self._engine.synchronise(_CPU), self._method)
        return WorkResult(
            name=work.name,
            what=work.describe(size),
            size=size,
            reduced=size != work.sizes[-1],
            operations=work.operations(size),
            cpu=Measurement(_CPU, DTYPES[0], timing),
            gpu=tuple(self._on_gpu(work, task, expected, dtype) for dtype in DTYPES) if self._gpu else (),
        )

    def _largest(self, work: Work) -> tuple[Mapping[str, int], Any, Any]:
        """Give the largest size that the CPU computes in time, with its task and its result."""
        for size, larger in zip(work.sizes, (*work.sizes[1:], None), strict=True):
            task = self._engine.task(work.kind, size)
            call = self._engine.on(task, _CPU, DTYPES[0])
            # The first call of all may have to set something up.
            (seconds, expected), (again, _) = _timed(call), _timed(call)
            if larger is None:
                break
            if min(seconds, again) * work.operations(larger) / work.operations(size) > self._method.longest_call:
                break
        return size, task, expected

    def _on_gpu(self, work: Work, task: Any, expected: Any, dtype: str) -> Measurement:  # noqa: ANN401
        place = self._gpu or ""
        self._on_step(f"{work.name} on the GPU in {dtype}")
        try:
            call = self._engine.on(task, place, dtype)
            distance = self._engine.distance(call(), expected)
            judged = Measurement(place, dtype, None, distance, BOUNDS[dtype])
            if judged.wrong:
                return judged
            timing = measure(call, lambda: self._engine.synchronise(place), self._method)
        except RuntimeError as error:
            # What torch raises where a kernel, or the memory, is missing; whoever reads the result has to see it.
            return Measurement(place, dtype, None, error=f"{type(error).__name__}: {error}".splitlines()[0])
        return Measurement(place, dtype, timing, distance, BOUNDS[dtype])


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    begin = time.perf_counter()
    result = call()
    return time.perf_counter() - begin, result
