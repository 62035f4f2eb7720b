"""The one voice: all that this package prints on its own account goes to stderr through here.

Nothing here raises: a closed stderr costs the message, never the program.
"""

from __future__ import annotations

import os
import sys

__all__ = ["fault", "is_first_process", "say", "wants_debug"]

#: Set from the settings once they are read.
quiet = False
debug = False

# The rank of this process among those of one job, as the launchers give it: torchrun, Slurm, Open MPI, MPICH.
_RANK_VARIABLES = ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK")

_said: set[str] = set()


def say(text: str) -> None:
    """Print one line, once per process, and only in the first process of a job."""
    if quiet or text in _said or not is_first_process():
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


def is_first_process() -> bool:
    """Tell whether this is the first process of its job, and no worker of another process."""
    rank = next((os.environ[name] for name in _RANK_VARIABLES if name in os.environ), "0")
    multiprocessing = sys.modules.get("multiprocessing.process")
    is_worker = multiprocessing is not None and multiprocessing.parent_process() is not None
    return rank in {"0", ""} and not is_worker


def _write(text: str) -> None:
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except Exception:  # noqa: BLE001, S110 - stderr may be None, closed or a full pipe
        pass
