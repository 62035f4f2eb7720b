"""Which GPUs CUDA shows to a process, and in which order: ``CUDA_VISIBLE_DEVICES`` and ``CUDA_DEVICE_ORDER``.

The rules are those of the CUDA programming guide ("CUDA Environment Variables") and of NVIDIA's MIG user guide. Where
these are silent, the driver itself was asked, version 580.159.04 with two H200 outside MIG mode: its answers stand in
tests/test_visibility.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rtx50_autoload.evidence.gpu import Gpu, MigInstance

__all__ = ["ShownGpu", "View", "view"]

_ORDERS = ("FASTEST_FIRST", "PCI_BUS_ID")
_UUID_PREFIXES = ("GPU-", "MIG-")
_UUID_DIGITS = 32

_NUMBER = re.compile(r"\s*([+-]?[0-9]+)")
_UUID = re.compile(r"(?:GPU|MIG)-([0-9A-Fa-f-]+)(.*)", re.DOTALL)
# How drivers before 470 name a part of a GPU; later ones still understand it.
_INSTANCE_PATH = re.compile(r"MIG-(GPU-[0-9A-Fa-f-]+)/([0-9]+)/([0-9]+)")


@dataclass(frozen=True, slots=True)
class ShownGpu:
    """A GPU, or one part of it, as a CUDA device."""

    gpu: Gpu
    #: The part that the device is; None is the whole GPU, or a GPU in MIG mode that has no parts.
    instance: MigInstance | None


@dataclass(frozen=True, slots=True)
class View:
    """What CUDA shows."""

    #: In CUDA's order: the position is the device's index.
    shown: tuple[ShownGpu, ...]
    #: Why it is not simply every GPU, as clauses without full stops.
    notes: tuple[str, ...]


def view(gpus: Sequence[Gpu], environ: Mapping[str, str]) -> View:
    """Return the CUDA devices that a process with these environment variables would see.

    CUDA reads the variables once, when it is initialised: a later change shows here but not in CUDA.
    """
    order = environ.get("CUDA_DEVICE_ORDER")
    if order is not None and order not in _ORDERS:
        # cuInit returns CUDA_ERROR_INVALID_DEVICE, also for the empty text and for lower case.
        return View((), (f"CUDA_DEVICE_ORDER={order!r} is neither {' nor '.join(_ORDERS)}, so CUDA shows none",))
    by_bus = sorted(gpus, key=lambda gpu: gpu.bus_id or "")
    ordered = by_bus if order == "PCI_BUS_ID" else _fastest_first(by_bus)
    mask = environ.get("CUDA_VISIBLE_DEVICES")
    notes: list[str] = []
    # Named by UUID, GPUs have no order but the mask's.
    if ordered != by_bus and not (mask or "").startswith(_UUID_PREFIXES):
        notes.append("their capabilities differ and CUDA_DEVICE_ORDER is not PCI_BUS_ID, so the numbering is a guess")
    if mask is None:
        chosen = [_as_shown(gpu) for gpu in ordered]
    else:
        chosen, note = _masked(mask, ordered)
        notes.append(note)
    shown, mig_notes = _with_one_instance(chosen)
    return View(shown, (*notes, *mig_notes))


def _fastest_first(by_bus: list[Gpu]) -> list[Gpu]:
    """Guess the default order: what CUDA believes fastest comes first, the others in an order not stated anywhere."""
    fastest = max(by_bus, key=lambda gpu: gpu.capability, default=None)
    return sorted(by_bus, key=lambda gpu: gpu is not fastest)


def _masked(mask: str, ordered: list[Gpu]) -> tuple[list[ShownGpu], str]:
    entries = mask.split(",")
    # The first entry decides how all are read: 0,GPU-… is a list of numbers that ends behind 0.
    find = _by_uuid if mask.startswith(_UUID_PREFIXES) else _by_number
    chosen: list[ShownGpu] = []
    for entry in entries:
        found = find(entry, ordered)
        if found is None:
            break
        if found in chosen:
            return [], f"CUDA_VISIBLE_DEVICES={mask!r} names a device twice, so CUDA shows none"
        chosen.append(found)
    if not chosen:
        return [], f"CUDA_VISIBLE_DEVICES={mask!r} hides them all"
    return chosen, f"CUDA_VISIBLE_DEVICES={mask!r} shows {len(chosen)} of them"


def _by_number(entry: str, ordered: list[Gpu]) -> ShownGpu | None:
    match = _NUMBER.match(entry)
    return _as_shown(ordered[int(match[1])]) if match and 0 <= int(match[1]) < len(ordered) else None


def _by_uuid(entry: str, gpus: list[Gpu]) -> ShownGpu | None:
    path = _INSTANCE_PATH.fullmatch(entry)
    if path:
        ids = (int(path[2]), int(path[3]))
        candidates = [
            (gpu.uuid, ShownGpu(gpu, part))
            for gpu in gpus
            for part in gpu.instances or ()
            if (part.gpu_instance, part.compute_instance) == ids
        ]
        return _only_match(path[1], candidates)
    if entry.startswith("GPU-"):
        return _only_match(entry, [(gpu.uuid, _as_shown(gpu)) for gpu in gpus])
    parts = [(part.uuid, ShownGpu(gpu, part)) for gpu in gpus for part in gpu.instances or ()]
    # The driver finds a whole GPU under MIG- too.
    return _only_match(entry, parts + [(gpu.uuid, _as_shown(gpu)) for gpu in gpus if gpu.instances is None])


def _only_match(entry: str, candidates: list[tuple[str | None, ShownGpu]]) -> ShownGpu | None:
    """Return the candidate whose UUID alone begins as the entry does; case and dashes do not count."""
    match = _UUID.fullmatch(entry)
    if match is None:
        return None
    digits = _digits(match[1])
    # What follows a full UUID is ignored; behind an abbreviated one it makes the entry invalid.
    if match[2] and len(digits) < _UUID_DIGITS:
        return None
    found = [shown for uuid, shown in candidates if uuid and _digits(uuid[4:]).startswith(digits[:_UUID_DIGITS])]
    return found[0] if len(found) == 1 else None


def _digits(text: str) -> str:
    return text.replace("-", "").lower()


def _as_shown(gpu: Gpu) -> ShownGpu:
    return ShownGpu(gpu, gpu.instances[0] if gpu.instances else None)


def _with_one_instance(chosen: list[ShownGpu]) -> tuple[tuple[ShownGpu, ...], tuple[str, ...]]:
    """Apply MIG's rules: a GPU in MIG mode without parts is no device, and one part hides all other devices."""
    for shown in chosen:
        if shown.instance is not None:
            return (shown,), ("MIG mode is on, where CUDA shows one instance and nothing beside it",)
    whole = tuple(shown for shown in chosen if shown.gpu.instances is None)
    return whole, () if len(whole) == len(chosen) else ("a GPU in MIG mode without instances is no CUDA device",)
