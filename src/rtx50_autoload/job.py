"""Which process of a job this is, as launchers and frameworks tell it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["is_helper", "is_worker", "rank"]

# The number of a process among those of its job: torchrun, DeepSpeed and Accelerate, Horovod, Open MPI, PMIx, MPICH and
# Intel MPI, MVAPICH2, IBM's jsrun, Flux, HPE's PALS; the number on its machine where nothing else is told.
_RANKS = (
    "RANK",
    "HOROVOD_RANK",
    "OMPI_COMM_WORLD_RANK",
    "PMIX_RANK",
    "PMI_RANK",
    "MV2_COMM_WORLD_RANK",
    "JSM_NAMESPACE_RANK",
    "FLUX_TASK_RANK",
    "PALS_RANKID",
    "LOCAL_RANK",
)

# A part of the command by which a program starts a process that works for it. Such a process runs the program's own
# main module before multiprocessing says that it has a parent, and the server that forkserver forks never does.
_HELPERS = (
    "--multiprocessing-fork",  # spawn; also of a frozen program, and of loky on Windows
    "from multiprocessing.forkserver import main",
    ".backend.popen_loky_posix",  # loky, which joblib brings along, too
    "/ray/_private/workers/default_worker.py",
    "/torch/_inductor/compile_worker/__main__.py",
)


def rank(environ: Mapping[str, str] | None = None) -> int | None:
    """Give this process's number in its job, 0 for the first; None where no launcher tells one.

    Args:
        environ: the environment variables, by default the process's.

    """
    environ = os.environ if environ is None else environ
    names = list(_RANKS)
    # Slurm sets it in a plain batch script of one task, too.
    if environ.get("SLURM_NTASKS", "1") != "1":
        names.append("SLURM_PROCID")
    return next((int(environ[name]) for name in names if environ.get(name, "").isdecimal()), None)


def is_helper(environ: Mapping[str, str] | None = None, command: Sequence[str] | None = None) -> bool:
    """Tell whether a program has started this process to work for it, and hears of its errors.

    That is a process of a `multiprocessing` pool or of a data loader, of loky, Dask or Ray, or a compiling process of
    torch's Inductor.

    Args:
        environ: the environment variables, by default the process's.
        command: the command that started the interpreter, by default the process's.

    """
    environ = os.environ if environ is None else environ
    command = getattr(sys, "orig_argv", ()) if command is None else command
    # Not imported: a process that has not loaded it is no child of it.
    multiprocessing = sys.modules.get("multiprocessing.process")
    if multiprocessing is not None and multiprocessing.parent_process() is not None:
        return True
    if any(part in argument.replace("\\", "/") for argument in command for part in _HELPERS):
        return True
    # Ray's raylet sets the variable in the workers that it starts, and what they start inherits it; a driver, also that
    # of a submitted job, does not have it.
    return "RAY_RAYLET_PID" in environ


def is_worker(environ: Mapping[str, str] | None = None) -> bool:
    """Tell whether another process of the same program speaks for this one: any but the first one of a job, any helper.

    Args:
        environ: the environment variables, by default the process's.

    """
    return bool(rank(environ)) or is_helper(environ)
