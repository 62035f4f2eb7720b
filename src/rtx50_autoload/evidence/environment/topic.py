"""What each topic of the environment is given, and what it gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

from rtx50_autoload.evidence.environment.versions_file import in_use
from rtx50_autoload.knowledge import read_tables

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rtx50_autoload.evidence.devices import Device, Survey
    from rtx50_autoload.evidence.environment.place import Place
    from rtx50_autoload.evidence.environment.stack import Stack
    from rtx50_autoload.evidence.finding import Finding

__all__ = ["BLACKWELL", "CudaVersion", "Examined", "Given", "dotted", "knowledge", "parse_version"]

#: Version of CUDA, ``(12, 8)``.
CudaVersion: TypeAlias = tuple[int, int]

#: The major compute capability of the RTX 50 series (12.0) and of its relatives (12.1).
BLACKWELL = 12


@dataclass(frozen=True)
class Given:
    """What is known before any topic is examined."""

    survey: Survey
    place: Place
    stack: Stack

    @property
    def blackwell(self) -> tuple[Device, ...]:
        """The devices of the RTX 50 series and its relatives."""
        return tuple(device for device in self.survey.devices if device.capability[0] == BLACKWELL)


@dataclass(frozen=True)
class Examined:
    """What one topic found."""

    findings: tuple[Finding, ...]
    #: Versions, paths and numbers for reports; values that JSON knows.
    facts: Mapping[str, Any] = field(default_factory=dict)


@cache
def knowledge(name: str) -> dict[str, Any]:
    """Read one of the tables beside this module; of `versions`, the newer one that a user may have given us."""
    return dict(in_use().tables) if name == "versions" else read_tables(__package__, f"{name}.toml")


def parse_version(text: str) -> CudaVersion:
    """Read ``"12.8"`` as ``(12, 8)``; further parts are left out.

    Raises:
        ValueError: the text does not begin with two numbers.

    """
    major, minor, *_ = text.split(".")
    return int(major), int(minor)


def dotted(version: CudaVersion) -> str:
    """Write ``(12, 8)`` as ``"12.8"``."""
    return f"{version[0]}.{version[1]}"
