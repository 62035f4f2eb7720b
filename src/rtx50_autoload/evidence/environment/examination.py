"""What surrounds the GPU code: driver, CUDA libraries, toolkit, variables, versions, Python, the machine.

Nothing is changed, imported or sent; programs are asked for their version only, each within a time limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rtx50_autoload.evidence.environment import (
    architectures,
    compiler,
    container,
    driver,
    host,
    predecessor,
    python,
    runtime_libraries,
    toolkit,
    variables,
    versions,
    wsl,
)
from rtx50_autoload.evidence.environment.place import Place
from rtx50_autoload.evidence.environment.stack import Stack, read_stack
from rtx50_autoload.evidence.environment.topic import Examined, Given
from rtx50_autoload.evidence.finding import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rtx50_autoload.evidence.devices import Survey

__all__ = ["TOPICS", "Environment", "Place", "examine", "facts", "findings"]

#: In the order of reports.
TOPICS: Mapping[str, Callable[[Given], Examined]] = {
    "driver": driver.examine,
    "container": container.examine,
    "wsl": wsl.examine,
    "versions": versions.examine,
    "runtime_libraries": runtime_libraries.examine,
    "python": python.examine,
    "variables": variables.examine,
    "predecessor": predecessor.examine,
    "architectures": architectures.examine,
    "toolkit": toolkit.examine,
    "compiler": compiler.examine,
    "host": host.examine,
}

_SEVERITIES = list(Severity)


@dataclass(frozen=True)
class Environment:
    """What was found."""

    #: The gravest first, otherwise in the order of the topics.
    findings: tuple[Finding, ...]
    #: By topic; values that JSON knows.
    facts: Mapping[str, Mapping[str, Any]]


def examine(survey: Survey, place: Place | None = None) -> Environment:
    """Look at everything once. Nothing is raised: a topic that fails is a finding, and the others go on.

    Args:
        survey: the devices to judge for.
        place: where to look, by default at the machine and the interpreter that run this.

    """
    place = place or Place.here()
    found: list[Finding] = []
    known: dict[str, Mapping[str, Any]] = {}
    try:
        stack = read_stack(place)
    except Exception as error:  # noqa: BLE001 - metadata is written by anyone's build tool
        stack = Stack({}, None, (), readable=False)
        found.append(_fault("packages", error))
    given = Given(survey, place, stack)
    for name, look in TOPICS.items():
        examined = _guarded(name, look, given)
        found += examined.findings
        known[name] = examined.facts
    return Environment(tuple(sorted(found, key=lambda finding: _SEVERITIES.index(finding.severity))), known)


def findings(survey: Survey, place: Place | None = None) -> list[Finding]:
    """Give what is wrong or worth knowing; see `examine`."""
    return list(examine(survey, place).findings)


def facts(survey: Survey, place: Place | None = None) -> dict[str, Mapping[str, Any]]:
    """Give versions, paths and numbers by topic; see `examine`."""
    return dict(examine(survey, place).facts)


def _guarded(name: str, look: Callable[[Given], Examined], given: Given) -> Examined:
    try:
        return look(given)
    except Exception as error:  # noqa: BLE001 - the machine may hold anything; the other topics are worth as much
        return Examined((_fault(name, error),))


def _fault(topic: str, error: Exception) -> Finding:
    return Finding(
        id="not-examined",
        severity=Severity.INFO,
        what=f"This part of the environment could not be looked at: {topic.replace('_', ' ')}.",
        why=f"{type(error).__name__}: {error}",
        next="Please report it with this text; the other findings hold.",
    )
