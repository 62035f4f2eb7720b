"""What a device can do with a library: by the binaries that it really uses, and by what is known of them.

A library is judged as its binaries are, with three corrections that `libraries.toml` holds: a binary that is known not
to work counts as one that does not load, a binary that the library leaves alone on a device does not count, and of
several binaries for CUDA versions the one counts that is loaded beside the installed torch.
"""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rtx50_autoload.evidence.libraries import facts_about
from rtx50_autoload.evidence.verdict import FINDINGS, Judgement, Outcome, Verdict, combine

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rtx50_autoload.evidence.installed import Installed
    from rtx50_autoload.evidence.libraries import Choice, CudaVersion, LibraryFacts
    from rtx50_autoload.evidence.scan import ScanResult
    from rtx50_autoload.evidence.subject import Subject
    from rtx50_autoload.evidence.torch_build import TorchBuild

__all__ = ["Assessment", "Binary", "assess"]


@dataclass(frozen=True, slots=True)
class Binary:
    """One shared library of a library, judged for one device."""

    #: Its path below the folder that packages are imported from.
    name: str
    result: ScanResult
    #: Why the library's verdict does not rest on it; None where it does.
    unused: str | None = None

    @property
    def verdict(self) -> Verdict:
        """The verdict on it alone."""
        return self.result.judgement.verdict

    @property
    def file_name(self) -> str:
        """Its name without the folders."""
        return self.name.rpartition("/")[2]

    def as_json(self) -> dict[str, Any]:
        """Return the keys of ``scan --json``, its name, the reason of its verdict and of its not being used."""
        reason = self.result.judgement.reason
        return {"name": self.name, **self.result.as_json(), "reason": reason, "unused": self.unused}


@dataclass(frozen=True, slots=True)
class Assessment:
    """What one device can do with a library."""

    subject: Subject
    #: On the library as a whole.
    judgement: Judgement
    #: All binaries with GPU code, and those that cannot be read.
    binaries: tuple[Binary, ...]


def assess(
    installed: Installed, results: Mapping[str, ScanResult], subject: Subject, torch: TorchBuild | None
) -> Assessment:
    """Judge a library for a device.

    Args:
        installed: the library.
        results: its binaries with GPU code, and those that cannot be read, by name.
        subject: the device.
        torch: the torch that it would be used with.

    """
    facts = facts_about(installed.name)
    binaries = [_correct(Binary(name, result), facts, installed.version, subject) for name, result in results.items()]
    if facts.judged_by is not None and any(facts.judged_by.search(binary.name) for binary in binaries):
        binaries = [
            binary if facts.judged_by.search(binary.name) else _not_used(binary, "the verdict rests on others")
            for binary in binaries
        ]
    choice = facts.choice_of(installed.version)
    candidates = {} if choice is None else choice.candidates(binary.name for binary in binaries if not binary.unused)
    if choice is None or not candidates:
        return Assessment(subject, _judge_used(binaries, subject), tuple(binaries))
    return _assess_chosen(binaries, choice, candidates, subject, torch)


def _not_used(binary: Binary, reason: str) -> Binary:
    return replace(binary, unused=binary.unused or reason)


def _correct(binary: Binary, facts: LibraryFacts, version: str | None, subject: Subject) -> Binary:
    """Judge a binary for a device, and let what is known of it overrule its images."""
    result = binary.result.judged_for(subject.target)
    device = subject.target.capability
    for fact in facts.known_bad:
        if result.judgement.verdict is not Verdict.UNREADABLE and fact.holds(version, binary.name, device):
            modules = {Outcome.MISSING: sum(result.judgement.modules.values())}
            result = replace(result, judgement=Judgement(Verdict.IMPOSSIBLE, fact.reason, modules))
    reasons = (fact.reason for fact in facts.unused if fact.holds(version, binary.name, device))
    return replace(binary, result=result, unused=next(reasons, None))


def _judge_used(binaries: Iterable[Binary], subject: Subject) -> Judgement:
    """Judge the used binaries as one; where only some of them fail, the reason names the first of those."""
    used = [binary for binary in binaries if not binary.unused]
    judgement = combine((binary.result.judgement for binary in used), subject.target)
    if judgement.verdict not in {Verdict.PARTIAL, Verdict.UNREADABLE} or len(used) == 1:
        return judgement
    failing = [
        binary for binary in used if binary.verdict in FINDINGS and not binary.result.judgement.is_for_other_gpus
    ]
    more = f" ({len(failing) - 1} more like it)" if len(failing) > 1 else ""
    return replace(judgement, reason=f"{failing[0].file_name}{more}: {failing[0].result.judgement.reason}")


def _assess_chosen(
    binaries: Sequence[Binary],
    choice: Choice,
    candidates: Mapping[str, CudaVersion],
    subject: Subject,
    torch: TorchBuild | None,
) -> Assessment:
    """Judge a library by the one binary that it loads for torch's CUDA version."""
    asked = os.environ.get(choice.variable, "")
    versions = set(candidates.values())
    if asked.isdecimal():
        by, wanted = f"{choice.variable}={asked}", (int(asked[:2]), int(asked[2:] or 0))
        picked = wanted if wanted in versions else None
    elif torch is not None and torch.cuda is not None:
        by, wanted = f"torch's CUDA {_dotted(torch.cuda)}", torch.cuda
        picked = choice.picks(versions, wanted)
    else:
        undecided = _judge_used((binary for binary in binaries if binary.name in candidates), subject)
        reason = f"it picks a library for torch's CUDA, and torch here has none: {_by_verdict(binaries, candidates)}"
        return Assessment(subject, replace(undecided, reason=reason), tuple(binaries))
    if picked is None:
        there = ", ".join(map(_dotted, sorted(versions)))
        judgement = Judgement(Verdict.IMPOSSIBLE, f"it has no library for {by}, only for {there}")
        return Assessment(subject, judgement, tuple(_not_used(binary, f"not loaded for {by}") for binary in binaries))
    judged = [
        binary if candidates.get(binary.name, picked) == picked else _not_used(binary, f"not loaded for {by}")
        for binary in binaries
    ]
    judgement = _judge_used(judged, subject)
    loaded = next(binary.file_name for binary in judged if candidates.get(binary.name) == picked)
    return Assessment(subject, replace(judgement, reason=f"{loaded} (for {by}): {judgement.reason}"), tuple(judged))


def _by_verdict(binaries: Iterable[Binary], candidates: Mapping[str, CudaVersion]) -> str:
    """Return for which CUDA versions which verdict holds: ``native for 12.8, 13.0, jit for 11.8``."""
    versions: defaultdict[Verdict, set[CudaVersion]] = defaultdict(set)
    for binary in binaries:
        if binary.name in candidates:
            versions[binary.verdict].add(candidates[binary.name])
    return ", ".join(
        f"{verdict.value} for {', '.join(map(_dotted, sorted(versions[verdict])))}"
        for verdict in Verdict
        if verdict in versions
    )


def _dotted(version: CudaVersion) -> str:
    return f"{version[0]}.{version[1]}"
