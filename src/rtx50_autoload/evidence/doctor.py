"""The examination of an environment: devices, libraries, and what follows from both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from rtx50_autoload import __version__
from rtx50_autoload.evidence.environment import examination
from rtx50_autoload.evidence.finding import Severity
from rtx50_autoload.evidence.inventory import take_inventory
from rtx50_autoload.evidence.library_findings import library_findings
from rtx50_autoload.evidence.probe_findings import findings as probe_findings
from rtx50_autoload.evidence.subject import subjects, survey_devices

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rtx50_autoload.capability import Capability
    from rtx50_autoload.evidence.devices import Survey
    from rtx50_autoload.evidence.finding import Finding
    from rtx50_autoload.evidence.imagecache import ImageCache
    from rtx50_autoload.evidence.inventory import Inventory, Reader
    from rtx50_autoload.evidence.probe_report import ProbeReport
    from rtx50_autoload.evidence.subject import Subject

__all__ = ["Examination", "examine"]


#: Findings about libraries, and those about the environment that say the same with the very command that helps.
_SAID_BETTER: Final = {
    "torch-no-gpu-code": frozenset({"torch-cpu-only", "torch-for-amd"}),
    "torch-impossible": frozenset({"torch-cuda-too-old"}),
}


@dataclass(frozen=True)
class Examination:
    """What was found out about this environment."""

    survey: Survey
    #: What the libraries were judged for.
    subjects: tuple[Subject, ...]
    inventory: Inventory
    #: Driver, CUDA libraries, toolkit, versions, Python and the machine, by topic; values that JSON knows.
    environment: Mapping[str, Mapping[str, Any]]
    #: The most important first.
    findings: tuple[Finding, ...]
    #: What was computed on a GPU; None where that was not asked for.
    probes: ProbeReport | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return all(finding.severity is Severity.INFO for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """Return what ``doctor --json`` prints."""
        return {
            "rtx50_autoload": __version__,
            "devices": [device.as_json() for device in self.survey.devices],
            "device_reason": self.survey.reason,
            "driver": self.survey.driver,
            "judged_for": [subject.as_json() for subject in self.subjects],
            "libraries": [library.as_json() for library in self.inventory.libraries],
            "others": self.inventory.others,
            "environment": self.environment,
            "findings": [finding.as_json() for finding in self.findings],
            "probes": None if self.probes is None else self.probes.as_json(),
            "ok": self.ok,
        }


def examine(
    device: Capability | None = None,
    driver: int | None = None,
    cache: ImageCache | None = None,
    reader: Reader = iter,
    probes: ProbeReport | None = None,
) -> Examination:
    """Examine this environment; CUDA is not initialised, and no library imported.

    Args:
        device: judge for this capability rather than for the devices here.
        driver: the driver's branch to judge for, by default the one here.
        cache: where to look first for what binaries hold; it is saved.
        reader: goes through the binaries while they are read.
        probes: what was computed on a GPU, if anything.

    """
    survey = survey_devices()
    judged_for = subjects(survey, device, driver)
    inventory = take_inventory(judged_for, cache, reader)
    surroundings = examination.examine(survey)
    said = {finding.id for finding in surroundings.findings}
    found = [
        *(one for one in library_findings(inventory.libraries) if said.isdisjoint(_SAID_BETTER.get(one.id, ()))),
        *surroundings.findings,
        *(probe_findings(probes) if probes is not None else ()),
    ]
    found.sort(key=lambda finding: list(Severity).index(finding.severity))
    return Examination(survey, judged_for, inventory, surroundings.facts, tuple(found), probes)
