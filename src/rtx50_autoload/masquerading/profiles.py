"""What is known of the libraries that ask for a GPU's compute capability; the built-in part is `profiles.toml`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from rtx50_autoload.knowledge import read_tables, within

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BUILT_IN", "Origin", "Problem", "Profile", "Profiles", "Rule", "belongs", "load_profiles", "make_profile"]

Answer = Literal["target", "truth"]


class Origin(NamedTuple):
    """Who has written a profile."""

    #: This package, the package that has the modules, or the user.
    kind: Literal["built-in", "package", "user"]
    #: The file that it stands in; of a package, as it lies there. None where it is built in.
    file: str | None = None
    #: The package's name and version.
    package: str | None = None

    def __str__(self) -> str:
        return self.package or self.file or self.kind

    @property
    def place(self) -> str:
        """Where to look for it."""
        return f"{self.package} ({self.file})" if self.package and self.file else str(self)


BUILT_IN = Origin("built-in")


class Problem(NamedTuple):
    """A mistake in somebody's profiles, which costs the entry that has it and no other."""

    #: Whose they are.
    origin: Origin
    #: Which entry it is, "profile 2 ('mylib')"; empty where it is the file.
    entry: str
    #: What is wrong and what to write instead, a sentence part.
    what: str

    def __str__(self) -> str:
        return f"{', '.join(filter(None, (self.origin.place, self.entry)))}: {self.what}."


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
    origin: Origin = BUILT_IN

    def rule(self, version: str | None) -> Rule:
        """Give the first rule that holds; the last one of each profile always does."""
        return next(rule for rule in self.rules if rule.holds(version))


def belongs(module: str, package: str) -> bool:
    """Tell whether `module` is `package` or lies in it: ``torch.nn`` belongs to ``torch``, ``torchvision`` does not."""
    return module == package or module.startswith(package + ".")


@dataclass(frozen=True)
class Profiles:
    """Profiles of several origins; of those that name the same module, the first one holds for it.

    Attributes:
        listed: all of them.
        problems: what was left out, and why.

    """

    listed: tuple[Profile, ...]
    problems: tuple[Problem, ...] = ()

    @cached_property
    def by_module(self) -> Mapping[str, Profile]:
        """The profile that holds for each module that is named."""
        return {module: profile for profile in reversed(self.listed) for module in profile.modules}

    @property
    def in_effect(self) -> tuple[Profile, ...]:
        """Those that hold for one of their modules at least."""
        holding = set(self.by_module.values())
        return tuple(profile for profile in self.listed if profile in holding)

    def of(self, caller: str) -> Profile | None:
        """Give the profile that names the caller or the nearest package above it."""
        while caller and caller not in self.by_module:
            caller = caller.rpartition(".")[0]
        return self.by_module.get(caller)


def make_profile(entry: Mapping[str, Any], origin: Origin) -> Profile:
    """Make a profile of a table of TOML that has the right form."""
    rules = tuple(Rule(**{**rule, "adjust": tuple(rule.get("adjust", ()))}) for rule in entry["rule"])
    rest = {key: value for key, value in entry.items() if key not in {"modules", "rule"}}
    return Profile(modules=tuple(entry["modules"]), rules=rules, origin=origin, **rest)


@cache
def load_profiles() -> tuple[Profile, ...]:
    """Read `profiles.toml`, the built-in profiles.

    Raises:
        TypeError: a key of the file is unknown or missing (the tests read the file, so a release's is sound).

    """
    return tuple(make_profile(entry, BUILT_IN) for entry in read_tables(__package__, "profiles.toml")["profile"])
