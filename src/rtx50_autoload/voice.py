"""The one voice: all that this package prints on its own account goes to stderr through here.

Nothing here raises: a closed stderr costs the message, never the program.
"""

from __future__ import annotations

import os
import sys

from rtx50_autoload.job import is_worker

__all__ = ["fault", "say", "wants_debug"]

#: Set from the settings once they are read.
quiet = False
debug = False

_said: set[str] = set()


def say(text: str, *, speaks: bool | None = None) -> None:
    """Print one line, once per process, and only in the first process of a job.

    Args:
        text: the line.
        speaks: whether this process is the one that speaks, where the caller knows; it need not be the first one then.

    """
    if quiet or text in _said or not (_is_first() if speaks is None else speaks):
        return
    _said.add(text)
    _write(f"rtx50-autoload: {text}\n")


def fault(error: Exception) -> None:
    """Show a fault of ours with its traceback where RTX50_DEBUG asks for it."""
    if wants_debug():
        import traceback  # noqa: PLC0415 - not at start-up

        _write("rtx50-autoload: internal fault, your program goes on without us:\n")
        _write("".join(traceback.format_exception(type(error), error, error.__traceback__)))


def wants_debug() -> bool:
    """Tell whether RTX50_DEBUG asks for everything; also before the settings are read, which may be what fails."""
    return debug or os.environ.get("RTX50_DEBUG", "").lower() in {"1", "true", "yes", "on"}


def _is_first() -> bool:
    try:
        return not is_worker()
    except Exception:  # noqa: BLE001 - a program may have replaced `os.environ` by anything
        return True


def _write(text: str) -> None:
    try:
        from rtx50_autoload.printable import printable  # noqa: PLC0415 - most programs hear nothing of us

        sys.stderr.write(printable(text))
        sys.stderr.flush()
    except Exception:  # noqa: BLE001, S110 - stderr may be None, closed or a full pipe
        pass
