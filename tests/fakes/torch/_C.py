"""The part of torch that is written in C++: in a build without CUDA it has none of the names that begin with _cuda."""

import os
import sys
from typing import NoReturn

_has_magma = False


class AcceleratorError(RuntimeError):
    """What torch raises for an error of the device."""

    __module__ = "torch"


class OutOfMemoryError(RuntimeError):
    """What torch raises where the device has no memory left."""

    __module__ = "torch"


if "FAKE_TORCH_DEVICES" in os.environ:

    class _CudaDeviceProperties:
        """What torch tells of a device: read-only, and not to be made by a caller."""

        __slots__ = ("__weakref__", "_major", "_minor", "_name")

        def __new__(cls) -> NoReturn:
            raise TypeError(f"{cls.__module__}.{cls.__name__}: No constructor defined!")

        @property
        def name(self) -> str:
            return self._name

        @property
        def major(self) -> int:
            return self._major

        @property
        def minor(self) -> int:
            return self._minor

        @property
        def multi_processor_count(self) -> int:
            return 170

        @property
        def total_memory(self) -> int:
            return 32 * 1024**3

    _capabilities = [
        tuple(int(part) for part in text.split("."))
        for text in os.environ["FAKE_TORCH_DEVICES"].split(",")
        if text.strip()
    ]
    _made = []
    _current = 0

    for _index, (_major, _minor) in enumerate(_capabilities):
        _properties = object.__new__(_CudaDeviceProperties)
        _properties._name, _properties._major, _properties._minor = f"Fake GPU {_index}", _major, _minor
        _made.append(_properties)

    def _cuda_init() -> None:
        if not _made:
            raise RuntimeError("No CUDA GPUs are available")
        # As in torch, the function comes into being when CUDA does.
        sys.modules["torch.cuda"]._get_device_properties = _made.__getitem__

    def _cuda_getDeviceCount() -> int:  # noqa: N802 - torch's name
        return len(_made)

    def _cuda_getDevice() -> int:  # noqa: N802 - torch's name
        return _current

    def _cuda_setDevice(index: int) -> None:  # noqa: N802 - torch's name
        global _current  # noqa: PLW0603
        if not 0 <= index < len(_made):
            raise AcceleratorError("CUDA error: invalid device ordinal")
        _current = index

    def _cuda_getArchFlags() -> str:  # noqa: N802 - torch's name
        return os.environ.get("FAKE_TORCH_ARCHITECTURES", "sm_75 sm_80 sm_86 sm_90 sm_100 sm_120")

    def _cuda_isInBadFork() -> bool:  # noqa: N802 - torch's name
        return False
