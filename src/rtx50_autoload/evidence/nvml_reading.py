"""What NVML says of the GPUs, asked in this process; :mod:`.nvml` decides in which one, and for how long."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeVar

from rtx50_autoload.evidence.gpu import Gpu, MigInstance, Reading
from rtx50_autoload.evidence.nvml_library import Nvml, NvmlError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rtx50_autoload.evidence.nvml_library import Handle

__all__ = ["read_here"]

_T = TypeVar("_T")

# By code: the name in nvml.h, and what it means to a person.
_CAUSES: Final = {
    4: ("NVML_ERROR_NO_PERMISSION", "this user has no permission to talk to the NVIDIA driver"),
    9: ("NVML_ERROR_DRIVER_NOT_LOADED", "the NVIDIA driver is installed but not loaded"),
    13: (
        "NVML_ERROR_FUNCTION_NOT_FOUND",
        "the NVIDIA driver is too old to be asked, for its library NVML lacks a function",
    ),
    15: ("NVML_ERROR_GPU_IS_LOST", "the GPU is lost: it has fallen off the bus, and a restart is needed"),
    16: ("NVML_ERROR_RESET_REQUIRED", "the GPU needs a reset"),
    17: ("NVML_ERROR_OPERATING_SYSTEM", "the operating system blocks access to the NVIDIA driver"),
    18: (
        "NVML_ERROR_LIB_RM_VERSION_MISMATCH",
        "the NVIDIA driver that runs and its libraries differ in version, as after an update without a restart",
    ),
}
_MIG_ENABLED: Final = 1


def read_here() -> Reading:
    """Ask NVML for the GPUs, however long it takes; what goes wrong is told in the reading, not raised."""
    try:
        with Nvml() as nvml:
            return _read(nvml)
    except Exception as error:  # noqa: BLE001 - libraries in NVML's place have raised ctypes' and codecs' errors too
        return Reading((), None, (_cause(error),))


def _read(nvml: Nvml) -> Reading:
    count = nvml.number("nvmlDeviceGetCount_v2")
    answers = [_gpu_or_cause(nvml, index) for index in range(count)]
    problems = [
        f"GPU {index} could not be read: {cause}" for index, cause in enumerate(answers) if isinstance(cause, str)
    ]
    if count == 0:
        problems.append("the NVIDIA driver finds no GPU")
    gpus = tuple(answer for answer in answers if isinstance(answer, Gpu))
    return Reading(gpus, _if_told(lambda: nvml.text("nvmlSystemGetDriverVersion")), tuple(problems))


def _gpu_or_cause(nvml: Nvml, index: int) -> Gpu | str:
    # One GPU that is lost, or that this user may not open, does not hide the others.
    try:
        return _read_gpu(nvml, index)
    except NvmlError as error:
        return _cause(error)


def _read_gpu(nvml: Nvml, index: int) -> Gpu:
    gpu = nvml.handle("nvmlDeviceGetHandleByIndex_v2", index)
    # Most GPUs do not know MIG, and say so by an error.
    mig_mode = _if_told(lambda: nvml.numbers("nvmlDeviceGetMigMode", gpu))
    return Gpu(
        index=index,
        name=nvml.text("nvmlDeviceGetName", gpu),
        capability=nvml.numbers("nvmlDeviceGetCudaComputeCapability", gpu),
        uuid=_if_told(lambda: nvml.text("nvmlDeviceGetUUID", gpu)),
        bus_id=_if_told(lambda: nvml.bus_id(gpu)),
        instances=_read_instances(nvml, gpu) if mig_mode and mig_mode[0] == _MIG_ENABLED else None,
    )


def _read_instances(nvml: Nvml, gpu: Handle) -> tuple[MigInstance, ...]:
    slots = range(nvml.number("nvmlDeviceGetMaxMigDeviceCount", gpu))
    instances = (_read_instance(nvml, gpu, slot) for slot in slots)
    return tuple(instance for instance in instances if instance is not None)


def _read_instance(nvml: Nvml, gpu: Handle, slot: int) -> MigInstance | None:
    try:
        part = nvml.handle("nvmlDeviceGetMigDeviceHandleByIndex", gpu, slot)
        return MigInstance(
            uuid=nvml.text("nvmlDeviceGetUUID", part),
            gpu_instance=nvml.number("nvmlDeviceGetGpuInstanceId", part),
            compute_instance=nvml.number("nvmlDeviceGetComputeInstanceId", part),
        )
    except NvmlError as error:
        # An empty slot is an error too, and does not mean that the next one is empty.
        if error.code != NvmlError.NOT_FOUND:
            raise
        return None


def _if_told(ask: Callable[[], _T]) -> _T | None:
    with suppress(NvmlError):
        return ask()
    return None


def _cause(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"no NVIDIA driver is installed here, for its library NVML cannot be loaded ({error})"
    if not isinstance(error, NvmlError):
        return f"the NVIDIA driver could not be asked ({error!r})"
    name, cause = _CAUSES.get(error.code, (f"NVML error {error.code}", "the NVIDIA driver could not be asked"))
    return f"{cause} ({name}: {error})"
