"""RTX50_CHECK_INSTALL: the check of the installation at the first watched import, beside the program.

The import does not wait for it: a process of its own checks, and a thread says what it has found when that comes. At
the end of the program it is waited for a short time. Nothing is asked, and no assistant.
"""

from __future__ import annotations

import atexit
import os
import select
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import _rtx50_autoload_importlib_bootstrap as hook

from . import voice
from .installer import check
from .job import is_worker
from .process_groups import end_group

__all__ = ["start"]

#: How long a program that ends waits for the check, in seconds, where nobody and where somebody sits before it.
_PATIENCE: Final = 5.0
_PATIENCE_AT_A_TERMINAL: Final = 20.0
#: Seconds after which somebody who waits is told so.
_SILENCE: Final = 0.5
#: How long the check may take at all, in seconds: gigabytes of libraries on a slow disk.
_TIME_LIMIT: Final = 600.0
#: Seconds between two looks whether it has ended.
_TICK: Final = 0.1
#: Seconds for which a fork, or the end of the program, waits for the thread to stop.
_GRACE: Final = 1.0
#: How much less the check matters than the program.
_NICENESS: Final = 10
#: Far more than a summary has.
_LONGEST: Final = 65_536

_started = False


def start() -> None:
    """Start the check, once in a process and once in a job; not where RTX50_QUIET is set, for nobody would hear of it.

    The processes that this one starts from then on inherit RTX50_CHECK_INSTALL=0. Only by their environment can they
    know that the check is done: torchrun's workers, a launcher's programs, whatever else a program starts. A variable
    of another name would look like a misspelt setting to them.

    Raises:
        Exception: no process or no thread can be had.

    """
    global _started  # noqa: PLW0603
    # An application that has Python inside may be its own `sys.executable`, and would start itself.
    if _started or voice.quiet or is_worker() or getattr(sys, "frozen", False) or not sys.executable:
        return
    _started = True
    running = _Running(_start_process())
    os.environ["RTX50_CHECK_INSTALL"] = "0"
    try:
        running.go_on()
    except RuntimeError:  # no thread at the end of a program, or where there may be none
        running.end()
        raise
    atexit.register(running.finish)
    if sys.platform != "win32":
        os.register_at_fork(before=running.rest, after_in_parent=running.after_fork, after_in_child=running.forget)


def _start_process() -> subprocess.Popen[bytes]:
    """Start the check as the leader of a group that can be ended, with less right to the processor than the program."""
    options: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
        options = {"creationflags": flags | subprocess.BELOW_NORMAL_PRIORITY_CLASS}
    process = subprocess.Popen(  # noqa: S603 - this interpreter and our own program
        check.command("summary"),
        env=check.environment(),
        stdin=subprocess.DEVNULL,
        # A summary is shorter than what a pipe holds, so nobody has to read before the process has ended.
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        **options,
    )
    if sys.platform != "win32":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, process.pid, _NICENESS)
    return process


class _Running:
    """A check that runs, with the thread that waits for it.

    The thread rests while the process forks: the child would inherit the locks that it holds just then.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        #: None once its summary is said or given up.
        self._process: subprocess.Popen[bytes] | None = process
        self._deadline = time.monotonic() + _TIME_LIMIT
        self._stop = threading.Event()
        self._thread = threading.Thread()

    def go_on(self) -> None:
        """Start the thread, unless all is said."""
        if self._process is None or self._thread.is_alive():
            return
        self._stop.clear()
        self._thread = threading.Thread(target=self._attend, name="rtx50-autoload check", daemon=True)
        self._thread.start()

    def rest(self) -> None:
        """Stop the thread; the check goes on."""
        try:
            self._stop_thread()
        except Exception as error:  # noqa: BLE001 - Python would print it at the program's fork
            hook.record(error)
            # And would warn there of a thread that goes on, or has only just ended.
            self._stop.set()
            with suppress(RuntimeError):  # there is none
                self._thread.join(_GRACE)
            time.sleep(_TICK)

    def _stop_thread(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            deadline = time.monotonic() + _GRACE
            self._thread.join(_GRACE)
            # Linux counts a thread for a moment after its end, and at a fork Python warns of what Linux counts.
            task = Path(f"/proc/self/task/{self._thread.native_id}")
            while task.exists() and time.monotonic() < deadline:
                time.sleep(0.001)

    def after_fork(self) -> None:
        """Go on in the process that has forked."""
        try:
            if sys.version_info < (3, 13):
                self.go_on()
            else:
                # It looks for threads that it warns of after this, so there is none from here on: what has been found
                # is said at the next fork, or at the end.
                self._wait(0)
        except Exception as error:  # noqa: BLE001 - the fork is the program's
            hook.record(error)

    def forget(self) -> None:
        """Leave the check to the process that it belongs to."""
        try:
            process, self._process = self._process, None
            self._thread = threading.Thread()
            if process is not None:
                # Only its parent can wait for it, and this is not its parent.
                process.returncode = 0
                _close(process)
        except Exception as error:  # noqa: BLE001 - likewise
            hook.record(error)

    def finish(self) -> None:
        """Wait a short time for the check, and end it."""
        try:
            # A thread that still wrote when Python ends would make a fatal error of that.
            self.rest()
            self._stop.clear()
            with suppress(KeyboardInterrupt):
                self._wait_at_the_end()
            self.end()
        except Exception as error:  # noqa: BLE001 - the program has ended as it wanted
            hook.record(error)

    def end(self) -> None:
        """End the check with all that it has started."""
        process, self._process = self._process, None
        if process is not None:
            if process.poll() is None:
                end_group(process)
                process.wait(_GRACE)
            _close(process)

    def _attend(self) -> None:
        try:
            self._wait(self._deadline - time.monotonic())
            if time.monotonic() > self._deadline and self._process is not None:
                self.end()
                hook.record(check.CheckError(f"the check took more than {_TIME_LIMIT:.0f} s"))
        except Exception as error:  # noqa: BLE001 - nobody waits for what a thread raises
            hook.record(error)

    def _wait_at_the_end(self) -> None:
        if not _is_at_terminal():
            self._wait(_PATIENCE)
            return
        self._wait(_SILENCE)
        if self._process is not None:
            voice.say(f"waiting up to {_PATIENCE_AT_A_TERMINAL:.0f} s for RTX50_CHECK_INSTALL; Ctrl+C ends it.")
            self._wait(_PATIENCE_AT_A_TERMINAL - _SILENCE)

    def _wait(self, seconds: float) -> None:
        """Wait for the end of the check, and say what it has found.

        Raises:
            CheckError: it has failed.
            ValueError: it has printed no answer.

        """
        until = time.monotonic() + seconds
        while (process := self._process) is not None:
            if process.poll() is not None and _can_write():
                self._process = None
                try:
                    lines = _summary(process)
                finally:
                    _close(process)
                for line in lines:
                    voice.say(line)
            elif time.monotonic() >= until or self._stop.wait(_TICK):
                return


def _close(process: subprocess.Popen[bytes]) -> None:
    if process.stdout is not None:
        process.stdout.close()


def _summary(process: subprocess.Popen[bytes]) -> list[str]:
    """Read what a check that has ended has printed.

    Raises:
        CheckError: it has failed.

    """
    if process.returncode or process.stdout is None:
        raise check.CheckError(f"the check ended with {process.returncode}")
    lines: list[str] = check.answer_of(process.stdout.read(_LONGEST))
    return lines


def _can_write() -> bool:
    """Tell whether stderr takes a few lines at once: a full pipe would hold the thread, and the program at its end."""
    if sys.platform == "win32":
        return True
    try:
        return bool(select.select([], [sys.stderr.fileno()], [], 0)[1])
    except (AttributeError, OSError, ValueError):  # a notebook's stream, a test's, or none
        return True


def _is_at_terminal() -> bool:
    try:
        return sys.stdin.isatty() and sys.stderr.isatty()
    except (AttributeError, ValueError):  # a program without them (pythonw), or one that has closed them
        return False
