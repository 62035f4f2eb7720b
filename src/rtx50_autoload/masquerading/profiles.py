"""What is known of the libraries that ask for a GPU's compute capability, read from `profiles.toml`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["Profile", "Rule", "belongs", "load_profiles", "profile_of"]

Answer = Literal["target", "truth"]


@dataclass(frozen=True, slots=True)
class Rule:
    """What one range of versions of a library is told, and why."""

    report: Answer
    reason: str
    source: str
    versions: str = ""
    unversioned: bool = False
    adjust: tuple[str, ...] = ()

    def holds(self, version: str | None) -> bool:
        """Tell whether the rule speaks of this version; None where no distribution tells one."""
        if not self.versions:
            return True
        if version is None:
            return self.unversioned
        from packaging.specifiers import SpecifierSet  # noqa: PLC0415 - only where a version has to be compared
        from packaging.version import InvalidVersion, Version  # noqa: PLC0415

        try:
            # Source builds carry development and local versions; they count like the release that they lead to.
            return SpecifierSet(self.versions, prereleases=True).contains(Version(version))
        except InvalidVersion:
            return self.unversioned


@dataclass(frozen=True, slots=True)
class Profile:
    """One library: which modules are its own, and the rules by version."""

    library: str
    modules: tuple[str, ...]
    masquerade: Answer
    rules: tuple[Rule, ...]
    distribution: str | None = None

    def rule(self, version: str | None) -> Rule:
        """Give the first rule that holds; the last one of each profile always does."""
        return next(rule for rule in self.rules if rule.holds(version))


def belongs(module: str, package: str) -> bool:
    """Tell whether `module` is `package` or lies in it: ``torch.nn`` belongs to ``torch``, ``torchvision`` does not."""
    return module == package or module.startswith(package + ".")


@cache
def load_profiles() -> tuple[Profile, ...]:
    """Read `profiles.toml`.

    Raises:
        TypeError: a key of the file is unknown or missing (the tests read the file, so a release's is sound).

    """
    text = files(__package__).joinpath("profiles.toml").read_text(encoding="utf-8")
    return tuple(
        Profile(
            modules=tuple(entry.pop("modules")),
            rules=tuple(Rule(adjust=tuple(rule.pop("adjust", ())), **rule) for rule in entry.pop("rule")),
            **entry,
        )
        for entry in tomllib.loads(text)["profile"]
    )


def profile_of(caller: str) -> Profile | None:
    """Give the profile that names the caller or the nearest package above it."""
    matches = (
        (len(module), profile) for profile in load_profiles() for module in profile.modules if belongs(caller, module)
    )
    return max(matches, key=lambda match: match[0], default=(0, None))[1]
