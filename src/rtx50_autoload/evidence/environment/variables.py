"""Environment variables that change what CUDA does, and are forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rtx50_autoload.evidence.arch import JitSwitches
from rtx50_autoload.evidence.environment import advice
from rtx50_autoload.evidence.environment.topic import Examined, Given
from rtx50_autoload.evidence.finding import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["examine"]

_REPORTED = (
    "BNB_CUDA_VERSION",
    "CUDAARCHS",
    "CUDA_CACHE_DISABLE",
    "CUDA_DEVICE_ORDER",
    "CUDA_DISABLE_JIT",
    "CUDA_DISABLE_PTX_JIT",
    "CUDA_FORCE_JIT",
    "CUDA_FORCE_PTX_JIT",
    "CUDA_HOME",
    "CUDA_MODULE_LOADING",
    "CUDA_PATH",
    "CUDA_VISIBLE_DEVICES",
    "LD_LIBRARY_PATH",
    "TORCH_CUDA_ARCH_LIST",
)


def examine(given: Given) -> Examined:
    """Look at the variables of CUDA's driver."""
    environ = given.place.environ
    return Examined(tuple(_findings(given)), {name: environ[name] for name in _REPORTED if name in environ})


def _findings(given: Given) -> Iterator[Finding]:
    place, environ = given.place, given.place.environ
    switches = JitSwitches.from_environment(environ)
    if switches.forced:
        name = _set(given, "CUDA_FORCE_PTX_JIT", "CUDA_FORCE_JIT")
        yield Finding(
            id="ptx-jit-forced",
            severity=Severity.ERROR,
            what=f"{name}=1 is set: CUDA ignores all ready-made GPU code.",
            why="Released builds of torch hold no PTX to compile instead. On an H200 torch's own kernels failed with "
            "error 209 (no kernel image), cuBLAS with CUBLAS_STATUS_INTERNAL_ERROR.",
            next=advice.unset_variable(place, name),
        )
    if switches.disabled:
        name = _set(given, "CUDA_DISABLE_PTX_JIT", "CUDA_DISABLE_JIT")
        yield Finding(
            id="ptx-jit-disabled",
            severity=Severity.WARNING,
            what=f"{name}=1 is set: CUDA compiles no PTX.",
            why="Libraries without ready-made code for the RTX 50 series run by PTX only: they fail with error 223.",
            next=advice.unset_variable(place, name),
        )
    elif environ.get("CUDA_CACHE_DISABLE") == "1":
        yield Finding(
            id="jit-cache-disabled",
            severity=Severity.INFO,
            what="CUDA_CACHE_DISABLE=1 is set: what CUDA compiles from PTX is not kept.",
            why="Libraries without ready-made code for the GPU are compiled anew at every start, which takes long.",
            next=advice.unset_variable(place, "CUDA_CACHE_DISABLE"),
        )
    if environ.get("CUDA_MODULE_LOADING", "").upper() == "EAGER":
        yield Finding(
            id="module-loading-eager",
            severity=Severity.INFO,
            what="CUDA_MODULE_LOADING=EAGER is set: all GPU code is loaded at the start.",
            why="Starting takes longer and more memory; code for other GPUs fails at the start, not at its first use.",
            next=advice.unset_variable(place, "CUDA_MODULE_LOADING"),
        )
    yield from _hidden(given)


def _hidden(given: Given) -> Iterator[Finding]:
    survey = given.survey
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"):
        # The survey's words, where there are GPUs and the variable leaves none.
        clauses = (clause for clause in survey.reason.split("; ") if f"{name}=" in clause)
        if any("hides them all" in clause or "CUDA shows none" in clause for clause in clauses):
            yield Finding(
                id="devices-hidden",
                severity=Severity.ERROR,
                what=f"{name}={given.place.environ.get(name, '')!r} hides every GPU from CUDA.",
                why=survey.reason,
                next=advice.unset_variable(given.place, name),
            )


def _set(given: Given, *names: str) -> str:
    return next(name for name in names if given.place.environ.get(name) == "1")
