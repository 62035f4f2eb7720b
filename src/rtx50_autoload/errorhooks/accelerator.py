"""`torch.AcceleratorError` at its creation: the note is there whoever catches and prints it.

torch >= 2.8 raises it, from C++, for errors of the device. The class is a heap type, so that C++ code too runs an
`__init__` that is set on it; the message is known then, `error_code` is not yet.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import _rtx50_autoload_importlib_bootstrap as hook
from rtx50_autoload.masquerading.patch import AttributePatch

if TYPE_CHECKING:
    from types import ModuleType

    from .attendant import Attendant

__all__ = ["accelerator_patches"]


def accelerator_patches(attendant: Attendant, cuda: ModuleType) -> list[AttributePatch]:
    """Give the change that brings errors of the device to `attendant`; none for a torch without that class."""
    # Not `torch.AcceleratorError`: torch is still being imported when torch.cuda arrives.
    cls: Any = getattr(cuda, "AcceleratorError", None)
    if cls is None:
        return []
    create = cls.__init__

    def __init__(self: Any, *arguments: Any, **options: Any) -> None:  # noqa: ANN401, N807
        create(self, *arguments, **options)
        try:
            attendant.attend_creation(self, sys._getframe(1))  # noqa: SLF001 - whose call it is, stands nowhere else
        except Exception as fault:  # noqa: BLE001 - it would be raised in the place of the program's error
            hook.record(fault)

    return [AttributePatch("torch.AcceleratorError.__init__", cls, "__init__", __init__)]
