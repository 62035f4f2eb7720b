"""Which build of torch serves a GPU, and which driver carries it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rtx50_autoload.capability import parse_capability
from rtx50_autoload.evidence import arch
from rtx50_autoload.evidence.environment.topic import CudaVersion, knowledge, parse_version

if TYPE_CHECKING:
    from rtx50_autoload.capability import Capability

__all__ = [
    "TorchBuild",
    "build_for",
    "driver_branch",
    "index_url",
    "is_cuda",
    "newest_driver",
    "oldest_driver",
    "serves",
]

#: No variant older than those that are written down has code for a GPU from here on.
_FIRST_NEW = (10, 0)


@dataclass(frozen=True, slots=True)
class TorchBuild:
    """One of torch's variants: where it lies, and the driver branch that it needs."""

    cuda: CudaVersion
    driver: int
    url: str


def build_for(capability: Capability, branch: int | None) -> TorchBuild | None:
    """Give the newest build with code for a GPU that a driver carries; the one that most drivers carry where none does.

    Args:
        capability: of the GPU.
        branch: of the driver, 570 for ``570.124.06``; None where it is not known.

    Returns:
        None where no build has code for the GPU.

    """
    rows = [row for row in knowledge("versions")["index"] if _holds(row, capability)]
    builds = [TorchBuild(parse_version(row["cuda"]), row["driver"], row["url"]) for row in rows]
    fitting = (build for build in builds if branch is not None and build.driver <= branch)
    return next(fitting, builds[-1] if builds else None)


def is_cuda(variant: str) -> bool:
    """Tell whether a variant, ``"cu128"``, is one for CUDA."""
    return variant.startswith("cu") and variant[2:].isdigit()


def serves(variant: str, capability: Capability) -> bool | None:
    """Tell whether the wheels of a variant, ``"cu128"``, hold code for a GPU; None where nothing is known of it."""
    if not is_cuda(variant):
        return False
    cuda = int(variant[2:-1]), int(variant[-1])
    # A variant that is not written down holds what the next older one holds.
    row = next((row for row in knowledge("versions")["index"] if parse_version(row["cuda"]) <= cuda), None)
    if row is None:
        return False if capability >= _FIRST_NEW else None
    return _holds(row, capability)


def index_url(variant: str) -> str:
    """Give the index of a variant of torch: ``"cu128"``, ``"cpu"``, ``"rocm6.4"``."""
    url: str = knowledge("versions")["index"][0]["url"]
    return f"{url.rpartition('/')[0]}/{variant}"


def newest_driver() -> int:
    """Give the driver branch that carries every build on every GPU."""
    drivers: list[int] = [row["driver"] for row in knowledge("versions")["index"]]
    return max(drivers)


def oldest_driver(cuda: int) -> int | None:
    """Give the oldest driver branch on which programs of a CUDA major version run; None where it is not known."""
    return next((row["driver"] for row in knowledge("versions")["runtime"] if row["cuda"] == cuda), None)


def driver_branch(version: str | None) -> int | None:
    """Give the branch of a driver, 570 for ``570.124.06``; None where it is not known."""
    try:
        return arch.driver_branch(version) if version else None
    except ValueError:
        return None


def _holds(row: dict[str, Any], capability: Capability) -> bool:
    newest = parse_capability(row["newest"])
    # A newer minor version of the same generation runs the code of the older ones.
    return parse_capability(row["oldest"]) <= capability and capability[0] <= newest[0]
