"""The changes to `torch.cuda`: what makes it tell each caller its answer.

`torch._C._cuda_getDeviceCapability`, which older tools patch, exists in no torch from 2.4 to 2.15.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .patch import AttributePatch, CodePatch
from .tell import Teller

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from rtx50_autoload.capability import Capability

    from .patch import Patch

    # The globals that the lent code below finds in torch.cuda.
    get_device_properties: Callable[[Any], Any]
    _rtx50_autoload_told: Callable[[Any], Capability]

__all__ = ["capability_patches", "is_cuda_build", "is_rocm_build", "make_teller", "when_cuda_is_up"]

_TOLD = "_rtx50_autoload_told"


def is_rocm_build(cuda: ModuleType) -> bool:
    """Tell whether this torch was built for AMD's GPUs, whose numbers are no CUDA capabilities (gfx1200 is 12.0)."""
    return getattr(getattr(cuda.torch, "version", None), "hip", None) is not None


def is_cuda_build(cuda: ModuleType) -> bool:
    """Tell whether this torch was built for CUDA."""
    return hasattr(cuda.torch._C, "_CudaDeviceProperties")


def when_cuda_is_up(cuda: ModuleType, callback: Callable[[], None]) -> None:
    """Have torch call back when the program has initialised CUDA, or at once if it has."""
    cuda._lazy_call(callback)


def make_teller(
    cuda: ModuleType,
    decide: Callable[[str | None, Capability], Capability],
    fault: Callable[[Exception], None],
) -> Teller:
    """Make the teller for `torch.cuda`, reading true capabilities as the unpatched class gives them."""
    major, minor = (_reader(cuda._CudaDeviceProperties, name) for name in ("major", "minor"))
    return Teller(decide, (major, minor), fault)


def _reader(cls: Any, name: str) -> Callable[[Any], int]:  # noqa: ANN401
    """Give what reads an attribute of properties objects as the unpatched class gives it."""
    attribute = vars(cls).get(name)
    reader: Callable[[Any], int] = (
        (lambda properties: vars(properties)[name]) if attribute is None else attribute.__get__
    )
    return reader


def capability_patches(cuda: ModuleType, teller: Teller) -> list[Patch]:
    """Give the changes that bring both roads to the capability to the teller: the function and the properties."""
    cls = cuda._CudaDeviceProperties
    return [
        CodePatch(
            "torch.cuda.get_device_capability",
            cuda,
            cuda.get_device_capability,
            get_device_capability,
            {_TOLD: teller.told},
        ),
        AttributePatch("torch.cuda._CudaDeviceProperties.major", cls, "major", teller.property_of(0)),
        AttributePatch("torch.cuda._CudaDeviceProperties.minor", cls, "minor", teller.property_of(1)),
    ]


# Lends its code to torch's function of the same name, so its globals are those of torch.cuda; CUDA is initialised, and
# an invalid device refused, by torch's own get_device_properties.
def get_device_capability(device: Any = None) -> Capability:  # noqa: ANN401
    prop = get_device_properties(device)  # noqa: F821 - declared above
    try:
        return _rtx50_autoload_told(prop)  # noqa: F821 - declared above
    except Exception:  # noqa: BLE001 - deactivated by another thread since this call began, or a fault of ours
        return prop.major, prop.minor
