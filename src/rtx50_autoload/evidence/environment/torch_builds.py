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
    "last_torch_by_python",
    "newest_driver",
    "oldest_capability",
    "oldest_driver",
    "serves",
    "triton_for",
]

_CUDA_VARIANT: Final = re.compile(r"cu(\d{1,2})(\d)")
#: No variant older than those that are written down has code for a GPU from here on.
_FIRST_NEW: Final = (10, 0)
#: The wheels for other platforms hold the same or more.
_USUAL: Final = "linux-x86_64"


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
        for row in _offered()
        if (code := _code_for(row["variant"], capability))
    ]
    fitting = (build for build in builds if branch is not None and build.driver <= branch)
    return next(fitting, builds[-1] if builds else None)


def cuda_of(variant: str | None) -> CudaVersion | None:
    """Give the CUDA version of a variant, ``(12, 8)`` for ``"cu128"``; None where it is not one for CUDA."""
    match = _CUDA_VARIANT.fullmatch(variant or "")
    return (int(match[1]), int(match[2])) if match else None


def serves(variant: str, capability: Capability) -> bool | None:
    """Tell whether the wheels of a variant, ``"cu128"``, hold code for a GPU; None where nothing is known of it.

    Its newest release is meant; older ones may hold code for older GPUs.
    """
    cuda = cuda_of(variant)
    if cuda is None:
        return False
    # A variant that is not written down holds what the next older one holds.
    known = {parse_version(row["cuda"]): row["variant"] for row in knowledge("versions")["index"]}
    older = max((each for each in known if each <= cuda), default=None)
    if older is None:
        return False if capability >= _FIRST_NEW else None
    return _code_for(known[older], capability) is not None


def index_url(variant: str) -> str:
    """Give the index of a variant of torch: ``"cu128"``, ``"cpu"``, ``"rocm6.4"``."""
    url: str = knowledge("versions")["index"][0]["url"]
    return f"{url.rpartition('/')[0]}/{variant}"


def newest_driver() -> int:
    """Give the driver branch that carries every build on every GPU."""
    drivers: list[int] = [row["driver"] for row in _offered()]
    return max(drivers)


def oldest_capability() -> Capability:
    """Give the oldest compute capability that any build has code for."""
    return min(capability for row in _offered() for capability in _held(row["variant"]))


def oldest_driver(cuda: int) -> int | None:
    """Give the oldest driver branch on which programs of a CUDA major version run; None where it is not known."""
    return next((row["driver"] for row in knowledge("versions")["runtime"] if row["cuda"] == cuda), None)


def driver_branch(version: str | None) -> int | None:
    """Give the branch of a driver, 570 for ``570.124.06``; None where it is not known."""
    try:
        return arch.driver_branch(version) if version else None
    except ValueError:
        return None


def last_torch_by_python() -> dict[str, str]:
    """Give the newest torch for each Python, ``{"3.13t": "2.12.0"}``, of those that serve the RTX 50 series."""
    first = min(parse_version(row["first"]) for row in knowledge("versions")["build"] if "12.0" in row["capabilities"])
    last: dict[str, str] = {}
    for row in knowledge("versions")["torch"]:
        if parse_version(row["version"]) >= first:
            for name in row["pythons"]:
                last.setdefault(name, row["version"])
    return dict(sorted(last.items(), key=lambda item: (parse_version(item[0].rstrip("t")), item[0])))


def triton_for(release: str) -> str | None:
    """Give the first two numbers of the Triton that belongs to a release of torch, ``"3.6"`` for ``"2.10.0"``."""
    line = release.split(".")[:2]
    rows = (row for row in knowledge("versions")["torch"] if row["version"].split(".")[:2] == line)
    row = next(rows, None)
    return row and ".".join(row.get("triton_windows", row["triton"]).split(".")[:2])


def _offered() -> list[dict[str, Any]]:
    return [row for row in knowledge("versions")["index"] if row["offered"] == "always"]


def _held(variant: str) -> list[Capability]:
    """Give what the newest wheels of a variant hold code for."""
    rows = (row for row in knowledge("versions")["build"] if row["variant"] == variant and _USUAL in row["platforms"])
    return [parse_capability(text) for text in next(rows)["capabilities"]]


def _code_for(variant: str, capability: Capability) -> Capability | None:
    held = (each for each in _held(variant) if each[0] == capability[0] and each <= capability)
    return max(held, default=None)
