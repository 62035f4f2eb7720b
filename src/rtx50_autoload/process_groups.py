"""End a process with all that it has started, also where we are ended ourselves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

__all__ = ["end_gently", "end_group", "release_guard", "start_guard"]

#: How long Windows' own program may take for it, in seconds.
_GRACE: Final = 10.0

# Ends a group where we are gone: our end of its stdin is closed then, whatever it was that ended us.
_GUARD: Final = 'read -r line || kill -KILL "-$1"'

if sys.platform == "win32":

    def end_group(process: subprocess.Popen[Any]) -> None:
        """End a process, started with CREATE_NEW_PROCESS_GROUP, with those that it has started."""
        taskkill = Path(os.environ.get("SYSTEMROOT", r"C:\Windows"), "System32", "taskkill.exe")
        if process.poll() is None:
            with suppress(OSError, subprocess.TimeoutExpired):
                subprocess.run(  # noqa: S603 - Windows' own program
                    [str(taskkill), "/F", "/T", "/PID", str(process.pid)],
                    capture_output=True,
                    timeout=_GRACE,
                    check=False,
                )
        process.kill()

    def end_gently(process: subprocess.Popen[Any], grace: float) -> int:  # noqa: ARG001 - Windows has no gentle way
        """End a process and all that it has started; give its exit code."""
        end_group(process)
        return process.wait()

else:

    def end_group(process: subprocess.Popen[Any]) -> None:
        """End a process, started as the leader of a session, with those that it has started."""
        # No such process: all of them have ended (their number is not given out again at once). macOS says "not
        # permitted" of a group of zombies.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)

    def end_gently(process: subprocess.Popen[Any], grace: float) -> int:
        """End the group of a process, the leader of a session: interrupted, then asked, then killed.

        Args:
            process: the leader, which may have ended already.
            grace: how long the group may take to end after each of the signals, in seconds.

        Returns:
            the exit code of the leader.

        """
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            if _has_ended(process, number, grace):
                break
        return process.wait()

    def _has_ended(process: subprocess.Popen[Any], number: signal.Signals, grace: float) -> bool:
        """Send a signal to the group and wait a while for its end."""
        deadline = time.monotonic() + grace
        try:
            os.killpg(process.pid, number)
            while time.monotonic() < deadline:
                process.poll()
                os.killpg(process.pid, 0)
                time.sleep(0.02)
        except ProcessLookupError:
            return True
        except PermissionError:
            # It has taken the administrator's rights, and is out of our hands.
            return process.poll() is not None
        return False


def start_guard(group: int) -> subprocess.Popen[bytes] | None:
    """Start what kills the group of a process if this process is gone before it; None where that cannot be had."""
    if sys.platform == "win32":
        return None
    with suppress(OSError):
        return subprocess.Popen(  # noqa: S603 - the system's shell, a constant text and a number
            ["/bin/sh", "-c", _GUARD, "guard", str(group)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return None


def release_guard(guard: subprocess.Popen[bytes]) -> None:
    """End what `start_guard` has started, and nothing else."""
    guard.kill()
    guard.wait()
    if guard.stdin is not None:
        guard.stdin.close()
