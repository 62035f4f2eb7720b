"""When this process was started, which tells processes that fail together from one that fails later."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

__all__ = ["started_at"]

_TICKS_FIELD = 19  # of /proc/self/stat, counted behind the command's name: field 22 of proc(5)
_FILETIME_EPOCH = 11_644_473_600.0  # seconds from 1601 to 1970
_FILETIMES_PER_SECOND = 1e7


def started_at() -> float | None:
    """Give the time at which this process was started, in seconds since 1970; None where the system does not tell.

    It is never earlier than the true start, and at most one tick of the system's clock (10 ms) later.
    """
    try:
        if sys.platform == "linux":
            return _from_proc()
        if sys.platform == "win32":
            return _from_windows()
    except (OSError, ValueError, IndexError, AttributeError):  # a Python or a sandbox that lacks a part of it
        pass
    return None


def _from_proc() -> float:
    # The command's name stands in brackets and may hold spaces and brackets itself.
    fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
    ticks = int(fields[_TICKS_FIELD]) + 1
    running = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return time.time() - running


if sys.platform == "win32":

    def _from_windows() -> float:
        import ctypes  # noqa: PLC0415 - where it is needed

        kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel32.GetCurrentProcess.restype = ctypes.c_void_p
        creation, exit_, kernel, user = (ctypes.c_uint64() for _ in range(4))
        pointers = [ctypes.byref(value) for value in (creation, exit_, kernel, user)]
        if not kernel32.GetProcessTimes(ctypes.c_void_p(kernel32.GetCurrentProcess()), *pointers):
            raise ctypes.WinError(ctypes.get_last_error())
        return creation.value / _FILETIMES_PER_SECOND - _FILETIME_EPOCH
