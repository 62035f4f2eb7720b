"""What the end of a program means: its answer, or which of the known failures."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from . import assistant_errors
from .answers import READERS, Output, clean
from .assistant_errors import (
    AssistantError,
    CrashedError,
    EmptyAnswerError,
    GarbledAnswerError,
    TimedOutError,
    UnreachableError,
)
from .assistants import load_knowledge
from .child import LONGEST_OUTPUT

if TYPE_CHECKING:
    from pathlib import Path

    from .assistants import Program
    from .child import Outcome

__all__ = ["LONGEST_COMPLAINT", "understand"]

#: How much of an assistant's complaint is shown, in characters.
LONGEST_COMPLAINT: Final = 2000


def understand(program: Program, outcome: Outcome, answer: Path, prompt: str, time_limit: float) -> str:
    """Give the answer.

    Args:
        program: the assistant.
        outcome: how its process ended.
        answer: the file that it may have written its answer to.
        prompt: what it was asked, which some repeat.
        time_limit: how long it was given, in seconds.

    Raises:
        AssistantError: there is none.

    """
    title = program.title
    file = ""
    if answer.is_file():
        with answer.open(encoding="utf-8", errors="replace") as stream:
            file = stream.read(LONGEST_OUTPUT)
    reading = READERS[program.answer](Output(outcome.stdout, outcome.stderr, file))
    complaint = _complaint(reading.complaint, prompt)
    if outcome.end == "output" or len(file) >= LONGEST_OUTPUT:
        raise GarbledAnswerError(f"The answer of {title} has no end.", "Try again, or ask another assistant.")
    if outcome.end == "itself" and outcome.code == 0 and reading.text is not None:
        text = clean(reading.text).strip()
        if text:
            return text
        raise EmptyAnswerError(f"{title} gave an empty answer.", "Try again, or ask another assistant.", complaint)
    raise _known_failure(program, complaint) or _other_failure(program, outcome, complaint, time_limit)


def _known_failure(program: Program, complaint: str) -> AssistantError | None:
    for failure in load_knowledge().failures:
        if any(re.search(text, complaint, re.IGNORECASE) for text in failure.texts):
            error: type[AssistantError] = getattr(assistant_errors, failure.error)
            words = {"title": program.title, "login": program.login, "update": program.update}
            return error(failure.reason.format(**words), failure.next.format(**words), complaint)
    return None


def _other_failure(program: Program, outcome: Outcome, complaint: str, time_limit: float) -> AssistantError:
    title = program.title
    if outcome.end == "hopeless":
        return UnreachableError(
            f"{title} tries again and again, and gets no answer.",
            "Look at the network of this machine (a proxy?), or ask a model on this machine.",
            complaint,
        )
    if outcome.end == "time":
        return TimedOutError(
            f"{title} gave no answer within {time_limit:g} seconds.",
            "Try again, with more time; `rtx50-autoload assistants` names others.",
            complaint,
        )
    if outcome.code == 0:
        return GarbledAnswerError(
            f"What {title} answered is not in the form that it was asked for.", program.update, complaint
        )
    how = f"signal {-outcome.code}" if outcome.code < 0 else f"exit code {outcome.code}"
    return CrashedError(
        f"{title} broke off ({how}).",
        f"Run `{program.command}` in a terminal and see whether it works there.",
        complaint,
    )


def _complaint(text: str, prompt: str) -> str:
    """Give the beginning and the end of what was complained about, without the question, which some repeat."""
    asked = {line.strip() for line in prompt.splitlines()}
    lines = [line for line in clean(text).splitlines() if line.strip() and line.strip() not in asked]
    complaint = "\n".join(lines)
    half = LONGEST_COMPLAINT // 2
    return complaint if len(complaint) <= LONGEST_COMPLAINT else f"{complaint[:half]}\n[...]\n{complaint[-half:]}"
