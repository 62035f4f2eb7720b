"""A plan: ordered steps, each with its commands, the reason, what it changes, and the way back."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Change", "Command", "Conflict", "Goal", "Outcome", "Plan", "Step", "Unsolved"]

#: `nothing`: the goals are reached as it is. `steps`: the steps reach them. `impossible`: nothing does on this machine.
Outcome: TypeAlias = Literal["nothing", "steps", "impossible"]


@dataclass(frozen=True, slots=True)
class Goal:
    """What has to work: a package that runs on the GPU, or one that is built from source for it."""

    kind: Literal["run", "build"]
    #: By normalised name: ``"flash-attn"``.
    package: str

    def __str__(self) -> str:
        return f"{self.kind} {self.package}"


@dataclass(frozen=True, slots=True)
class Command:
    """One command that a step runs.

    Attributes:
        arguments: the program and its arguments; no shell reads them.
        environ: variables that are set for this command alone.

    """

    arguments: tuple[str, ...]
    environ: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def as_json(self) -> dict[str, Any]:
        """Give the keys and values of one entry of ``commands`` in `plan --json`."""
        return {"arguments": list(self.arguments), "environ": dict(self.environ)}


@dataclass(frozen=True, slots=True)
class Change:
    """What a step does to one package; versions with their variants, None where it is not installed."""

    package: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Step:
    """One step.

    Attributes:
        id: kebab-case, stable between releases.
        what: what is done, in one sentence that a beginner understands.
        why: the reason, with the facts that it rests on.
        commands: what is run, in this order; empty where a person has to do it.
        by_hand: what a person has to do, each a sentence or a command to type; empty where the commands do it all.
        changes: the packages that it changes.
        download: bytes that it fetches, about; None where that is not known.
        minutes: how long it takes, about, where that is long and known.
        back: the way back, in one sentence.
        check: how to see that it has worked, in one sentence.

    """

    id: str
    what: str
    why: str
    commands: tuple[Command, ...] = ()
    by_hand: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()
    download: int | None = None
    minutes: int | None = None
    back: str = ""
    check: str = ""

    def as_json(self) -> dict[str, Any]:
        """Give the keys and values of one entry of ``steps`` in `plan --json`."""
        return {
            "id": self.id,
            "what": self.what,
            "why": self.why,
            "commands": [command.as_json() for command in self.commands],
            "by_hand": list(self.by_hand),
            "changes": [asdict(change) for change in self.changes],
            "download": self.download,
            "minutes": self.minutes,
            "back": self.back,
            "check": self.check,
        }


@dataclass(frozen=True, slots=True)
class Conflict:
    """An installed package whose requirements the plan would break."""

    package: str
    #: As its metadata writes it: ``"torch<2.9,>=2.4"``.
    requirement: str
    #: What the plan installs: ``"torch 2.11.0"``.
    planned: str


@dataclass(frozen=True, slots=True)
class Unsolved:
    """What the steps do not mend.

    Attributes:
        id: kebab-case, stable between releases.
        what: in one sentence that a beginner understands.
        why: how that is known.
        next: what a person can do about it.

    """

    id: str
    what: str
    why: str
    next: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What leads from the environment as it is to the goals.

    Attributes:
        outcome: whether there is something to do, and whether it can be done.
        summary: the same in one sentence that a beginner understands.
        steps: in the order in which they have to be done.
        conflicts: installed packages whose requirements the steps would break; nothing is applied while there are any.
        unsolved: what remains, the most important first.
        facts_of: the day on which the facts about indexes and versions were gathered, ``"2026-11-22"``.

    """

    goals: tuple[Goal, ...]
    outcome: Outcome
    summary: str
    facts_of: str
    steps: tuple[Step, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    unsolved: tuple[Unsolved, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Give what `plan --json` prints."""
        return {
            "goals": list(map(str, self.goals)),
            "outcome": self.outcome,
            "summary": self.summary,
            "facts_of": self.facts_of,
            "steps": [step.as_json() for step in self.steps],
            "conflicts": [asdict(conflict) for conflict in self.conflicts],
            "unsolved": [asdict(each) for each in self.unsolved],
        }
