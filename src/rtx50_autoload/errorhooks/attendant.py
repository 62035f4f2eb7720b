"""What is done with an error, whichever way it came: is it ours, what does it mean, keep it, note it.

All of it is done once for an error and costs what a diagnosis costs; the same error again, from the same place, finds
the first one's answer. Nothing here raises: the program's own error is what matters.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import _rtx50_autoload_importlib_bootstrap as hook

from . import note
from .links import linked
from .relays import brings_errors, is_relayed
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
# Characters kept of each end of an error's text, for the question to an assistant.
_HALF = 20_000
# Other threads that meet an error meanwhile wait for one diagnosis, and no longer than this.
_LONGEST_WAIT = 10.0

_Key = tuple[type, str, "str | None"]


class Finding:
    """A diagnosis that says something, and where it was recorded.

    Attributes:
        diagnosis: what the error means.
        text: the error's; of a long one, its ends.
        situation: what was known of the machine.
        incident: its id; None where it could not be recorded.
        speaks: whether this process tells of it: one of a job does.

    """

    __slots__ = ("diagnosis", "incident", "situation", "speaks", "text")

    def __init__(
        self, diagnosis: Diagnosis, text: str, situation: Situation, incident: str | None, *, speaks: bool
    ) -> None:
        self.diagnosis = diagnosis
        self.text = text
        self.situation = situation
        self.incident = incident
        self.speaks = speaks


class Attendant:
    """Attends to the errors of one process.

    Attributes:
        quiet: record, but put no note anywhere.
        active: False after `deactivate()`: hooks of ours that others have chained on stay, and do nothing.

    """

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.active = True
        self._remembered: dict[_Key, Finding | None] = {}
        self._situation: Situation | None = None
        self._lock = threading.Lock()
        self._here = threading.local()

    def attend(self, error: BaseException | None) -> Finding | None:
        """Attend to an error that has been raised; those that it is linked with are looked into, too.

        Returns:
            what was found, now or before; None where nothing can be said.

        """
        if error is None or not self.active:
            return None
        try:
            candidates = list(linked(error))
            noted = next(filter(note.is_noted, candidates), None)
            if noted is not None:
                note.drop_repeated(noted)
                return self._found_before(noted)
            for candidate in candidates:
                if concerns(candidate):
                    module = _innermost_module(candidate)
                    found = self._note(candidate, module, lambda: _raised_text(error), is_relayed(candidates))
                    if found is not None:
                        return found
        except Exception as fault:  # noqa: BLE001 - the program's error is not to be replaced by ours
            hook.record(fault)
        return None

    def attend_creation(self, error: BaseException, frame: FrameType | None) -> None:
        """Attend to an error that is being created, by code that runs for `frame`; it has no traceback yet."""
        if not self.active:
            return
        try:
            module = _calling_module(frame)
            # What another process has sent gets its note after this, if it has one.
            if concerns(error) and not brings_errors(module) and not note.is_noted(error):
                self._note(error, module, lambda: _created_text(error, frame), is_relayed((error,)))
        except Exception as fault:  # noqa: BLE001 - likewise
            hook.record(fault)

    def find(self, text: str, exception_type: str, *, relayed: bool = False) -> Finding | None:
        """Diagnose a text and record what it means; None where nothing can be said of it.

        Args:
            text: the error with its traceback.
            exception_type: the name of its class.
            relayed: it comes from another process, which has counted it.

        """
        # Loaded here: a process without such an error needs none of it.
        from rtx50_autoload.diagnosis import classify, this_machine  # noqa: PLC0415
        from rtx50_autoload.diagnosis.incidents import record  # noqa: PLC0415
        from rtx50_autoload.troubleshooter.redaction import redact  # noqa: PLC0415

        if self._situation is None:
            self._situation = this_machine.look()
        diagnosis = classify(text, self._situation)
        if diagnosis.abstains:
            return None
        recorded = record(
            diagnosis,
            text,
            self._situation,
            exception_type=exception_type,
            redact=lambda told: redact(told).text,
            relayed=relayed,
        )
        return Finding(diagnosis, _both_ends(text), self._situation, recorded.incident_id, speaks=recorded.speaks)

    def _found_before(self, error: BaseException) -> Finding | None:
        """Give what was found of an error that has its note; where it was created may be another place."""
        known = _known_by(error)
        return next((found for key, found in self._remembered.items() if key[:2] == known and found is not None), None)

    def _note(self, error: BaseException, module: str | None, text: Callable[[], str], relayed: bool) -> Finding | None:
        """Put a note on an error; give the diagnosis, None where it says nothing about it."""
        if getattr(self._here, "busy", False):  # an error of our own work
            return None
        key = (*_known_by(error), module)
        if key not in self._remembered:
            self._here.busy = True
            # A lock that is held by a thread that no longer runs, as after a fork, must not stop the program.
            held = self._lock.acquire(timeout=_LONGEST_WAIT)
            try:
                if key not in self._remembered:
                    if len(self._remembered) >= _MOST_REMEMBERED:
                        return None
                    found = None
                    try:
                        found = self.find(text(), type(error).__name__, relayed=relayed)
                    finally:  # what fails is not tried again
                        self._remembered[key] = found
            finally:
                self._here.busy = False
                if held:
                    self._lock.release()
        found = self._remembered[key]
        if found is not None and found.speaks and not self.quiet:
            note.put(error, note.words(found.diagnosis, found.incident))
        return found


def _known_by(error: BaseException) -> tuple[type, str]:
    return type(error), str(error)[:_LONGEST_KEY]


def _both_ends(text: str) -> str:
    """Keep the first and the last lines of a long text: what fails first, and what fails last."""
    if len(text) <= 2 * _HALF:
        return text
    return f"{text[:_HALF].rpartition(chr(10))[0]}\n{text[-_HALF:].partition(chr(10))[2]}"


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
