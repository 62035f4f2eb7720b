"""From a machine and what has to work on it to a plan.

What is chosen is `choice`'s; the requirements of installed packages are compared here and there by their metadata, and
a resolver's dry run follows before a plan is applied.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Final

from packaging.utils import canonicalize_name

from rtx50_autoload.errors import UsageError
from rtx50_autoload.installer.builds import build_steps
from rtx50_autoload.installer.choice import Choice, NoChoice
from rtx50_autoload.installer.companions import around_torch
from rtx50_autoload.installer.facts import load_facts, platform_of
from rtx50_autoload.installer.family import FAMILY
from rtx50_autoload.installer.goals import DEFAULT_GOALS
from rtx50_autoload.installer.hindered import hindered
from rtx50_autoload.installer.installing import check_step, left_out_gpus, library_step, space_problem, torch_step
from rtx50_autoload.installer.plan import Plan, Step, Unsolved
from rtx50_autoload.installer.readying import Readying
from rtx50_autoload.installer.requirements import accepts
from rtx50_autoload.installer.wording import Wording, gpu_names, listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtx50_autoload.capability import Capability
    from rtx50_autoload.installer.facts import Facts
    from rtx50_autoload.installer.family import Pin
    from rtx50_autoload.installer.machine import Machine
    from rtx50_autoload.installer.plan import Conflict, Goal, Outcome

__all__ = ["make_plan"]

#: What comes in one command with torch where it comes from the same index; the others are installed on top.
_WITH_TORCH: Final = ("torch", "torchvision", "torchaudio", "triton")


def make_plan(machine: Machine, goals: Sequence[Goal] = DEFAULT_GOALS, facts: Facts | None = None) -> Plan:
    """Make a plan; nothing is changed, fetched or started for it.

    Args:
        machine: as it is.
        goals: what has to work.
        facts: what is known of releases, by default what is in use.

    Raises:
        UsageError: nothing is known of a package that is wanted.

    """
    known = facts or load_facts()
    _refuse_unknown(machine, goals, known)
    return _Planner(machine, tuple(goals), known).plan()


def _refuse_unknown(machine: Machine, goals: Sequence[Goal], facts: Facts) -> None:
    sources = [row["package"] for row in facts.tables["source-build"]]
    runs = {"torch", *FAMILY, *sources}
    for goal in goals:
        if goal.kind == "run" and canonicalize_name(goal.package) not in runs | machine.packages.keys():
            raise UsageError(
                f"nothing is known of {goal.package!r} here; what can be wanted: {', '.join(sorted(runs))}, "
                "and what is installed"
            )


class _Planner:
    def __init__(self, machine: Machine, goals: tuple[Goal, ...], facts: Facts) -> None:
        self.machine, self.goals, self.facts = machine, goals, facts
        self.steps: list[Step] = []
        self.unsolved: list[Unsolved] = []
        self.conflicts: tuple[Conflict, ...] = ()
        #: What is wanted and cannot be had.
        self.unreached: set[str] = set()

    def plan(self) -> Plan:
        ready = Readying(self.machine, self.goals, self.facts)
        self.machine, chosen = ready.machine, ready.chosen
        self.steps += ready.steps
        if isinstance(chosen, NoChoice):
            # What fits together does so whatever becomes of the GPU.
            if chosen.kind in {"gpu", "vendor", "system"} and (around := around_torch(self.machine, self.facts)):
                self._mend(around)
            steps, unsolved = hindered(self.machine, chosen)
            self.steps += steps
            self.unsolved += unsolved
            served = gpu_names(self.machine.gpus)
        else:
            self._mend(chosen)
            served = gpu_names(chosen.serves)
        if self.steps:
            self.steps.append(check_step(self.machine))
        is_hopeless = isinstance(chosen, NoChoice) or self.unreached.intersection(goal.package for goal in self.goals)
        outcome: Outcome = "steps" if self.steps else "impossible" if is_hopeless else "nothing"
        return Plan(
            goals=self.goals,
            outcome=outcome,
            summary=self._summary(outcome, served, chosen),
            facts_of=str(self.facts.dated),
            steps=tuple(self.steps),
            conflicts=self.conflicts,
            unsolved=tuple(self.unsolved),
        )

    def _mend(self, chosen: Choice) -> None:
        wording = Wording(self.machine)
        for together, group in groupby(chosen.pins, key=lambda pin: self._comes_with_torch(pin, chosen)):
            pins = tuple(group)
            if together:
                self.steps.append(torch_step(self.machine, chosen, pins, self._code(chosen)))
            else:
                self.steps += [library_step(self.machine, chosen, pin) for pin in pins]
        for remark in chosen.builds:
            built = build_steps(self.machine, remark.package, (chosen.torch, chosen.variant))
            if isinstance(built, Unsolved):
                self.unsolved.append(built)
                self.unreached.add(remark.package)
            else:
                self._add_build(remark.package, built)
        for remark in chosen.left_out:
            words = {"package": remark.package, "why": remark.why}
            self.unsolved.append(wording.unsolved("library-left-out", words))
            self.unreached.add(remark.package)
        if chosen.leaves:
            self.unsolved.append(left_out_gpus(self.machine, chosen))
        self.unsolved += [wording.unsolved("known-trouble", {"caution": caution}) for caution in chosen.cautions]
        if problem := space_problem(self.machine, chosen):
            self.unsolved.append(problem)
        self.conflicts = tuple(conflict for conflict in chosen.conflicts if self._is_new(conflict))

    def _code(self, chosen: Choice) -> Capability | None:
        """Give the code in the chosen torch that the first of the GPUs runs."""
        platform = platform_of(self.machine)
        held = self.facts.capabilities(chosen.variant, chosen.torch, platform) if platform and chosen.variant else None
        gpu = next((gpu.capability for gpu in chosen.serves if gpu.capability), None)
        return max((code for code in held or () if gpu and code[0] == gpu[0] and code <= gpu), default=None)

    def _add_build(self, package: str, steps: Sequence[Step]) -> None:
        """Add the steps of a build, without prerequisites that another one has had already."""
        ids = {step.id for step in self.steps}
        changed = {change.package for step in self.steps for change in step.changes}
        for step in steps:
            if step.id not in ids:
                self.steps.append(step)
            elif any(change.package not in changed for change in step.changes):
                self.steps.append(replace(step, id=f"{step.id}-for-{package}"))

    def _comes_with_torch(self, pin: Pin, chosen: Choice) -> bool:
        return pin.package in _WITH_TORCH and pin.index == chosen.index

    def _is_new(self, conflict: Conflict) -> bool:
        """Tell whether a requirement is met now; what is broken already, the plan does not break."""
        name = conflict.planned.partition(" ")[0]
        installed = self.machine.packages.get(name)
        package = self.machine.packages[conflict.package]
        return installed is None or accepts(self.machine, package, name, str(installed))

    def _summary(self, outcome: Outcome, served: str, chosen: Choice | NoChoice) -> str:
        if outcome == "nothing" and isinstance(chosen, Choice):
            torch = chosen.torch if chosen.variant is None else f"{chosen.torch}+{chosen.variant}"
            beside = "" if self.unsolved else ", and what is known of what is installed beside it fits"
            return f"Nothing to do: torch {torch} has code for {served}{beside}."
        if outcome == "impossible":
            return f"Nothing can be done here: {self.unsolved[0].what}"
        number = "1 step" if len(self.steps) == 1 else f"{len(self.steps)} steps"
        if isinstance(chosen, NoChoice) and any(step.changes for step in self.steps):
            return f"{number} so that what is installed fits the torch here. Of the GPU: {self.unsolved[-1].what}"
        wanted = list(dict.fromkeys(goal.package for goal in self.goals))
        missing = [package for package in wanted if package in self.unreached]
        reached = [package for package in wanted if package not in self.unreached]
        by_hand = any(not step.commands and step.id != "check" for step in self.steps)
        summary = f"{number} to have {listed(reached or ['torch'])} run on {served}"
        summary += ", some of them by hand." if by_hand else "."
        if missing:
            summary += f" Not {listed(missing)}: see what remains."
        return f"{summary} But they break what other packages need." if self.conflicts else summary
