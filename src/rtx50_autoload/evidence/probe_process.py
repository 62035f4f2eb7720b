"""The child interpreter that computes the probes: what it says, its last words, and its certain end."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import threading
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, Final

from rtx50_autoload.evidence.probe_report import ProbeError
from rtx50_autoload.process_groups import end_group

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["GRACE", "Child"]

#: How long an interpreter that is told to end, or has nothing left to do, may take for it, in seconds.
GRACE: Final = 10.0
#: How much of the end of a child's stderr is kept, in bytes.
_TAIL: Final = 4000
#: No line that a child means for us is longer, in bytes.
_LONGEST_LINE: Final = 1 << 20
# What Windows gives as the exit code of a process that crashed begins here.
_FIRST_NTSTATUS: Final = 0xC0000000


class Child:
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
            self._process.wait(GRACE)
        for reader in self._readers:
            reader.join(GRACE)

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
            code = self._process.wait(GRACE)
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
