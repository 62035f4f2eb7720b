"""Run one program that is not trusted to end: with limits, and with all that it starts ended with it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Final, Literal

from rtx50_autoload.process_groups import end_group

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

__all__ = ["LONGEST_OUTPUT", "Outcome", "run_child"]

#: How much of each stream is read, in bytes; who writes more is ended.
LONGEST_OUTPUT: Final = 1 << 20
#: How often limits are looked at, in seconds.
_TICK: Final = 0.05
#: How long a pipe may stay open behind the program's end, in seconds.
_GRACE: Final = 2.0

# Ends a group where we are gone: our end of its stdin is closed then, whatever it was that ended us.
_GUARD: Final = 'read -r line || kill -KILL "-$1"'


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
        environment: its whole environment.
        stdin: what it reads; the end follows.
        time_limit: in seconds, for all of it.
        hopeless: what it says on stderr where waiting longer is of no use.
        on_progress: told the seconds that have passed, again and again.

    Raises:
        OSError: it cannot be started.

    """
    start = time.monotonic()
    process = subprocess.Popen(  # noqa: S603 - a program that was looked for by its full path, and constant arguments
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A group of its own, to be ended with all that it has started. Ctrl+C reaches us alone.
        start_new_session=True,
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0) | getattr(subprocess, "CREATE_NO_WINDOW", 0),
    )
    guard = None
    pipes: list[_Pipe] = []
    try:
        guard = _start_guard(process.pid)
        assert process.stdin and process.stdout and process.stderr  # noqa: S101, PT018 - asked for above
        pipes = [_Pipe(process.stdout), _Pipe(process.stderr, hopeless)]
        threading.Thread(target=_write, args=(process.stdin, stdin), daemon=True).start()
        end = _wait(process, pipes, start + time_limit, lambda: _tell(on_progress, start))
    finally:
        # Also where it has ended by itself: what it started may be there still.
        end_group(process)
        # One that the system does not let end, as it waits for a device, is not waited for.
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)
        for pipe in pipes:
            pipe.thread.join(_GRACE)
        if guard is not None:
            guard.kill()
            guard.wait()
            if guard.stdin is not None:
                guard.stdin.close()
    stdout, stderr = (bytes(pipe.content).decode("utf-8", "replace") for pipe in pipes)
    return Outcome(end, process.poll() or 0, stdout, stderr, time.monotonic() - start)


def _wait(
    process: subprocess.Popen[bytes], pipes: Sequence[_Pipe], deadline: float, tell: Callable[[], None]
) -> Literal["itself", "time", "output", "hopeless"]:
    while True:
        with suppress(subprocess.TimeoutExpired):
            process.wait(_TICK)
            return "itself"
        if any(pipe.overflows for pipe in pipes):
            return "output"
        if any(pipe.hopeless for pipe in pipes):
            return "hopeless"
        if time.monotonic() > deadline:
            return "time"
        tell()


def _tell(on_progress: Callable[[float], None] | None, start: float) -> None:
    if on_progress is not None:
        on_progress(time.monotonic() - start)


class _Pipe:
    """Reads all that comes, so that the program never waits for us, and keeps as much as is allowed."""

    def __init__(self, stream: IO[bytes], pattern: re.Pattern[bytes] | None = None) -> None:
        self._stream, self._pattern = stream, pattern
        self.content = bytearray()
        self.overflows = False
        self.hopeless = False
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        with self._stream:
            for piece in iter(lambda: os.read(self._stream.fileno(), 1 << 16), b""):
                self.content += piece[: LONGEST_OUTPUT - len(self.content)]
                self.overflows = self.overflows or len(self.content) >= LONGEST_OUTPUT
                if self._pattern is not None and self._pattern.search(self.content):
                    self.hopeless = True


def _write(stream: IO[bytes], content: bytes) -> None:
    # A program may end, or close its stdin, without having read all of it.
    with suppress(OSError), stream:
        stream.write(content)


def _start_guard(group: int) -> subprocess.Popen[bytes] | None:
    if sys.platform == "win32":
        return None
    with suppress(OSError):
        return subprocess.Popen(  # noqa: S603 - the system's shell, a constant text and a number
            ["/bin/sh", "-c", _GUARD, "guard", str(group)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    return None
