"""The way back: what a fix has changed becomes as it was, whatever has ended the fix.

Everything is judged by what is there now, so it may be stopped anywhere and begun again.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from . import saved_state
from .distribution_files import is_complete, present_files
from .errors import FixError, NothingToUndoError
from .freezing import freeze, installer_of
from .journal import latest_that_changed
from .restoring import differs, move_aside, restore_all
from .running import listen_to
from .state_folder import exclusive

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .environment import Distribution, Environment
    from .journal import Journal
    from .saved_state import KeptDistribution, SavedState

__all__ = ["Undoing", "Undone", "look_back", "undo", "use_kept_packages"]

#: Seconds that what the killed fix had started may take to end; it is killed with it.
_LONGEST_END: Final = 5.0


@dataclass(frozen=True, slots=True)
class Undoing:
    """What the way back would do.

    Attributes:
        remove: what the fix has added, ``"torch 2.11.0"``.
        restore: what comes back from the kept files.
        download: what has to be downloaded, since its files were not kept, ``"torch==2.9.0"``.
        by_hand: what was changed since by somebody else, as sentences: it is left alone unless that is wished.
        aside: paths that an interrupted installer has left; they are moved, not deleted.

    """

    story: Journal
    state: SavedState
    remove: tuple[str, ...]
    restore: tuple[str, ...]
    download: tuple[str, ...]
    by_hand: tuple[str, ...]
    aside: tuple[str, ...]
    names: frozenset[str] = field(default_factory=frozenset)
    changed_by_hand: frozenset[str] = field(default_factory=frozenset)

    @property
    def is_nothing(self) -> bool:
        """Whether everything is as it was."""
        return not (self.remove or self.restore or self.download or self.aside)

    def as_json(self) -> dict[str, Any]:
        """Give the keys and values of ``undo`` in `fix --undo --json`."""
        return {
            "state": str(self.story.folder),
            "remove": list(self.remove),
            "restore": list(self.restore),
            "download": list(self.download),
            "changed_by_hand": list(self.by_hand),
            "move_aside": list(self.aside),
        }


@dataclass(frozen=True, slots=True)
class Undone:
    """How the way back went.

    Attributes:
        packages: how many there are now.
        different: the lines of `pip freeze` that differ, with ``-`` for what is missing and ``+`` for what is new.
        failures: what could not be brought back, each a sentence.

    """

    packages: int
    different: tuple[str, ...]
    failures: tuple[str, ...]

    @property
    def is_as_before(self) -> bool:
        """Whether everything is as it was."""
        return not self.different and not self.failures

    def as_json(self) -> dict[str, Any]:
        """Give the keys and values of ``undone`` in `fix --undo --json`."""
        return {
            "as_before": self.is_as_before,
            "packages": self.packages,
            "different": list(self.different),
            "failures": list(self.failures),
        }


def use_kept_packages(environment: Environment) -> None:
    """Let this process find the packages that it needs among the kept files: a fix may have broken the others.

    Raises:
        FixError: the story of the last fix cannot be read.

    """
    story = latest_that_changed(environment)
    if story is not None:
        sys.path[:0] = [
            str(story.folder / saved_state.FILES / environment.relative(each)) for each in environment.folders
        ]


def look_back(environment: Environment) -> Undoing:
    """Find out what the way back from the last fix would do; nothing is changed.

    Raises:
        NothingToUndoError: there is none.
        FixError: what was kept cannot be read.

    """
    story = latest_that_changed(environment)
    if story is None:
        raise NothingToUndoError(f"no fix has ever changed {environment.prefix}")
    if story.status == "undone":
        raise NothingToUndoError("the last fix has been undone already")
    # What is still being put back would look otherwise in a moment.
    _wait_for_end(story)
    state = saved_state.load(story.folder)
    present: dict[str, list[Distribution]] = {}
    for each in environment.distributions():
        present.setdefault(each.name, []).append(each)
    by_hand, changed = _changed_by_hand(story, state, present)
    names = frozenset(story.expected) | frozenset(state.touched)
    kept = {each.name: each for each in state.kept if each.name in names}
    wanted = sorted(names - changed)
    remove = [
        f"{name} {each.version}"
        for name in wanted
        for each in present.get(name, ())
        if each.version not in state.installed.get(name, ())
    ]
    restore = [
        f"{name} {kept[name].version}"
        for name in wanted
        if name in kept and any(differs(file, environment) for file in kept[name].files or ())
    ]
    aside = tuple(_left_over(story, state, environment)) if story.stopped_in else ()
    return Undoing(
        story,
        state,
        tuple(remove),
        tuple(restore),
        tuple(_missing(wanted, state, environment)),
        tuple(by_hand),
        aside,
        names - changed,
        changed,
    )


def undo(undoing: Undoing, environment: Environment, *, by_hand_too: bool = False) -> Undone:
    """Make the environment what it was before the fix; it may be stopped anywhere and begun again.

    Args:
        undoing: what `look_back` has found.
        environment: the one that was changed.
        by_hand_too: also where somebody else has changed a package since.

    Raises:
        BusyError: a fix works here.
        FixError: the story of the fix cannot be written, or what is installed cannot be listed.

    """
    story, state = undoing.story, undoing.state
    names = undoing.names | (undoing.changed_by_hand if by_hand_too else frozenset())
    with exclusive(environment):
        _wait_for_end(story)
        story.status = "undoing"
        _write(story)
        failures = [*restore_all(names, state, environment)]
        for path in (*undoing.aside, *story.added):
            move_aside(environment.prefix / path, story.folder / "aside" / path)
        missing = _missing(names, state, environment)
        if missing:
            failures += _install(missing, environment)
        frozen = freeze(environment)
        before, after = state.freeze.splitlines(), frozen.splitlines()
        different = [
            *(f"- {line}" for line in before if line not in after),
            *(f"+ {line}" for line in after if line not in before),
        ]
        if not failures:
            story.status = "undone"
            _write(story)
            saved_state.forget_files(story.folder)
    return Undone(len(after), tuple(different), tuple(failures))


def _changed_by_hand(
    story: Journal, state: SavedState, present: dict[str, list[Distribution]]
) -> tuple[list[str], frozenset[str]]:
    """Find what somebody else has changed since: sentences, and those of the packages that the fix has changed too."""
    sentences, changed = [], set()
    for name in sorted({*present, *state.installed}):
        now = sorted(each.version for each in present.get(name, ()) if is_complete(each))
        before = sorted(state.installed.get(name, ()))
        if now == before:
            continue
        if name in story.expected:
            unexpected = [version for version in now if version not in story.expected[name]]
            if unexpected:
                changed.add(name)
                sentences.append(f"{name} {', '.join(unexpected)} was installed after the fix")
        elif name in state.touched:
            continue
        elif not before:
            sentences.append(f"{name} {', '.join(now)} was installed after the fix")
        elif not now:
            sentences.append(f"{name} {', '.join(before)} was removed after the fix")
        else:
            sentences.append(f"{name} became {', '.join(now)} after the fix; it was {', '.join(before)}")
    return sentences, frozenset(changed)


def _left_over(story: Journal, state: SavedState, environment: Environment) -> Iterable[str]:
    """Find what an interrupted installer has left: neither there before nor part of a whole package, and newer.

    pip renames what it is about to remove, so that it begins with a tilde; the files in it stay as old as they were.
    """
    started = min(
        (each.started for step in story.steps for each in step.commands if each.started), default=story.started
    )
    begin = datetime.fromisoformat(started).timestamp()
    whole = [each for each in environment.distributions() if is_complete(each)]
    owned = {environment.relative(path) for path in present_files(whole, environment)}
    for path in sorted(saved_state.listed(environment)):
        if path in owned or state.was_there(path):
            continue
        with contextlib.suppress(OSError):
            renamed = any(part.startswith("~") for part in Path(path).parts)
            if renamed or (environment.prefix / path).lstat().st_ctime >= begin:
                yield path


def _missing(names: Iterable[str], state: SavedState, environment: Environment) -> list[str]:
    """Give what was there, is not there as a whole, and has no kept files: it has to be installed anew."""
    here = {(each.name, each.version) for each in environment.distributions() if is_complete(each)}
    kept = {each.name: each for each in state.kept}
    return [
        f"{name}=={version}"
        for name in sorted(names)
        for version in state.installed.get(name, ())
        if (name, version) not in here and _has_no_files(kept.get(name))
    ]


def _has_no_files(kept: KeptDistribution | None) -> bool:
    return kept is None or kept.files is None


def _install(pins: list[str], environment: Environment) -> list[str]:
    command = [*installer_of(environment), "--no-deps", *pins]
    done = listen_to(command)
    if not done.returncode:
        return []
    said = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
    return [f"{', '.join(pins)} cannot be installed: {said[0]}"]


def _wait_for_end(story: Journal) -> None:
    """Wait for what the fix had started, which is killed when the fix is."""
    running = [each.pid for step in story.steps for each in step.commands if each.status == "running" and each.pid]
    deadline = time.monotonic() + _LONGEST_END
    if sys.platform != "win32":
        for pid in running:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                while time.monotonic() < deadline:
                    os.killpg(pid, 0)
                    time.sleep(0.05)


def _write(story: Journal) -> None:
    try:
        story.write()
    except OSError as error:
        raise FixError(f"{story.folder} cannot be written: {error.strerror or error}") from error
