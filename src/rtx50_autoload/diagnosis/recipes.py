"""The fix plans as they are written down: categories, libraries and steps, read from the TOML files beside."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, Literal

from rtx50_autoload.knowledge import read_tables

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "TEXTS",
    "Build",
    "Recipe",
    "build_of",
    "load_builds",
    "load_categories",
    "load_plans",
    "load_recipes",
]

_FOLDERS_OF_PACKAGES: Final = ("site-packages", "dist-packages")
#: The texts of a step. All but `step` and `commands` may take other words where a fact holds.
TEXTS: Final = ("step", "why", "changes", "check")


@dataclass(frozen=True, slots=True)
class Recipe:
    """One step as it is written down, with placeholders; what its fields mean stands at the head of `plans.toml`."""

    id: str
    step: str
    why: str
    changes: str
    check: str
    source: str
    commands: tuple[tuple[str, ...], ...] = ()
    needs: frozenset[str] = frozenset()
    unless: frozenset[str] = frozenset()
    #: Other texts and commands, by the fact that calls for them.
    where: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def fits(self, facts: frozenset[str]) -> bool:
        """Tell whether the step belongs in a plan."""
        return self.needs <= facts and not self.unless & facts

    def texts(self, facts: frozenset[str]) -> dict[str, Any]:
        """Give the texts and the commands for these facts; of those that hold, the last one written wins."""
        texts: dict[str, Any] = {name: getattr(self, name) for name in (*TEXTS, "commands")}
        for fact, others in self.where.items():
            if fact in facts:
                texts |= others
        return texts


@dataclass(frozen=True, slots=True)
class Build:
    """How one library gets code for a GPU."""

    name: re.Pattern[str]
    #: As it is called in a sentence.
    title: str
    #: As pip calls it; None where pip does not install it.
    package: str | None
    source: str
    #: By kind of GPU, the steps where its code for the GPU is what is missing.
    steps: Mapping[str, tuple[str, ...]]
    #: The steps where it was built for another torch.
    fit: tuple[str, ...]


@cache
def load_recipes() -> Mapping[str, Recipe]:
    """Read the files in `steps`.

    Raises:
        TypeError: a key of a file is unknown or missing (the tests read the files, so a release's are sound).

    """
    names = sorted(file.name for file in files(__package__).joinpath("steps").iterdir())
    tables = [read_tables(__package__, f"steps/{name}")["step"] for name in names if name.endswith(".toml")]
    return {name: _recipe(name, entry) for table in tables for name, entry in table.items()}


@cache
def load_plans() -> Mapping[str, Mapping[str, tuple[str, ...]]]:
    """Read `plans.toml`: by category and by kind of GPU, the steps."""
    plans = read_tables(__package__, "plans.toml")["plan"]
    return {category: _lists(by_kind) for category, by_kind in plans.items()}


@cache
def load_builds() -> tuple[Build, ...]:
    """Read `builds.toml`.

    Raises:
        TypeError: a key of the file is unknown or missing (the tests read the file, so a release's is sound).

    """
    return tuple(_build(entry) for entry in read_tables(__package__, "builds.toml")["library"])


@cache
def load_categories(trait: Literal["names_gpu", "without_gpu"]) -> frozenset[str]:
    """Read from `plans.toml` which categories have a trait."""
    return frozenset(read_tables(__package__, "plans.toml")[trait])


def build_of(name: str) -> Build | None:
    """Find a library by what it is called; None where nothing is known of it.

    Args:
        name: a distribution, a module, or the path of a binary.

    """
    parts = re.split(r"[/\\]", name)
    folders = [at for at, part in enumerate(parts) if part in _FOLDERS_OF_PACKAGES]
    # Folders above those of packages are named by anyone.
    first = folders[-1] + 1 if folders else len(parts) - 1 if parts[0] in ("", ".", "~") else 0
    relevant = parts[first:]
    called = [name, *relevant, *(part.partition(".")[0] for part in relevant)]
    normalised = [re.sub(r"[^a-z0-9]+", "-", each.lower()).strip("-") for each in called]
    return next((build for each in normalised for build in load_builds() if build.name.fullmatch(each)), None)


def _recipe(name: str, entry: dict[str, Any]) -> Recipe:
    where = {fact: _with_commands(others) for fact, others in entry.pop("where", {}).items()}
    needs, unless = (frozenset(entry.pop(key, ())) for key in ("needs", "unless"))
    return Recipe(id=name, needs=needs, unless=unless, where=where, **_with_commands(entry))


def _with_commands(entry: dict[str, Any]) -> dict[str, Any]:
    if "commands" in entry:
        entry["commands"] = tuple(map(tuple, entry["commands"]))
    return entry


def _build(entry: dict[str, Any]) -> Build:
    name = re.compile(entry.pop("name"))
    steps = _lists(entry.pop("steps", {}))
    fit = tuple(entry.pop("fit", ()))
    return Build(name=name, package=entry.pop("package", None), steps=steps, fit=fit, **entry)


def _lists(by_kind: Mapping[str, list[str]]) -> Mapping[str, tuple[str, ...]]:
    return {kind: tuple(steps) for kind, steps in by_kind.items()}
