"""What a chosen torch needs beside wheels, what has no build for it, and what is known to go wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rtx50_autoload.evidence.environment.topic import BLACKWELL
from rtx50_autoload.installer import reasons
from rtx50_autoload.installer.family import FAMILY, fits
from rtx50_autoload.knowledge import within

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rtx50_autoload.installer.candidates import Candidate
    from rtx50_autoload.installer.plan import Goal

__all__ = ["Remark", "builds", "cautions", "left_out"]


@dataclass(frozen=True, slots=True)
class Remark:
    """A package that needs something else than a wheel, and why."""

    package: str
    #: The version that would be built, where one is known.
    version: str | None
    #: In one sentence.
    why: str


def builds(chosen: Candidate, goals: Sequence[Goal]) -> Iterator[Remark]:
    """Give what has to be built from source: what is asked for, and what does not fit as it is."""
    setting = chosen.setting
    kinds = {goal.package: goal.kind for goal in goals}
    rows = {row["package"]: row for row in setting.facts.tables["source-build"]}
    sources = {name: row["version"] for name, row in rows.items()}
    newest = max(gpu.capability for gpu in chosen.serves if gpu.capability)
    for name in dict.fromkeys(["xformers", *sources, *kinds]):
        package = setting.machine.packages.get(name)
        if kinds.get(name) == "build":
            yield Remark(name, sources.get(name), f"{name} is to be built for {reasons.named(setting)}.")
        elif name in chosen.missing and name == "xformers":
            yield Remark(name, None, f"There is no wheel of xformers for {reasons.named(setting)} here.")
        elif name in sources and package and not fits(name, package, setting):
            yield Remark(name, sources[name], f"{name} {package} was not built for {reasons.named(setting)}.")
        elif (
            name in sources
            and package
            and newest[0] >= BLACKWELL
            and within(package.version, f"<{rows[name]['first']}")
        ):
            yield Remark(
                name, sources[name], f"{name} {package} is older than the RTX 50 series and holds no code for it."
            )
        elif name in sources and name in kinds and package is None:
            yield Remark(name, sources[name], f"PyPI has the source of {name} only.")


def left_out(chosen: Candidate, goals: Sequence[Goal]) -> Iterator[Remark]:
    """Give what is wanted and has no build for the chosen torch, or of which nothing is known."""
    setting = chosen.setting
    for name in chosen.missing:
        if name != "xformers":
            why = f"No {name} is known for {reasons.named(setting)} and Python {setting.machine.python}."
            yield Remark(name, None, why)
    known = {"torch", *FAMILY, *(row["package"] for row in setting.facts.tables["source-build"])}
    for goal in goals:
        if goal.kind == "run" and goal.package not in (*known, *setting.machine.packages):
            yield Remark(goal.package, None, f"Nothing is known of {goal.package}; install it once torch is right.")


def cautions(chosen: Candidate) -> Iterator[str]:
    """Say what is known to go wrong with what is installed or would be."""
    versions = {name: package.version for name, package in chosen.setting.machine.packages.items()}
    versions.update({pin.package: pin.version for pin in chosen.pins})
    newest = max(gpu.capability for gpu in chosen.serves if gpu.capability)
    for row in chosen.setting.facts.tables["known-bad"]:
        version = versions.get(row["package"])
        if version and within(version, row["version"]) and newest[0] >= row.get("capability", 0):
            yield f"{row['package']} {version}: {row['what']}."
