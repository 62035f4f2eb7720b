"""Errors that nobody caught: `sys.excepthook`, and `threading.excepthook` for those of threads."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

import _rtx50_autoload_importlib_bootstrap as hook
from rtx50_autoload import voice
from rtx50_autoload.masquerading.patch import AttributePatch

from . import note
from .links import linked

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from .attendant import Attendant, Finding

__all__ = ["uncaught_patches"]


def uncaught_patches(attendant: Attendant) -> list[AttributePatch]:
    """Give the changes that bring uncaught errors to `attendant` before the hooks that are there now show them."""
    previous, previous_of_threads = sys.excepthook, threading.excepthook

    def excepthook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        found = None
        try:
            found = attendant.attend(error)
        except Exception as fault:  # noqa: BLE001 - Python would print our fault in the place of the program's error
            hook.record(fault)
        finally:
            previous(kind, error, trace)
            _after(error, previous, sys.__excepthook__, attendant, found)

    def excepthook_of_threads(arguments: Any) -> None:  # noqa: ANN401 - threading.ExceptHookArgs
        error = None
        try:
            error = arguments.exc_value
            attendant.attend(error)
        except Exception as fault:  # noqa: BLE001 - likewise
            hook.record(fault)
        finally:
            previous_of_threads(arguments)
            _after(error, previous_of_threads, threading.__excepthook__, attendant, None)

    return [
        AttributePatch("sys.excepthook", sys, "excepthook", excepthook),
        AttributePatch("threading.excepthook", threading, "excepthook", excepthook_of_threads),
    ]


def _after(
    error: BaseException | None,
    shown_by: Callable[..., Any],
    pythons_own: Callable[..., Any],
    attendant: Attendant,
    found: Finding | None,
) -> None:
    """Do what comes after the traceback: on 3.10 the note, and the offer where there is something to offer."""
    try:
        _say_note(error, shown_by, pythons_own)
        if found is not None and found.speaks and not attendant.quiet:
            _offer(found)
    except Exception as fault:  # noqa: BLE001 - the program ends as it would without us
        hook.record(fault)


def _offer(found: Finding) -> None:
    """Offer to put the error to an assistant; the traceback has been shown."""
    try:
        # Loaded here: a process without such an error needs none of it.
        from rtx50_autoload.troubleshooter.crash import after_crash  # noqa: PLC0415

        after_crash(found.text, found.diagnosis, found.situation, found.incident)
    except KeyboardInterrupt:
        return  # whoever presses Ctrl+C wants the end, which comes now


def _say_note(error: BaseException | None, shown_by: Callable[..., Any], pythons_own: Callable[..., Any]) -> None:
    """Say what Python's own hook leaves out: on 3.10 it is written in C and knows no notes."""
    if sys.version_info < (3, 11) and shown_by is pythons_own and error is not None:
        for one in linked(error):
            for line in (note.our_note(one) or "").splitlines():
                # The note is there because this process is the one that speaks, whichever rank it has.
                voice.say(line.removeprefix(note.PREFIX), speaks=True)
