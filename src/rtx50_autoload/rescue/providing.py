"""Modules of ours in the place of a flash_attn that cannot be imported, or is not there: only where that is asked for.

`RTX50_RESCUE=import` asks for the first, `provide` for both. What the modules hold is `provided.py`'s concern.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from typing import TYPE_CHECKING, Any

import _rtx50_autoload_importlib_bootstrap as hook
from rtx50_autoload import voice

if TYPE_CHECKING:
    from collections.abc import Iterable
    from importlib.metadata import Distribution, DistributionFinder
    from types import ModuleType

    from rtx50_autoload.settings import Rescue

__all__ = ["Provider"]

_NAME = "flash_attn"
_DISTRIBUTION = "flash-attn"


@dataclass
class Provider:
    """What gives the modules, and the loader that puts them in place.

    Args:
        rescue: the setting.

    """

    rescue: Rescue
    #: Those that have been put in place, by name, and why.
    modules: dict[str, ModuleType] = field(default_factory=dict)
    why: str | None = None

    def install(self) -> None:
        """Have the import hook ask for what no other finder has, where modules are to be provided."""
        hook.provides = self.rescue == "provide"

    def remove(self) -> None:
        """Be asked no longer, and take away the modules that have been provided."""
        hook.provides = False
        for name, module in self.modules.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]
        self.modules.clear()
        self.why = None

    def find_spec(self, name: str) -> ModuleSpec | None:
        """Give the spec of the package, which no other finder has."""
        if name != _NAME or self.rescue != "provide":
            return None
        loader: Any = self
        return ModuleSpec(name, loader, origin="rtx50-autoload", is_package=True)

    def find_distributions(self, context: DistributionFinder.Context) -> Iterable[Distribution]:
        """Give what `importlib.metadata` says of the package, where it is not installed."""
        if self.rescue != "provide" or _is_installed():
            return ()
        from .provided_distribution import find_distributions  # noqa: PLC0415 - hardly anybody asks

        return find_distributions(context)

    def create_module(self, _spec: ModuleSpec) -> None:
        """Let Python make the module that `exec_module` puts others in the place of."""

    def exec_module(self, module: ModuleType) -> None:
        """Put the provided modules in place.

        Raises:
            ModuleNotFoundError: it has failed. Nobody else has the module, and programs expect this error.

        """
        try:
            self._put(f"{module.__name__} is not installed")
        except Exception as error:  # noqa: BLE001 - a fault of ours, which is no error that a program looks for
            hook.record(error)
            raise ModuleNotFoundError(f"No module named {_NAME!r}", name=_NAME) from None

    def replace(self, name: str, error: Exception) -> bool:
        """Put the provided modules in the place of a package that cannot be imported.

        Args:
            name: of the module whose import has failed.
            error: by which it has: a missing library, an undefined symbol.

        Returns:
            whether they are there now.

        """
        if name != _NAME or self.rescue not in {"import", "provide"} or not _lacks_its_extension(error):
            return False
        text = " ".join(str(error).split())
        self._put(f"{name} is installed and cannot be imported ({text})")
        return True

    def _put(self, why: str) -> None:
        from .provided import build_module  # noqa: PLC0415 - loads torch
        from .provided_distribution import VERSION  # noqa: PLC0415

        self.modules = build_module(f"{why[0].upper()}{why[1:]}.")
        self.why = why
        for name in [name for name in sys.modules if name == _NAME or name.startswith(f"{_NAME}.")]:
            del sys.modules[name]
        sys.modules.update(self.modules)
        try:
            voice.say(
                f"{why}. Its functions are provided as {VERSION}, answered by torch's own attention, because "
                f"RTX50_RESCUE is {self.rescue}. The real fix: `rtx50-autoload fix --run {_DISTRIBUTION}`."
            )
        except Exception as error:  # noqa: BLE001 - the modules are in place
            hook.record(error)


def _lacks_its_extension(error: Exception) -> bool:
    """Tell whether the compiled part is what fails, not a Python package that only has to be installed."""
    if isinstance(error, ModuleNotFoundError):
        return (error.name or "").startswith(_NAME)
    return isinstance(error, (ImportError, OSError))


def _is_installed() -> bool:
    """Tell whether the environment has a distribution of the package."""
    from importlib.metadata import DistributionFinder, MetadataPathFinder  # noqa: PLC0415 - not at start-up

    context = DistributionFinder.Context(name=_DISTRIBUTION)
    return any(True for _ in MetadataPathFinder.find_distributions(context))
