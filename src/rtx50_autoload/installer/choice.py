"""Which torch, and which of its family, would serve the GPUs of a machine with the smallest change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from rtx50_autoload.evidence.environment.topic import BLACKWELL
from rtx50_autoload.evidence.environment.torch_builds import driver_branch
from rtx50_autoload.installer import reasons
from rtx50_autoload.installer.candidates import Candidate, Candidates
from rtx50_autoload.installer.facts import platform_of
from rtx50_autoload.installer.family import FAMILY, Pin, fits
from rtx50_autoload.knowledge import within

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rtx50_autoload.diagnosis.situation import Gpu
    from rtx50_autoload.installer.facts import Facts, Platform
    from rtx50_autoload.installer.machine import Machine
    from rtx50_autoload.installer.plan import Conflict, Goal

__all__ = ["Choice", "NoChoice", "NoChoiceKind", "Remark", "choose"]

#: `gpu`: none is known. `vendor`: none of NVIDIA's. `system`: no CUDA there. `python`: no wheels for it. `driver`: it
#: is too old for every build. `capability`: no build has code for the GPU. `torch`: what is installed is left alone.
NoChoiceKind: TypeAlias = Literal["gpu", "vendor", "system", "python", "driver", "capability", "torch"]


@dataclass(frozen=True, slots=True)
class Remark:
    """A package that needs something else than a wheel, and why."""

    package: str
    #: The version that would be built, where one is known.
    version: str | None
    #: In one sentence.
    why: str


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


@dataclass(frozen=True, slots=True)
class NoChoice:
    """No torch serves the machine as it is.

    Attributes:
        why: in one sentence.
        next: what a person can do about it.
        driver: the oldest branch with which there would be a choice, where the driver is what hinders.
        pythons: those for which there would be wheels, where Python is what hinders; the newest last.

    """

    kind: NoChoiceKind
    why: str
    next: str
    driver: int | None = None
    pythons: tuple[str, ...] = ()


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
        return _hindrance(machine, platform)
    asked = {goal.package for goal in goals if goal.kind == "run"}
    if "sageattention" in asked and platform == "windows-x86_64":
        asked.add("triton-windows")
    wanted = tuple(name for name in FAMILY if name in asked or name in machine.packages)
    return _best(Candidates(machine, facts, platform, gpus, wanted), goals)


def _hindrance(machine: Machine, platform: Platform | None) -> NoChoice:
    others = [gpu for gpu in machine.gpus if gpu.vendor not in ("nvidia", None)]
    if others and len(others) == len(machine.gpus):
        return NoChoice(
            "vendor",
            f"{others[0].name or 'The GPU'} is not one of NVIDIA's, and CUDA runs on those only.",
            "Choose the build of torch for your GPU at https://pytorch.org/get-started.",
        )
    if platform is None:
        where = "macOS" if machine.system == "macos" else f"Windows on {machine.processor}"
        return NoChoice("system", f"There are no CUDA builds of torch for {where}.", "Use Linux or Windows on x86-64.")
    name = next((gpu.name for gpu in machine.gpus if gpu.name), None)
    why = f"The compute capability of {name} is not known." if name else "No GPU can be seen."
    return NoChoice("gpu", why, "Look with `rtx50-autoload doctor` why that is so.")


def _best(candidates: Candidates, goals: Sequence[Goal]) -> Choice | NoChoice:
    machine, gpus = candidates.machine, candidates.gpus
    branch = driver_branch(machine.driver)
    installed = candidates.installed(branch)
    here = [*filter(None, [installed]), *candidates.offered(branch)]
    best = max((_reach(each, gpus) for each in here), default=None)
    if candidates.is_left_alone:
        if installed and _reach(installed, gpus) == best:
            return _choice(installed, candidates, goals, branch)
        why = (
            f"torch {candidates.torch} is no release: it is left alone, though it is not known to serve all GPUs here."
        )
        return NoChoice("torch", why, "Uninstall it, and a release is chosen.")
    elsewhere = [*filter(None, [candidates.installed(None)]), *candidates.offered(None)]
    possible = max((_reach(each, gpus) for each in elsewhere), default=None)
    if possible is None:
        return _nothing_serves(candidates)
    if best is None or possible.newest > best.newest:
        return _driver_too_old(candidates, [each for each in elsewhere if _reach(each, gpus) == possible])
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


# The answers


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
        builds=tuple(_builds(chosen, goals)),
        left_out=tuple(_left_out(chosen, goals)),
        cautions=tuple(_cautions(chosen)),
        conflicts=chosen.conflicts,
    )


def _builds(chosen: Candidate, goals: Sequence[Goal]) -> Iterator[Remark]:
    setting = chosen.setting
    kinds = {goal.package: goal.kind for goal in goals}
    sources = {row["package"]: row["version"] for row in setting.facts.tables["source-build"]}
    for name in dict.fromkeys(["xformers", *sources, *kinds]):
        package = setting.machine.packages.get(name)
        if kinds.get(name) == "build":
            yield Remark(name, sources.get(name), f"{name} is to be built for {reasons.named(setting)}.")
        elif name in chosen.missing and name == "xformers":
            yield Remark(name, None, f"There is no wheel of xformers for {reasons.named(setting)} here.")
        elif name in sources and package and not fits(name, package, setting):
            yield Remark(name, sources[name], f"{name} {package} was not built for {reasons.named(setting)}.")
        elif name in sources and name in kinds and package is None:
            yield Remark(name, sources[name], f"PyPI has the source of {name} only.")


def _left_out(chosen: Candidate, goals: Sequence[Goal]) -> Iterator[Remark]:
    setting = chosen.setting
    for name in chosen.missing:
        if name != "xformers":
            why = f"No {name} is known for {reasons.named(setting)} and Python {setting.machine.python}."
            yield Remark(name, None, why)
    known = {"torch", *FAMILY, *(row["package"] for row in setting.facts.tables["source-build"])}
    for goal in goals:
        if goal.kind == "run" and goal.package not in (*known, *setting.machine.packages):
            yield Remark(goal.package, None, f"Nothing is known of {goal.package}; install it once torch is right.")


def _cautions(chosen: Candidate) -> Iterator[str]:
    versions = {name: package.version for name, package in chosen.setting.machine.packages.items()}
    versions.update({pin.package: pin.version for pin in chosen.pins})
    newest = max(gpu.capability for gpu in chosen.serves if gpu.capability)
    for row in chosen.setting.facts.tables["known-bad"]:
        version = versions.get(row["package"])
        if version and within(version, row["version"]) and newest[0] >= row.get("capability", 0):
            yield f"{row['package']} {version}: {row['what']}."


def _driver_too_old(candidates: Candidates, possible: Sequence[Candidate]) -> NoChoice:
    machine = candidates.machine
    needed = min(each.driver for each in [each for each in possible if each.setting.stays] or possible)
    return NoChoice(
        "driver",
        f"Driver {machine.driver} carries no torch for Python {machine.python} that serves "
        f"{reasons.listed(candidates.gpus)}; driver {needed} does.",
        f"Install driver {needed} or later.",
        driver=needed,
    )


def _nothing_serves(candidates: Candidates) -> NoChoice:
    gpus, pythons = reasons.listed(candidates.gpus), candidates.pythons()
    if not pythons:
        why = f"No build of torch that is known holds code for {gpus}."
        return NoChoice("capability", why, "Build torch from source, or take newer facts.")
    return NoChoice(
        "python",
        f"No torch that serves {gpus} has wheels for Python {candidates.machine.python}.",
        f"Make an environment with one of these: {', '.join(pythons)}.",
        pythons=pythons,
    )
