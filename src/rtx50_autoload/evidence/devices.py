"""The devices as they truly are, found without initialising CUDA."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from rtx50_autoload.evidence import nvml
from rtx50_autoload.evidence.visibility import view

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rtx50_autoload.capability import Capability
    from rtx50_autoload.settings import SimulatedDevice

__all__ = ["Device", "DeviceSource", "Survey", "survey"]

DeviceSource: TypeAlias = Literal["nvml", "torch", "simulated"]


@dataclass(frozen=True, slots=True)
class Device:
    """One CUDA device."""

    #: CUDA's number of it, as in ``cuda:0``.
    index: int
    name: str
    capability: Capability
    source: DeviceSource
    #: ``GPU-…`` or, for a part of a GPU, ``MIG-…``; None where it is not known.
    uuid: str | None

    def as_json(self) -> dict[str, Any]:
        """Return what ``status --json`` and ``doctor --json`` print of it: no UUID, for such output is shared."""
        return {
            "index": self.index,
            "name": self.name,
            "capability": list(self.capability),
            "source": self.source,
        }


@dataclass(frozen=True, slots=True)
class Survey:
    """The devices, and how far to trust the list."""

    devices: tuple[Device, ...]
    #: The driver's version, such as ``580.159.04``; None where NVML did not tell.
    driver: str | None
    #: One sentence: who named the devices, or why there are none.
    reason: str


def survey(
    simulate: Iterable[SimulatedDevice] = (),
    environ: Mapping[str, str] | None = None,
    time_limit: float = 5.0,
) -> Survey:
    """Find the devices that CUDA shows to this process.

    Simulated devices replace all others. Otherwise NVML names the GPUs and ``CUDA_VISIBLE_DEVICES`` and
    ``CUDA_DEVICE_ORDER`` choose among them; where that leaves none, torch is asked, but only if it has initialised CUDA
    already. Nothing is raised: what goes wrong is the reason.

    Args:
        simulate: devices to report instead of the machine's.
        environ: the environment variables, by default the process's.
        time_limit: seconds to wait for the driver.

    """
    simulated = tuple(
        Device(index, device.name, device.capability, "simulated", None) for index, device in enumerate(simulate)
    )
    if simulated:
        return Survey(simulated, None, "The devices are simulated.")
    reading = nvml.read(time_limit)
    clauses = list(reading.problems)
    devices: tuple[Device, ...] = ()
    if reading.gpus:
        seen = view(reading.gpus, os.environ if environ is None else environ)
        clauses = [f"NVML names {_count(len(reading.gpus), 'GPU')}", *seen.notes, *reading.problems]
        devices = tuple(
            Device(
                index,
                shown.gpu.name,
                shown.gpu.capability,
                "nvml",
                shown.instance.uuid if shown.instance else shown.gpu.uuid,
            )
            for index, shown in enumerate(seen.shown)
        )
    if not devices:
        devices, torch_clauses = _ask_torch()
        clauses += torch_clauses
    reason = "; ".join(clauses)
    return Survey(devices, reading.driver, f"{reason[0].upper()}{reason[1:]}.")


def _ask_torch() -> tuple[tuple[Device, ...], list[str]]:
    """Let torch name the devices where CUDA is initialised already; torch is not imported for it."""
    torch = sys.modules.get("torch")
    try:
        # A torch for AMD's GPUs numbers architectures that are no CUDA capabilities. A torch that is being imported
        # lacks its parts.
        cuda: Any = getattr(torch, "cuda", None)
        # torch defines this function when it initialises CUDA, before `is_initialized` says so: what it has queued for
        # that moment can already be answered.
        if not getattr(getattr(torch, "version", None), "cuda", None) or not hasattr(cuda, "_get_device_properties"):
            return (), []
        devices = []
        for index in range(cuda.device_count()):
            properties = cuda.get_device_properties(index)
            # torch has the UUID from 2.5 on, without the prefix.
            uuid = getattr(properties, "uuid", None)
            capability = (properties.major, properties.minor)
            devices.append(Device(index, properties.name, capability, "torch", f"GPU-{uuid}" if uuid else None))
    except Exception as error:  # noqa: BLE001 - whatever torch raises, there is no answer, and the user's program goes on
        return (), [f"torch could not be asked ({error!r})"]
    return tuple(devices), [f"torch, whose CUDA is initialised, names {_count(len(devices), 'device')}"]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
