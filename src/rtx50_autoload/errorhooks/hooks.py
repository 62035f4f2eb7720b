"""All ways together: installed when the package wakes up, taken away with `deactivate()`."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

import _rtx50_autoload_importlib_bootstrap as hook
from rtx50_autoload.masquerading.patch import AttributePatch, PatchSet
from rtx50_autoload.masquerading.torch_cuda import is_cuda_build, when_cuda_is_up

from .accelerator import accelerator_patches
from .asyncio_loop import asyncio_patches
from .imports import MORE_WATCHED, imported_by_a_program
from .uncaught import uncaught_patches

if TYPE_CHECKING:
    from collections.abc import Callable, Container
    from types import ModuleType

    from .attendant import Attendant

__all__ = ["ErrorHooks"]


def _notebook_patches(attendant: Attendant, module: ModuleType) -> list[AttributePatch]:
    from .notebook import notebook_patches  # noqa: PLC0415 - few programs are notebooks

    return notebook_patches(attendant, module)


#: The ways that come with a module.
_BROUGHT_BY: dict[str, Callable[[Attendant, ModuleType], list[AttributePatch]]] = {
    "IPython.core.interactiveshell": _notebook_patches,
    "asyncio.base_events": asyncio_patches,
    "torch.cuda": accelerator_patches,
}


class ErrorHooks:
    """The ways of one process.

    A hook that is there before ours is called by ours. One that comes after ours and calls it keeps it in place:
    it then passes everything on and does nothing else.
    """

    def __init__(self, attendant: Attendant) -> None:
        self.attendant = attendant
        self._patches = PatchSet()
        self._watched_before: Container[str] | None = None
        self._watched: Container[str] | None = None

    @property
    def installed(self) -> list[str]:
        """What stands in other people's objects now, by dotted name."""
        return [str(entry["target"]) for entry in self._patches.report() if entry["state"] == "applied"]

    def install(self) -> None:
        """Install the ways that are there already, and wait for the others."""
        for patch in uncaught_patches(self.attendant):
            self._patches.apply(patch)
        if sys.version_info < (3, 11):
            from .before_3_11 import traceback_patches  # noqa: PLC0415 - where Python has notes, there is nothing to do

            for patch in traceback_patches():
                self._patches.apply(patch)
        if isinstance(hook.watched, frozenset):
            self._watched_before, self._watched = hook.watched, hook.watched | MORE_WATCHED
            hook.watched = self._watched
        for name in _BROUGHT_BY.keys() - {"torch.cuda"}:
            if name in sys.modules:
                self.arrived(sys.modules[name])

    def arrived(self, module: ModuleType) -> None:
        """Install what comes with a module that has just been executed, or executed again."""
        bring = _BROUGHT_BY.get(module.__name__)
        for patch in bring(self.attendant, module) if bring is not None else ():
            if not self._is_in_place(patch):
                self._patches.apply(patch)
        if module.__name__ == "torch.cuda" and is_cuda_build(module):
            when_cuda_is_up(module, partial(self._cuda_is_up, module))

    def import_failed(self, error: Exception) -> None:
        """Attend to an error that ends the import of a watched module."""
        if self.attendant.active and imported_by_a_program():
            self.attendant.attend(error)

    def remove(self) -> None:
        """Take everything away that nobody has chained on."""
        self.attendant.active = False
        self._patches.restore()
        if self._watched is not None and hook.watched is self._watched and self._watched_before is not None:
            hook.watched = self._watched_before

    def _cuda_is_up(self, cuda: ModuleType) -> None:
        try:
            from .incompatible import tell_of_incompatible_devices  # noqa: PLC0415 - many programs never get here

            tell_of_incompatible_devices(self.attendant, cuda)
        except Exception as error:  # noqa: BLE001 - torch would fail to initialise CUDA
            hook.record(error)

    def _is_in_place(self, patch: AttributePatch) -> bool:
        """Tell whether an object has our change: a reloaded module may still use the class of before."""
        now = vars(patch.owner).get(patch.name)
        return any(
            entry.patch.target == patch.target and getattr(entry.patch, "replacement", None) is now
            for entry in self._patches.entries
        )
