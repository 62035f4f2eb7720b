"""What really computes on the GPU: tiny computations in child interpreters, with a time limit each.

Images say what can be loaded; only running it says what works. One child runs probe after probe and tells of each as it
goes. Where one crashes or hangs, or leaves CUDA unusable, the child is ended with all that it started, and another one
goes on behind it: no probe hides what comes after it.

The child sees the environment as the user's programs do, this package included.
"""

from __future__ import annotations

import json
import math
import os
import queue
import signal
import subprocess
import sys
import threading
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from enum import Enum
from importlib.resources import as_file, files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, TYPE_CHECKING, Any, Final

from rtx50_autoload.capability import format_capability
from rtx50_autoload.evidence.arch import JitSwitches
from rtx50_autoload.evidence.devices import survey
from rtx50_autoload.evidence.finding import Finding, Severity
from rtx50_autoload.evidence.known_errors import explain
from rtx50_autoload.process_groups import end_group

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rtx50_autoload.capability import Capability

__all__ = ["ProbeError", "ProbeReport", "ProbeResult", "State", "findings", "probe"]

#: How long an interpreter that is told to end, or has nothing left to do, may take for it, in seconds.
_GRACE: Final = 10.0
#: How much of the end of a child's stderr is kept, in bytes.
_TAIL: Final = 4000
#: No line that a child means for us is longer, in bytes.
_LONGEST_LINE: Final = 1 << 20
# What Windows gives as the exit code of a process that crashed begins here.
_FIRST_NTSTATUS: Final = 0xC0000000


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
                    child = _Child([*self._command, *self._pending], environment)
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

    def _listen(self, child: _Child) -> None:
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
            return _GRACE
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


class _Child:
    """A child interpreter: what it says, its last words, and its certain end."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - this interpreter and our own program
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # A group of its own, to be ended with all that it has started. Ctrl+C reaches us alone.
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
        self._events: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._tail = b""
        # Both pipes are read all the time: a probe may print as much as it likes without filling one and stopping.
        self._readers = [
            threading.Thread(target=self._read_events, args=(self._process.stdout,), daemon=True),
            threading.Thread(target=self._read_errors, args=(self._process.stderr,), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def close(self) -> None:
        """End it with all that it has started."""
        # Even where the child itself is gone: what it has started may be there still.
        end_group(self._process)
        # A process that waits for a GPU which does not answer cannot be ended by anyone; it is not waited for.
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE)
        for reader in self._readers:
            reader.join(_GRACE)

    def receive(self, limit: float) -> dict[str, Any] | None:
        """Wait for the next event; None where there will be none.

        Raises:
            TimeoutError: there is none within so many seconds.

        """
        try:
            return self._events.get(timeout=limit)
        except queue.Empty:
            if self._process.poll() is None:
                raise TimeoutError from None
            return None  # it is gone, and something that it has started keeps its stdout open

    def last_words(self) -> ProbeError:
        """Tell how a child ended that says no more, and what it said last."""
        try:
            code = self._process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            return ProbeError("no end", "it closed its output and did not end")
        self.close()  # what it has started would keep its stderr open
        text = self._tail.decode("utf-8", "replace").strip()
        return ProbeError(_name_of_exit(code), text.rpartition("\n")[2], text=text)

    def _read_events(self, stdout: IO[bytes]) -> None:
        with stdout:
            for line in iter(lambda: stdout.readline(_LONGEST_LINE), b""):
                # A start-up file may print, too, before the child has taken its stdout for itself.
                with suppress(ValueError, RecursionError):
                    event = json.loads(line)
                    if isinstance(event, dict) and "event" in event:
                        self._events.put(event)
        self._events.put(None)

    def _read_errors(self, stderr: IO[bytes]) -> None:
        with stderr:
            for piece in iter(lambda: os.read(stderr.fileno(), 1 << 16), b""):
                self._tail = (self._tail + piece)[-_TAIL:]


def _name_of_exit(code: int) -> str:
    if code < 0:
        with suppress(ValueError):
            return signal.Signals(-code).name
    return f"0x{code:08X}" if code >= _FIRST_NTSTATUS else f"exit code {code}"


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


_NEXT_WITHOUT_CUDA: Final = {
    "no-torch": "Install a torch that is built for CUDA.",
    "broken-torch": "`python -c 'import torch'` shows the whole error.",
    "no-cuda-build": "Install a torch that is built for CUDA.",
    "no-cuda": "`nvidia-smi` tells whether the driver works. In a container, the GPU has to be passed through.",
    "hangs": "`nvidia-smi` tells whether the driver works. From a slow disk, try once more.",
}
_NEXT_OTHERWISE: Final = "`python -c 'import torch; torch.zeros(1).cuda()'` shows what happens."

_BAD: Final = {
    State.FAILS: "fails",
    State.WRONG_NUMBERS: "computes wrong numbers",
    State.HANGS: "hangs",
}
_NEXT_IF_UNKNOWN: Final = "Update {library}, or look for the text of the error among its reported problems."


def findings(report: ProbeReport) -> list[Finding]:
    """Give what is wrong: one finding for each library and way of failing, the worst first.

    A probe with an alternative that works is a warning; all others that do not work are errors. Where nothing could be
    run there is one finding that says so.
    """
    if not report.usable:
        return [
            Finding(
                id="probe-not-run",
                severity=Severity.INFO,
                what="Nothing was computed on a GPU.",
                why=report.reason,
                next=_NEXT_WITHOUT_CUDA.get(report.obstacle, _NEXT_OTHERWISE),
            )
        ]
    served = {result.one_of for result in report.results if result.state is State.WORKS and result.one_of}
    groups: dict[tuple[Severity, str, State], list[ProbeResult]] = {}
    for result in report.results:
        if result.state in _BAD:
            spared = result.one_of in served and result.state is State.FAILS
            severity, subject = (Severity.WARNING, result.one_of) if spared else (Severity.ERROR, result.library)
            groups.setdefault((severity, subject, result.state), []).append(result)
    order = list(Severity)
    return [
        _finding(severity, subject, state, results, report)
        for (severity, subject, state), results in sorted(groups.items(), key=lambda item: order.index(item[0][0]))
    ]


def _finding(
    severity: Severity, subject: str, state: State, results: Sequence[ProbeResult], report: ProbeReport
) -> Finding:
    first = results[0]
    tried = [
        result
        for result in report.results
        if result.library == first.library and result.state is not State.NOT_INSTALLED
    ]
    causes = dict.fromkeys(_cause(result) for result in results)
    return Finding(
        id=f"probe-{subject.replace('_', '-')}-{state.value.replace(' ', '-')}",
        severity=severity,
        what=f"{first.library} {_BAD[state]} on {report.device}: {', '.join(result.name for result in results)} "
        f"({len(results)} of {len(tried)} computations tried).",
        why=" ".join(causes),
        next=first.next or _NEXT_IF_UNKNOWN.format(library=first.library),
    )


def _cause(result: ProbeResult) -> str:
    clauses = [str(result.error).rstrip(".")] if result.error else []
    if result.why:
        clauses.append(result.why)
    sentence = " - ".join(clauses)
    return f"{sentence[:1].upper()}{sentence[1:]}."
