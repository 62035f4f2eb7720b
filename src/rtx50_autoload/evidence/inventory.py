"""The installed libraries with GPU code, each with the verdict for every device."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from rtx50_autoload.capability import format_capability
from rtx50_autoload.evidence.assessment import assess
from rtx50_autoload.evidence.installed import installed_distributions, normalised
from rtx50_autoload.evidence.libraries import facts_about
from rtx50_autoload.evidence.scan import scan_file
from rtx50_autoload.evidence.torch_build import compiled_extensions, torch_build
from rtx50_autoload.evidence.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rtx50_autoload.evidence.assessment import Assessment
    from rtx50_autoload.evidence.imagecache import ImageCache
    from rtx50_autoload.evidence.installed import Installed, Origin
    from rtx50_autoload.evidence.scan import ScanResult
    from rtx50_autoload.evidence.subject import Subject
    from rtx50_autoload.evidence.torch_build import TorchBuild

__all__ = ["Found", "Inventory", "Library", "Reader", "take_inventory"]

#: A library, the name of one of its binaries, and the file.
Found: TypeAlias = "tuple[Installed, str, Path]"

#: Goes through the binaries while they are read; a command shows its progress with it.
Reader: TypeAlias = Callable[[Iterable[Found]], Iterable[Found]]

_WORST_FIRST: Final = (
    Verdict.IMPOSSIBLE,
    Verdict.UNREADABLE,
    Verdict.NO_GPU_CODE,
    Verdict.PARTIAL,
    Verdict.UNKNOWN,
    Verdict.JIT,
    Verdict.NATIVE,
)


@dataclass(frozen=True, slots=True)
class Library:
    """One installed distribution or compiled extension, judged for every device."""

    name: str
    version: str | None
    origin: Origin
    #: In the order of the subjects; never empty.
    assessments: tuple[Assessment, ...]
    #: Why nothing here uses it; None where something may.
    idle: str | None = None

    def __str__(self) -> str:
        return self.name if self.version is None else f"{self.name} {self.version}"

    @property
    def worst(self) -> Assessment:
        """The assessment for the device that can do least with it."""
        return min(self.assessments, key=lambda assessment: _WORST_FIRST.index(assessment.judgement.verdict))

    def as_json(self) -> dict[str, Any]:
        """Return the library as ``doctor --json`` prints it; verdict, reason and binaries are those of `worst`."""
        worst = self.worst
        return {
            "name": self.name,
            "version": self.version,
            "origin": self.origin,
            "verdict": worst.judgement.verdict.value,
            "reason": worst.judgement.reason,
            "idle": self.idle,
            "verdicts": {
                format_capability(assessment.subject.target.capability): assessment.judgement.verdict.value
                for assessment in self.assessments
            },
            "judged_for": format_capability(worst.subject.target.capability),
            "binaries": [binary.as_json() for binary in worst.binaries],
        }


@dataclass(frozen=True, slots=True)
class Inventory:
    """What is installed."""

    #: Those with GPU code and those that ought to have some; the worst first.
    libraries: tuple[Library, ...]
    #: How many distributions have nothing to do with GPUs.
    others: int
    torch: TorchBuild | None


def take_inventory(
    subjects: Sequence[Subject],
    cache: ImageCache | None = None,
    reader: Reader = iter,
    path: Sequence[str] | None = None,
) -> Inventory:
    """Judge all that is installed.

    Args:
        subjects: the devices to judge for; at least one.
        cache: where to look first; it is saved.
        reader: goes through the binaries while they are read.
        path: where to look for distributions, by default `sys.path`.

    """
    installed = list(installed_distributions(path))
    torch = next((torch_build(one) for one in installed if _is_torch(one.name)), None)
    if torch is not None:
        installed += compiled_extensions(torch)
    results: dict[Installed, dict[str, ScanResult]] = {one: {} for one in installed}
    try:
        for one, name, file in reader((each, *binary) for each in installed for binary in each.binaries):
            for result in scan_file(file, subjects[0].target, cache, named=False):
                if result.judgement.verdict is not Verdict.NO_GPU_CODE:
                    results[one][name] = result
    finally:
        if cache is not None:
            cache.save()
    libraries = [
        Library(
            one.name,
            one.version,
            one.origin,
            tuple(assess(one, found, subject, torch) for subject in subjects),
            _why_idle(one, torch),
        )
        for one, found in results.items()
        if found or facts_about(one.name).needs_gpu_code
    ]
    libraries.sort(key=_worst_first)
    return Inventory(tuple(libraries), len(installed) - len(libraries), torch)


def _worst_first(library: Library) -> tuple[int, bool, str]:
    """Sort torch before the libraries that were built against it."""
    return _WORST_FIRST.index(library.worst.judgement.verdict), not _is_torch(library.name), normalised(library.name)


def _is_torch(distribution: str) -> bool:
    return normalised(distribution) == "torch"


def _why_idle(installed: Installed, torch: TorchBuild | None) -> str | None:
    major = facts_about(installed.name).cuda_major(installed.name)
    if major is None or torch is None or torch.cuda is None or torch.cuda[0] == major:
        return None
    return f"for CUDA {major}, and torch here is for CUDA {torch.cuda[0]}"
