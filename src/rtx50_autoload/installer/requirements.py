"""What installed packages require of others, and what a set of versions would break."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from rtx50_autoload.installer.plan import Conflict

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from rtx50_autoload.installer.machine import Machine, Package

__all__ = ["accepts", "broken", "requirements"]


def requirements(machine: Machine, package: Package) -> Iterator[Requirement]:
    """Give what a package requires on a machine, extras left out; what cannot be read is passed over."""
    for text in package.requires:
        # A marker may compare what is no version.
        with suppress(InvalidRequirement, ValueError, KeyError):
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate(_environment(machine)):
                yield requirement


def accepts(machine: Machine, package: Package, name: str, version: str) -> bool:
    """Tell whether nothing that a package requires speaks against a version of another."""
    return all(
        _satisfied(requirement, version)
        for requirement in requirements(machine, package)
        if canonicalize_name(requirement.name) == name
    )


def broken(machine: Machine, versions: Mapping[str, str], replaced: Collection[str]) -> tuple[Conflict, ...]:
    """Give the requirements that a set of versions would break.

    Args:
        machine: the one in question.
        versions: what would be installed, with the variants, by normalised name.
        replaced: packages that are exchanged as well, whose present requirements do not matter.

    """
    return tuple(
        Conflict(name, f"{canonicalize_name(requirement.name)}{requirement.specifier}", f"{wanted} {versions[wanted]}")
        for name, package in machine.packages.items()
        if name not in replaced and name not in versions
        for requirement in requirements(machine, package)
        if (wanted := canonicalize_name(requirement.name)) in versions and not _satisfied(requirement, versions[wanted])
    )


def _satisfied(requirement: Requirement, version: str) -> bool:
    try:
        return requirement.specifier.contains(Version(version), prereleases=True)
    except InvalidVersion:
        return True


def _environment(machine: Machine) -> dict[str, str]:
    python = machine.python.rstrip("t")
    on_windows, on_mac = machine.system == "windows", machine.system == "macos"
    processor: str = machine.processor
    return {
        "extra": "",
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": "win32" if on_windows else "darwin" if on_mac else "linux",
        "platform_system": "Windows" if on_windows else "Darwin" if on_mac else "Linux",
        "os_name": "nt" if on_windows else "posix",
        "platform_machine": {"x86_64": "AMD64"}.get(processor, processor) if on_windows else processor,
    }
