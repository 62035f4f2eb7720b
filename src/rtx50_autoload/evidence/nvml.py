"""The GPUs of this machine as its driver's management library (NVML) names them; CUDA is not initialised.

Seen with driver 580.159.04 on an H100: ``nvmlInit`` itself loads libcuda and leaves a thread of the driver's behind,
which ``nvmlShutdown`` does not end. ``cuInit`` works in a child that is forked afterwards, but the fork is a
DeprecationWarning from Python 3.12 on. So there the question is left to another process (:mod:`.nvml_aside`).

NVML knows nothing of ``CUDA_VISIBLE_DEVICES``: which of these GPUs CUDA shows is :mod:`.visibility`'s matter.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar

from rtx50_autoload.evidence import nvml_aside

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from rtx50_autoload.capability import Capability

__all__ = ["Gpu", "MigInstance", "Reading", "read", "read_here"]

_T = TypeVar("_T")

# By the class's name, so that pynvml need not be imported for the table to be read.
_CAUSES = {
    "NVMLError_LibraryNotFound": "no NVIDIA driver is installed here, for its library NVML was not found",
    "NVMLError_DriverNotLoaded": "the NVIDIA driver is installed but not loaded",
    "NVMLError_LibRmVersionMismatch": "the NVIDIA driver that runs and its libraries differ in version, "
    "as after an update without a restart",
    "NVMLError_NoPermission": "this user has no permission to talk to the NVIDIA driver",
    "NVMLError_OperatingSystem": "the operating system blocks access to the NVIDIA driver",
    "NVMLError_GpuIsLost": "the GPU is lost: it has fallen off the bus, and a restart is needed",
    "NVMLError_ResetRequired": "the GPU needs a reset",
    "NVMLError_FunctionNotFound": "the NVIDIA driver is too old to be asked, for its library NVML lacks a function",
}


@dataclass(frozen=True, slots=True)
class MigInstance:
    """A part of a partitioned GPU: one compute instance of one GPU instance."""

    uuid: str
    gpu_instance: int
    compute_instance: int


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU, whether or not CUDA is allowed to see it."""

    #: NVML's number of it, which need not be CUDA's.
    index: int
    name: str
    capability: Capability
    #: ``GPU-`` and 32 hexadecimal digits, or None where the driver does not tell.
    uuid: str | None
    #: ``domain:bus:device.function`` with leading zeros, or None where the driver does not tell.
    bus_id: str | None
    #: The parts of a GPU in MIG mode, in NVML's order; None where MIG mode is off.
    instances: tuple[MigInstance, ...] | None


@dataclass(frozen=True, slots=True)
class Reading:
    """What NVML answered."""

    gpus: tuple[Gpu, ...]
    #: The driver's version, such as ``580.159.04``.
    driver: str | None
    #: What kept NVML from answering in full, as clauses without full stops.
    problems: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Give what one process tells another."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Any) -> Reading:  # noqa: ANN401
        """Take what another process tells."""
        gpus = []
        for gpu in data["gpus"]:
            parts = None if gpu["instances"] is None else tuple(MigInstance(**part) for part in gpu["instances"])
            major, minor = gpu["capability"]
            gpus.append(Gpu(**{**gpu, "capability": (major, minor), "instances": parts}))
        return cls(tuple(gpus), data["driver"], tuple(data["problems"]))


@cache
def read(time_limit: float) -> Reading:
    """Ask NVML for the GPUs, once; what goes wrong is told in the reading, not raised.

    Args:
        time_limit: seconds to wait for the driver. A driver that hangs keeps the thread that asked it until the process
            ends.

    """
    silent = Reading((), None, (f"the NVIDIA driver did not answer within {time_limit:g} seconds",))
    if nvml_aside.is_due():
        try:
            return Reading.from_json(nvml_aside.read(time_limit))
        except nvml_aside.DriverSilentError:
            return silent
        except Exception:  # noqa: BLE001, S110 - where there may be no other process, this one can ask
            pass
    readings: list[Reading] = []
    try:
        import pynvml  # noqa: PLC0415 - half a megabyte of wrappers

        # A daemon, so that a hanging driver does not hold the process at its end.
        # An error in it would be printed as one of the program's threads.
        thread = Thread(target=_read_into, args=(readings, pynvml), name="rtx50-autoload NVML", daemon=True)
        thread.start()
        thread.join(time_limit)
    except Exception as error:  # noqa: BLE001 - a broken pynvml, or no thread to be had: the driver stays unasked
        return Reading((), None, (f"NVML could not be asked ({error!r})",))
    return readings[0] if readings else silent


def read_here() -> Reading:
    """Ask NVML for the GPUs in this process, however long it takes."""
    import pynvml  # noqa: PLC0415 - half a megabyte of wrappers

    return _read(pynvml)


def _read_into(readings: list[Reading], nvml: ModuleType) -> None:
    try:
        readings.append(_read(nvml))
    except Exception as error:  # noqa: BLE001 - likewise
        readings.append(Reading((), None, (f"NVML could not be asked ({error!r})",)))


def _read(nvml: ModuleType) -> Reading:
    try:
        nvml.nvmlInit()
        try:
            return _read_initialised(nvml)
        finally:
            # The answers count, not whether the library could be left again.
            with suppress(Exception):
                nvml.nvmlShutdown()
    except Exception as error:  # noqa: BLE001 - libraries in NVML's place have raised ctypes' and codecs' errors too
        return Reading((), None, (_cause(error),))


def _read_initialised(nvml: ModuleType) -> Reading:
    count = nvml.nvmlDeviceGetCount()
    answers = [_gpu_or_cause(nvml, index) for index in range(count)]
    problems = [
        f"GPU {index} could not be read: {cause}" for index, cause in enumerate(answers) if isinstance(cause, str)
    ]
    if count == 0:
        problems.append("the NVIDIA driver finds no GPU")
    gpus = tuple(answer for answer in answers if isinstance(answer, Gpu))
    return Reading(gpus, _if_told(nvml, nvml.nvmlSystemGetDriverVersion), tuple(problems))


def _gpu_or_cause(nvml: ModuleType, index: int) -> Gpu | str:
    # One GPU that is lost, or that this user may not open, does not hide the others.
    try:
        return _read_gpu(nvml, index)
    except nvml.NVMLError as error:
        return _cause(error)


def _read_gpu(nvml: ModuleType, index: int) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    pci = _if_told(nvml, lambda: nvml.nvmlDeviceGetPciInfo(handle))
    # Most GPUs do not know MIG, and say so by an error.
    mig_mode = _if_told(nvml, lambda: nvml.nvmlDeviceGetMigMode(handle))
    return Gpu(
        index=index,
        name=nvml.nvmlDeviceGetName(handle),
        capability=nvml.nvmlDeviceGetCudaComputeCapability(handle),
        uuid=_if_told(nvml, lambda: nvml.nvmlDeviceGetUUID(handle)),
        bus_id=pci and pci.busId,
        instances=_read_instances(nvml, handle) if mig_mode and mig_mode[0] == nvml.NVML_DEVICE_MIG_ENABLE else None,
    )


def _read_instances(nvml: ModuleType, handle: object) -> tuple[MigInstance, ...]:
    instances: list[MigInstance] = []
    for slot in range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        # An empty slot is an error too, and does not mean that the next one is empty.
        with suppress(nvml.NVMLError_NotFound):
            part = nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, slot)
            instances.append(
                MigInstance(
                    uuid=nvml.nvmlDeviceGetUUID(part),
                    gpu_instance=nvml.nvmlDeviceGetGpuInstanceId(part),
                    compute_instance=nvml.nvmlDeviceGetComputeInstanceId(part),
                )
            )
    return tuple(instances)


def _if_told(nvml: ModuleType, ask: Callable[[], _T]) -> _T | None:
    try:
        return ask()
    except nvml.NVMLError:
        return None


def _cause(error: Exception) -> str:
    kind = type(error).__name__
    return f"{_CAUSES.get(kind, 'the NVIDIA driver could not be asked')} ({kind}: {error})"
