"""What is done with an error, whichever way it came: is it ours, what does it mean, keep it, note it.

All of it is done once for an error and costs what a diagnosis costs; the same error again, from the same place, finds
the first one's answer. Nothing here raises: the program's own error is what matters.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import _rtx50_autoload_importlib_bootstrap as hook

from . import note
from .links import linked
from .telltales import concerns

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from rtx50_autoload.diagnosis.diagnosis import Diagnosis
    from rtx50_autoload.diagnosis.situation import Situation

__all__ = ["Attendant", "Finding"]

# Innermost frames that a diagnosis is given.
_MOST_FRAMES = 40
# Errors whose text is another one each time would cost a diagnosis each time.
_MOST_REMEMBERED = 256
# Characters of its text that an error is known by; a compiler's whole output may be part of it.
_LONGEST_KEY = 1000
# Other threads that meet an error meanwhile wait for one diagnosis, and no longer than this.
_LONGEST_WAIT = 10.0

_Key = tuple[type, str, "str | None"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A diagnosis that says something, and where it was recorded.

    Attributes:
        incident: its id; None where it could not be recorded.
        speaks: whether this process tells of it: one of a job does.

    """

    diagnosis: Diagnosis
    incident: str | None
    speaks: bool


@dataclass
class Attendant:
    """Attends to the errors of one process.

    Attributes:
        quiet: record, but put no note anywhere.
        active: False after `deactivate()`: hooks of ours that others have chained on stay, and do nothing.

    """

    quiet: bool = False
    active: bool = True
    _remembered: dict[_Key, str | None] = field(default_factory=dict)
    _situation: Situation | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _here: threading.local = field(default_factory=threading.local)

    def attend(self, error: BaseException | None) -> None:
        """Attend to an error that has been raised; those that it is linked with are looked into, too."""
        if error is None or not self.active:
            return
        try:
            candidates = list(linked(error))
            if any(map(note.is_noted, candidates)):
                return
            for candidate in candidates:
                if concerns(candidate) and self._note(
                    candidate, _innermost_module(candidate), lambda: _raised_text(error)
                ):
                    return
        except Exception as fault:  # noqa: BLE001 - the program's error is not to be replaced by ours
            hook.record(fault)

    def attend_creation(self, error: BaseException, frame: FrameType | None) -> None:
        """Attend to an error that is being created, by code that runs for `frame`; it has no traceback yet."""
        if not self.active:
            return
        try:
            if concerns(error):
                self._note(error, _calling_module(frame), lambda: _created_text(error, frame))
        except Exception as fault:  # noqa: BLE001 - likewise
            hook.record(fault)

    def find(self, text: str, exception_type: str) -> Finding | None:
        """Diagnose a text and record what it means; None where nothing can be said of it."""
        # Loaded here: a process without such an error needs none of it.
        from rtx50_autoload.diagnosis import classify  # noqa: PLC0415
        from rtx50_autoload.diagnosis.incidents import record  # noqa: PLC0415
        from rtx50_autoload.diagnosis.situation import Situation  # noqa: PLC0415
        from rtx50_autoload.troubleshooter.redaction import redact  # noqa: PLC0415

        if self._situation is None:
            self._situation = Situation.of_this_machine()
        diagnosis = classify(text, self._situation)
        if diagnosis.abstains:
            return None
        recorded = record(
            diagnosis,
            text,
            self._situation,
            exception_type=exception_type,
            redact=lambda told: redact(told).text,
        )
        return Finding(diagnosis, recorded.incident_id, recorded.speaks)

    def _note(self, error: BaseException, module: str | None, text: Callable[[], str]) -> bool:
        """Put a note on an error; tell whether a diagnosis says something about it."""
        if getattr(self._here, "busy", False):  # an error of our own work
            return False
        key = (type(error), str(error)[:_LONGEST_KEY], module)
        if key not in self._remembered:
            self._here.busy = True
            # A lock that is held by a thread that no longer runs, as after a fork, must not stop the program.
            held = self._lock.acquire(timeout=_LONGEST_WAIT)
            try:
                if key not in self._remembered:
                    if len(self._remembered) >= _MOST_REMEMBERED:
                        return False
                    words = None
                    try:
                        words = self._words(error, text())
                    finally:  # what fails is not tried again
                        self._remembered[key] = words
            finally:
                self._here.busy = False
                if held:
                    self._lock.release()
        words = self._remembered[key]
        if words is None:
            return False
        if words and not self.quiet:
            note.put(error, words)
        return True

    def _words(self, error: BaseException, text: str) -> str | None:
        """Give the note's words: none at all where nothing can be said, empty ones where another process says it."""
        found = self.find(text, type(error).__name__)
        if found is None:
            return None
        return note.words(found.diagnosis, found.incident) if found.speaks else ""


def _is_torch(module: str | None) -> bool:
    return module is None or module == "torch" or module.startswith("torch.")


def _innermost_module(error: BaseException) -> str | None:
    """Give the module nearest to where an error was raised that is not torch's."""
    module, trace = None, error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_globals.get("__name__")
        module = module if _is_torch(name) else name
        trace = trace.tb_next
    return module


def _calling_module(frame: FrameType | None) -> str | None:
    while frame is not None:
        name: str | None = frame.f_globals.get("__name__")
        if not _is_torch(name):
            return name
        frame = frame.f_back
    return None


def _raised_text(error: BaseException) -> str:
    import traceback  # noqa: PLC0415 - not for an error that is none of ours

    return "".join(traceback.format_exception(type(error), error, error.__traceback__, limit=-_MOST_FRAMES))


def _created_text(error: BaseException, frame: FrameType | None) -> str:
    """Write what the traceback will be once the error is raised where it is created."""
    import traceback  # noqa: PLC0415

    stack = traceback.format_stack(frame, _MOST_FRAMES)
    only = traceback.format_exception_only(type(error), error)
    return "".join(("Traceback (most recent call last):\n", *stack, *only))
