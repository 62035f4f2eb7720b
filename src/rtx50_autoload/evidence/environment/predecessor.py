"""The predecessor, rtx50-compat: what it does to a process that imports it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rtx50_autoload.evidence.environment import advice
from rtx50_autoload.evidence.environment.topic import Examined, Given
from rtx50_autoload.evidence.finding import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["examine"]

_NAME = "rtx50-compat"


def examine(given: Given) -> Examined:
    """Look whether it is installed."""
    return Examined(tuple(_findings(given)))


def _findings(given: Given) -> Iterator[Finding]:
    version = given.stack.version(_NAME)
    if version is not None:
        yield Finding(
            id="rtx50-compat-installed",
            severity=Severity.WARNING,
            what=f"{_NAME} {version} is installed: a program that imports it runs with one GPU, tells everybody that "
            "an RTX 50 is a 9.0, and hides torch's warnings.",
            # Read and run, without a GPU; pip finds no other version.
            why="Its import (3.0.2) sets CUDA_VISIBLE_DEVICES=0, which hides all other GPUs; TORCH_CUDA_ARCH_LIST=9.0, "
            "so that what is built then cannot run on an RTX 50; and CUDA_LAUNCH_BLOCKING=0. It silences every warning "
            "that names CUDA or sm_120, replaces builtins.__import__, and has get_device_capability answer 9.0 to "
            "everybody, code generators among them, and for a GPU that is not there.",
            next=f"{advice.pip_uninstall(given.place, _NAME)}, after which `import rtx50_compat` still works.",
        )
