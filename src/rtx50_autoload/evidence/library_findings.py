"""What follows from the verdicts on the libraries, for a person: what fails, why, and what to do next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rtx50_autoload.capability import format_capability
from rtx50_autoload.evidence.arch import Architecture, Code, loads_on
from rtx50_autoload.evidence.finding import Finding, Severity
from rtx50_autoload.evidence.installed import normalised
from rtx50_autoload.evidence.libraries import facts_about
from rtx50_autoload.evidence.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rtx50_autoload.evidence.assessment import Assessment
    from rtx50_autoload.evidence.inventory import Library

__all__ = ["library_findings"]


@dataclass(frozen=True)
class _Case:
    """How a verdict is put to a person; `{library}` and `{device}` are filled in."""

    severity: Severity
    what: str
    #: What it causes.
    effect: str


_CASES: Final = {
    Verdict.IMPOSSIBLE: _Case(
        Severity.ERROR,
        "{library} cannot run on {device}.",
        "Everything in it that computes on this GPU fails.",
    ),
    Verdict.PARTIAL: _Case(
        Severity.WARNING,
        "{library} runs only in part on {device}.",
        "Some of its GPU code does not run on this GPU, and fails when it is called.",
    ),
    Verdict.UNREADABLE: _Case(
        Severity.ERROR,
        "{library} is damaged: one of its files cannot be read.",
        "A cut download or a full disk leaves such a file; importing it fails, or crashes.",
    ),
    Verdict.NO_GPU_CODE: _Case(
        Severity.ERROR,
        "{library} is a build without code for NVIDIA GPUs.",
        "It cannot use one, whatever GPU is in the machine.",
    ),
}


#: What a partial verdict comes to where the library chooses among its modules.
_PICKS_MODULES: Final = _Case(
    Severity.INFO,
    "{library} holds modules without code for {device}, beside others that have it.",
    "It chooses among its modules by the GPU, so this need not be a fault.",
)


def library_findings(libraries: Iterable[Library]) -> Iterator[Finding]:
    """Yield a finding for every library that does not run, on some device or at all, and for what answers instead."""
    libraries = list(libraries)
    torch = next((library for library in libraries if library.name == "torch"), None)
    for library in libraries:
        verdict = library.worst.judgement.verdict
        case = _CASES.get(verdict)
        if case is None or library.idle is not None:
            continue
        if verdict is Verdict.PARTIAL and facts_about(library.name).picks_modules:
            case = _PICKS_MODULES
        affected = [one for one in library.assessments if one.judgement.verdict is verdict]
        devices = " and ".join(str(one.subject) for one in affected)
        yield Finding(
            f"{normalised(library.name)}-{verdict.value.replace('_', '-')}",
            case.severity,
            case.what.format(library=library, device=devices),
            case.effect + _evidence(affected[0]),
            _next_step(library, affected),
        )
        if facts_about(library.name).stand_in and torch is not None:
            yield from _stand_in(library, torch, affected)


def _stand_in(library: Library, torch: Library, affected: Sequence[Assessment]) -> Iterator[Finding]:
    """Yield that torch answers for a library's attention, for the devices that torch has code for."""
    answers = {one.subject for one in torch.assessments if one.judgement.verdict in {Verdict.NATIVE, Verdict.JIT}}
    devices = [str(one.subject) for one in affected if one.subject in answers]
    if devices:
        yield Finding(
            f"{normalised(library.name)}-stand-in",
            Severity.INFO,
            f"Where the attention of {library} cannot load its kernel on {' and '.join(devices)}, torch's own answers.",
            "The program goes on instead of ending with an error; a line says so when it happens. Some calls become "
            "slower, and what torch cannot answer exactly raises the library's own error.",
            "RTX50_RESCUE=0 switches this off. What mends the library makes it needless.",
        )


def _evidence(assessment: Assessment) -> str:
    """Return what the verdict rests on, as a beginner can follow it."""
    judgement, device = assessment.judgement, assessment.subject.target.capability
    used = [binary.result.code for binary in assessment.binaries if binary.unused is None]
    architectures = {image.architecture for code in used for container in code.containers for image in container.images}
    if judgement.verdict is Verdict.NO_GPU_CODE:
        return ""
    if not architectures or any(loads_on(architecture, device) for architecture in architectures):
        return f" {judgement.reason[0].upper()}{judgement.reason[1:]}."
    held = ", ".join(map(str, sorted(architectures, key=lambda one: (one.code is Code.PTX, *one[1:]))))
    needed = Architecture(Code.SASS, device)
    return f" It was compiled for {held}, and this GPU needs {needed}: 'no kernel image is available' is the error."


def _next_step(library: Library, affected: Sequence[Assessment]) -> str:
    """Return what helps: the environment and the driver come before another build of the library."""
    target, judgement = affected[0].subject.target, affected[0].judgement
    if judgement.verdict is Verdict.UNREADABLE:
        return f"Install it again: python -m pip install --force-reinstall --no-deps {_requirement(library)}"
    if judgement.verdict is not Verdict.NO_GPU_CODE:
        if target.switches.forced:
            return "Unset CUDA_FORCE_PTX_JIT (and CUDA_FORCE_JIT)."
        if judgement.driver_min is not None and target.switches.disabled:
            return "Unset CUDA_DISABLE_PTX_JIT and CUDA_DISABLE_JIT, which keep the driver from compiling PTX."
        if judgement.driver_min is not None and target.driver is not None and target.driver < judgement.driver_min:
            return f"Install NVIDIA driver {judgement.driver_min} or later."
    advice = facts_about(library.name).next_step(target.capability)
    capability = format_capability(target.capability)
    return advice or f"Look for a build of {library.name} for compute capability {capability}, or build it for that."


def _requirement(library: Library) -> str:
    return library.name if library.version is None else f"{library.name}=={library.version}"
