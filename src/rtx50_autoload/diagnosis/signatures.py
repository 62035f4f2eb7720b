"""What errors look like and what they mean, read from `signatures.toml`; the file's head says what its keys mean."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from rtx50_autoload.diagnosis.conditions import Condition, parse_condition
from rtx50_autoload.knowledge import read_tables

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rtx50_autoload.diagnosis.conditions import Value

__all__ = ["EVIDENCE", "RANKS", "Outcome", "Signature", "load_signatures"]

#: How far a statement explains the others of one text; the highest decides.
RANKS: Final[Mapping[str, int]] = {"gate": 5, "root": 4, "error": 3, "symptom": 2, "notice": 1}

#: What a signature may ask for where it is missing, and how to get it.
EVIDENCE: Final[Mapping[str, str]] = {
    "device": "The GPU and its compute capability: nvidia-smi --query-gpu=name,compute_cap --format=csv",
    "torch": "The version of torch and what it was built for: python -m pip show torch, or the line "
    '`python -c "import torch; print(torch.__version__)"`',
    "driver": "The version of the NVIDIA driver: nvidia-smi",
    "toolkit": "The version of the CUDA compiler: nvcc --version",
    "system": "The operating system, and whether it is a container or WSL",
    "python": "The version of Python that runs the program: python --version",
    "traceback": "The whole traceback: the last line inside site-packages names the library",
    "log": "The first error of the build, which stands above this line: run it again with -v and keep the whole log",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a text means under certain conditions."""

    category: str
    cause: str
    confidence: float
    rank: int
    when: tuple[Condition, ...]
    asks: tuple[str, ...]

    def holds(self, values: Mapping[str, Value]) -> bool:
        """Tell whether all its conditions hold."""
        return all(condition.holds(values) for condition in self.when)


@dataclass(frozen=True, slots=True)
class Signature:
    """One statement that programs print."""

    id: str
    patterns: tuple[re.Pattern[str], ...]
    unless: tuple[re.Pattern[str], ...]
    outcomes: tuple[Outcome, ...]
    sources: tuple[str, ...]
    #: Empty where no package is at fault, None where the text tells.
    culprit: str | None


@cache
def load_signatures() -> tuple[Signature, ...]:
    """Read `signatures.toml`.

    Raises:
        KeyError: a key of the file is missing (the tests read the file, so a release's is sound).
        TypeError: a key of the file is unknown.
        ValueError: a condition is none.

    """
    return tuple(_signature(**entry) for entry in read_tables(__package__, "signatures.toml")["signature"])


def _signature(  # noqa: PLR0913 - the keys of the file
    *,
    id: str,  # noqa: A002 - the file's word
    patterns: list[str],
    outcome: list[dict[str, Any]],
    sources: list[str],
    rank: str = "error",
    unless: tuple[str, ...] = (),
    culprit: str | None = None,
) -> Signature:
    return Signature(
        id,
        tuple(map(re.compile, patterns)),
        tuple(map(re.compile, unless)),
        tuple(_outcome(**{"rank": rank, **entry}) for entry in outcome),
        tuple(sources),
        culprit,
    )


def _outcome(  # noqa: PLR0913 - the keys of the file
    *, category: str, cause: str, confidence: float, rank: str, when: tuple[str, ...] = (), asks: tuple[str, ...] = ()
) -> Outcome:
    return Outcome(category, cause, confidence, RANKS[rank], tuple(map(parse_condition, when)), tuple(asks))
