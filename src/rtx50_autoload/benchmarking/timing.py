"""How long a call takes: warm-up, then rounds until there are enough of them and enough time has passed."""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Method", "Timing", "measure"]


@dataclass(frozen=True, slots=True)
class Method:
    """How a call is measured; the same on the CPU and on the GPU.

    Attributes:
        warm_up_seconds: calls are made for at least so long before anything counts, at least one.
        rounds: so many are measured at least.
        seconds: rounds go on for at least so long.
        round_seconds: a round is as many calls as take about so long; one where a call takes longer.
        longest_call: work is measured in the largest size that the CPU is expected to compute within so long, in
            seconds.

    """

    warm_up_seconds: float = 0.5
    rounds: int = 5
    seconds: float = 3.0
    round_seconds: float = 0.02
    longest_call: float = 2.0


@dataclass(frozen=True, slots=True)
class Timing:
    """How long one call took, in seconds.

    Attributes:
        median: of the rounds.
        lower: a quarter of the rounds was faster.
        upper: a quarter of the rounds was slower.

    """

    median: float
    lower: float
    upper: float
    rounds: int
    calls_per_round: int


def measure(
    call: Callable[[], object],
    synchronise: Callable[[], None],
    method: Method,
    clock: Callable[[], float] = time.perf_counter,
) -> Timing:
    """Measure a call.

    Args:
        call: what is measured.
        synchronise: waits until all that was called is done; a GPU works on while Python goes on.
        method: how often, and for how long.
        clock: gives the time in seconds.

    """

    def spend(calls: int) -> float:
        begin = clock()
        for _ in range(calls):
            call()
        synchronise()
        return clock() - begin

    begin, once = clock(), spend(1)
    while clock() - begin < method.warm_up_seconds:
        once = spend(1)
    calls = max(1, math.ceil(method.round_seconds / once)) if once > 0 else 1
    rounds: list[float] = []
    begin = clock()
    while len(rounds) < method.rounds or clock() - begin < method.seconds:
        rounds.append(spend(calls) / calls)
    lower, median, upper = statistics.quantiles(rounds, n=4, method="inclusive")
    return Timing(median, lower, upper, len(rounds), calls)
