"""From the text of an error and what is known of the machine to a diagnosis."""

from __future__ import annotations

from .diagnosis import Diagnosis
from .situation import Situation

__all__ = ["classify"]


def classify(text: str, situation: Situation | None = None) -> Diagnosis:
    """Say what an error means; the same text and situation always give the same answer.

    Args:
        text: the error as a person or a program has it: a traceback, a log, one line.
        situation: what is known of the machine that it comes from; nothing where None.

    """
    del text, situation
    return Diagnosis("other", 0.0, "Nothing is known of this error yet.")
