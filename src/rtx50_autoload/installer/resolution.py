"""What pip or uv would do: found by their dry run, before anything is touched."""

from __future__ import annotations

import importlib.metadata
import sys
import tempfile
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rtx50_autoload.evidence.installed import normalised

from .errors import FixError, NotAllowedError
from .installer_commands import find_uv, read_command
from .plan import Change
from .shadow import PipShadow, UvShadow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .environment import Environment
    from .installer_commands import InstallerCommand
    from .plan import Plan, Step
    from .shadow import Install, Shadow

__all__ = ["Resolution", "ResolvedStep", "automatic_steps", "resolve", "steps_to_do"]

#: The step of every plan that changes nothing and looks whether the others have worked.
_LOOK: Final = "check"


@dataclass(frozen=True, slots=True)
class ResolvedStep:
    """One step as it will be run.

    Attributes:
        step: as it is planned.
        commands: as they are run, but for the pins.
        pins: for each command, the versions that it is held to, ``"torch==2.11.0"``.

    """

    step: Step
    commands: tuple[InstallerCommand, ...]
    pins: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a plan comes to.

    Attributes:
        steps: those that can be run, in their order.
        changes: what they change, by package.
        touched: the packages that are or may be replaced or removed, also by the same version.
        broken: in the tool's words, each requirement of an installed package that is met now and would not be then.
        unknown: for each command that could not be tried beforehand, why.

    """

    steps: tuple[ResolvedStep, ...]
    changes: tuple[Change, ...]
    touched: tuple[str, ...]
    broken: tuple[str, ...]
    unknown: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Give the keys and values of ``resolution`` in `fix --json`."""
        return {
            "steps": [
                {"id": each.step.id, "pins": sorted({pin for pins in each.pins for pin in pins})} for each in self.steps
            ],
            "changes": [{"package": each.package, "before": each.before, "after": each.after} for each in self.changes],
            "broken": list(self.broken),
            "not_tried": list(self.unknown),
        }


def steps_to_do(plan: Plan) -> tuple[Step, ...]:
    """Give the steps without the last look, which is taken after every fix."""
    return tuple(step for step in plan.steps if step.id != _LOOK)


def automatic_steps(plan: Plan) -> tuple[Step, ...]:
    """Give the steps that are run: those before the first one of which a person has to do something by hand."""
    return tuple(takewhile(lambda step: step.commands and not step.by_hand, steps_to_do(plan)))


def resolve(steps: Sequence[Step], environment: Environment) -> Resolution:
    """Ask pip or uv what the steps would do; nothing is changed.

    Raises:
        FixError: the tool finds no way, is not there, or a command is not one that is run here.

    """
    commands = [[read_command(command, environment) for command in step.commands] for step in steps]
    for each in commands:
        for command in each:
            _refuse_outside(command, environment)
    with tempfile.TemporaryDirectory(prefix="rtx50-autoload-") as folder:
        shadow = _shadow(Path(folder), commands, environment)
        before, already_broken = shadow.versions(), set(shadow.broken())
        trial = _Trial(shadow)
        resolved = [
            ResolvedStep(step, tuple(each), tuple(trial.try_command(command, step) for command in each))
            for step, each in zip(steps, commands, strict=True)
        ]
        after = shadow.versions()
        names = sorted({*before, *after})
        changes = [Change(name, before.get(name), after.get(name)) for name in names]
        broken = [line for line in shadow.broken() if line not in already_broken]
    return Resolution(
        tuple(resolved),
        tuple(change for change in changes if change.before != change.after),
        tuple(sorted(trial.touched)),
        tuple(broken),
        tuple(trial.unknown),
    )


class _Trial:
    """The commands of a plan, tried one after the other."""

    def __init__(self, shadow: Shadow) -> None:
        self._shadow = shadow
        self.touched: set[str] = set()
        self.unknown: list[str] = []

    def try_command(self, command: InstallerCommand, step: Step) -> tuple[str, ...]:
        """Change the shadow as the command would change the environment, and give what it is held to."""
        installs: tuple[Install, ...] = ()
        if command.verb == "uninstall":
            for name in map(normalised, command.names):
                self.touched.add(name)
                self._shadow.remove(name)
        elif command.builds_with_what_is_there:
            names = [normalised(change.package) for change in step.changes]
            self.touched.update(names)
            self.unknown.append(f"{', '.join(names)}: built here with what is installed, so it is not tried beforehand")
        elif command.verb == "install":
            try:
                installs = self._shadow.would_install(command)
            except FixError as error:
                raise FixError(
                    f"this cannot be done as planned, and nothing was changed: {step.what}\n{error}"
                ) from None
            for install in installs:
                self.touched.add(install.name)
                self._shadow.add(install)
        return tuple(f"{each.name}=={each.version}" for each in installs if not each.is_direct)


def _refuse_outside(command: InstallerCommand, environment: Environment) -> None:
    """See to it that what is uninstalled lies in the environment, not in a place that it only looks into."""
    for name in command.names if command.verb == "uninstall" else ():
        for found in importlib.metadata.distributions(name=name):
            place = Path(str(found.locate_file("")))
            if not environment.holds(place / name):
                where = f"{place}, outside of {environment.prefix}"
                raise NotAllowedError(f"{name} {found.version} lies in {where}, so it is for you to remove")


def _shadow(folder: Path, commands: Sequence[Sequence[InstallerCommand]], environment: Environment) -> Shadow:
    tools = {command.tool for each in commands for command in each if command.tool}
    uv = find_uv()
    if uv and "pip" not in tools:
        return UvShadow(folder, environment.executable, uv)
    if len(tools) > 1:
        raise NotAllowedError("this plan uses pip and uv at once, which is not run here")
    hidden = [Path(place) for place in sys.path if "site-packages" in place or "dist-packages" in place]
    return PipShadow(folder, environment.executable, [*environment.folders, *hidden])
