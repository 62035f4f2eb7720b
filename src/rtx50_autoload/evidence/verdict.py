"""What a device can do with a binary: judged module by module, never by the union of its architectures.

These are NVIDIA's loading rules applied to the images. That code loads does not mean that it works, and the two
heuristics named below were found on 254 libraries, not promised by anyone.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from rtx50_autoload.capability import format_capability
from rtx50_autoload.evidence.arch import Code, JitSwitches, driver_compiles, loads_on, minimum_driver
from rtx50_autoload.evidence.fatbin import Role

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from rtx50_autoload.capability import Capability
    from rtx50_autoload.evidence.arch import PtxIsa
    from rtx50_autoload.evidence.fatbin import Container, Image
    from rtx50_autoload.evidence.gpucode import GpuCode

__all__ = ["FINDINGS", "Judgement", "Outcome", "Target", "Verdict", "combine", "judge"]


class Outcome(str, enum.Enum):
    """What becomes of one module on a device."""

    NATIVE = "native"
    JIT = "jit"
    #: The driver finds nothing that it can load: error 209 at the first launch of a kernel in it.
    MISSING = "missing"
    #: Likewise, but on purpose: it holds code for single other GPUs or for one other generation only.
    OTHER_GPU = "other_gpu"


class Verdict(str, enum.Enum):
    """What becomes of a whole binary on a device."""

    #: Every module loads as SASS.
    NATIVE = "native"
    #: Every module loads, some or all of them compiled from PTX by the driver.
    JIT = "jit"
    #: Some modules load and some do not.
    PARTIAL = "partial"
    #: No module loads.
    IMPOSSIBLE = "impossible"
    #: There is GPU code, but none that is registered: the library's own code loads it.
    UNKNOWN = "unknown"
    #: The file is damaged, cut short or cannot be read.
    UNREADABLE = "unreadable"
    NO_GPU_CODE = "no_gpu_code"


#: The verdicts that are a finding: something will fail, or cannot be ruled out to.
FINDINGS: Final = frozenset({Verdict.IMPOSSIBLE, Verdict.PARTIAL, Verdict.UNREADABLE})


@dataclass(frozen=True)
class Target:
    """The device that a binary is judged against, and what decides there which images its driver loads."""

    capability: Capability
    #: Branch of the driver, 570 for "570.124.06"; None where it is not known, which rules out no PTX.
    driver: int | None = None
    switches: JitSwitches = field(default_factory=JitSwitches)


@dataclass(frozen=True)
class Judgement:
    """The verdict on one binary and what it rests on."""

    verdict: Verdict
    #: One sentence for people.
    reason: str
    modules: Mapping[Outcome, int] = field(default_factory=dict)
    #: The newest version of PTX that the device needs compiled; None where it needs none.
    newest_ptx: PtxIsa | None = None

    @property
    def driver_min(self) -> int | None:
        """The first driver branch that compiles all PTX that the device needs; None where it needs none."""
        return None if self.newest_ptx is None else minimum_driver(self.newest_ptx)

    @property
    def is_for_other_gpus(self) -> bool:
        """Whether nothing loads, and nothing was meant to."""
        return self.verdict is Verdict.IMPOSSIBLE and not self.modules.get(Outcome.MISSING)


#: Libraries with modules for single GPUs, among which their own host code picks (cuBLASLt 12.8 has 19 modules that hold
#: nothing for 12.0, cuDNN 9.10 has 50; both work there). A module that is missing beside native ones is no gap in them.
_PICKS_ITS_MODULES: Final = ("cublas", "cudnn")


def judge(code: GpuCode, target: Target, name: str = "") -> Judgement:
    """Judge a binary against a device.

    Args:
        code: what the binary holds.
        target: the device.
        name: the binary's file name, for the libraries known to pick among their modules.

    """
    if code.problem is not None:
        return Judgement(Verdict.UNREADABLE, code.problem)
    if not code.containers:
        return Judgement(Verdict.NO_GPU_CODE, "it holds no GPU code")
    relocatable = [container for container in code.containers if container.role is Role.RELOCATABLE]
    from_relocatable = _compilation(relocatable, target)
    modules = dict.fromkeys(Outcome, 0)
    newest: PtxIsa | None = None
    for container, count in code.containers.items():
        if _is_module(container, relocatable):
            linked = container.role is Role.LINKED
            outcome, isa = _outcome(
                container, from_relocatable if linked else _compilation([container], target), target
            )
            modules[outcome] += count
            newest = max(filter(None, (newest, isa)), default=None)
    return Judgement(
        _verdict(modules, picks=name.removeprefix("lib").startswith(_PICKS_ITS_MODULES)),
        _reason(modules, newest, target),
        modules,
        newest,
    )


def combine(judgements: Iterable[Judgement], target: Target) -> Judgement:
    """Judge several binaries as the one library that they make up.

    A binary with code for other GPUs only is no gap beside one that loads, as it is with modules.
    """
    with_code = [judgement for judgement in judgements if judgement.verdict is not Verdict.NO_GPU_CODE]
    judged = [judgement for judgement in with_code if not judgement.is_for_other_gpus] or with_code
    damaged = next((judgement for judgement in judged if judgement.verdict is Verdict.UNREADABLE), None)
    if damaged is not None:
        return damaged
    if not judged:
        return Judgement(Verdict.NO_GPU_CODE, "it holds no GPU code")
    modules = {outcome: sum(judgement.modules.get(outcome, 0) for judgement in judged) for outcome in Outcome}
    newest = max((judgement.newest_ptx for judgement in judged if judgement.newest_ptx is not None), default=None)
    verdicts = {judgement.verdict for judgement in judged}
    return Judgement(_verdict_of_all(verdicts), _reason(modules, newest, target), modules, newest)


def _verdict_of_all(verdicts: set[Verdict]) -> Verdict:
    if len(verdicts) == 1:
        return verdicts.pop()
    if verdicts & {Verdict.IMPOSSIBLE, Verdict.PARTIAL}:
        return Verdict.PARTIAL
    return Verdict.UNKNOWN if Verdict.UNKNOWN in verdicts else Verdict.JIT


def _is_module(container: Container, relocatable: Sequence[Container]) -> bool:
    """Whether the driver is asked for an image of this container, and a kernel is missed if it has none.

    The device linker leaves a linked container even where there was nothing to link, in every ``nvcc -shared``.
    """
    if container.empty:
        return False
    return container.role is Role.MODULE or (container.role is Role.LINKED and bool(relocatable))


class _Compilation(NamedTuple):
    """Whether the driver's JIT compiler has something to make SASS from, and the newest PTX that it has to compile."""

    possible: bool
    newest: PtxIsa | None


def _compilation(sources: Sequence[Container], target: Target) -> _Compilation:
    """Look for PTX in every source, or for SASS that needs no compiling.

    The sources are a module itself, or for linked code all the relocatable containers ("if PTX or cubin for the target
    architecture is not found for an object, then the link will fail": NVCC guide, 6.6.2).
    """
    newest: PtxIsa | None = None
    for source in sources:
        isa = _oldest_usable_ptx(source, target)
        if isa is not None:
            newest = max(isa, newest or isa)
        elif not _has_usable_sass(source, target):
            return _Compilation(possible=False, newest=None)
    return _Compilation(possible=True, newest=newest)


def _outcome(module: Container, compilation: _Compilation, target: Target) -> tuple[Outcome, PtxIsa | None]:
    """Return what becomes of a module, and the newest PTX that its loading depends on."""
    if _has_usable_sass(module, target):
        return Outcome.NATIVE, None
    if not compilation.possible:
        return (Outcome.OTHER_GPU if _is_for_other_gpus(module, target.capability) else Outcome.MISSING), None
    newest = compilation.newest
    if target.switches.disabled or (newest is not None and not driver_compiles(newest, target.driver)):
        return Outcome.MISSING, newest
    return Outcome.JIT, newest


def _loadable(container: Container, code: Code, device: Capability) -> Iterator[Image]:
    return (
        image for image in container.images if image.architecture.code is code and loads_on(image.architecture, device)
    )


def _has_usable_sass(container: Container, target: Target) -> bool:
    return not target.switches.forced and any(_loadable(container, Code.SASS, target.capability))


def _oldest_usable_ptx(container: Container, target: Target) -> PtxIsa | None:
    return min((image.isa for image in _loadable(container, Code.PTX, target.capability) if image.isa), default=None)


def _is_for_other_gpus(module: Container, device: Capability) -> bool:
    """Whether a module was written for other GPUs on purpose: only for specific ones, or for one other generation."""
    architectures = [image.architecture for image in module.images]
    if any(loads_on(architecture, device) for architecture in architectures):
        return False  # an image is there, and the environment or the driver keeps it from loading
    generations = {architecture.capability[0] for architecture in architectures}
    return all(architecture.suffix for architecture in architectures) or (
        len(generations) == 1 and device[0] not in generations
    )


def _verdict(modules: Mapping[Outcome, int], *, picks: bool) -> Verdict:
    loadable = modules[Outcome.NATIVE] + modules[Outcome.JIT]
    missing = modules[Outcome.MISSING]
    if not any(modules.values()):
        return Verdict.UNKNOWN
    if not loadable:
        return Verdict.IMPOSSIBLE
    if missing and not (picks and modules[Outcome.NATIVE]):
        return Verdict.PARTIAL
    return Verdict.JIT if modules[Outcome.JIT] else Verdict.NATIVE


_PHRASES: Final = {
    Outcome.NATIVE: "with SASS for {device}",
    Outcome.JIT: "to be compiled from PTX",
    Outcome.MISSING: "with nothing that loads on {device}",
    Outcome.OTHER_GPU: "for other GPUs only",
}


def _reason(modules: Mapping[Outcome, int], newest: PtxIsa | None, target: Target) -> str:
    if not any(modules.values()):
        return "it has GPU code, but none that it registers: its own code loads it"
    device = format_capability(target.capability)
    counted = [
        f"{count} module{'' if count == 1 else 's'} {_PHRASES[outcome].format(device=device)}"
        for outcome, count in modules.items()
        if count
    ]
    notes = [", ".join(counted)]
    if newest is not None:
        driver = minimum_driver(newest)
        notes.append(f"its PTX needs driver {driver} or later" if driver else "its PTX is newer than any known driver")
        if target.switches.disabled:
            notes.append("the environment switches PTX off (CUDA_DISABLE_PTX_JIT)")
        elif not driver_compiles(newest, target.driver):
            notes.append(f"the driver here is {target.driver}")
    if target.switches.forced:
        notes.append("the environment makes the driver ignore SASS (CUDA_FORCE_PTX_JIT)")
    return "; ".join(notes)
