"""What is said of issues that no step of a plan mends: what is known of such errors, and an assistant's explanation."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rtx50_autoload import settings as settings_module
from rtx50_autoload.diagnosis import classify, this_machine
from rtx50_autoload.diagnosis.diagnosis import FixStep
from rtx50_autoload.errors import RTX50Error
from rtx50_autoload.installer.check_text import typed
from rtx50_autoload.installer.check_words import besides
from rtx50_autoload.troubleshooter.answer_text import answer_lines
from rtx50_autoload.troubleshooter.consult import Case
from rtx50_autoload.troubleshooter.conversation import converse
from rtx50_autoload.troubleshooter.offline import offline_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["ask", "explain_known"]


def explain_known(issues: Sequence[str]) -> list[str]:
    """Say what texts mean that are errors which are known; nothing where they are none."""
    diagnosis = classify("\n".join(issues), this_machine.look())
    return [] if diagnosis.abstains else offline_text(diagnosis).splitlines()


def ask(issues: Sequence[str], document: Mapping[str, Any]) -> tuple[bool, list[str]]:
    """Put issues and the plan to the person's assistants, if the settings and the person want it.

    Args:
        issues: what the plan does not mend.
        document: what the check has found.

    Returns:
        whether there is an answer; its lines, or why there is none.

    """
    reasons = {each["what"]: each["why"] for each in besides(document)}
    text = "\n".join(f"{issue} {reasons.get(issue, '')}".rstrip() for issue in issues)
    situation = this_machine.look()
    diagnosis = classify(text, situation)
    planned = tuple(_as_fix(step, document["system"]) for step in document["plan"]["steps"])
    case = Case(text, replace(diagnosis, fix=planned + diagnosis.fix), situation)
    try:
        outcome = converse(case, settings_module.load(), "command")
    except (RTX50Error, OSError) as fault:
        return False, [f"No assistant was asked: {fault}"]
    if outcome.consultation is None:
        return False, [outcome.reason]
    return True, list(answer_lines(outcome.consultation))


def _as_fix(step: Mapping[str, Any], system: str) -> FixStep:
    commands = [line for command in step["commands"] for line in typed(command, system)]
    return FixStep(step["what"], step["why"], (*commands, *step["by_hand"]), "", step["check"])
