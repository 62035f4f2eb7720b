"""The answer to an error, in a form that a person and a program can act on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

__all__ = ["ABSTENTIONS", "Diagnosis", "FixStep"]

#: Categories that say that nothing can be said: not a fault of this kind, and too little to tell.
ABSTENTIONS: Final = frozenset({"unrelated", "other"})


@dataclass(frozen=True, slots=True)
class FixStep:
    """One step of a fix plan.

    Attributes:
        step: what to do, in one sentence that a beginner understands.
        why: why it is needed.
        commands: what to type, in this order; none where there is nothing to type.
        changes: what it changes on the machine.
        check: how to see that it has worked: a command, and what it then says.

    """

    step: str
    why: str
    commands: tuple[str, ...]
    changes: str
    check: str

    def as_json(self) -> dict[str, Any]:
        """Give the keys and values of one entry of ``fix`` in `explain --json`."""
        return {
            "step": self.step,
            "why": self.why,
            "commands": list(self.commands),
            "changes": self.changes,
            "check": self.check,
        }


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What an error means.

    Attributes:
        category: one of `docs/categories.md`; ``unrelated`` and ``other`` abstain.
        confidence: from 0 to 1: how far the text and the evidence decide between the categories.
        cause: what is at fault, in one or two sentences that a beginner understands.
        evidence: what the decision rests on, each a sentence: lines of the text, facts of the machine.
        missing_evidence: what would decide it or make it more certain, each with the way to get it.
        culprit: the binary or package at fault, where that is known.
        fix: the plan, first step first; empty where there is nothing to do or nothing is known.
        signature: the id of the signature that matched, None where none did.
        headline: the line of the text that decided, without prefixes; what identifies the error.

    """

    category: str
    confidence: float
    cause: str
    evidence: tuple[str, ...] = ()
    missing_evidence: tuple[str, ...] = ()
    culprit: str | None = None
    fix: tuple[FixStep, ...] = ()
    signature: str | None = None
    headline: str = ""

    @property
    def abstains(self) -> bool:
        """Whether this says only that nothing can be said."""
        return self.category in ABSTENTIONS

    def as_json(self) -> dict[str, Any]:
        """Give the keys and values of `explain --json`."""
        return {
            "category": self.category,
            "confidence": self.confidence,
            "cause": self.cause,
            "evidence": list(self.evidence),
            "missing_evidence": list(self.missing_evidence),
            "culprit": self.culprit,
            "fix": [step.as_json() for step in self.fix],
            "signature": self.signature,
            "headline": self.headline,
        }
