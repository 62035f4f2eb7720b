"""Run one program that is not trusted to end: with limits, and with all that it starts ended with it.

What it puts out goes to files and not through pipes. Programs of Node.js that end at once after writing (gemini 0.61)
lost the end of a long answer where a pipe was full: 4 of 14 answers of 109 kB, and none to a file.
"""

from __future__ import annotations

import subprocess
import threading
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Final, Literal

from rtx50_autoload.process_groups import end_group, release_guard, start_guard

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

__all__ = ["LONGEST_OUTPUT", "Outcome", "run_child"]

#: How much of each stream is read, in bytes; who writes more is ended.
LONGEST_OUTPUT: Final = 1 << 20
#: How often limits are looked at, in seconds.
_TICK: Final = 0.05
#: How long a process may take to end that has been ended, in seconds.
_GRACE: Final = 2.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it went.

    Attributes:
        end: who ended it: the program itself, the time limit, the limit of its output, or what it said of itself.
        code: its exit code, where it ended by itself; negative for a signal.
        stdout: what it wrote, bytes that are no UTF-8 replaced.

    """

    end: Literal["itself", "time", "output", "hopeless"]
    code: int
    stdout: str
    stderr: str
    seconds: float


def run_child(  # noqa: PLR0913 - each is another thing that a child has
    command: Sequence[str],
    *,
    folder: Path,
    output: Path,
    environment: Mapping[str, str],
    stdin: bytes,
    time_limit: float,
    hopeless: re.Pattern[bytes] | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> Outcome:
    """Run a program without a terminal, and leave none of its processes behind, whatever happens to us.

    A process that makes itself the leader of a new session, as daemons do, is not found.

    Args:
        command: the program and its arguments; no shell sees them.
        folder: where it runs.
        output: a folder for what it writes to stdout and stderr.
        environment: its whole environment.
        stdin: what it reads; the end follows.
        time_limit: in seconds, for all of it.
        hopeless: what it says on stderr where waiting longer is of no use.
        on_progress: told the seconds that have passed, again and again.

    Raises:
        OSError: it cannot be started.

    """
    start = time.monotonic()
    streams = [_Stream(output / "stdout"), _Stream(output / "stderr", hopeless)]
    with closing(streams[0]), closing(streams[1]):
        process = subprocess.Popen(  # noqa: S603 - a program that was looked for by its full path, constant arguments
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=streams[0].file,
            stderr=streams[1].file,
            # A group of its own, to be ended with all that it has started. Ctrl+C reaches us alone.
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
            | getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        guard = None
        try:
            guard = start_guard(process.pid)
            # A program may take the question slowly, or not at all.
            threading.Thread(target=_write, args=(process.stdin, stdin), daemon=True).start()
            end = _wait(process, streams, start + time_limit, lambda: _tell(on_progress, start))
        finally:
            # Also where it has ended by itself: what it started may be there still.
            end_group(process)
            # One that the system does not let end, as it waits for a device, is not waited for.
            with suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE)
            if guard is not None:
                release_guard(guard)
        stdout, stderr = (stream.read().decode("utf-8", "replace") for stream in streams)
    return Outcome(end, process.poll() or 0, stdout, stderr, time.monotonic() - start)


def _wait(
    process: subprocess.Popen[bytes], streams: Sequence[_Stream], deadline: float, tell: Callable[[], None]
) -> Literal["itself", "time", "output", "hopeless"]:
    while True:
        with suppress(subprocess.TimeoutExpired):
            process.wait(_TICK)
            return "output" if any(stream.overflows() for stream in streams) else "itself"
        if any(stream.overflows() for stream in streams):
            return "output"
        if any(stream.is_hopeless() for stream in streams):
            return "hopeless"
        if time.monotonic() > deadline:
            return "time"
        tell()


def _tell(on_progress: Callable[[float], None] | None, start: float) -> None:
    if on_progress is not None:
        on_progress(time.monotonic() - start)


class _Stream:
    """A file that the program writes to while we look."""

    def __init__(self, path: Path, pattern: re.Pattern[bytes] | None = None) -> None:
        self._path, self._pattern = path, pattern
        self._seen = 0
        self.file = path.open("wb")

    def close(self) -> None:
        self.file.close()

    def overflows(self) -> bool:
        return self._path.stat().st_size > LONGEST_OUTPUT

    def is_hopeless(self) -> bool:
        """Tell whether what has come since the last look shows that waiting is of no use."""
        size = self._path.stat().st_size
        if self._pattern is None or size == self._seen:
            return False
        self._seen = size
        return self._pattern.search(self.read()) is not None

    def read(self) -> bytes:
        with self._path.open("rb") as file:
            return file.read(LONGEST_OUTPUT)


def _write(stream: IO[bytes], content: bytes) -> None:
    # A program may end, or close its stdin, without having read all of it.
    with suppress(OSError), stream:
        stream.write(content)
