"""Lets libraries that refuse an RTX 50-series GPU as too new use it; installed once, never imported.

The start-up file does the work. These names are for programs that want to look, or to decide by themselves; each is
loaded when it is first used, so that `import rtx50_autoload` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .activation import activate, deactivate, guard, masquerade, truth
    from .assistance import AIAssistant, get_ai_help_for_error
    from .checkup import doctor
    from .errors import RTX50Error
    from .explaining import explain
    from .smart_installer import SmartInstaller, check_install
    from .state import status, true_capability

if "_HOME" in globals():
    # `importlib.reload` runs this file again, with the names of before.
    import_module(f"{__name__}.batman").reloaded()

__all__ = [
    "AIAssistant",
    "RTX50Error",
    "SmartInstaller",
    "__version__",
    "activate",
    "check_install",
    "deactivate",
    "doctor",
    "explain",
    "get_ai_help_for_error",
    "guard",
    "masquerade",
    "status",
    "true_capability",
    "truth",
]

__version__ = "0.1.0"

_HOME = {
    "AIAssistant": "assistance",
    "RTX50Error": "errors",
    "SmartInstaller": "smart_installer",
    "activate": "activation",
    "check_install": "smart_installer",
    "deactivate": "activation",
    "doctor": "checkup",
    "explain": "explaining",
    "get_ai_help_for_error": "assistance",
    "guard": "activation",
    "masquerade": "activation",
    "status": "state",
    "true_capability": "state",
    "truth": "activation",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - as many types as names
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
