"""The store of incidents: each failure once, with a counter, for the user's own eyes.

A process changes a record while it holds a lock, so that processes that fail together are all counted. `record` is
called while a program crashes: whatever is wrong with the disk costs the record and never the program.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rtx50_autoload import __version__, job, voice
from rtx50_autoload.errors import UsageError
from rtx50_autoload.private_files import make_folder

from .incident import Incident, Spoken, facts_of, identity
from .incident_files import (
    IncidentStoreError,
    Kept,
    file_of,
    folder,
    is_ours,
    locked,
    make_room,
    read_all,
    take_up,
    write,
)
from .process_start import started_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .diagnosis import Diagnosis
    from .situation import Situation

__all__ = [
    "IncidentStoreError",
    "Kept",
    "NoSuchIncidentError",
    "Recorded",
    "clear",
    "folder",
    "latest",
    "load",
    "load_all",
    "record",
]

#: Characters kept of an error's text, and of one line of a diagnosis.
_LONGEST_TEXT: Final = 16_000
_LONGEST_LINE: Final = 1000

#: Seconds within which processes fail at once. A notebook that was started before another process has spoken, and that
#: fails later than this, is to be heard, too.
_AT_ONCE: Final = 300.0
#: Seconds by which the clocks of machines differ that share a home folder. A time that is further ahead was written
#: before the clock was set back.
_CLOCKS_DIFFER: Final = 60.0

#: The id of this process, which a forked child does not share, and the name that it signs with.
_name: tuple[int, str] | None = None


class NoSuchIncidentError(UsageError, LookupError):
    """No incident is meant by this, or more than one."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What `record` could do.

    Attributes:
        incident_id: None where nothing could be recorded.
        count: how often the incident has happened, this time included; 0 where nothing could be recorded.
        speaks: whether this process is the one to say it.
        problem: why nothing could be recorded, a clause; None where it was.

    """

    incident_id: str | None
    count: int
    speaks: bool
    problem: str | None = None


def record(  # noqa: PLR0913 - what is kept of a failure
    diagnosis: Diagnosis,
    text: str,
    situation: Situation,
    *,
    exception_type: str | None = None,
    redact: Callable[[str], str] = str,
    relayed: bool = False,
) -> Recorded:
    """Count a failure, and say whether this process is the one to speak of it.

    Of processes that fail at once with the same incident exactly one speaks, the first to record it: a process is
    silent if another one has spoken since it was started, and no more than five minutes ago. So a program that is
    run again is heard again, and in a job it need not be the first rank that fails. The process that has spoken may
    speak again; to say one exception once is the caller's matter. A helper (`job.is_helper`) has spoken to the
    process that it works for, which may have thrown away what it was told, so that one may speak, too. Where nothing
    can be recorded, or the system does not tell when this process was started, the first process of a job speaks.

    Never raises an `Exception`.

    Args:
        diagnosis: what the failure means.
        text: the failure as the program has it.
        situation: what is known of this machine.
        exception_type: the name of the exception's class, where there is one.
        redact: takes out of a text what must not be kept. The failure's text and the diagnosis pass through it, but for
            the plan, whose commands would no longer work.
        relayed: the failure is another process's, which has counted it.

    """
    try:
        new = _new_incident(diagnosis, text, situation, exception_type, redact)
        place = folder()
        try:
            return _record(place, new, relayed)
        except FileNotFoundError:
            # Somebody removes the folder at this moment.
            return _record(place, new, relayed)
    except Exception as error:  # noqa: BLE001 - the program is failing already; its own error is the one to be seen
        voice.fault(error)
        return Recorded(None, 0, not job.is_worker(), str(error) or type(error).__name__)


def load_all() -> Kept:
    """Read all incidents.

    Raises:
        IncidentStoreError: the folder cannot be read.

    """
    return read_all(folder())


def load(name: str) -> Incident:
    """Read one incident.

    Args:
        name: its id or the beginning of it.

    Raises:
        NoSuchIncidentError: none has this id, or several ids begin like this.
        IncidentStoreError: the folder cannot be read.

    """
    return _meant(name, load_all().incidents)


def latest() -> Incident | None:
    """Read the incident that was seen last; None where there is none.

    Raises:
        IncidentStoreError: the folder cannot be read.

    """
    return next(iter(load_all().incidents), None)


def clear(names: Iterable[str] | None = None) -> list[Path]:
    """Remove incidents.

    Args:
        names: their ids or the beginnings of them; where None, all that was written here, also what cannot be read.

    Returns:
        the files that were removed. What was not written here stays.

    Raises:
        NoSuchIncidentError: one of them is not known; nothing is removed then.
        IncidentStoreError: the folder cannot be read, or a file in it cannot be removed.

    """
    place = folder()
    incidents = read_all(place).incidents
    chosen = None if names is None else {file_of(place, _meant(name, incidents).id) for name in names}
    if not place.is_dir():
        return []
    try:
        with locked(place):
            files = [path for path in sorted(place.iterdir()) if (is_ours(path) if chosen is None else path in chosen)]
            for file in files:
                file.unlink()
    except OSError as error:
        raise IncidentStoreError(f"{place} cannot be cleared: {error.strerror or error}") from error
    return files


def _new_incident(
    diagnosis: Diagnosis,
    text: str,
    situation: Situation,
    exception_type: str | None,
    redact: Callable[[str], str],
) -> Incident:
    # Redacted first: a cut may leave half of what has to be recognised as a whole.
    def short(line: str) -> str:
        return _cut(redact(line), _LONGEST_LINE)

    diagnosis = replace(
        diagnosis,
        cause=short(diagnosis.cause),
        evidence=tuple(map(short, diagnosis.evidence)),
        missing_evidence=tuple(map(short, diagnosis.missing_evidence)),
        culprit=None if diagnosis.culprit is None else short(diagnosis.culprit),
        headline=" ".join(redact(diagnosis.headline).split())[:_LONGEST_LINE],
    )
    environment = facts_of(situation, sys.prefix)
    now = datetime.now(timezone.utc)
    return Incident(
        id=identity(diagnosis, exception_type, environment),
        first_seen=now,
        last_seen=now,
        count=1,
        exception_type=exception_type,
        text=_cut(redact(text), _LONGEST_TEXT),
        diagnosis=diagnosis,
        environment=environment,
        # An interpreter inside another program may have no arguments.
        program=Path((getattr(sys, "argv", None) or [""])[0]).name,
        version=__version__,
    )


def _cut(text: str, longest: int) -> str:
    """Keep the head, where the first error is, and the tail, where the last one is, and say what is left out."""
    left_out = len(text) - longest
    half = longest // 2
    return text if left_out <= 0 else f"{text[:half]}\n[... {left_out} characters left out ...]\n{text[-half:]}"


def _record(place: Path, new: Incident, relayed: bool) -> Recorded:
    started = started_at()
    make_folder(place)
    with locked(place):
        before = take_up(place, new.id)
        said = None if before is None else before.spoken
        speaks = _may_speak(said, started, new.last_seen.timestamp())
        if before is not None:
            count = before.count + (not relayed)
            new = replace(new, first_seen=min(before.first_seen, new.first_seen), count=count)
        if speaks:
            said = Spoken(_own_name(), new.last_seen, job.is_helper())
        write(place, replace(new, spoken=said))
        if before is None:
            make_room(place)
    return Recorded(new.id, new.count, speaks)


def _may_speak(spoken: Spoken | None, started: float | None, now: float) -> bool:
    if started is None:
        return not job.is_worker()
    if spoken is None or spoken.process == _own_name() or (spoken.helper and not job.is_helper()):
        return True
    return not max(started, now - _AT_ONCE) <= spoken.at.timestamp() <= now + _CLOCKS_DIFFER


def _own_name() -> str:
    """Give the name that no other process has: on several machines with one home folder, ids of processes repeat."""
    global _name  # noqa: PLW0603
    if _name is None or _name[0] != os.getpid():
        _name = os.getpid(), os.urandom(6).hex()
    return _name[1]


def _meant(name: str, incidents: Iterable[Incident]) -> Incident:
    meant = [incident for incident in incidents if name and incident.id.startswith(name.lower())]
    if len(meant) == 1:
        return meant[0]
    if not meant:
        raise NoSuchIncidentError(f"no incident is called {name!r}; `rtx50-autoload incidents` lists them")
    ids = ", ".join(incident.id for incident in meant)
    raise NoSuchIncidentError(f"{name!r} may be {ids}; give more of the id")
