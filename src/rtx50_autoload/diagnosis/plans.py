"""What mends an error of each category, on the machine in question."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .diagnosis import FixStep
    from .situation import Situation

__all__ = ["plan"]


def plan(
    category: str, situation: Situation, values: Mapping[str, str], culprit: str | None = None
) -> tuple[FixStep, ...]:
    """Give the steps that mend an error, first step first.

    Args:
        category: as in `Diagnosis`.
        situation: what is known of the machine.
        values: what the signature took from the text, by name: ``library``, ``arch`` (``"120"``), ``file``,
            ``symbol``, ``module``, ``package``, ``required``, ``limit`` and the like.
        culprit: the binary or package at fault, where that is known.

    Returns:
        nothing for the categories that abstain, and where nothing has to be done.

    """
    del category, situation, values, culprit
    return ()
