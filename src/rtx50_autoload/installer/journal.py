"""The story of one fix: what ran, what was running, how it ended; readable at any moment, whatever ended the writer."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

from rtx50_autoload import __version__
from rtx50_autoload.private_files import check_folder, read_private, write_private

from .errors import FixError
from .state_folder import folder_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .environment import Environment
    from .plan import Plan

__all__ = ["CommandEntry", "Journal", "Status", "StepEntry", "latest", "latest_that_changed", "now"]

#: `saving`: the way back is being kept, nothing has been changed. `left`: a step is left for a person to do.
Status: TypeAlias = Literal["saving", "running", "done", "left", "failed", "interrupted", "undoing", "undone"]
CommandStatus: TypeAlias = Literal["waiting", "running", "done", "failed", "interrupted"]
_FILE: Final = "journal.json"
#: Bytes; thousands of packages would not fill it.
_LARGEST: Final = 2**26


@dataclass
class CommandEntry:
    """One command: when it ran, in which process, how it ended, where its output is, and what we say of its failure."""

    arguments: list[str]
    status: CommandStatus = "waiting"
    pid: int | None = None
    started: str | None = None
    ended: str | None = None
    code: int | None = None
    log: str | None = None
    problem: str | None = None


@dataclass
class StepEntry:
    """One step."""

    id: str
    what: str
    commands: list[CommandEntry] = field(default_factory=list)


@dataclass
class Journal:
    """One fix.

    Attributes:
        folder: where it and all that belongs to it is kept.
        steps: those that are run.
        expected: by package, the versions that this fix may have left there; None stands for not installed.
        added: files that commands other than pip's and uv's have added, from the environment's folder.

    """

    folder: Path
    prefix: str
    pid: int
    started: str
    status: Status = "saving"
    goals: list[str] = field(default_factory=list)
    steps: list[StepEntry] = field(default_factory=list)
    expected: dict[str, list[str | None]] = field(default_factory=dict)
    added: list[str] = field(default_factory=list)
    program: str = __version__

    @classmethod
    def begin(cls, folder: Path, environment: Environment, plan: Plan) -> Journal:
        """Begin the story; nothing has run."""
        return cls(folder, str(environment.prefix), os.getpid(), now(), goals=list(map(str, plan.goals)))

    def write(self) -> None:
        """Write it as it is now, so that it survives the end of this process and of the machine.

        Raises:
            OSError: it cannot be written; the one before is there still.

        """
        document = {name: value for name, value in asdict(self).items() if name != "folder"}
        write_private(self.folder / _FILE, json.dumps(document, indent=1) + "\n", durable=True)

    @property
    def changed_nothing(self) -> bool:
        """Whether no command has been started."""
        return all(command.started is None for step in self.steps for command in step.commands)

    @property
    def is_half_done(self) -> bool:
        """Whether it was stopped, by a failure, a person or the end of its process, after it had begun to change."""
        return not self.is_over and not self.changed_nothing

    @property
    def is_over(self) -> bool:
        """Whether nothing of it is left to be run or to be undone because of how it ended."""
        return self.status in {"done", "left", "undone"}

    @property
    def stopped_in(self) -> tuple[int, StepEntry] | None:
        """The number, from 1, of the first step that was not finished, and the step; None where all were."""
        for number, step in enumerate(self.steps, start=1):
            if any(command.status != "done" for command in step.commands):
                return number, step
        return None

    @property
    def last_moment(self) -> datetime:
        """When something was last written of it."""
        return max(self.moments)

    @property
    def moments(self) -> list[datetime]:
        """When something was written of it."""
        times = [time for step in self.steps for each in step.commands for time in (each.started, each.ended) if time]
        return [datetime.fromisoformat(time) for time in (self.started, *times)]

    def as_json(self) -> dict[str, Any]:
        """Give the keys and values of ``last_fix`` in `fix --json`."""
        return {
            "state": str(self.folder),
            "status": self.status,
            "pid": self.pid,
            "started": self.started,
            "goals": self.goals,
            "steps": [asdict(step) for step in self.steps],
        }


def now() -> str:
    """Give the present as the journal writes it."""
    return datetime.now(timezone.utc).replace(microsecond=0).isoformat()


def latest(environment: Environment) -> Journal | None:
    """Read the story of the last fix of an environment; None where there was none.

    Raises:
        FixError: it cannot be read.

    """
    return next(_stories(environment), None)


def latest_that_changed(environment: Environment) -> Journal | None:
    """Read the story of the last fix that has run a command; None where there was none.

    Raises:
        FixError: one cannot be read.

    """
    return next((story for story in _stories(environment) if not story.changed_nothing), None)


def _stories(environment: Environment) -> Iterator[Journal]:
    folder = folder_of(environment)
    try:
        check_folder(folder)
    except OSError as error:
        raise FixError(
            f"{error.filename or folder} cannot be used: {error.strerror or error}. Nothing was changed. Set "
            "XDG_STATE_HOME to a folder of your own."
        ) from error
    return map(_read, sorted(folder.glob("2*/" + _FILE), reverse=True))


def _read(file: Path) -> Journal:
    try:
        document = json.loads(read_private(file, _LARGEST))
        steps = [
            StepEntry(step["id"], step["what"], [CommandEntry(**command) for command in step["commands"]])
            for step in document.pop("steps")
        ]
        story = Journal(folder=file.parent, steps=steps, **document)
        _check(story)
    except OSError as error:
        raise FixError(f"{file} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise FixError(
            f"{file} is damaged; freeze.txt beside it tells what was installed before that fix. Move its folder away "
            "to go on without it."
        ) from error
    return story


def _check(story: Journal) -> None:
    """See to it that a story can be told.

    Raises:
        ValueError: a word or a time in it is none.

    """
    commands = [command for step in story.steps for command in step.commands]
    known = story.status in get_args(Status) and all(each.status in get_args(CommandStatus) for each in commands)
    texts = (story.prefix, *story.goals, *(text for step in story.steps for text in (step.id, step.what)))
    versions = [version for each in story.expected.values() for version in each]
    if not known or not all(isinstance(text, str) for text in (*texts, *story.added, *filter(None, versions))):
        raise ValueError("it holds what no fix has written")
    if any(moment.tzinfo is None for moment in story.moments) or not (story.steps or story.changed_nothing):
        raise ValueError("it is not told when, or what")
