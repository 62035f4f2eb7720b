"""A diagnosis as plain text: what is known without asking anybody."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rtx50_autoload.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rtx50_autoload.diagnosis.diagnosis import Diagnosis, FixStep

__all__ = ["offline_text", "plan_lines"]


def offline_text(diagnosis: Diagnosis) -> str:
    """Write what an error means and what mends it."""
    lines = [printable(diagnosis.cause)]
    if diagnosis.culprit is not None:
        lines.append(f"At fault: {printable(diagnosis.culprit)}")
    for title, entries in (("Known from:", diagnosis.evidence), ("Not known:", diagnosis.missing_evidence)):
        if entries:
            lines += ["", title, *(f"- {printable(entry)}" for entry in entries)]
    if diagnosis.fix:
        lines += ["", "What to do:", *plan_lines(diagnosis.fix)]
    return "\n".join(lines)


def plan_lines(steps: Sequence[FixStep]) -> Iterator[str]:
    """Write a plan, each step with its reason, its commands, and how to see that it has worked."""
    for number, step in enumerate(steps, start=1):
        yield f"{number}. {printable(step.step)} WHY: {printable(step.why)}"
        for command in step.commands:
            yield from (f"   {line}" for line in printable(command).splitlines())
        if step.check:
            yield f"   Check: {printable(step.check)}"
