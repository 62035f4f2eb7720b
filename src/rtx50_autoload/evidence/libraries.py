"""What is known of libraries beyond their binaries, read from `libraries.toml`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from rtx50_autoload.capability import format_capability
from rtx50_autoload.evidence.installed import normalised
from rtx50_autoload.knowledge import read_tables, within

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rtx50_autoload.capability import Capability

__all__ = ["BinaryFact", "Choice", "CudaVersion", "LibraryFacts", "facts_about", "load_facts"]

CudaVersion: TypeAlias = tuple[int, int]

#: The generation of devices that the next steps are about: RTX 50.
_ADVISED_ON: Final = 12


@dataclass(frozen=True, slots=True)
class BinaryFact:
    """What is known of some binaries of a library on some devices."""

    binaries: re.Pattern[str]
    devices: str
    reason: str
    source: str
    versions: str = ""

    def holds(self, version: str | None, binary: str, device: Capability) -> bool:
        """Tell whether it speaks of a binary, by its path below site-packages, on a device."""
        return (
            self.binaries.search(binary) is not None
            and fnmatchcase(format_capability(device), self.devices)
            and within(version, self.versions) is True
        )


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several binaries is loaded: the one for torch's CUDA version."""

    binaries: re.Pattern[str]
    otherwise: Literal["nearest", "none"]
    variable: str
    source: str
    versions: str = ""

    def candidates(self, binaries: Iterable[str]) -> dict[str, CudaVersion]:
        """Return the binaries that it chooses among, and which CUDA version each is for."""
        matches = ((binary, self.binaries.search(binary)) for binary in binaries)
        return {binary: (int(match["major"]), int(match["minor"])) for binary, match in matches if match}

    def picks(self, candidates: Iterable[CudaVersion], wanted: CudaVersion) -> CudaVersion | None:
        """Return the CUDA version whose binary is loaded for torch's; None where none is."""
        same_major = sorted(version for version in candidates if version[0] == wanted[0])
        if wanted in same_major or self.otherwise == "none":
            return wanted if wanted in same_major else None
        lower = [version for version in same_major if version < wanted]
        return lower[-1] if lower else next(iter(same_major), None)


@dataclass(frozen=True, slots=True)
class LibraryFacts:
    """What is known of one library, or of several with similar names."""

    name: re.Pattern[str]
    source: str
    needs_gpu_code: bool = False
    judged_by: re.Pattern[str] | None = None
    next: str | None = None
    cuda: bool = False
    picks_modules: bool = False
    stand_in: bool = False
    choice: tuple[Choice, ...] = ()
    unused: tuple[BinaryFact, ...] = ()
    known_bad: tuple[BinaryFact, ...] = ()

    def next_step(self, device: Capability) -> str | None:
        """Return what to do where it does not run on a device; None where that is not known."""
        return self.next if device[0] == _ADVISED_ON else None

    def choice_of(self, version: str | None) -> Choice | None:
        """Return how this version of the library chooses among its binaries; None where it loads them all."""
        return next((choice for choice in self.choice if within(version, choice.versions)), None)

    def cuda_major(self, distribution: str) -> int | None:
        """Return the CUDA version that a distribution belongs to by its name; None where the name does not say."""
        match = self.name.fullmatch(normalised(distribution)) if self.cuda else None
        return None if match is None or match["cuda"] is None else int(match["cuda"])


_NOTHING_KNOWN: Final = LibraryFacts(re.compile(""), source="")


@cache
def load_facts() -> tuple[LibraryFacts, ...]:
    """Read `libraries.toml`.

    Raises:
        TypeError: a key of the file is unknown or missing (the tests read the file, so a release's is sound).

    """
    return tuple(_library(entry) for entry in read_tables(__package__, "libraries.toml")["library"])


def facts_about(distribution: str) -> LibraryFacts:
    """Return what is known of a distribution, which for most is nothing."""
    name = normalised(distribution)
    return next((facts for facts in load_facts() if facts.name.fullmatch(name)), _NOTHING_KNOWN)


_PATTERNS: Final = ("name", "judged_by", "binaries")


def _library(entry: dict[str, Any]) -> LibraryFacts:
    choices = tuple(Choice(**_compiled(row)) for row in entry.pop("choice", ()))
    unused, known_bad = (
        tuple(BinaryFact(**_compiled(row)) for row in entry.pop(key, ())) for key in ("unused", "known_bad")
    )
    return LibraryFacts(choice=choices, unused=unused, known_bad=known_bad, **_compiled(entry))


def _compiled(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: re.compile(value) if key in _PATTERNS else value for key, value in entry.items()}
