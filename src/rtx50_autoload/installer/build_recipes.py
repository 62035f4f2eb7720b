"""What is known of building packages from source, read from `builds.toml`."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from rtx50_autoload.capability import format_capability, parse_capability
from rtx50_autoload.evidence.environment.topic import CudaVersion, knowledge, parse_version
from rtx50_autoload.knowledge import read_tables

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rtx50_autoload.capability import Capability

__all__ = ["BuildRecipe", "newest_compiler", "nvcc_knows", "nvcc_versions", "recipe_for"]


@dataclass(frozen=True)
class BuildRecipe:
    """How a package is built; the keys are explained in `builds.toml`."""

    package: str
    requirement: str
    #: What its build can name, oldest first.
    architectures: tuple[Capability, ...]
    memory: int
    requires: tuple[str, ...]
    source: str
    torch: str = ""
    #: Those of `architectures` whose code runs on exactly that GPU.
    exact: frozenset[Capability] = frozenset()
    ptx: bool = False
    arch_variable: str | None = None
    threads: int = 1
    threads_variable: str | None = None
    variables: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    disk: int | None = None
    core_minutes: int | None = None

    def architecture_for(self, device: Capability) -> Capability | None:
        """Give the newest code that the build can name and that a GPU runs; None where there is none."""
        return max(
            (each for each in self.architectures if each == device or (self._serves_later(each, device))), default=None
        )

    def _serves_later(self, each: Capability, device: Capability) -> bool:
        return each[0] == device[0] and each < device and each not in self.exact

    def arch_list(self, architectures: Iterable[Capability]) -> str:
        """Write TORCH_CUDA_ARCH_LIST.

        SASS of a GPU's generation is all that the GPU needs, and builds in the least time. PTX of the newest one lets
        the library run on GPUs that come later, compiled by the driver. It takes one more run of the compiler for each
        file, so it is left out where that is long, where the build cannot ask for it, and where it is for one GPU only.

        """
        texts = list(map(format_capability, sorted(set(architectures))))
        return ";".join(texts) + ("+PTX" if self.ptx else "")

    def variables_for(self, architectures: Iterable[Capability]) -> dict[str, str]:
        """Give the variables that let a build compile for these architectures."""
        listed = sorted(set(architectures))
        variables = {"TORCH_CUDA_ARCH_LIST": self.arch_list(listed), "FORCE_CUDA": "1", **self.variables}
        if self.arch_variable:
            variables[self.arch_variable] = ";".join(f"{major}{minor}" for major, minor in listed)
        return variables

    def memory_of_job(self, architectures: int) -> int:
        """Give the bytes that one job takes at most: nvcc may compile for several architectures at a time."""
        return self.memory * min(self.threads, architectures)


def recipe_for(package: str) -> BuildRecipe:
    """Give the recipe for a package, by normalised name; where there is none, the one that most builds follow."""
    recipes = _recipes()
    if package in recipes:
        return recipes[package]
    return BuildRecipe(**{**vars(recipes["*"]), "package": package, "requirement": package})


def nvcc_knows(version: CudaVersion, capability: Capability) -> bool:
    """Tell whether the nvcc of a CUDA toolkit compiles for an architecture."""
    row = next((row for row in knowledge("versions")["toolkit"] if parse_version(row["oldest"]) <= capability), None)
    if row is None:
        return False
    return parse_version(row["first"]) <= version <= parse_version(row.get("last", "99.0"))


def nvcc_versions(capabilities: Iterable[Capability]) -> CudaVersion:
    """Give the first CUDA version whose nvcc knows all these architectures."""
    rows = knowledge("versions")["toolkit"]
    return max(
        parse_version(next(row["first"] for row in rows if parse_version(row["oldest"]) <= capability))
        for capability in capabilities
    )


def newest_compiler(cuda: CudaVersion, kind: str) -> int | None:
    """Give the newest C++ compiler that an nvcc accepts; None where it is not known."""
    rows = read_tables(__package__, "builds.toml")["compiler"]
    return next((row.get(kind) for row in rows if parse_version(row["cuda"]) <= cuda), None)


@cache
def _recipes() -> dict[str, BuildRecipe]:
    return {row["package"]: _recipe(row) for row in read_tables(__package__, "builds.toml")["build"]}


def _recipe(row: Mapping[str, Any]) -> BuildRecipe:
    return BuildRecipe(
        **{
            "requirement": row["package"],
            **row,
            "architectures": tuple(map(parse_capability, row["architectures"])),
            "exact": frozenset(map(parse_capability, row.get("exact", ()))),
            "requires": tuple(row["requires"]),
        }
    )
