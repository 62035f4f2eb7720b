"""End a process with all that it has started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

__all__ = ["end_group"]

#: How long Windows' own program may take for it, in seconds.
_GRACE: Final = 10.0

if sys.platform == "win32":

    def end_group(process: subprocess.Popen[bytes]) -> None:
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

else:

    def end_group(process: subprocess.Popen[bytes]) -> None:
        """End a process, started as the leader of a session, with those that it has started."""
        # No such process: all of them have ended (their number is not given out again at once). macOS says "not
        # permitted" of a group of zombies.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
