"""Whether a fix has mended what it was to mend: looked at in new processes, since the packages of this one are old."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rtx50_autoload.own_python import own_command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .environment import Environment
    from .plan import Goal

__all__ = ["Examination", "Verification", "examine", "verify"]

#: Findings of doctor by their ids; None where doctor could not be asked.
Examination = dict[str, dict[str, str]]


@dataclass(frozen=True, slots=True)
class Verification:
    """What doctor says before and after, and whether the goals are reached.

    Attributes:
        solved: what is no longer found, each in the words of doctor.
        remaining: what is found as before.
        new: errors and warnings that were not there.
        left: why the goals are not reached, by a new plan; None where they are.

    """

    solved: tuple[str, ...]
    remaining: tuple[str, ...]
    new: tuple[str, ...]
    left: str | None

    @property
    def is_mended(self) -> bool:
        """Whether the goals are reached and nothing new is wrong."""
        return self.left is None and not self.new

    def as_json(self) -> dict[str, Any]:
        """Give the keys and values of ``verification`` in `fix --apply --json`."""
        return {
            "mended": self.is_mended,
            "solved": list(self.solved),
            "remaining": list(self.remaining),
            "new": list(self.new),
            "left": self.left,
        }


def examine(environment: Environment, *, probe: bool) -> Examination | None:
    """Ask doctor.

    Args:
        environment: whose libraries are examined.
        probe: also compute something on the GPU.

    """
    document = _ask(environment, ["doctor", "--json", *(["--probe"] if probe else [])])
    return None if document is None else {finding["id"]: finding for finding in document["findings"]}


def verify(environment: Environment, before: Examination | None, goals: Sequence[Goal], *, probe: bool) -> Verification:
    """Ask doctor again, and for a new plan with the same goals."""
    after = examine(environment, probe=probe)
    if after is None:
        return Verification((), (), (), "doctor cannot be run any more: `rtx50-autoload doctor` says why")
    known = before or {}
    matters = {id_: finding for id_, finding in after.items() if finding["severity"] != "info"}
    return Verification(
        tuple(each["what"] for id_, each in known.items() if id_ not in after and each["severity"] != "info"),
        tuple(each["what"] for id_, each in matters.items() if id_ in known),
        tuple(each["what"] for id_, each in matters.items() if id_ not in known and before is not None),
        _left(environment, goals),
    )


def _left(environment: Environment, goals: Sequence[Goal]) -> str | None:
    if not goals:
        return None
    plan = _ask(environment, ["plan", "--json", *(word for goal in goals for word in (f"--{goal.kind}", goal.package))])
    if plan is None:
        return "no new plan can be made: `rtx50-autoload plan` says why"
    return None if plan["outcome"] == "nothing" else plan["summary"]


def _ask(environment: Environment, arguments: list[str]) -> dict[str, Any] | None:
    done = subprocess.run(  # noqa: S603 - this program
        own_command(*arguments, python=environment.executable),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    try:
        document: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        return None
    return document
