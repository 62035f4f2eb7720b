"""asyncio: errors of tasks and callbacks that nobody waits for, before the loop's handler sees them.

Loops written in C, such as uvloop's, have no such method that could be changed: their errors carry the notes that they
got on another way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import _rtx50_autoload_importlib_bootstrap as hook
from rtx50_autoload.masquerading.patch import AttributePatch

if TYPE_CHECKING:
    from types import ModuleType

    from .attendant import Attendant

__all__ = ["asyncio_patches"]


def asyncio_patches(attendant: Attendant, base_events: ModuleType) -> list[AttributePatch]:
    """Give the change that brings such errors of every loop to `attendant`."""
    cls: Any = base_events.BaseEventLoop
    handle = cls.call_exception_handler

    def call_exception_handler(self: Any, context: dict[str, Any]) -> None:  # noqa: ANN401
        try:
            attendant.attend(context.get("exception"))
        except Exception as fault:  # noqa: BLE001 - the loop would end by it
            hook.record(fault)
        finally:
            handle(self, context)

    target = "asyncio.BaseEventLoop.call_exception_handler"
    return [AttributePatch(target, cls, "call_exception_handler", call_exception_handler)]
