"""Room for builds and downloads: disk, the folder for temporary files, memory."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rtx50_autoload.evidence.environment import advice
from rtx50_autoload.evidence.environment.topic import Examined, Given
from rtx50_autoload.evidence.finding import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rtx50_autoload.evidence.environment.place import Place

__all__ = ["examine", "free_space", "memory", "processors"]

_GIB: Final = 2**30
#: A CUDA build of torch: the wheel of 2.13.0 has 0.5 GB and holds 1 GB; NVIDIA's packages, which it requires, more than
#: that. Both have to be on disk packed and unpacked for a while.
_DISK: Final = 10 * _GIB
#: pip unpacks and builds there; the largest single wheels have 1 GB.
_TEMPORARY: Final = 3 * _GIB
#: What one nvcc takes on kernels full of templates. flash-attn's README advises MAX_JOBS=4 below 96 GB of memory;
#: reports of builds that were killed are of this order (Anbeeld/beellama.cpp#80). A rule of thumb, not a measurement.
_PER_JOB: Final = 6 * _GIB

_MEMORY: Final = re.compile(r"^MemTotal:\s+(\d+) kB", re.MULTILINE)
_LIMITS: Final = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def examine(given: Given) -> Examined:
    """Measure what is free."""
    place = given.place
    disk, temporary = free_space(place.python.prefix), free_space(_temporary_folder(place))
    limit, jobs = memory(place), processors()
    facts = {
        "disk_free_bytes": disk,
        "temporary_free_bytes": temporary,
        "temporary_folder": str(_temporary_folder(place)),
        "memory_bytes": limit,
        "processors": jobs,
    }
    return Examined(tuple(_findings(given, disk, temporary, limit, jobs)), facts)


def _findings(given: Given, disk: int | None, temporary: int | None, limit: int | None, jobs: int) -> Iterator[Finding]:
    place = given.place
    if disk is not None and disk < _DISK:
        yield Finding(
            id="disk-small",
            severity=Severity.INFO,
            what=f"{_gib(disk)} GiB are free where this environment lies ({place.python.prefix}).",
            why=f"Replacing a CUDA build of torch takes about {_gib(_DISK)} GiB; a full disk leaves it broken.",
            next=advice.empty_pip_cache(place),
        )
    if temporary is not None and temporary < _TEMPORARY:
        yield Finding(
            id="temporary-folder-small",
            severity=Severity.INFO,
            what=f"{_gib(temporary)} GiB are free for temporary files ({_temporary_folder(place)}).",
            why='pip unpacks and builds there, and stops with "No space left on device".',
            next=advice.set_variable(place, "TEMP" if place.is_windows else "TMPDIR", str(place.python.prefix)),
        )
    if limit is not None and "MAX_JOBS" not in place.environ and limit < jobs * _PER_JOB:
        fitting = max(1, limit // _PER_JOB)
        if fitting < jobs:
            yield Finding(
                id="memory-small-for-builds",
                severity=Severity.INFO,
                what=f"{_gib(limit)} GiB of memory do not suffice to build CUDA code with all {jobs} processors.",
                why="Only building an extension from source needs it: each job of the CUDA compiler may take about "
                f"{_gib(_PER_JOB)} GiB, and the system kills what takes too much.",
                next=f"Before you build something: {advice.set_variable(place, 'MAX_JOBS', str(fitting))}",
            )


def free_space(folder: Path) -> int | None:
    """Give the bytes that are free where a folder lies; None where nothing tells."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def processors() -> int:
    """Count the processors that this process may use."""
    # A container or a batch system may allow fewer than there are.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _temporary_folder(place: Place) -> Path:
    # As tempfile finds it, without the trial of writing there.
    value = next((place.environ[name] for name in ("TMPDIR", "TEMP", "TMP") if place.environ.get(name)), None)
    return Path(value) if value else place.system("/tmp")  # noqa: S108 - it is asked for its size


def memory(place: Place) -> int | None:
    """Give the memory that processes here may use; None where the system does not tell (on Windows)."""
    match = _MEMORY.search(place.read("/proc/meminfo") or "")
    limits = [int(match[1]) * 1024] if match else []
    # A container has a limit of its own; "max", or a number beyond all memory, is none.
    limits += [int(text) for path in _LIMITS if (text := (place.read(path) or "").strip()).isdigit()]
    return min(limits, default=None)


def _gib(size: int) -> str:
    return f"{size / _GIB:.1f}".removesuffix(".0")
