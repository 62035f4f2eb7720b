"""The easter egg, RTX50_BATMAN_MODE: one line when a masquerade is applied or the package is reloaded, once."""

from __future__ import annotations

import _rtx50_autoload_importlib_bootstrap as hook

from . import settings as settings_module
from . import voice

__all__ = ["reloaded", "say"]


def say() -> None:
    """Say it, unless it has been said in this process."""
    voice.say("Batman mode: I am the night, and your sm_120 is safe with me.")


def reloaded() -> None:
    """Say it if that is asked for by now: a program may set the variable first and reload then."""
    try:
        settings = settings_module.load()
        if settings.batman_mode and not (hook.disabled() or settings.disable or settings.quiet):
            say()
    except Exception as error:  # noqa: BLE001 - the program's reload is not to fail by it
        hook.record(error)
