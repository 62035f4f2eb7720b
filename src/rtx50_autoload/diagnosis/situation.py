"""What is known of the machine that an error comes from: this one, one that a file describes, or nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rtx50_autoload.capability import Capability

__all__ = ["Gpu", "OperatingSystem", "Situation", "SituationSource", "Tool", "Vendor"]

Vendor: TypeAlias = Literal["nvidia", "amd", "intel", "apple", "other"]
OperatingSystem: TypeAlias = Literal["linux", "wsl", "windows", "macos"]
#: What installs packages into the Python in question: `embedded` is a Python inside an application's folder, such as
#: that of ComfyUI portable, which is used by its path.
Tool: TypeAlias = Literal["pip", "uv", "conda", "embedded"]
SituationSource: TypeAlias = Literal["machine", "file", "nothing"]


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU, as far as it is known."""

    name: str | None
    #: Of NVIDIA's GPUs; None where neither the driver nor an unambiguous name tells it.
    capability: Capability | None
    vendor: Vendor | None


@dataclass(frozen=True)
class Situation:
    """What is known; None, and what a mapping does not hold, is not known.

    Attributes:
        source: where it is known from.
        gpus: the GPUs, the first one first; empty where it is known that there is none.
        torch: the version of torch without its local part, ``"2.7.1"``.
        torch_variant: what torch was built for: ``"cu128"``, ``"cpu"``, ``"rocm6.3"``, ``"xpu"``.
        cuda_toolkit: the version of the installed CUDA toolkit (nvcc), ``"12.8"``.
        driver: the version of the NVIDIA driver, ``"570.124.06"``.
        python_version: ``"3.12.3"``.
        versions: of other distributions, by normalised name: ``{"xformers": "0.0.35"}``.
        tool: what installs packages there.
        python_command: how the Python in question is called in a command, quoted where it has to be.

    """

    source: SituationSource = "nothing"
    gpus: tuple[Gpu, ...] | None = None
    torch: str | None = None
    torch_variant: str | None = None
    cuda_toolkit: str | None = None
    driver: str | None = None
    system: OperatingSystem | None = None
    python_version: str | None = None
    versions: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    tool: Tool | None = None
    python_command: str = "python"
