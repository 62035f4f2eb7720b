"""`import rtx50_compat` where nobody has that module: the predecessor's names, with our functions behind them.

The import hook asks for it when no other finder has it, so an installed rtx50-compat, or a file of that name, is what
a program gets. Nothing of this name is in our wheel: the two packages can be installed in either order, and removed.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from importlib.machinery import ModuleSpec
from typing import TYPE_CHECKING, Any, Final

import _rtx50_autoload_importlib_bootstrap as hook

from . import batman
from . import settings as settings_module

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["find_spec"]

_NAME: Final = "rtx50_compat"

#: The module of each name. `__version__` is ours: a program that looks wants to know whose code it calls.
_HOME: Final = {
    "AIAssistant": "rtx50_autoload.assistance",
    "SmartInstaller": "rtx50_autoload.smart_installer",
    "__version__": "rtx50_autoload",
    "check_install": "rtx50_autoload.smart_installer",
    "get_ai_help_for_error": "rtx50_autoload.assistance",
    "patch_pytorch_capability": "rtx50_autoload.predecessor_calls",
    "patch_torch": "rtx50_autoload.predecessor_calls",
    "verify_cuda": "rtx50_autoload.predecessor_calls",
}

_DEPRECATED: Final = (
    "rtx50_compat is not installed: rtx50-autoload stands in for it. It needs no import, so this one can go; its page "
    "'Coming from rtx50-compat' has the new names of what you call"
)
_DOCSTRING: Final = (
    "This is not rtx50_compat: rtx50-autoload stands in for it, with functions of its own under the same names.\n\n"
    "It is here because no package of that name is installed."
)

_is_warned = False


def find_spec(name: str) -> ModuleSpec | None:
    """Give the spec of the stand-in if it is the predecessor that nobody has."""
    if name != _NAME:
        return None
    loader: Any = _Loader()
    return ModuleSpec(name, loader, origin="rtx50-autoload")


class _Loader:
    """Makes the stand-in, also where it is reloaded, or imported again after it was taken out of `sys.modules`."""

    def create_module(self, _spec: ModuleSpec) -> None:
        """Let Python make the module."""

    def exec_module(self, module: ModuleType) -> None:
        """Put the names in the module; they are loaded when they are used.

        Raises:
            DeprecationWarning: the program makes errors of warnings.
            ModuleNotFoundError: it has failed. Nobody else has the module, and programs expect this error.

        """
        global _is_warned  # noqa: PLW0603 - a module that is imported again is a new one
        try:
            if not _is_warned:
                # Python leaves the frames of its own import out when it counts.
                warnings.warn(_DEPRECATED, DeprecationWarning, stacklevel=2)
                _is_warned = True
            is_reloaded = "__all__" in vars(module)
            vars(module).update(
                __doc__=_DOCSTRING,
                __file__=__file__,
                __all__=list(_HOME),
                __getattr__=_value,
                __dir__=lambda: list(_HOME),
            )
            _look_at_settings_again(is_reloaded=is_reloaded)
        except DeprecationWarning:
            raise
        except Exception as error:  # noqa: BLE001 - a fault of ours, which is no error that a program looks for
            hook.record(error)
            raise ModuleNotFoundError(f"No module named {_NAME!r}", name=_NAME) from None


def _value(name: str) -> Any:  # noqa: ANN401 - as many types as names
    if name not in _HOME:
        raise AttributeError(f"module {_NAME!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def _look_at_settings_again(*, is_reloaded: bool) -> None:
    """Do what is asked for by now: a program may set the predecessor's variables, and import or reload it then."""
    if is_reloaded:
        batman.reloaded()
    try:
        if settings_module.load().check_install:
            from . import check_at_import  # noqa: PLC0415 - only where it is asked for

            check_at_import.start()
    except Exception as error:  # noqa: BLE001 - no process can be had: the module is there all the same
        hook.record(error)
