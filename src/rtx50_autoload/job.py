"""Which process of a job this is, as launchers and frameworks tell it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["is_worker", "rank"]

# The number of a process among those of its job: torchrun and Accelerate, Open MPI, PMIx, MPICH and Intel MPI,
# MVAPICH2, IBM's jsrun, Flux, HPE's PALS; the number on its machine where nothing else is told.
_RANKS = (
    "RANK",
    "OMPI_COMM_WORLD_RANK",
    "PMIX_RANK",
    "PMI_RANK",
    "MV2_COMM_WORLD_RANK",
    "JSM_NAMESPACE_RANK",
    "FLUX_TASK_RANK",
    "PALS_RANKID",
    "LOCAL_RANK",
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


def is_worker(environ: Mapping[str, str] | None = None) -> bool:
    """Tell whether another process of the same program speaks for this one.

    That is any but the first process of a job, a process of a `multiprocessing` pool or of a data loader, and a worker
    of Ray.

    Args:
        environ: the environment variables, by default the process's.

    """
    environ = os.environ if environ is None else environ
    # Not imported: a process that has not loaded it is no child of it.
    multiprocessing = sys.modules.get("multiprocessing.process")
    is_child = multiprocessing is not None and multiprocessing.parent_process() is not None
    # Ray's raylet sets the variable in the workers that it starts; a driver does not have it.
    return bool(rank(environ)) or is_child or "RAY_RAYLET_PID" in environ
