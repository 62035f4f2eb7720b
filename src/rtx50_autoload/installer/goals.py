"""What is wanted of a machine, from the names that a person or an assistant gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from packaging.utils import canonicalize_name

from rtx50_autoload.installer.plan import Goal

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["DEFAULT_GOALS", "goals_for"]

DEFAULT_GOALS: Final = (Goal("run", "torch"),)


def goals_for(run: Iterable[str], build: Iterable[str]) -> tuple[Goal, ...]:
    """Give a goal for each package; torch alone where there are none.

    Args:
        run: those that have to run on the GPU.
        build: those that have to be built from source for it.

    """
    wanted = (
        *(Goal("run", canonicalize_name(name)) for name in run),
        *(Goal("build", canonicalize_name(name)) for name in build),
    )
    return tuple(dict.fromkeys(wanted)) or DEFAULT_GOALS
