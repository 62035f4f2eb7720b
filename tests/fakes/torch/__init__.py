"""A stand-in for torch 2.13.0, for tests of what happens around `import torch` and `torch.cuda`'s capability.

It fakes: the order in which torch imports its parts; `torch.cuda`'s functions for capability, properties, name, count
and initialisation, written in Python as torch's are, with torch's own errors; the properties class, a dummy type in a
build without CUDA and a class of C++ in one with it; `torch.device`; and the call of the entry points of the group
`torch.backends` at the end of the import. It computes nothing, and has none of the rest of torch.

Without further settings it is a build without CUDA. FAKE_TORCH_DEVICES="9.0,12.0" makes it a build for CUDA on a
machine with such devices; empty but set, one on a machine without a device or driver. FAKE_TORCH_ARCHITECTURES="sm_90"
is what the build then holds code for.
"""

import builtins
import os

from . import _C, version
from ._C import AcceleratorError, OutOfMemoryError

__version__ = version.__version__


class device:  # noqa: N801 - torch's name
    """A device's type and index, as torch reads them from "cuda:1", ("cuda", 1) or another device."""

    def __init__(self, device: object, index: "int | None" = None) -> None:
        if isinstance(device, type(self)):
            self.type, self.index = device.type, device.index
            return
        if isinstance(device, int):
            self.type, self.index = "cuda", device
            return
        if not isinstance(device, str):
            raise TypeError(f"device(): argument 'type' must be str, not {type(device).__name__}")
        self.type, colon, number = device.partition(":")
        self.index = int(number) if colon else index

    def __repr__(self) -> str:
        index = "" if self.index is None else f", index={self.index}"
        return f"device(type={self.type!r}{index})"

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, device) and (self.type, self.index) == (other.type, other.index)

    def __hash__(self) -> int:
        return hash((self.type, self.index))


from . import cuda  # noqa: E402 - as in torch, its parts come when it has the names that they use


def _import_device_backends() -> None:
    from importlib.metadata import entry_points  # noqa: PLC0415 - where torch imports it

    for backend_extension in entry_points(group="torch.backends"):
        try:
            entrypoint = backend_extension.load()
            entrypoint()
        except Exception as err:
            raise RuntimeError(
                f"Failed to load the backend extension: {backend_extension.name}. "
                f"You can disable extension auto-loading with TORCH_DEVICE_BACKEND_AUTOLOAD=0."
            ) from err


def _is_device_backend_autoload_enabled() -> builtins.bool:
    return os.getenv("TORCH_DEVICE_BACKEND_AUTOLOAD", "1") == "1"


if _is_device_backend_autoload_enabled():
    _import_device_backends()
