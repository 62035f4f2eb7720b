"""What of torch's family fits a build of torch: torchvision, torchaudio, Triton, xformers, bitsandbytes, numpy."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from packaging.version import InvalidVersion, Version

from rtx50_autoload.evidence.environment.topic import parse_version
from rtx50_autoload.evidence.environment.torch_builds import cuda_of
from rtx50_autoload.installer.requirements import accepts
from rtx50_autoload.knowledge import within

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from rtx50_autoload.installer.facts import Facts, Index, Platform, Release
    from rtx50_autoload.installer.machine import Machine, Package

__all__ = ["CPU", "FAMILY", "Pin", "Setting", "fits", "wheel"]

#: The variant without CUDA.
CPU: Final = "cpu"

#: What is exchanged together with torch, in the order in which it is named.
FAMILY: Final = ("torchvision", "torchaudio", "triton", "triton-windows", "xformers", "bitsandbytes", "sageattention")
# flash_attn-2.7.2.post1+cu12torch2.5cxx11abiFALSE-cp310-cp310-linux_x86_64.whl
_BUILT_FOR: Final = re.compile(r"torch(\d+\.\d+)")
#: From this release on, all of the family is built for CUDA on aarch64.
_ON_ARM: Final = Version("2.11")


@dataclass(frozen=True, slots=True)
class Pin:
    """One package in one version.

    Attributes:
        variant: as its version says it, ``"cu128"``; None where it names none.
        index: the address that it comes from; None is PyPI.

    """

    package: str
    version: str
    variant: str | None = None
    index: str | None = None

    @property
    def exact(self) -> str:
        """The version with its variant, ``"0.23.0+cu128"``."""
        return self.version if self.variant is None else f"{self.version}+{self.variant}"


@dataclass(frozen=True, slots=True)
class Setting:
    """A torch, as far as its family depends on it."""

    machine: Machine
    facts: Facts
    platform: Platform
    #: The release, ``"2.8.0"``; it need not be one that the facts know.
    torch: str
    index: Index
    release: Release | None
    #: Whether torch stays as it is installed.
    stays: bool

    @property
    def is_from_pypi(self) -> bool:
        """Whether torch stays as PyPI gave it: then what belongs to it lies there, too."""
        torch = self.machine.packages.get("torch")
        return (
            self.stays
            and torch is not None
            and torch.origin is None
            and not (torch.variant and torch.names_variant)
            and self.release is not None
            and self.release.pypi.get(self.platform, CPU) == self.index.variant
        )

    @property
    def line(self) -> list[str]:
        """The first two numbers of the release."""
        return self.torch.split(".")[:2]


def wheel(package: str, setting: Setting) -> Pin | None:
    """Give the build of a package that belongs to a torch; None where there is no wheel, or none is known."""
    release = setting.release
    if package == "bitsandbytes":
        return _bitsandbytes(setting)
    for row in setting.facts.tables["universal"]:
        if row["package"] == package:
            return Pin(package, row["version"])
    if release is None:
        return None
    if package == "xformers":
        return _xformers(setting)
    if package in ("torchvision", "torchaudio"):
        return _companion(package, getattr(release, package), setting)
    return _triton(package, release, setting)


def fits(name: str, package: Package, setting: Setting) -> bool:
    """Tell whether an installed package goes with a torch as it is."""
    machine, facts = setting.machine, setting.facts
    if not accepts(machine, package, "torch", f"{setting.torch}+{setting.index.variant}"):
        return False
    if name == "bitsandbytes":
        cudas = _cudas(package.version, setting)
        return cudas is None or setting.index.cuda in cudas
    if name in ("torchvision", "torchaudio"):
        partners = facts.partners(name, package.version)
        if facts.stable(name, package.version) is None and partners:
            known = any(partner.version.split(".")[:2] == setting.line for partner in partners)
        else:
            known = setting.stays or facts.stable(name, package.version) is not None
        return known and _same_variant(package, setting)
    if name == "xformers":
        return _same_major(package, setting) and _built_for(name, package, setting)
    if name in ("triton", "triton-windows") and setting.release:
        wanted = setting.release.triton if name == "triton" else setting.release.triton_windows
        # None has been made for the newest torch yet.
        return setting.stays if wanted is None else package.version.split(".")[:2] == wanted.split(".")[:2]
    return _built_for(name, package, setting)


def _built_for(name: str, package: Package, setting: Setting) -> bool:
    """Compare with the torch that a package says it was built for; where it says nothing, one that stays fits."""
    if setting.facts.stable(name, package.version):
        return True
    match = _BUILT_FOR.search(f"{package.origin or ''} {package}")
    if match:
        return match[1].split(".") == setting.line
    rows = [row for row in setting.facts.tables["xformers"] if name == "xformers" and row["version"] == package.version]
    if rows:
        return within(setting.torch, rows[0]["torch"]) is True
    bound = any(row["package"] == name for row in setting.facts.tables["built-for"])
    return setting.stays or not bound


def _same_variant(package: Package, setting: Setting) -> bool:
    if package.variant is None:
        return setting.stays
    return package.variant == setting.index.variant


def _same_major(package: Package, setting: Setting) -> bool:
    cuda = cuda_of(package.variant)
    return setting.stays if cuda is None else cuda[0] == setting.index.cuda[0]


def _serves(row: Mapping[str, Any], setting: Setting) -> bool:
    """Tell whether a row that names Pythons, variants and platforms is for this machine and this torch."""
    return (
        within(setting.torch, row["torch"]) is True
        and (not row.get("pythons") or setting.machine.python in row["pythons"])
        and setting.index.variant in row.get("variants", (setting.index.variant,))
        and setting.platform in row.get("platforms", (setting.platform,))
    )


def _companion(package: str, version: str, setting: Setting) -> Pin | None:
    row = setting.facts.stable(package, version)
    if row and not _serves(row, setting):
        return None
    if setting.is_from_pypi and setting.release:
        return Pin(package, setting.release.torchvision_pypi if package == "torchvision" else version)
    # Before, the wheels for aarch64 name no variant, though they lie in the variant's index.
    names_variant = setting.platform != "linux-aarch64" or setting.release is None or setting.release.parsed >= _ON_ARM
    return Pin(package, version, setting.index.variant if names_variant else None, setting.index.url)


def _triton(package: str, release: Release, setting: Setting) -> Pin | None:
    on_windows = setting.platform == "windows-x86_64"
    if package == "triton-windows":
        return Pin(package, release.triton_windows) if on_windows and release.triton_windows else None
    too_old = setting.platform == "linux-aarch64" and release.parsed < _ON_ARM
    index = None if setting.is_from_pypi else setting.index.url
    return None if on_windows or too_old else Pin(package, release.triton, index=index)


def _xformers(setting: Setting) -> Pin | None:
    index, facts = setting.index, setting.facts
    for row in facts.tables["xformers"]:
        if not _serves({**row, "variants": (index.variant,)}, setting):
            continue
        if index.variant in row["variants"]:
            return Pin("xformers", row["version"], index=index.url)
        if parse_version(row["pypi"])[0] == index.cuda[0]:
            return Pin("xformers", row["version"])
        # Any build with a CUDA of the same major version finds the libraries that torch brings.
        for other in facts.indexes:
            if other.variant in row["variants"] and other.cuda[0] == index.cuda[0]:
                return Pin("xformers", row["version"], index=other.url)
    return None


def _bitsandbytes(setting: Setting) -> Pin | None:
    for row in setting.facts.tables["bitsandbytes"]:
        if setting.platform in row["platforms"] and setting.index.cuda in map(parse_version, row["cudas"]):
            return Pin("bitsandbytes", row["last"])
    return None


def _cudas(version: str, setting: Setting) -> tuple[tuple[int, int], ...] | None:
    """Give the CUDA versions that a bitsandbytes has libraries for; None where that is not known."""
    try:
        ours = Version(version)
    except InvalidVersion:
        return None
    rows = setting.facts.tables["bitsandbytes"]
    for row in rows:
        if Version(row["first"]) <= ours <= Version(row["last"]):
            return tuple(map(parse_version, row["cudas"]))
    # What is older than all that is written down knows no CUDA that is offered.
    return () if ours < Version(rows[-1]["first"]) else None
