"""A GPU as NVML tells of it, and a reading of all of them, as one process tells it another."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rtx50_autoload.capability import Capability

__all__ = ["Gpu", "MigInstance", "Reading"]


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
