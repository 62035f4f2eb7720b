"""What is known of the libraries that ask for a GPU's compute capability, read from `profiles.toml`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

from rtx50_autoload.knowledge import read_tables, within

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
        held = within(version, self.versions)
        return self.unversioned if held is None else held


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
    return tuple(
        Profile(
            modules=tuple(entry.pop("modules")),
            rules=tuple(Rule(adjust=tuple(rule.pop("adjust", ())), **rule) for rule in entry.pop("rule")),
            **entry,
        )
        for entry in read_tables(__package__, "profiles.toml")["profile"]
    )


def profile_of(caller: str) -> Profile | None:
    """Give the profile that names the caller or the nearest package above it."""
    matches = (
        (len(module), profile) for profile in load_profiles() for module in profile.modules if belongs(caller, module)
    )
    return max(matches, key=lambda match: match[0], default=(0, None))[1]
