"""Which torch, and which of its family, would serve the GPUs of a machine with the smallest change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rtx50_autoload.evidence.environment.topic import BLACKWELL
from rtx50_autoload.evidence.environment.torch_builds import driver_branch
from rtx50_autoload.installer import reasons, remarks
from rtx50_autoload.installer.candidates import Candidate, Candidates
from rtx50_autoload.installer.facts import platform_of
from rtx50_autoload.installer.family import FAMILY, Pin
from rtx50_autoload.installer.hindrances import (
    NoChoice,
    NoChoiceKind,
    driver_too_old,
    left_alone,
    no_place_for_cuda,
    nothing_serves,
)
from rtx50_autoload.installer.remarks import Remark

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtx50_autoload.diagnosis.situation import Gpu
    from rtx50_autoload.installer.facts import Facts
    from rtx50_autoload.installer.machine import Machine
    from rtx50_autoload.installer.plan import Conflict, Goal

__all__ = ["Choice", "NoChoice", "NoChoiceKind", "Remark", "choose"]


@dataclass(frozen=True, slots=True)
class Choice:
    """A torch and its family.

    Attributes:
        torch: the release, ``"2.8.0"``.
        variant: what it is built for, ``"cu128"``.
        index: the one address that torch and what is built with it come from.
        pins: what has to be installed or exchanged, torch first; empty where all is as it should be.
        serves: the GPUs that it has code for and that the driver carries.
        leaves: NVIDIA's GPUs that it does not serve.
        driver: the oldest driver branch on which it serves them.
        reasons: why this variant, this release and these GPUs, each in one sentence.
        download: bytes that torch and all that it requires would be fetched with, about; None where it is not known.
        installed: bytes that they take on the disk, about; None where it is not known.
        builds: what has to be built from source for this torch.
        left_out: what was asked for or is installed, and has no build for this torch, or none that is known.
        cautions: what is known to go wrong with what is installed or pinned, each in one sentence.
        conflicts: installed packages whose requirements the pins break.

    """

    torch: str
    variant: str
    index: str
    pins: tuple[Pin, ...]
    serves: tuple[Gpu, ...]
    leaves: tuple[Gpu, ...]
    driver: int
    reasons: tuple[str, ...]
    download: int | None = None
    installed: int | None = None
    builds: tuple[Remark, ...] = ()
    left_out: tuple[Remark, ...] = ()
    cautions: tuple[str, ...] = ()
    conflicts: tuple[Conflict, ...] = ()


def choose(machine: Machine, goals: Sequence[Goal], facts: Facts) -> Choice | NoChoice:
    """Choose the torch that serves the GPUs of a machine with the smallest change.

    What is installed stays where it serves. Otherwise the release stays where it exists in a variant that serves, and
    where it does not, the newest is taken that breaks the fewest requirements of what is installed.

    Args:
        machine: as it is; a driver that is None is taken for one that will be installed new.
        goals: what has to work.
        facts: what is known of releases.

    """
    platform = platform_of(machine)
    gpus = tuple(gpu for gpu in machine.gpus if gpu.capability and gpu.vendor in ("nvidia", None))
    if platform is None or not gpus:
        return no_place_for_cuda(machine, platform)
    asked = {goal.package for goal in goals if goal.kind == "run"}
    if "sageattention" in asked and platform == "windows-x86_64":
        asked.add("triton-windows")
    wanted = tuple(name for name in FAMILY if name in asked or name in machine.packages)
    return _best(Candidates(machine, facts, platform, gpus, wanted), goals)


def _best(candidates: Candidates, goals: Sequence[Goal]) -> Choice | NoChoice:
    machine, gpus = candidates.machine, candidates.gpus
    branch = driver_branch(machine.driver)
    installed = candidates.installed(branch)
    here = [*filter(None, [installed]), *candidates.offered(branch)]
    best = max((_reach(each, gpus) for each in here), default=None)
    later = candidates.installed(None)
    if candidates.is_left_alone:
        if installed and best and _reach(installed, gpus).newest == best.newest:
            return _choice(installed, candidates, goals, branch)
        return driver_too_old(candidates, [later]) if later and not installed else left_alone(candidates)
    elsewhere = [*filter(None, [later]), *candidates.offered(None)]
    possible = max((_reach(each, gpus) for each in elsewhere), default=None)
    if possible is None:
        return nothing_serves(candidates)
    if best is None or possible.newest > best.newest:
        return driver_too_old(candidates, [each for each in elsewhere if _reach(each, gpus) == possible])
    # Serving an older GPU beside is not worth breaking what is installed.
    reaches = sorted({reach for each in here if (reach := _reach(each, gpus)).newest == best.newest}, reverse=True)
    cheapest = [
        min((each for each in here if _reach(each, gpus) == reach), key=lambda each: _cost(each, candidates, branch))
        for reach in reaches
    ]
    chosen = next((each for each in cheapest if not each.conflicts), cheapest[0])
    return _choice(chosen, candidates, goals, branch)


# Which is the best


class _Reach(tuple[bool, int, int]):
    """How many GPUs are served: all of them, else as many of the newest as can be, else as many as can be."""

    __slots__ = ()

    @property
    def newest(self) -> int:
        return self[1]


def _reach(candidate: Candidate, gpus: Sequence[Gpu]) -> _Reach:
    newest = sum(gpu.capability is not None and gpu.capability[0] >= BLACKWELL for gpu in candidate.serves)
    return _Reach((len(candidate.serves) == len(gpus), newest, len(candidate.serves)))


def _cost(candidate: Candidate, candidates: Candidates, branch: int | None) -> tuple[int, ...]:
    """Rate a change: requirements that it breaks, what gets lost, the release, and the variant, in this order."""
    setting, index, torch = candidate.setting, candidate.setting.index, candidates.torch
    known = [release.version for release in candidates.facts.releases]
    return (
        len(candidate.conflicts),
        len(candidate.missing),
        torch is None or torch.version != setting.torch,
        torch is None or torch.version.split(".")[:2] != setting.line,
        known.index(setting.torch) if setting.torch in known else -1,
        index.variant != candidates.variant,
        # A driver carries its own CUDA rather than by minor version compatibility.
        branch is not None and index.own_driver > branch,
        index.offered != "always",
        -index.cuda[0],
        -index.cuda[1],
    )


def _choice(chosen: Candidate, candidates: Candidates, goals: Sequence[Goal], branch: int | None) -> Choice:
    setting = chosen.setting
    leaves = tuple(gpu for gpu in candidates.gpus if gpu not in chosen.serves)
    size = setting.release and candidates.facts.size(setting.release, setting.index, setting.platform)
    return Choice(
        torch=setting.torch,
        variant=setting.index.variant,
        index=setting.index.url,
        pins=chosen.pins,
        serves=chosen.serves,
        leaves=leaves,
        driver=chosen.driver,
        reasons=tuple(reasons.of(chosen, candidates, leaves, branch)),
        download=size[0] if size else None,
        installed=size[1] if size else None,
        builds=tuple(remarks.builds(chosen, goals)),
        left_out=tuple(remarks.left_out(chosen, goals)),
        cautions=tuple(remarks.cautions(chosen)),
        conflicts=chosen.conflicts,
    )
