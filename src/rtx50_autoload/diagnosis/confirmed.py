"""A diagnosis beside what the installed binaries of the package at fault really hold."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from .culprit import confirm

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .diagnosis import Diagnosis
    from .situation import Situation

__all__ = ["confirmed"]

#: Categories that blame the GPU code of a binary.
_OF_BINARIES: Final = frozenset(
    {"arch_specific_kernel", "extension_kernel_not_built", "no_kernel_image", "no_kernel_image_old_gpu"}
)
_CERTAIN: Final = 0.97
_IN_DOUBT: Final = 0.5


def confirmed(diagnosis: Diagnosis, situation: Situation, path: Sequence[str] | None = None) -> Diagnosis:
    """Name the binary that cannot run here, or say that those of the package can.

    Reads the binaries of one package, and lists distributions with `importlib_metadata`, which changes how a process
    imports: for a process of our own.

    Args:
        diagnosis: of an error of this machine.
        situation: this machine's.
        path: where to look for distributions, by default `sys.path`.

    """
    if diagnosis.category not in _OF_BINARIES or diagnosis.culprit is None:
        return diagnosis
    found = confirm(diagnosis.culprit, situation, path)
    if found is None:
        return diagnosis
    evidence = (*diagnosis.evidence, found.sentence)
    if found.confirmed:
        confidence = max(diagnosis.confidence, _CERTAIN)
        return replace(diagnosis, culprit=found.culprit, confidence=confidence, evidence=evidence)
    if found.confirmed is None:
        return replace(diagnosis, evidence=evidence)
    # CUDA reports such an error late: the package that was running then need not be the one that failed.
    confidence = min(diagnosis.confidence, _IN_DOUBT)
    return replace(diagnosis, culprit=None, confidence=confidence, evidence=evidence)
