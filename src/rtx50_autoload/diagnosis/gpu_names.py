"""GPUs by the names that people and drivers write, read from `gpu_names.toml`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

from rtx50_autoload.capability import Capability, parse_capability
from rtx50_autoload.diagnosis.normalise import lowered
from rtx50_autoload.diagnosis.situation import Gpu, Vendor
from rtx50_autoload.knowledge import read_tables

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["find_gpus", "load_gpu_names"]


#: What makes a name one of a GPU in any text, in it or before it: ``T4`` and ``A100`` alone stand for other things too.
_SERIES: Final = re.compile(
    r"rtx|gtx|titan|quadro|tesla|geforce|radeon|\brx|instinct|intel|apple|jetson|gb10|dgx|\bgfx|ascend"
)
_BEFORE: Final = re.compile(r"(?:nvidia|tesla|geforce|gpu ?\d{0,2}:?|device \d{1,2}:) ?(?:tesla |graphics )?$")


@dataclass(frozen=True, slots=True)
class GpuName:
    """One family of names; what its fields mean stands at the head of the file."""

    pattern: re.Pattern[str]
    vendor: Vendor
    capability: Capability | None
    bare: bool


@cache
def load_gpu_names() -> tuple[GpuName, ...]:
    """Read `gpu_names.toml` (the tests read the file, so a release's is sound)."""
    return tuple(
        GpuName(
            re.compile(entry["pattern"]),
            entry["vendor"],
            parse_capability(entry["capability"]) if "capability" in entry else None,
            entry.get("bare", False),
        )
        for entry in read_tables(__package__, "gpu_names.toml")["gpu"]
    )


def find_gpus(text: str, *, bare: bool = False) -> tuple[Gpu, ...]:
    """Find the GPUs that a text names, in its order, each once.

    Args:
        text: a GPU's name, or a text that may hold some.
        bare: whether a GPU's name is expected, so that ``5060 Ti`` is one.

    """
    found = {gpu.name: gpu for _, gpu in sorted(_matches(text, bare=bare), key=lambda match: match[0])}
    return tuple(found.values())


def _matches(text: str, *, bare: bool) -> Iterator[tuple[int, Gpu]]:
    lower = lowered(text)
    taken: list[tuple[int, int]] = []
    for name in load_gpu_names():
        if name.bare and not bare:
            continue
        for match in name.pattern.finditer(lower):
            start, end = match.span()
            if not bare and not (_SERIES.search(match[0]) or _BEFORE.search(lower, max(start - 16, 0), start)):
                continue
            if all(end <= first or last <= start for first, last in taken):
                taken.append((start, end))
                yield start, Gpu(text[start:end].strip(), name.capability, name.vendor)
