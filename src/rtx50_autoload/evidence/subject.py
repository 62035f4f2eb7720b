"""For which devices binaries are judged: those that are here, one that is asked about, or an RTX 50-series GPU."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from rtx50_autoload import settings
from rtx50_autoload.capability import format_capability
from rtx50_autoload.evidence import devices
from rtx50_autoload.evidence.arch import JitSwitches, driver_branch
from rtx50_autoload.evidence.verdict import Target

if TYPE_CHECKING:
    from rtx50_autoload.capability import Capability
    from rtx50_autoload.evidence.devices import Survey

__all__ = ["Subject", "subjects", "survey_devices"]

#: The capability of every RTX 50-series GPU, asked about where there is no device to ask.
_RTX_50: Final = (12, 0)


@dataclass(frozen=True)
class Subject:
    """A kind of device that binaries are judged for, and why that."""

    target: Target
    #: What a person calls it.
    name: str
    #: Why it is judged for, as a clause.
    reason: str

    def __str__(self) -> str:
        return f"{self.name} ({format_capability(self.target.capability)})"

    def as_json(self) -> dict[str, Any]:
        """Return the subject with plain values."""
        return {
            "name": self.name,
            "capability": format_capability(self.target.capability),
            "driver": self.target.driver,
            "reason": self.reason,
        }


def survey_devices() -> Survey:
    """Find the devices here, or those that RTX50_SIMULATE puts in their place."""
    return devices.survey(settings.load().simulate)


def subjects(survey: Survey, capability: Capability | None = None, driver: int | None = None) -> tuple[Subject, ...]:
    """Choose what to judge for: one subject for each capability, in the order of the devices.

    Args:
        survey: the devices here.
        capability: judge for this one instead.
        driver: the driver's branch to judge for; by default the one here, and for a capability that is asked for, any.

    """
    switches = JitSwitches.from_environment()
    if capability is not None:
        return (Subject(Target(capability, driver, switches), "a GPU", "as asked for"),)
    if not survey.devices:
        why = f"an RTX 50-series GPU, since there is no device: {survey.reason.rstrip('.')}"
        return (Subject(Target(_RTX_50, driver, switches), "an RTX 50-series GPU", why),)
    if driver is None and survey.driver is not None:
        with contextlib.suppress(ValueError):  # a driver of which NVML tells something else than a version
            driver = driver_branch(survey.driver)
    first = {device.capability: device for device in reversed(survey.devices)}
    return tuple(
        Subject(Target(device.capability, driver, switches), device.name, f"device {device.index}, {device.name}")
        for device in sorted(first.values(), key=lambda device: device.index)
    )
