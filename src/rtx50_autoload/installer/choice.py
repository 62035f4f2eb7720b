"""Which torch, and which of its family, would serve the GPUs of a machine with the smallest change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from packaging.version import InvalidVersion, Version

from rtx50_autoload.capability import format_capability
from rtx50_autoload.evidence.environment.topic import BLACKWELL
from rtx50_autoload.evidence.environment.torch_builds import cuda_of, driver_branch
from rtx50_autoload.installer.facts import platform_of
from rtx50_autoload.installer.family import FAMILY, Pin, Setting, fits, wheel
from rtx50_autoload.installer.requirements import broken
from rtx50_autoload.knowledge import within

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rtx50_autoload.capability import Capability
    from rtx50_autoload.diagnosis.situation import Gpu
    from rtx50_autoload.installer.facts import Facts, Index, Platform, Release
    from rtx50_autoload.installer.machine import Machine
    from rtx50_autoload.installer.plan import Conflict, Goal

__all__ = ["Choice", "NoChoice", "NoChoiceKind", "Remark", "choose"]

#: `gpu`: none is known. `vendor`: none of NVIDIA's. `system`: no CUDA there. `python`: no wheels for it. `driver`: it
#: is too old for every build. `capability`: no build has code for the GPU. `torch`: what is installed is left alone.
NoChoiceKind: TypeAlias = Literal["gpu", "vendor", "system", "python", "driver", "capability", "torch"]

_CPU: Final = "cpu"


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
        variant: what it is built for, ``"cu128"``; None where that is not known, of a torch that is left alone.
        index: the one address that torch and what is built with it come from; None for a torch that is left alone.
        pins: what has to be installed or exchanged, torch first; empty where all is as it should be.
        serves: the GPUs that it has code for and that the driver carries.
        leaves: NVIDIA's GPUs that it does not serve.
        driver: the oldest driver branch on which it serves them; None where nothing is known of it.
        reasons: why this variant, this release and these GPUs, each in one sentence.
        builds: what has to be built from source for this torch.
        left_out: what was asked for or is installed, and has no build for this torch.
        conflicts: installed packages whose requirements the pins break.

    """

    torch: str
    variant: str | None
    index: str | None
    pins: tuple[Pin, ...]
    serves: tuple[Gpu, ...]
    leaves: tuple[Gpu, ...]
    driver: int | None
    reasons: tuple[str, ...]
    builds: tuple[Remark, ...] = ()
    left_out: tuple[Remark, ...] = ()
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


@dataclass(frozen=True)
class _Candidate:
    setting: Setting
    serves: tuple[Gpu, ...]
    pins: tuple[Pin, ...]
    missing: tuple[str, ...]
    conflicts: tuple[Conflict, ...]


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
    if hindrance := _hindrance(machine, gpus, platform):
        return hindrance
    assert platform is not None  # noqa: S101 - for the type checker: a hindrance otherwise
    return _Chooser(machine, goals, facts, platform, gpus).choose()


def _hindrance(machine: Machine, gpus: Sequence[Gpu], platform: Platform | None) -> NoChoice | None:
    others = [gpu for gpu in machine.gpus if gpu.vendor not in ("nvidia", None)]
    if not gpus and others:
        return NoChoice(
            "vendor",
            f"{others[0].name or 'The GPU'} is not one of NVIDIA's, and CUDA runs on those only.",
            "Choose your GPU's build of torch at https://pytorch.org/get-started.",
        )
    if platform is None:
        where = "macOS" if machine.system == "macos" else f"Windows on {machine.processor}"
        return NoChoice("system", f"There are no CUDA builds of torch for {where}.", "Use Linux or Windows on x86-64.")
    if not gpus:
        known = next((gpu.name for gpu in machine.gpus if gpu.name), None)
        why = f"The compute capability of {known} is not known." if known else "No GPU can be seen."
        return NoChoice("gpu", why, "Look with `rtx50-autoload doctor` why that is so.")
    return None


class _Chooser:
    def __init__(
        self, machine: Machine, goals: Sequence[Goal], facts: Facts, platform: Platform, gpus: tuple[Gpu, ...]
    ) -> None:
        self.machine, self.goals, self.facts, self.platform, self.gpus = machine, goals, facts, platform, gpus
        self.branch = driver_branch(machine.driver)
        self.torch = machine.packages.get("torch")
        self.variant = self._installed_variant()
        wanted = {goal.package for goal in goals if goal.kind == "run"} | machine.packages.keys()
        self.wanted = tuple(name for name in FAMILY if name in wanted)

    def choose(self) -> Choice | NoChoice:
        installed = self._installed()
        candidates = [*([installed] if installed else []), *self._offers(self.branch)]
        best = max(map(self._reach, candidates), default=None)
        without_driver = [*self._installed_served(None), *self._offers(None)]
        possible = max(map(self._reach, without_driver), default=None)
        if self._is_left_alone():
            return self._choice(installed) if installed and self._reach(installed) == best else self._left_alone()
        if possible is None:
            return self._nothing_serves()
        if best is None or possible[1] > best[1]:
            return self._driver_too_old([each for each in without_driver if self._reach(each) == possible])
        chosen = min((each for each in candidates if self._reach(each) == best), key=self._cost)
        return self._choice(chosen)

    # What is installed

    def _installed_variant(self) -> str | None:
        """Give what the installed torch is built for; PyPI's wheels do not say so in their metadata."""
        torch = self.torch
        if torch is None or torch.variant:
            return torch.variant if torch else None
        release = self.facts.release(torch.version)
        return release.pypi.get(self.platform, _CPU) if release and torch.origin is None else None

    def _is_left_alone(self) -> bool:
        """Tell whether the installed torch is a nightly, or somebody's own build."""
        if self.torch is None:
            return False
        try:
            version = Version(str(self.torch))
        except InvalidVersion:
            return True
        made_by_hand = bool(version.local) and self.variant not in (_CPU, None) and not _is_variant(self.variant)
        return version.is_prerelease or version.is_devrelease or made_by_hand

    def _installed(self) -> _Candidate | None:
        return next(iter(self._installed_served(self.branch)), None)

    def _installed_served(self, branch: int | None) -> Iterator[_Candidate]:
        cuda = cuda_of(self.variant)
        if self.torch is None or self.variant is None or cuda is None:
            return
        index = self.facts.index(self.variant) or _unknown_index(self.variant, cuda, self.facts)
        held = self._held(self.torch.version, self.variant, cuda)
        if held and (serves := self._served(held, index, branch)):
            release = self.facts.release(self.torch.version)
            yield self._candidate(self.torch.version, release, index, serves, stays=True)

    def _held(self, release: str, variant: str, cuda: tuple[int, int]) -> tuple[Capability, ...] | None:
        """Give what the installed torch holds code for; where that is not written down, what its neighbours hold."""
        held = self.facts.capabilities(variant, release, self.platform)
        if held is not None:
            return held
        others = [build for build in self.facts.builds if self.platform in build.platforms]
        same = [build for build in others if build.variant == variant]
        older = [build for build in others if (other := cuda_of(build.variant)) and other <= cuda]
        near = same or sorted(older, key=lambda build: cuda_of(build.variant) or (0, 0), reverse=True)
        if not near:
            return None
        # The last of the rows of a variant is its oldest; what is newer than all of them is like the newest.
        is_older = (_version(release) or near[-1].first) < near[-1].first
        return near[-1 if is_older else 0].capabilities

    # What is offered

    def _offers(self, branch: int | None) -> list[_Candidate]:
        return list(self._generate(branch))

    def _generate(self, branch: int | None) -> Iterator[_Candidate]:
        for release in self.facts.releases:
            if self.machine.python not in release.pythons:
                continue
            for index in self.facts.indexes:
                same = self.torch is not None and self.torch.version == release.version
                if index.offered == "never" or (index.offered == "same-release" and not same):
                    continue
                held = self.facts.capabilities(index.variant, release.version, self.platform)
                if held and (serves := self._served(held, index, branch)):
                    stays = same and index.variant == self.variant
                    yield self._candidate(release.version, release, index, serves, stays=stays)

    def _served(self, held: Iterable[Capability], index: Index, branch: int | None) -> tuple[Gpu, ...]:
        held = tuple(held)
        return tuple(
            gpu
            for gpu in self.gpus
            if gpu.capability
            and any(code[0] == gpu.capability[0] and code <= gpu.capability for code in held)
            and (branch is None or self.facts.driver(index.cuda, gpu.capability) <= branch)
        )

    def _candidate(
        self, torch: str, release: Release | None, index: Index, serves: tuple[Gpu, ...], *, stays: bool
    ) -> _Candidate:
        setting = Setting(self.machine, self.facts, self.platform, torch, index, release, stays)
        pins = [] if stays else [Pin("torch", torch, index.variant, index.url)]
        missing = []
        for name in self.wanted:
            package = self.machine.packages.get(name)
            if package and fits(name, package, setting):
                continue
            pin = wheel(name, setting)
            if pin is None:
                missing.append(name)
            else:
                pins.append(pin)
        if numpy := self._numpy(torch):
            pins.append(numpy)
        versions = {pin.package: pin.exact for pin in pins}
        replaced = {*versions, *missing}
        return _Candidate(setting, serves, tuple(pins), tuple(missing), broken(self.machine, versions, replaced))

    def _numpy(self, torch: str) -> Pin | None:
        """Give the numpy that an old torch needs in the place of the one that is there."""
        numpy = self.machine.packages.get("numpy")
        for row in self.facts.tables["numpy"]:
            if numpy and within(torch, row["torch"]) and within(numpy.version, row["numpy"]) is False:
                return Pin("numpy", row["last"])
        return None

    # Which is the best

    def _reach(self, candidate: _Candidate) -> tuple[bool, int, int]:
        """Rate by the GPUs that are served: all of them, else as many of the newest as can be."""
        newest = sum(gpu.capability is not None and gpu.capability[0] >= BLACKWELL for gpu in candidate.serves)
        return len(candidate.serves) == len(self.gpus), newest, len(candidate.serves)

    def _cost(self, candidate: _Candidate) -> tuple[int, int, bool, bool, int, bool, int, int]:
        """Rate the change: requirements that it breaks, what gets lost, the release, the variant, in this order."""
        setting = candidate.setting
        known = [each.version for each in self.facts.releases]
        age = known.index(setting.torch) if setting.torch in known else 0
        same_line = self.torch is not None and self.torch.version.split(".")[:2] == setting.line
        is_foreign = self.branch is not None and setting.index.own_driver > self.branch
        return (
            len(candidate.conflicts),
            len(candidate.missing),
            not (self.torch and self.torch.version == setting.torch),
            not same_line,
            age,
            setting.index.variant != self.variant,
            is_foreign + (setting.index.offered != "always"),
            -(setting.index.cuda[0] * 100 + setting.index.cuda[1]),
        )

    # The answers

    def _choice(self, chosen: _Candidate) -> Choice:
        setting = chosen.setting
        leaves = tuple(gpu for gpu in self.gpus if gpu not in chosen.serves)
        builds, left_out = self._remarks(chosen)
        return Choice(
            torch=setting.torch,
            variant=setting.index.variant,
            index=setting.index.url,
            pins=chosen.pins,
            serves=chosen.serves,
            leaves=leaves,
            driver=max(
                self.facts.driver(setting.index.cuda, gpu.capability) for gpu in chosen.serves if gpu.capability
            ),
            reasons=tuple(self._reasons(chosen, leaves)),
            builds=builds,
            left_out=left_out,
            conflicts=chosen.conflicts,
        )

    def _remarks(self, chosen: _Candidate) -> tuple[tuple[Remark, ...], tuple[Remark, ...]]:
        setting = chosen.setting
        torch = f"torch {setting.torch}+{setting.index.variant}"
        builds, left_out = [], []
        for name in chosen.missing:
            if name == "xformers":
                builds.append(Remark(name, None, f"There is no wheel of xformers for {torch} here."))
            else:
                left_out.append(Remark(name, None, f"No {name} for {torch} and Python {self.machine.python} is known."))
        asked = {goal.package: goal.kind for goal in self.goals}
        for row in self.facts.tables["source-build"]:
            package = self.machine.packages.get(row["package"])
            if package and not fits(row["package"], package, setting):
                why = f"{row['package']} {package} was built for another torch than {setting.torch}."
                builds.append(Remark(row["package"], row["version"], why))
            elif row["package"] in asked and (package is None or asked[row["package"]] == "build"):
                why = f"PyPI has the source of {row['package']} only."
                builds.append(Remark(row["package"], row["version"], why))
        done = {remark.package for remark in builds}
        builds += [
            Remark(goal.package, None, "It was asked for.")
            for goal in self.goals
            if goal.kind == "build" and goal.package not in done
        ]
        return tuple(builds), tuple(left_out)

    def _reasons(self, chosen: _Candidate, leaves: Sequence[Gpu]) -> Iterator[str]:
        setting = chosen.setting
        index, names = setting.index, _listed(chosen.serves)
        if setting.stays:
            yield f"torch {setting.torch}+{index.variant} holds code for {names} and stays."
            if self._is_left_alone():
                yield "It is a nightly or a build of one's own, and is left alone."
        else:
            yield f"The {index.variant} build of torch {setting.torch} holds code for {names}{self._carried(index)}."
            yield self._why_release(setting)
        for gpu in leaves:
            yield self._why_left(gpu)

    def _carried(self, index: Index) -> str:
        if self.branch is None:
            return ""
        if index.own_driver > self.branch:
            return f", and driver {self.machine.driver} carries it by NVIDIA's minor version compatibility"
        return f", and driver {self.machine.driver} carries it"

    def _why_release(self, setting: Setting) -> str:
        if self.torch is None:
            return f"{setting.torch} is the newest that is known to fit this driver, this Python and what is installed."
        if self.torch.version == setting.torch:
            return f"The release stays {setting.torch}, so that what was installed for it goes on to fit."
        if self.facts.release(self.torch.version) is None and _newer(self.torch.version, self.facts):
            return (
                f"torch {self.torch.version} is newer than these facts of {self.facts.dated}; "
                f"{setting.torch} is the newest that they know to serve this GPU."
            )
        return (
            f"torch {self.torch.version} is not known to exist in a build that serves; {setting.torch} is the newest "
            "that fits this driver, this Python and what is installed."
        )

    def _why_left(self, gpu: Gpu) -> str:
        assert gpu.capability is not None  # noqa: S101 - only such GPUs are looked at
        what = f"{gpu.name or 'A GPU'} ({format_capability(gpu.capability)})"
        both = [
            build
            for build in self.facts.builds
            if self.platform in build.platforms
            and all(
                any(code[0] == each.capability[0] and code <= each.capability for code in build.capabilities)
                for each in self.gpus
                if each.capability
            )
        ]
        if both:
            return f"{what} is not served: the builds that serve all GPUs do not fit this driver or this Python."
        return (
            f"{what} is not served: no build of torch holds code for all GPUs of this machine. Give it an environment "
            "of its own, and choose with CUDA_VISIBLE_DEVICES which GPU a program sees."
        )

    def _left_alone(self) -> NoChoice:
        return NoChoice(
            "torch",
            f"torch {self.torch} is a nightly or a build of one's own, and is left alone; it is not known to serve "
            f"{_listed(self.gpus)}.",
            "Remove it with `pip uninstall torch` to have a release chosen.",
        )

    def _driver_too_old(self, candidates: Sequence[_Candidate]) -> NoChoice:
        wanted = [each for each in candidates if each.setting.stays] or candidates
        needed = min(
            max(self.facts.driver(each.setting.index.cuda, gpu.capability) for gpu in each.serves if gpu.capability)
            for each in wanted
        )
        return NoChoice(
            "driver",
            f"Driver {self.machine.driver} carries no build of torch that serves {_listed(self.gpus)} on Python "
            f"{self.machine.python}; that takes {needed} or later.",
            f"Install driver {needed} or later.",
            driver=needed,
        )

    def _nothing_serves(self) -> NoChoice:
        pythons = [
            python
            for release in self.facts.releases
            for index in self.facts.indexes
            if index.offered == "always"
            and (held := self.facts.capabilities(index.variant, release.version, self.platform))
            and self._served(held, index, None)
            for python in release.pythons
        ]
        if not pythons:
            return NoChoice(
                "capability",
                f"No build of torch that is known holds code for {_listed(self.gpus)}.",
                "Build torch from source, or look for newer facts.",
            )
        served = tuple(sorted(set(pythons), key=lambda text: (Version(text.rstrip("t")), text)))
        return NoChoice(
            "python",
            f"No torch that serves {_listed(self.gpus)} has wheels for Python {self.machine.python}.",
            f"Make an environment with one of these: {', '.join(served)}.",
            pythons=served,
        )


def _is_variant(variant: str | None) -> bool:
    return cuda_of(variant) is not None or (variant or "").startswith(("rocm", "xpu"))


def _unknown_index(variant: str, cuda: tuple[int, int], facts: Facts) -> Index:
    """Give what can be said of a variant that is not written down."""
    from rtx50_autoload.installer.facts import Index  # noqa: PLC0415 - a type elsewhere

    driver = next((row["driver"] for row in facts.tables["runtime"] if row["cuda"] == cuda[0]), 0)
    return Index(variant, cuda, driver, "never", f"{facts.indexes[0].url.rpartition('/')[0]}/{variant}")


def _version(text: str) -> tuple[int, ...] | None:
    try:
        return Version(text).release
    except InvalidVersion:
        return None


def _newer(version: str, facts: Facts) -> bool:
    release = _version(version)
    return release is not None and release > facts.releases[0].parsed.release


def _listed(gpus: Sequence[Gpu]) -> str:
    names = [f"{gpu.name or 'a GPU'} ({format_capability(gpu.capability)})" for gpu in gpus if gpu.capability]
    names = list(dict.fromkeys(names))
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
