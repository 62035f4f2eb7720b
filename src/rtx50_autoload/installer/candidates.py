"""The torches that a machine could have: the one that is installed, and those that are offered for it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from packaging.version import InvalidVersion, Version

from rtx50_autoload.evidence.environment.torch_builds import cuda_of, index_url
from rtx50_autoload.installer.facts import Index
from rtx50_autoload.installer.family import CPU, Pin, Setting, fits, wheel
from rtx50_autoload.installer.requirements import broken
from rtx50_autoload.knowledge import within

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rtx50_autoload.capability import Capability
    from rtx50_autoload.diagnosis.situation import Gpu
    from rtx50_autoload.evidence.environment.topic import CudaVersion
    from rtx50_autoload.installer.facts import Facts, Platform
    from rtx50_autoload.installer.machine import Machine, Package
    from rtx50_autoload.installer.plan import Conflict

__all__ = ["Candidate", "Candidates"]

_OTHER_VARIANTS: Final = ("rocm", "xpu")


@dataclass(frozen=True)
class Candidate:
    """One torch, and what would have to change for it."""

    setting: Setting
    #: The GPUs that it has code for and that the driver carries.
    serves: tuple[Gpu, ...]
    #: What of torch's family is asked for or installed.
    wanted: tuple[str, ...]

    @property
    def driver(self) -> int:
        """The oldest driver branch on which it serves them."""
        facts, cuda = self.setting.facts, self.setting.index.cuda
        return max(facts.driver(cuda, gpu.capability) for gpu in self.serves if gpu.capability)

    @cached_property
    def pins(self) -> tuple[Pin, ...]:
        """What has to be installed or exchanged, torch first."""
        setting, index = self.setting, self.setting.index
        torch = [] if setting.stays else [Pin("torch", setting.torch, index.variant, index.url)]
        family = (pin for pin in self._family.values() if pin)
        return (*torch, *family, *self._numpy())

    @property
    def missing(self) -> tuple[str, ...]:
        """What is wanted, and has no build for this torch."""
        return tuple(name for name, pin in self._family.items() if pin is None)

    @cached_property
    def conflicts(self) -> tuple[Conflict, ...]:
        """What is installed, and would be broken."""
        versions = {pin.package: pin.exact for pin in self.pins}
        return broken(self.setting.machine, versions, {*versions, *self.missing})

    @cached_property
    def _family(self) -> dict[str, Pin | None]:
        """Give the build of each package that does not fit as it is; None where there is none."""
        installed = self.setting.machine.packages
        return {
            name: wheel(name, self.setting)
            for name in self.wanted
            if name not in installed or not fits(name, installed[name], self.setting)
        }

    def _numpy(self) -> Iterator[Pin]:
        """Give the numpy that an old torch needs in the place of the one that is there."""
        numpy = self.setting.machine.packages.get("numpy")
        for row in self.setting.facts.tables["numpy"]:
            if numpy and within(self.setting.torch, row["torch"]) and within(numpy.version, row["numpy"]) is False:
                yield Pin("numpy", row["last"])


@dataclass(frozen=True)
class Candidates:
    """What a machine could have.

    Attributes:
        gpus: those of NVIDIA's whose capability is known.
        wanted: what of torch's family is asked for or installed.

    """

    machine: Machine
    facts: Facts
    platform: Platform
    gpus: tuple[Gpu, ...]
    wanted: tuple[str, ...]

    @property
    def torch(self) -> Package | None:
        """The installed one."""
        return self.machine.packages.get("torch")

    @cached_property
    def variant(self) -> str | None:
        """What the installed torch is built for; the metadata of PyPI's wheels does not say it."""
        torch = self.torch
        if torch is None or torch.variant:
            return torch.variant if torch else None
        release = self.facts.release(torch.version)
        return release.pypi.get(self.platform, CPU) if release and torch.origin is None else None

    @cached_property
    def is_left_alone(self) -> bool:
        """Whether the installed torch is no release: a nightly, a candidate, or a build of one's own."""
        if self.torch is None:
            return False
        try:
            version = Version(str(self.torch))
        except InvalidVersion:
            return True
        known = self.variant in (None, CPU) or cuda_of(self.variant) or (self.variant or "").startswith(_OTHER_VARIANTS)
        return version.is_prerelease or not known

    def installed(self, branch: int | None) -> Candidate | None:
        """Give the torch that is installed, where it serves a GPU on a driver branch; None is any driver."""
        torch, variant, cuda = self.torch, self.variant, cuda_of(self.variant)
        if torch is None or variant is None or cuda is None:
            return None
        index = self.facts.index(variant) or self._unknown(variant, cuda)
        serves = self._served(self._held(torch.version, variant, cuda), index, branch)
        return self._candidate(torch.version, index, serves, stays=True) if serves else None

    def offered(self, branch: int | None) -> Iterator[Candidate]:
        """Give the builds of torch that exist for this machine and serve a GPU on a driver branch; None is any."""
        for release in self.facts.releases:
            same = self.torch is not None and self.torch.version == release.version
            if self.machine.python not in release.pythons:
                continue
            for index in self.facts.indexes:
                if index.offered == "never" or (index.offered == "same-release" and not same):
                    continue
                held = self.facts.capabilities(index.variant, release.version, self.platform) or ()
                if serves := self._served(held, index, branch):
                    stays = same and index.variant == self.variant
                    yield self._candidate(release.version, index, serves, stays=stays)

    def pythons(self) -> tuple[str, ...]:
        """Give the Pythons with which there would be an offer on any driver, the newest last."""
        found = {
            python
            for release in self.facts.releases
            for index in self.facts.indexes
            if index.offered == "always"
            and (held := self.facts.capabilities(index.variant, release.version, self.platform))
            and self._served(held, index, None)
            for python in release.pythons
        }
        return tuple(sorted(found, key=lambda python: (Version(python.rstrip("t")), python)))

    def one_build_for_all(self) -> bool:
        """Tell whether any build of this platform holds code for all GPUs, be it for another driver or Python."""
        return any(
            all(gpu.capability and _holds(build.capabilities, gpu.capability) for gpu in self.gpus)
            for build in self.facts.builds
            if self.platform in build.platforms
        )

    def _candidate(self, torch: str, index: Index, serves: tuple[Gpu, ...], *, stays: bool) -> Candidate:
        release = self.facts.release(torch)
        setting = Setting(self.machine, self.facts, self.platform, torch, index, release, stays)
        return Candidate(setting, serves, self.wanted)

    def _served(self, held: Iterable[Capability], index: Index, branch: int | None) -> tuple[Gpu, ...]:
        held = tuple(held)
        return tuple(
            gpu
            for gpu in self.gpus
            if gpu.capability
            and _holds(held, gpu.capability)
            and (branch is None or self.facts.driver(index.cuda, gpu.capability) <= branch)
        )

    def _held(self, torch: str, variant: str, cuda: CudaVersion) -> tuple[Capability, ...]:
        """Give what the installed torch holds code for; where that is not written down, what its neighbours hold."""
        if held := self.facts.capabilities(variant, torch, self.platform):
            return held
        here = [build for build in self.facts.builds if self.platform in build.platforms]
        same = [build for build in here if build.variant == variant]
        # A variant that is not known holds what the next older one holds.
        older = [(other, build) for build in here if (other := cuda_of(build.variant)) and other <= cuda]
        near = same or [build for _, build in sorted(older, key=lambda pair: pair[0], reverse=True)]
        if not near:
            return ()
        try:
            is_older = Version(torch).release < near[-1].first
        except InvalidVersion:
            is_older = False
        return near[-1 if is_older else 0].capabilities

    def _unknown(self, variant: str, cuda: CudaVersion) -> Index:
        driver = next((row["driver"] for row in self.facts.tables["runtime"] if row["cuda"] == cuda[0]), 0)
        return Index(variant, cuda, driver, "never", index_url(variant))


def _holds(held: Iterable[Capability], capability: Capability) -> bool:
    return any(code[0] == capability[0] and code <= capability for code in held)
