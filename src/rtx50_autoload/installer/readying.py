"""What has to be so before anything is installed, and what is chosen then."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rtx50_autoload.installer.choice import Choice, NoChoice, choose
from rtx50_autoload.installer.preparing import (
    driver_step,
    environment_step,
    hiding_torch_step,
    in_new_environment,
    names_in_both,
    pip_step,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtx50_autoload.installer.facts import Facts
    from rtx50_autoload.installer.machine import Machine
    from rtx50_autoload.installer.plan import Goal, Step

__all__ = ["Readying"]


class Readying:
    """Brings a machine, step by step, to where a torch can be chosen for it.

    Attributes:
        machine: as it will be once the steps are done.
        steps: what leads there.
        chosen: what is chosen for it then.

    """

    def __init__(self, machine: Machine, goals: Sequence[Goal], facts: Facts) -> None:
        self.machine, self._goals, self._facts = machine, goals, facts
        self.steps: list[Step] = []
        self.chosen: Choice | NoChoice = self._choose(machine)
        # In the order in which they have to be done.
        self._second_torch()
        self._driver()
        self._environment()
        self._pip()

    def _choose(self, machine: Machine) -> Choice | NoChoice:
        return choose(machine, self._goals, self._facts)

    def _go_on(self, step: Step, machine: Machine) -> None:
        self.steps.append(step)
        self.machine = machine
        self.chosen = self._choose(machine)

    def _second_torch(self) -> None:
        """Uncover a torch that another one hides, where it would do as it is."""
        machine = self.machine
        if not _exchanges_torch(self.chosen) or not (names := names_in_both(machine)):
            return
        uncovered = {**machine.packages, **{name: machine.hidden[name] for name in names}}
        left = {name: package for name, package in machine.hidden.items() if name not in names}
        later = replace(machine, packages=uncovered, hidden=left)
        without = self._choose(later)
        if isinstance(without, Choice) and not _exchanges_torch(without):
            self._go_on(hiding_torch_step(machine), later)

    def _driver(self) -> None:
        hindrance = self.chosen
        if isinstance(hindrance, NoChoice) and hindrance.kind == "driver":
            later = replace(self.machine, driver=None)
            enough, chosen = hindrance.driver, self._choose(later).driver
            reason = hindrance.why
            if enough and chosen and chosen > enough:
                reason += f" {chosen} carries the torch that is chosen for the new driver."
            self._go_on(driver_step(self.machine, max(filter(None, (enough, chosen)), default=None), reason), later)
        elif isinstance(hindrance, Choice) and self.machine.driver is None:
            self.steps.append(driver_step(self.machine))

    def _environment(self) -> None:
        hindrance, machine = self.chosen, self.machine
        if isinstance(hindrance, NoChoice) and hindrance.kind == "python":
            # The newest is often ahead of the libraries on top of torch.
            plain = [python for python in hindrance.pythons if not python.endswith("t")]
            later = in_new_environment(machine, (plain[:-1] or plain)[-1])
        elif machine.externally_managed and _changes_anything(hindrance):
            later = in_new_environment(machine, machine.python)
        else:
            return
        self._go_on(environment_step(machine, later), later)

    def _pip(self) -> None:
        packages = self.machine.packages
        # Where we are installed, all packages are known.
        is_missing = self.machine.installer == "pip" and "rtx50-autoload" in packages and "pip" not in packages
        if is_missing and _changes_anything(self.chosen):
            self.steps.append(pip_step(self.machine))


def _exchanges_torch(chosen: Choice | NoChoice) -> bool:
    return isinstance(chosen, Choice) and any(pin.package == "torch" for pin in chosen.pins)


def _changes_anything(chosen: Choice | NoChoice) -> bool:
    return isinstance(chosen, Choice) and bool(chosen.pins or chosen.builds)
