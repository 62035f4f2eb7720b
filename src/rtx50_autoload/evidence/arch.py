"""Which GPU code loads on which device: architectures, NVIDIA's loading rules, and the driver that PTX needs.

The rules are NVIDIA's written ones. Each row of the tables below names the document it was taken from:

- ``[guide]`` CUDA Programming Guide, 5.1.2 (compute capability, architecture- and family-specific targets)
- ``[blackwell]`` Blackwell Compatibility Guide 13.0, 1.2 (application compatibility)
- ``[nvcc]`` NVCC guide, 6.6.2 (JIT linking support)
- ``[ptx]`` PTX ISA 9.3, table 62 (release history)
- ``[variables]`` CUDA Programming Guide, 5.2.2 (environment variables of the driver's JIT compiler)
"""

from __future__ import annotations

import enum
import os
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rtx50_autoload.capability import Capability

__all__ = [
    "FAMILIES",
    "LOADING_RULES",
    "PTX_DRIVERS",
    "Architecture",
    "Code",
    "JitSwitches",
    "LoadingRule",
    "PtxIsa",
    "driver_branch",
    "driver_compiles",
    "loads_on",
    "minimum_driver",
    "parse_architecture",
]

#: Version of the PTX language, ``(8, 7)`` for PTX ISA 8.7.
PtxIsa: TypeAlias = tuple[int, int]


class Code(str, enum.Enum):
    """What a piece of GPU code is; the value is the prefix of its architecture's name."""

    SASS = "sm"
    PTX = "compute"
    LTO = "lto"


class Architecture(NamedTuple):
    """What one image was compiled for, such as ``sm_90a`` or ``compute_120f``."""

    code: Code
    capability: Capability
    #: ``""``, ``"a"`` (this architecture only) or ``"f"`` (its family).
    suffix: str = ""

    def __str__(self) -> str:
        major, minor = self.capability
        return f"{self.code.value}_{major}{minor}{self.suffix}"


_NAME = re.compile(r"(sm|compute|lto)_(\d{1,2})(\d)([af]?)")


@lru_cache(maxsize=256)  # a scan meets the same few names in every file
def parse_architecture(text: str) -> Architecture:
    """Read ``"sm_90a"``, ``"compute_120f"`` or ``"lto_120"``.

    Raises:
        ValueError: the text is not the name of a GPU architecture.

    """
    match = _NAME.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a GPU architecture such as sm_120, sm_90a or compute_120f")
    code, major, minor, suffix = match.groups()
    return Architecture(Code(code), (int(major), int(minor)), suffix)


#: The devices that code for a family runs on. A family not listed is taken to hold its own device only.
#: Source: [guide] table 28; 10.1 is the name that CUDA 12.8 and 12.9 gave to what is 11.0 since CUDA 13.0 ([ptx]).
FAMILIES: Mapping[Capability, frozenset[Capability]] = {
    (10, 0): frozenset({(10, 0), (10, 3)}),
    (10, 1): frozenset({(10, 1)}),
    (10, 3): frozenset({(10, 3)}),
    (11, 0): frozenset({(11, 0)}),
    (12, 0): frozenset({(12, 0), (12, 1)}),
    (12, 1): frozenset({(12, 1)}),
}


def _same_generation(compiled_for: Capability, device: Capability) -> bool:
    return compiled_for[0] == device[0] and compiled_for[1] <= device[1]


def _exact(compiled_for: Capability, device: Capability) -> bool:
    return compiled_for == device


def _family(compiled_for: Capability, device: Capability) -> bool:
    return device in FAMILIES.get(compiled_for, {compiled_for})


def _later(compiled_for: Capability, device: Capability) -> bool:
    return compiled_for <= device


def _never(_compiled_for: Capability, _device: Capability) -> bool:
    return False


@dataclass(frozen=True)
class LoadingRule:
    """On which devices one kind of code loads, and who says so."""

    #: Called with what the code was compiled for and the device's capability.
    loads: Callable[[Capability, Capability], bool]
    statement: str
    source: str


#: By kind of code and suffix. NVIDIA promises the first rule for desktop and data-centre GPUs, not between them and
#: Jetson modules (8.7, 11.0); it is applied to those as well, since the code itself does not tell them apart.
LOADING_RULES: Mapping[tuple[Code, str], LoadingRule] = {
    (Code.SASS, ""): LoadingRule(_same_generation, "the same major version, the same or a later minor", "[blackwell]"),
    (Code.SASS, "a"): LoadingRule(_exact, "exactly this capability", "[guide] 5.1.2.2"),
    (Code.SASS, "f"): LoadingRule(_family, "the devices of this family", "[guide] 5.1.2.3, table 28"),
    (Code.PTX, ""): LoadingRule(_later, "this and every later capability", "[blackwell], [guide] 5.1.2.1"),
    (Code.PTX, "a"): LoadingRule(_exact, "exactly this capability", "[blackwell], [guide] 5.1.2.2"),
    (Code.PTX, "f"): LoadingRule(_family, "the devices of this family", "[guide] 5.1.2.3, table 28"),
    (Code.LTO, ""): LoadingRule(_never, "only through nvJitLink, never by itself", "[nvcc]"),
    (Code.LTO, "a"): LoadingRule(_never, "only through nvJitLink, never by itself", "[nvcc]"),
    (Code.LTO, "f"): LoadingRule(_never, "only through nvJitLink, never by itself", "[nvcc]"),
}


@lru_cache(maxsize=4096)  # pure, and asked once per image
def loads_on(architecture: Architecture, device: Capability) -> bool:
    """Whether the rules let code for `architecture` run on a device of capability `device`, driver aside."""
    rule = LOADING_RULES[architecture.code, architecture.suffix]
    return rule.loads(architecture.capability, device)


#: The first driver branch that compiles a PTX version, oldest first. Source: [ptx]; where two releases share a PTX
#: version (8.5 is that of CUDA 12.5 and 12.6) the first counts.
PTX_DRIVERS: Mapping[PtxIsa, int] = {
    (3, 2): 319,
    (4, 0): 331,
    (4, 1): 340,
    (4, 2): 346,
    (4, 3): 352,
    (5, 0): 361,
    (6, 0): 384,
    (6, 1): 387,
    (6, 2): 396,
    (6, 3): 400,
    (6, 4): 418,
    (6, 5): 440,
    (7, 0): 445,
    (7, 1): 455,
    (7, 2): 460,
    (7, 3): 465,
    (7, 4): 470,
    (7, 5): 495,
    (7, 6): 510,
    (7, 7): 515,
    (7, 8): 520,
    (8, 0): 525,
    (8, 1): 530,
    (8, 2): 535,
    (8, 3): 545,
    (8, 4): 550,
    (8, 5): 555,
    (8, 6): 565,
    (8, 7): 570,
    (8, 8): 575,
    (9, 0): 580,
    (9, 1): 590,
    (9, 2): 595,
    (9, 3): 610,
}

_NEWEST_KNOWN_DRIVER = max(PTX_DRIVERS.values())


def minimum_driver(isa: PtxIsa) -> int | None:
    """Return the first driver branch (570 for "R570") that compiles this PTX version; None where it is not known.

    Not known are versions newer than the table. A version between two known ones needs the later one's driver.
    """
    return next((driver for known, driver in PTX_DRIVERS.items() if known >= isa), None)


def driver_compiles(isa: PtxIsa, branch: int | None) -> bool:
    """Whether a driver of this branch compiles this PTX version; a driver that is not known is taken to.

    PTX newer than the table needs a driver newer than the table.
    """
    if branch is None:
        return True
    needed = minimum_driver(isa)
    return branch > _NEWEST_KNOWN_DRIVER if needed is None else branch >= needed


_DRIVER = re.compile(r"(\d{3,4})(\.\d+)*")


def driver_branch(version: str) -> int:
    """Return the branch of a driver version: 570 for ``"570.124.06"``.

    Raises:
        ValueError: the text is not a version of NVIDIA's driver.

    """
    match = _DRIVER.fullmatch(version.strip())
    if match is None:
        raise ValueError(f"{version!r} is not an NVIDIA driver version such as 570.124.06")
    return int(match[1])


_DISABLING = ("CUDA_DISABLE_PTX_JIT", "CUDA_DISABLE_JIT")
_FORCING = ("CUDA_FORCE_PTX_JIT", "CUDA_FORCE_JIT")


@dataclass(frozen=True)
class JitSwitches:
    """What the environment tells the driver's JIT compiler ([variables])."""

    #: Only SASS is loaded; PTX is not compiled (error 223, cudaErrorJitCompilationDisabled).
    disabled: bool = False
    #: SASS is ignored; what holds no PTX fails with error 209, cudaErrorNoKernelImageForDevice.
    forced: bool = False

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> JitSwitches:
        """Read the switches of `environment`, of this process by default."""
        variables = os.environ if environment is None else environment

        def is_set(names: tuple[str, ...]) -> bool:
            return any(variables.get(name) == "1" for name in names)

        return cls(disabled=is_set(_DISABLING), forced=is_set(_FORCING))
