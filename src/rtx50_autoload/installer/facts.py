"""What is known of torch's releases and of what belongs to them: the tables of `versions.toml`, typed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from urllib.parse import urlsplit

from packaging.version import InvalidVersion, Version

from rtx50_autoload.capability import parse_capability
from rtx50_autoload.evidence.environment.topic import knowledge, parse_version
from rtx50_autoload.evidence.environment.torch_builds import cuda_of
from rtx50_autoload.knowledge import within

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rtx50_autoload.capability import Capability
    from rtx50_autoload.evidence.environment.topic import CudaVersion
    from rtx50_autoload.installer.machine import Machine

__all__ = ["Build", "Facts", "Index", "Offered", "Platform", "Release", "load_facts", "platform_of"]

Platform: TypeAlias = Literal["linux-x86_64", "linux-aarch64", "windows-x86_64"]
Offered: TypeAlias = Literal["always", "same-release", "never"]


@dataclass(frozen=True, slots=True)
class Index:
    """One CUDA variant of torch: where it lies, and the drivers that carry it."""

    variant: str
    cuda: CudaVersion
    #: The branch that came with its CUDA.
    own_driver: int
    offered: Offered
    url: str

    @property
    def host(self) -> str:
        """Where its files come from."""
        return urlsplit(self.url).hostname or ""


@dataclass(frozen=True, slots=True)
class Build:
    """For which GPUs the wheels of a variant hold code, in a range of releases."""

    variant: str
    platforms: tuple[str, ...]
    first: tuple[int, ...]
    last: tuple[int, ...]
    capabilities: tuple[Capability, ...]

    def holds(self, release: Version) -> bool:
        """Tell whether a release is in the range; a last one of ``2.14`` includes 2.14.1."""
        return self.first <= release.release and release.release[: len(self.last)] <= self.last


@dataclass(frozen=True)
class Release:
    """One release of torch, and what belongs to it."""

    version: str
    pythons: tuple[str, ...]
    #: What PyPI gives, by platform; for the CPU where a platform is missing.
    pypi: Mapping[str, str]
    torchvision: str
    #: The newest that PyPI has built for the same variant as its torch.
    torchvision_pypi: str
    torchaudio: str
    triton: str
    triton_windows: str | None
    #: Bytes that PyPI's build for Linux x86-64 is fetched with, and takes, with all that it requires.
    download: int | None
    installed: int | None

    @cached_property
    def parsed(self) -> Version:
        """The version, to be compared."""
        return Version(self.version)


@dataclass(frozen=True)
class Facts:
    """The tables, and the questions that they answer."""

    dated: date
    #: The newest first.
    releases: tuple[Release, ...]
    indexes: tuple[Index, ...]
    builds: tuple[Build, ...]
    #: As they are written: the tables for single packages.
    tables: Mapping[str, Sequence[Mapping[str, Any]]]

    def release(self, version: str) -> Release | None:
        """Give what belongs to a release of torch; None where it is not known."""
        return next((each for each in self.releases if each.version == version), None)

    def index(self, variant: str | None) -> Index | None:
        """Give a variant; None where it is not one that is known."""
        return next((each for each in self.indexes if each.variant == variant), None)

    def capabilities(self, variant: str, release: str, platform: Platform) -> tuple[Capability, ...] | None:
        """Give what a build of torch holds code for; None where no such build is known to exist."""
        try:
            version = Version(release)
        except InvalidVersion:
            return None
        builds = (each for each in self.builds if each.variant == variant and platform in each.platforms)
        return next((each.capabilities for each in builds if each.holds(version)), None)

    def driver(self, cuda: CudaVersion, capability: Capability) -> int:
        """Give the oldest driver branch on which programs of a CUDA version run on a GPU, as far as it is known."""
        runtime = (row["driver"] for row in self.tables["runtime"] if row["cuda"] == cuda[0])
        minimum = (row["driver"] for row in self.tables["minimum"] if row["capability"] == capability[0])
        return max(next(runtime, 0), next(minimum, 0))

    def size(self, release: Release, index: Index, platform: Platform) -> tuple[int, int] | None:
        """Give the bytes to fetch and on the disk, about; None where no build with a like CUDA was measured."""
        measured = cuda_of(release.pypi.get(platform))
        if platform != "linux-x86_64" or measured is None or measured[0] != index.cuda[0]:
            return None
        return (release.download, release.installed) if release.download and release.installed else None

    def stable(self, package: str, version: str) -> Mapping[str, Any] | None:
        """Give the row of a library on torch's stable ABI; None where this version of it is not."""
        rows = (row for row in self.tables["stable"] if row["package"] == package)
        return next((row for row in rows if within(version, row["version"])), None)

    def partners(self, package: str, version: str) -> tuple[Release, ...]:
        """Give the releases of torch whose line a version of torchvision or torchaudio belongs to."""
        line = version.split(".")[:2]
        return tuple(each for each in self.releases if getattr(each, package).split(".")[:2] == line)


def load_facts() -> Facts:
    """Give the facts that are in use."""
    tables = knowledge("versions")
    return Facts(
        date.fromisoformat(tables["dated"]),
        tuple(
            Release(
                row["version"],
                tuple(row["pythons"]),
                row["pypi"],
                row["torchvision"],
                row.get("torchvision_pypi", row["torchvision"]),
                row["torchaudio"],
                row["triton"],
                row.get("triton_windows"),
                row.get("download"),
                row.get("installed"),
            )
            for row in tables["torch"]
        ),
        tuple(
            Index(row["variant"], parse_version(row["cuda"]), row["own_driver"], row["offered"], row["url"])
            for row in tables["index"]
        ),
        tuple(
            Build(
                row["variant"],
                tuple(row["platforms"]),
                Version(row["first"]).release,
                Version(row["last"]).release,
                tuple(map(parse_capability, row["capabilities"])),
            )
            for row in tables["build"]
        ),
        {name: rows for name, rows in tables.items() if isinstance(rows, list)},
    )


def platform_of(machine: Machine) -> Platform | None:
    """Give what wheels for a machine are made for; None where torch has no CUDA builds for it."""
    if machine.system in ("linux", "wsl"):
        return "linux-aarch64" if machine.processor == "aarch64" else "linux-x86_64"
    return "windows-x86_64" if machine.system == "windows" and machine.processor == "x86_64" else None
