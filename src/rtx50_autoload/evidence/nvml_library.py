"""NVIDIA's management library (NVML) itself: its functions by their names in ``nvml.h``.

The package nvidia-ml-py wraps all of it, and is not used: torch imports it where it is, for numbers such as the GPU's
load, so that bringing it made each ``import torch`` 7 to 8 ms longer (measured with nvidia-ml-py 13).
"""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Handle", "Nvml", "NvmlError"]

#: What NVML calls a device: a pointer.
Handle = ctypes.c_void_p

# The longest text of the functions asked here needs 96 bytes, with its end (NVML_DEVICE_NAME_V2_BUFFER_SIZE).
_TEXT_BYTES: Final = 96


class NvmlError(Exception):
    """A function of NVML does not do what it is asked.

    Attributes:
        code: its ``nvmlReturn_t``.

    """

    NOT_FOUND: Final = 6
    FUNCTION_NOT_FOUND: Final = 13

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class PciInfo(ctypes.Structure):
    """``nvmlPciInfo_t`` since NVML 9."""

    _fields_ = (
        ("bus_id_legacy", ctypes.c_char * 16),
        ("domain", ctypes.c_uint),
        ("bus", ctypes.c_uint),
        ("device", ctypes.c_uint),
        ("device_id", ctypes.c_uint),
        ("subsystem_id", ctypes.c_uint),
        ("bus_id", ctypes.c_char * 32),
    )


class Nvml:
    """The loaded library; as a context manager, initialised. All methods but the first raise `NvmlError`."""

    def __init__(self) -> None:
        """Load the library.

        Raises:
            OSError: it is not here, or is none.

        """
        self._library = ctypes.CDLL(_path())

    def __enter__(self) -> Nvml:  # noqa: PYI034 - `typing` has `Self` from 3.11 on
        """Initialise the library."""
        self.call("nvmlInitWithFlags", 0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # The answers count, not whether the library could be left again.
        with suppress(Exception):
            self.call("nvmlShutdown")

    def call(self, function: str, *arguments: object) -> None:
        """Call a function with ctypes' values."""
        try:
            pointer = self._library[function]
        except AttributeError:
            raise NvmlError(NvmlError.FUNCTION_NOT_FOUND, function) from None
        if code := pointer(*arguments):
            raise NvmlError(code, self._error_text(code))

    def text(self, function: str, *arguments: object) -> str:
        """Call a function whose last parameters are a buffer and its size in bytes."""
        buffer = ctypes.create_string_buffer(_TEXT_BYTES)
        self.call(function, *arguments, buffer, ctypes.c_uint(_TEXT_BYTES))
        return buffer.value.decode()

    def number(self, function: str, *arguments: object) -> int:
        """Call a function whose last parameter is where it puts a number."""
        number = ctypes.c_uint()
        self.call(function, *arguments, ctypes.byref(number))
        return number.value

    def numbers(self, function: str, *arguments: object) -> tuple[int, int]:
        """Call a function whose last two parameters are where it puts numbers."""
        first, second = ctypes.c_int(), ctypes.c_int()
        self.call(function, *arguments, ctypes.byref(first), ctypes.byref(second))
        return first.value, second.value

    def handle(self, function: str, *arguments: object) -> Handle:
        """Call a function whose last parameter is where it puts a device."""
        handle = Handle()
        self.call(function, *arguments, ctypes.byref(handle))
        return handle

    def bus_id(self, device: Handle) -> str:
        """Give ``domain:bus:device.function`` of a device, with leading zeros."""
        info = PciInfo()
        self.call("nvmlDeviceGetPciInfo_v3", device, ctypes.byref(info))
        bus_id: bytes = info.bus_id
        return bus_id.decode()

    def _error_text(self, code: int) -> str:
        function = self._library.nvmlErrorString
        function.restype = ctypes.c_char_p
        text: bytes | None = function(code)
        return (text or b"").decode()


def _path() -> str:
    if sys.platform != "win32":
        return "libnvidia-ml.so.1"
    beside_the_system = Path(os.environ.get("WINDIR", r"C:\Windows"), "System32", "nvml.dll")
    if beside_the_system.exists():
        return str(beside_the_system)
    # Where older drivers put it.
    programs = os.environ.get("PROGRAMFILES", r"C:\Program Files")
    return str(Path(programs, "NVIDIA Corporation", "NVSMI", "nvml.dll"))
