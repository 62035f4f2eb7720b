"""What is on, who is told what, and why: the answer of `rtx50-autoload status` and of `rtx50_autoload.status()`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import _rtx50_autoload_importlib_bootstrap as hook

from . import settings as settings_module
from .activation import current
from .autoloader import Autoloader
from .errors import NoSuchDeviceError
from .evidence.installations import installations
from .evidence.startup import second_door_present, startup_files
from .masquerading.adjustments import ADJUSTMENTS
from .masquerading.known_profiles import known_profiles, problems_so_far

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .capability import Capability
    from .masquerading.policy import Decision

__all__ = ["decisions_for", "status", "true_capability"]


def true_capability(device: int | None = None) -> Capability | None:
    """Give a device's true compute capability, without initialising CUDA.

    Args:
        device: its index as CUDA counts; the first one where None.

    Returns:
        the capability as ``(major, minor)``; None where no device can be seen.

    Raises:
        NoSuchDeviceError: devices are there, but none of this index.

    """
    loader = current() or Autoloader()
    devices = loader.survey.devices
    if not devices:
        return None
    for candidate in devices:
        if candidate.index == (device or 0):
            return candidate.capability
    raise NoSuchDeviceError(device or 0, len(devices))


def decisions_for(callers: Iterable[str]) -> dict[str, tuple[Capability, Decision]]:
    """Give what each caller is told of the first device, which is the device's true capability and the decision."""
    loader = current() or Autoloader()
    capability = loader.survey.devices[0].capability
    return {caller: (capability, loader.policy.decide(caller, capability)) for caller in callers}


def status() -> dict[str, Any]:
    """Give the state of this process, with plain values that `json.dumps` takes.

    Before torch has been imported it says what would happen at the import. CUDA is never initialised for it.

    Returns:
        a mapping with the keys `active`, `reason`, `door`, `mode`, `prefix`, `installations`,
        `startup_files`, `devices`, `device_reason`, `callers`, `adjustments`, `stand_ins`, `patches`, `error_hooks`,
        `problems`, `failed_imports`, `faults` and `settings`. The first of the installations is the one in use. A
        capability is a list ``[major, minor]``; `reported` of a caller is None where it is told the truth.

    """
    loader = current()
    acted = loader is not None
    if loader is None:
        loader = Autoloader()
    door = _door()
    off = _why_off(loader, door)
    survey = loader.survey
    installed = installations()
    return {
        "active": off is None,
        "reason": off or _what_happens(loader),
        "door": door,
        "mode": loader.settings.mode,
        "prefix": sys.prefix,
        "installations": [
            {
                "path": str(each.info),
                "version": each.version,
                "editable": None if each.source is None else str(each.source),
            }
            for each in installed
        ],
        "startup_files": [
            {"path": str(file.path), "present": file.present, "matches_record": file.matches_record}
            for file in startup_files(installed)
        ],
        "devices": [device.as_json() for device in survey.devices],
        "device_reason": survey.reason,
        "callers": _callers(loader) if off is None else [],
        "adjustments": _adjustments(loader) if off is None else [],
        "stand_ins": loader.rescue.report() if off is None else [],
        "patches": [*loader.patches.report(), *loader.rescue.patches.report()] if acted else [],
        "error_hooks": loader.error_hooks.installed,
        "problems": [*loader.settings.problems, *map(str, problems_so_far())],
        "failed_imports": dict(loader.failures),
        "faults": [f"{type(fault).__name__}: {fault}" for fault in hook.faults],
        "settings": settings_module.as_dict(loader.settings),
    }


def _door() -> str | None:
    if hook.door is not None:
        return hook.door
    # torch calls its entry points itself unless this variable says no (torch >= 2.5).
    if os.environ.get("TORCH_DEVICE_BACKEND_AUTOLOAD", "1") == "1" and not hook.disabled() and second_door_present():
        return "torch.backends"
    return None


def _why_off(loader: Autoloader, door: str | None) -> str | None:
    if hook.disabled():
        return "RTX50_DISABLE is set in the environment: unset it to switch the package on"
    if loader.settings.disable:
        source = loader.settings.sources["disable"]
        return f"switched off by {source}: `rtx50-autoload enable` brings it back"
    if door is None:
        return (
            "no start-up file was run by this Python (it was started with -S, or the package is not installed in it): "
            "install rtx50-autoload with pip into the environment that runs your program"
        )
    return None


def _what_happens(loader: Autoloader) -> str:
    survey = loader.survey
    if loader.settings.mode == "observe":
        return "RTX50_MODE=observe: everyone is told the truth"
    if not survey.devices:
        return "nobody is told anything but the truth, for no device can be seen"
    if not loader.needed(survey.devices):
        return f"everyone is told the truth: no device here matches {loader.settings.masquerade} (RTX50_MASQUERADE)"
    return "some callers are told another capability than the true one, for the reasons given with each"


def _callers(loader: Autoloader) -> list[dict[str, Any]]:
    """Give each library of the profiles and of RTX50_CALLERS, then each caller that has asked, for each device kind."""
    capabilities = {device.capability: None for device in loader.survey.devices}
    known = [module for profile in known_profiles().listed for module in profile.modules]
    rows = {
        (caller, capability): loader.policy.decide(caller, capability)
        for capability in capabilities
        for caller in (*loader.settings.callers, *known)
    }
    rows.update(
        {(str(caller), capability): decision for (caller, capability), decision in loader.decisions.copy().items()}
    )
    return [_row(caller, capability, decision) for (caller, capability), decision in rows.items()]


def _row(caller: str, capability: Capability, decision: Decision) -> dict[str, Any]:
    return {
        "caller": caller,
        "device": list(capability),
        "reported": None if decision.reported is None else list(decision.reported),
        "reason": decision.reason,
    }


def _adjustments(loader: Autoloader) -> list[dict[str, str]]:
    if not loader.needed(loader.survey.devices):
        return []
    return [
        {
            "library": library,
            "what": ADJUSTMENTS[name].what,
            "state": loader.applied.get(name, f"when {ADJUSTMENTS[name].module} is imported"),
        }
        for name, library in loader.policy.adjustments().items()
    ]
