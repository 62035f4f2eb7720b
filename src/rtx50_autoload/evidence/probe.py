"""What really computes on the GPU: tiny computations in child interpreters, with a time limit each.

Images say what can be loaded; only running it says what works. One child runs probe after probe and tells of each as it
goes. Where one crashes or hangs, or leaves CUDA unusable, the child is ended with all that it started, and another one
goes on behind it: no probe hides what comes after it.

The child sees the environment as the user's programs do, this package included.
"""

from __future__ import annotations

import os
import sys
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.resources import as_file, files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from rtx50_autoload.capability import format_capability
from rtx50_autoload.evidence.arch import JitSwitches
from rtx50_autoload.evidence.devices import survey
from rtx50_autoload.evidence.known_errors import explain
from rtx50_autoload.evidence.probe_process import GRACE, Child
from rtx50_autoload.evidence.probe_report import ProbeError, ProbeReport, ProbeResult, State

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


__all__ = ["probe"]


def probe(
    time_limit: float = 60.0,
    *,
    start_limit: float = 300.0,
    device: int = 0,
    on_result: Callable[[ProbeResult], None] | None = None,
) -> ProbeReport:
    """Run every probe on a GPU and report.

    It takes from seconds to minutes, mostly for importing torch and compiling, and initialises CUDA in child processes
    only. Where CUDA cannot be used, the report says why. Nothing is raised, and no process is left running; what
    compilers cache goes to a folder that is removed.

    Args:
        time_limit: seconds for each probe.
        start_limit: seconds for importing torch and initialising CUDA; from a slow disk that takes a minute.
        device: the GPU, as CUDA counts.
        on_result: called with each result as it comes.

    """
    with as_file(files(__package__).joinpath("probe_child.py")) as program:
        return run_probes(program, time_limit, start_limit=start_limit, device=device, on_result=on_result)


def run_probes(
    program: Path,
    time_limit: float,
    *,
    start_limit: float,
    device: int = 0,
    on_result: Callable[[ProbeResult], None] | None = None,
) -> ProbeReport:
    """Do what `probe` does with another child program, one that calls `main` of `probe_child` with its own table."""
    date = datetime.now(timezone.utc).isoformat(timespec="seconds")
    run = _Run(program, _Limits(start_limit, time_limit), device, on_result or (lambda _: None))
    run.drive()
    if not run.planned:
        return ProbeReport((), f"Nothing was run on a GPU: {run.problem}.", date, obstacle=run.obstacle)
    name, capability, driver = run.about.get("device"), run.about.get("capability"), None
    truth = survey()
    if device < len(truth.devices):
        # The child is told what RTX50_SIMULATE has it told; NVML is not.
        name, capability, driver = truth.devices[device].name, truth.devices[device].capability, truth.driver
    capability = None if capability is None else (int(capability[0]), int(capability[1]))
    where = f"{name} ({format_capability(capability)})" if capability else str(name)
    versions = f"torch {run.about.get('torch')}, CUDA {run.about.get('cuda')}"
    return ProbeReport(
        results=tuple(run.results[each] for each in run.planned),
        reason=f"Run on {where}, {versions}{f', driver {driver}' if driver else ''}.",
        date=date,
        device=name,
        capability=capability,
        driver=driver,
        torch=run.about.get("torch"),
        cuda=run.about.get("cuda"),
    )


@dataclass(frozen=True)
class _Limits:
    """How long to wait, in seconds."""

    start: float
    probe: float


class _Run:
    """One run of all probes, by as many children as that takes.

    Attributes:
        planned: what the first child says of each probe, by name; empty until one is ready.
        results: by name.
        about: what the child says of torch and the device.
        problem: why nothing more can be run, as a clause; empty where all is well.
        obstacle: its kind.

    """

    def __init__(self, program: Path, limits: _Limits, device: int, on_result: Callable[[ProbeResult], None]) -> None:
        self._command = [sys.executable, str(program), str(limits.start), str(limits.probe), str(device)]
        self._limits = limits
        self._on_result = on_result
        self._switches = JitSwitches.from_environment()
        self._ready = False
        self._running = ""
        self.planned: dict[str, Mapping[str, Any]] = {}
        self.results: dict[str, ProbeResult] = {}
        self.about: Mapping[str, Any] = {}
        self.problem = ""
        self.obstacle = ""

    @property
    def _pending(self) -> list[str]:
        return [name for name in self.planned if name not in self.results]

    def drive(self) -> None:
        """Start children until every probe has a result."""
        try:
            folder = TemporaryDirectory(prefix="rtx50-probe-", ignore_cleanup_errors=True)
        except OSError as error:
            self.stop("no-folder", f"there is no place for temporary files ({error})")
            return
        with folder as scratch:
            environment = {
                **os.environ,
                "RTX50_CHECK_INSTALL": "0",
                # A kernel from the cache would prove nothing of the compiler, and what is compiled here is of no use
                # to anybody else.
                "TRITON_CACHE_DIR": str(Path(scratch, "triton")),
                "TORCHINDUCTOR_CACHE_DIR": str(Path(scratch, "inductor")),
                # Inductor would start a pool of processes for one kernel.
                "TORCHINDUCTOR_COMPILE_THREADS": "1",
            }
            while not self.problem and (self._pending or not self.planned):
                before = len(self.results)
                try:
                    child = Child([*self._command, *self._pending], environment)
                except OSError as error:
                    self.stop("no-child", f"a child interpreter cannot be run ({error})")
                    return
                with closing(child):
                    self._listen(child)
                if len(self.results) == before and not self.problem:
                    self.stop("child-ended", "the child interpreter ended without running anything")

    def stop(self, obstacle: str, problem: str) -> None:
        """Give up: what has not run by now would fail for this reason."""
        self.obstacle, self.problem = obstacle, problem
        for name in self._pending:
            self._keep(name, State.FAILS, error=ProbeError("Unusable", problem), why="CUDA could not be used any more")

    def _listen(self, child: Child) -> None:
        """Keep what a child tells, and find out why it tells no more."""
        self._ready, self._running = False, ""
        try:
            while event := child.receive(self._patience()):
                self._hear(event.pop("event"), event)
        except TimeoutError:
            self._silent()
        else:
            if self._running:
                self._fail(self._running, child.last_words(), None)
            elif not self._ready and not self.problem:
                words = child.last_words()
                self.stop("child-ended", f"the child interpreter ended before CUDA was initialised ({words})")

    def _patience(self) -> float:
        if self.problem or (self._ready and not self._pending):
            return GRACE
        return self._limits.probe if self._ready else self._limits.start

    def _hear(self, kind: str, event: dict[str, Any]) -> None:
        """Act on an event."""
        if kind == "unusable":
            self.stop(event["kind"], event["reason"])
        elif kind == "ready":
            self._ready = True
            if not self.planned:
                self.planned = {told["name"]: told for told in event.pop("probes")}
                self.about = event
        elif kind == "start":
            self._running = event["name"]
        elif kind == "result":
            self._running = ""
            self._take(event.pop("name"), **event)

    def _silent(self) -> None:
        """Act on a child that has said nothing for too long; one that hangs behind its last result is none."""
        if self._running:
            why = f"it gave no answer within {self._limits.probe:g} seconds"
            self._keep(self._running, State.HANGS, why=why, next="Try once more with a longer time limit.")
        elif not self._ready and not self.problem:
            self.stop("hangs", f"importing torch and initialising CUDA took over {self._limits.start:g} seconds")

    def _take(self, name: str, state: str, error: Mapping[str, Any] | None = None, **figures: Any) -> None:  # noqa: ANN401
        """Keep what a child says of a probe that has come to an end."""
        if error is not None:
            self._fail(name, ProbeError(**error), **figures)
        elif state == State.WRONG_NUMBERS:
            self._keep(
                name,
                State.WRONG_NUMBERS,
                why="it ran without an error, and its result is not the one that the CPU computes",
                next="Do not trust results of {library} on this GPU. Update it, or use another one.",
                **figures,
            )
        else:
            self._keep(name, State(state), **figures)

    def _fail(self, name: str, error: ProbeError, seconds: float | None) -> None:
        known = explain(error.type, f"{error.message}\n{error.text}", error.code, self._switches)
        why, next_ = (known.why, known.next) if known else ("", "")
        self._keep(name, State.FAILS, error=error, seconds=seconds, why=why, next=next_)

    def _keep(self, name: str, state: State, **details: Any) -> None:  # noqa: ANN401
        told = self.planned[name]
        details["next"] = details.get("next", "").replace("{library}", told["library"])
        result = ProbeResult(state=state, **told, **details)
        self.results[name] = result
        self._on_result(result)
