"""Which build of torch serves a GPU, and which driver carries it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from rtx50_autoload.capability import parse_capability
from rtx50_autoload.evidence import arch
from rtx50_autoload.evidence.environment.topic import CudaVersion, knowledge, parse_version

if TYPE_CHECKING:
    from rtx50_autoload.capability import Capability

__all__ = [
    "TorchBuild",
    "build_for",
    "cuda_of",
    "driver_branch",
    "index_url",
    "newest_driver",
    "oldest_capability",
    "oldest_driver",
    "serves",
]

_CUDA_VARIANT: Final = re.compile(r"cu(\d{1,2})(\d)")
#: No variant older than those that are written down has code for a GPU from here on.
_FIRST_NEW: Final = (10, 0)


@dataclass(frozen=True, slots=True)
class TorchBuild:
    """One of torch's variants: where it lies, and the driver branch that it needs."""

    cuda: CudaVersion
    driver: int
    url: str
    #: The capability whose code in it the GPU runs: 12.0 for a GPU of 12.1.
    code: Capability


def build_for(capability: Capability, branch: int | None) -> TorchBuild | None:
    """Give the newest build with code for a GPU that a driver carries; the one that most drivers carry where none does.

    Args:
        capability: of the GPU.
        branch: of the driver, 570 for ``570.124.06``; None where it is not known.

    Returns:
        None where no build has code for the GPU.

    """
    builds = [
        TorchBuild(parse_version(row["cuda"]), row["driver"], row["url"], code)
        for row in knowledge("versions")["index"]
        if (code := _code_for(row, capability))
    ]
    fitting = (build for build in builds if branch is not None and build.driver <= branch)
    return next(fitting, builds[-1] if builds else None)


def cuda_of(variant: str | None) -> CudaVersion | None:
    """Give the CUDA version of a variant, ``(12, 8)`` for ``"cu128"``; None where it is not one for CUDA."""
    match = _CUDA_VARIANT.fullmatch(variant or "")
    return (int(match[1]), int(match[2])) if match else None


def serves(variant: str, capability: Capability) -> bool | None:
    """Tell whether the wheels of a variant, ``"cu128"``, hold code for a GPU; None where nothing is known of it."""
    cuda = cuda_of(variant)
    if cuda is None:
        return False
    # A variant that is not written down holds what the next older one holds.
    row = next((row for row in knowledge("versions")["index"] if parse_version(row["cuda"]) <= cuda), None)
    if row is None:
        return False if capability >= _FIRST_NEW else None
    return _code_for(row, capability) is not None


def index_url(variant: str) -> str:
    """Give the index of a variant of torch: ``"cu128"``, ``"cpu"``, ``"rocm6.4"``."""
    url: str = knowledge("versions")["index"][0]["url"]
    return f"{url.rpartition('/')[0]}/{variant}"


def newest_driver() -> int:
    """Give the driver branch that carries every build on every GPU."""
    drivers: list[int] = [row["driver"] for row in knowledge("versions")["index"]]
    return max(drivers)


def oldest_capability() -> Capability:
    """Give the oldest compute capability that any build has code for."""
    return min(parse_capability(text) for row in knowledge("versions")["index"] for text in row["capabilities"])


def oldest_driver(cuda: int) -> int | None:
    """Give the oldest driver branch on which programs of a CUDA major version run; None where it is not known."""
    return next((row["driver"] for row in knowledge("versions")["runtime"] if row["cuda"] == cuda), None)


def driver_branch(version: str | None) -> int | None:
    """Give the branch of a driver, 570 for ``570.124.06``; None where it is not known."""
    try:
        return arch.driver_branch(version) if version else None
    except ValueError:
        return None


def _code_for(row: dict[str, Any], capability: Capability) -> Capability | None:
    held = map(parse_capability, row["capabilities"])
    return max((each for each in held if each[0] == capability[0] and each <= capability), default=None)
