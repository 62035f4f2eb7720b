"""A plan is applied: tried first, the way back kept, then run step by step up to the first failure."""

from __future__ import annotations

import importlib.metadata
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from packaging.version import InvalidVersion, Version

from rtx50_autoload.evidence.installed import normalised
from rtx50_autoload.private_files import write_private

from . import journal as journals
from .environment import child_environ, refuse_if_protected
from .errors import FixError, NotAllowedError
from .freezing import freeze
from .installer_commands import pip_program
from .journal import CommandEntry, Journal, StepEntry
from .resolution import automatic_steps, resolve, steps_to_do
from .running import listen_to, run_command
from .saved_state import forget_files, listed, save, way_of_keeping
from .state_folder import exclusive, folder_of, new_folder

if TYPE_CHECKING:
    from pathlib import Path

    from .environment import Environment
    from .installer_commands import InstallerCommand
    from .machine import Machine
    from .plan import Plan, Step
    from .resolution import Resolution, ResolvedStep
    from .saved_state import Way

__all__ = ["Preparation", "Spectator", "apply", "prepare"]

#: Settings of pip's configuration files that no variable overrides.
_REDIRECTING: Final = re.compile(r"^(?:global|install)\.(target|prefix|root|python)=", re.MULTILINE)
_NAME: Final = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Preparation:
    """What is known before anything is touched.

    Attributes:
        left: the first step that a person has to do by hand, and all that follow.
        way: how the files of the packages that change will be kept.
        kept_bytes: how much room that takes.

    """

    plan: Plan
    environment: Environment
    resolution: Resolution
    left: tuple[Step, ...]
    way: Way
    kept_bytes: int


class Spectator(Protocol):
    """Who is told how it goes."""

    def begin(self, number: int, count: int, step: Step) -> None:
        """Take note that a step begins."""

    def line(self, text: str) -> None:
        """Take a line that a command has said."""


def prepare(plan: Plan, machine: Machine, environment: Environment) -> Preparation:
    """Find out what the plan would do; nothing is changed.

    Raises:
        NotAllowedError: packages may not be installed here.
        FixError: pip or uv finds no way.

    """
    refuse_if_protected(machine, environment)
    steps = automatic_steps(plan)
    resolution = resolve(steps, environment)
    if any(command.tool == "pip" for step in resolution.steps for command in step.commands):
        _refuse_redirected_pip(environment)
    way, size = way_of_keeping(environment, resolution.touched, folder_of(environment))
    return Preparation(plan, environment, resolution, steps_to_do(plan)[len(steps) :], way, size)


def apply(preparation: Preparation, spectator: Spectator) -> Journal:
    """Keep the way back, then run the steps up to the first failure.

    Returns:
        how it went; what is wrong is told by its status, its steps and their logs.

    Raises:
        BusyError: another fix works here.
        FixError: the way back cannot be kept; nothing was changed.

    """
    environment, resolution = preparation.environment, preparation.resolution
    with exclusive(environment):
        frozen = freeze(environment)
        earlier = sorted(folder_of(environment).glob("2*"))
        folder = new_folder(environment)
        story = Journal.begin(folder, environment, preparation.plan)
        story.steps = [_entry(each) for each in resolution.steps]
        story.expected = _expected(resolution, environment)
        try:
            story.write()
            write_private(folder / "plan.json", json.dumps(preparation.plan.as_json(), indent=1) + "\n")
        except OSError as error:
            raise FixError(f"{folder} cannot be written: {error.strerror or error}. Nothing was changed.") from error
        save(folder, environment, preparation.way, frozen, resolution.touched, _own_packages())
        try:
            _run_steps(story, preparation, spectator)
        except OSError as error:
            raise FixError(
                f"the story of this fix cannot be written to {folder}, so it was stopped: {error.strerror or error}. "
                "`rtx50-autoload fix --undo` goes back."
            ) from error
        # Not before: until something has changed, it is the one before that can be undone.
        if not story.changed_nothing:
            for each in earlier:
                forget_files(each)
    return story


def _run_steps(story: Journal, preparation: Preparation, spectator: Spectator) -> None:
    resolution = preparation.resolution
    story.status = "running"
    story.write()
    try:
        for number, (each, entry) in enumerate(zip(resolution.steps, story.steps, strict=True), start=1):
            spectator.begin(number, len(resolution.steps), each.step)
            for index, command in enumerate(each.commands):
                log = story.folder / f"step-{number}-{index + 1}.log"
                arguments = _held_to(each.pins[index], command, preparation.environment, log.with_suffix(".pins"))
                there = set() if command.tool else set(listed(preparation.environment))
                if not _run(story, entry.commands[index], arguments, command, log, spectator):
                    return
                if not command.tool:
                    story.added += sorted(set(listed(preparation.environment)) - there)
                story.expected = _seen(story.expected, preparation.environment)
                elsewhere = _not_here(each.pins[index], preparation.environment)
                if elsewhere:
                    entry.commands[index].status, story.status = "failed", "failed"
                    entry.commands[index].problem = (
                        f"it ended well, but {', '.join(elsewhere)} is not in {preparation.environment.prefix}: a "
                        "configuration of pip or uv leads it to another place"
                    )
                    return
                story.write()
        story.status = "left" if preparation.left else "done"
    except KeyboardInterrupt:
        story.status = "interrupted"
    except BaseException:
        story.status = "failed"
        raise
    finally:
        story.write()


def _run(  # noqa: PLR0913, PLR0917 - each is another thing that a command has
    story: Journal,
    entry: CommandEntry,
    arguments: list[str],
    command: InstallerCommand,
    log: Path,
    spectator: Spectator,
) -> bool:
    """Run one command, and write the story before and after; tell whether it has worked."""
    entry.arguments, entry.log = arguments, str(log)
    entry.status, entry.started = "running", journals.now()
    story.write()

    def started(pid: int) -> None:
        entry.pid = pid
        story.write()

    try:
        ran = run_command(arguments, child_environ(command.environ), log, started, spectator.line)
    except OSError as error:
        entry.status, entry.ended = "failed", journals.now()
        entry.problem = f"{arguments[0]} cannot be run: {error.strerror or error}"
        story.status = "failed"
        return False
    entry.code, entry.ended = ran.code, journals.now()
    entry.status = "interrupted" if ran.is_interrupted else "failed" if ran.code else "done"
    if entry.status != "done":
        story.status = "interrupted" if ran.is_interrupted else "failed"
    story.write()
    return entry.status == "done"


def _held_to(pins: tuple[str, ...], command: InstallerCommand, environment: Environment, file: Path) -> list[str]:
    """Give what is run, so that it installs what the dry run has found, or nothing."""
    if not pins:
        return command.line(environment.executable)
    write_private(file, "".join(f"{pin}\n" for pin in pins))
    return command.line(environment.executable, "--constraint", str(file))


def _not_here(pins: tuple[str, ...], environment: Environment) -> list[str]:
    """Give what was installed and does not lie in this environment, wherever a configuration may have led it."""
    here = {(each.name, _version(each.version)) for each in environment.distributions()}
    split = [(pin, *pin.split("==", 1)) for pin in pins]
    return [pin for pin, name, version in split if (normalised(name), _version(version)) not in here]


def _expected(resolution: Resolution, environment: Environment) -> dict[str, list[str | None]]:
    """Give, by package, the versions that the fix may leave, also where it is stopped anywhere."""
    before: dict[str, list[str | None]] = {}
    for each in environment.distributions():
        before.setdefault(each.name, []).append(each.version)
    expected = {name: [*before.get(name, ()), None] for name in resolution.touched}
    for change in resolution.changes:
        versions = expected.setdefault(change.package, [*before.get(change.package, ()), None])
        versions.append(change.after)
    return {name: list(dict.fromkeys(versions)) for name, versions in expected.items()}


def _seen(expected: dict[str, list[str | None]], environment: Environment) -> dict[str, list[str | None]]:
    """Add the versions that are there after a command: the build of one may have brought others than were foreseen."""
    for each in environment.distributions():
        if each.name in expected and each.version not in expected[each.name]:
            expected[each.name].append(each.version)
    return expected


def _entry(resolved: ResolvedStep) -> StepEntry:
    commands = [CommandEntry(list(command.arguments)) for command in resolved.step.commands]
    return StepEntry(resolved.step.id, resolved.step.what, commands)


def _own_packages() -> set[str]:
    """Give this program and all that it needs to run: they may be what a step changes, and the way back needs them."""
    found: set[str] = set()
    waiting = ["rtx50-autoload"]
    while waiting:
        name = normalised(waiting.pop())
        if name not in found:
            try:
                requires = importlib.metadata.requires(name) or ()
            except importlib.metadata.PackageNotFoundError:
                continue
            found.add(name)
            names = (_NAME.match(each) for each in requires if "extra ==" not in each)
            waiting += [match[0] for match in names if match]
    return found


def _refuse_redirected_pip(environment: Environment) -> None:
    done = listen_to([*pip_program(environment.executable), "config", "list"])
    if match := _REDIRECTING.search(done.stdout):
        raise NotAllowedError(
            f"pip's configuration sets `{match[1]}`, so packages would not be installed in {environment.prefix}; "
            f"`pip config debug` shows the file: take that line out"
        )


def _version(text: str) -> Version | str:
    try:
        return Version(text)
    except InvalidVersion:
        return text
