"""What the conditions of `signatures.toml` compare: facts of the machine, and numbers that a text holds."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from rtx50_autoload.diagnosis.conditions import FAMILIES, capability_number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rtx50_autoload.diagnosis.conditions import Value
    from rtx50_autoload.diagnosis.situation import Situation

__all__ = ["facts_of", "numbers_in"]

#: torch's newer list gives each architecture a line: ``- 8.0 which supports hardware CC >=8.0,<9.0 except {8.7}``.
_LISTED: Final = re.compile(r"(\d{1,2}\.\d) which supports")
_ARCHS: Final = re.compile(r"\d{1,2}\.\d|\d{2,4}")


def facts_of(situation: Situation) -> dict[str, Value]:
    """Give what is known of the machine, by the names of `conditions.SUBJECTS`."""
    gpus = situation.gpus or ()
    device = next((gpu.capability for gpu in gpus if gpu.capability), None)
    vendors = {gpu.vendor for gpu in gpus if gpu.vendor}
    vendor = "nvidia" if "nvidia" in vendors else next(iter(sorted(vendors)), None)
    found: dict[str, Value | None] = {
        "device": device,
        "vendor": vendor,
        "system": situation.system,
        "torch": _release(situation.torch),
        "variant": situation.torch_variant,
        "toolkit": _release(situation.cuda_toolkit),
        "driver": _release(situation.driver),
        "python": _release(situation.python_version),
    }
    return {name: value for name, value in found.items() if value is not None}


def _release(version: str | None) -> tuple[int, ...] | None:
    match = re.match(r"\d+(?:\.\d+)*", version or "")
    return tuple(int(part) for part in match[0].split(".")[:2]) if match else None


def numbers_in(values: Mapping[str, str]) -> dict[str, Value]:
    """Read the numbers that a signature took from the text."""
    found: dict[str, Value] = {}
    for name, text in values.items():
        if name in {"arch", "low", "high"}:
            capability = capability_number(re.sub(r"[,\s]+", ".", text.strip("() ")))
            if capability is not None:
                found[name] = capability
        elif name == "family":
            found["low"] = FAMILIES[text.lower()]
        elif name == "archs":
            archs = [capability_number(number) for number in _LISTED.findall(text) or _ARCHS.findall(text)]
            if archs:
                found[name] = tuple(arch for arch in archs if arch is not None)
        elif name in {"limit", "required"} and text.isdecimal():
            found[name] = (int(text),)
        elif name == "device":
            capability = capability_number(text)
            if capability is not None:
                found["printed"] = capability
    return found
