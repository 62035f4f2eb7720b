"""The variables that say for which GPUs extensions are built, and whether the builds will run on these devices."""

from __future__ import annotations

import ast
import re
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from rtx50_autoload.capability import format_capability
from rtx50_autoload.evidence.arch import Architecture, Code, loads_on
from rtx50_autoload.evidence.environment import advice
from rtx50_autoload.evidence.environment.topic import BLACKWELL, Examined, Given
from rtx50_autoload.evidence.finding import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from rtx50_autoload.evidence.environment.stack import Torch

__all__ = ["examine", "known_to_torch"]

# torch/utils/cpp_extension.py, _get_cuda_arch_flags: the numbers, "a" and "f" for one GPU or family, +PTX.
_TORCH_ENTRY = re.compile(r"(\d{1,2})\.(\d)([af]?)(\+PTX)?")
# CMake, CUDA_ARCHITECTURES: 120, 120a, 120-real (no PTX), 120-virtual (PTX only).
_CMAKE_ENTRY = re.compile(r"(\d{1,2})(\d)([af]?)(-real|-virtual)?")
_CMAKE_WORDS = ("native", "all", "all-major", "off")
# As much of cpp_extension.py as the lists need; torch is not imported for it.
_SUPPORTED = re.compile(r"supported_arches\s*=\s*(\[[^\]]*\])")
_NAMED = re.compile(r"named_arches\s*=\s*(?:collections\.)?OrderedDict\((\[.*?\])\)", re.DOTALL)
_HOPPER = 9


class _Entry(NamedTuple):
    """One entry of a list, and the code that a build makes of it."""

    text: str
    #: Empty where the entry cannot be understood.
    code: tuple[Architecture, ...]


class _Known(NamedTuple):
    """What the installed torch accepts in its list."""

    #: ``12.0``, ``12.0a``; empty where it cannot be told.
    entries: frozenset[str]
    #: ``Ampere`` and the like, with what each stands for.
    names: Mapping[str, str]


def examine(given: Given) -> Examined:
    """Look at the variables."""
    environ = given.place.environ
    known = known_to_torch(given.stack.torch)
    findings: list[Finding] = []
    value = environ.get("TORCH_CUDA_ARCH_LIST", "").strip()
    if value and value != "native":
        # The longer names first, as torch's own order has it: Ampere+Tegra before Ampere.
        for name, meaning in known.names.items():
            value = value.replace(name, meaning)
        entries = [_Entry(text, _torch_code(text)) for text in value.replace(" ", ";").split(";") if text]
        findings += _judge(given, "TORCH_CUDA_ARCH_LIST", entries, _as_torch)
        findings += _unknown(given, entries, known)
    for variable in ("CUDAARCHS", "CMAKE_CUDA_ARCHITECTURES"):
        texts = [text for text in re.split(r"[;,\s]+", environ.get(variable, "")) if text]
        if texts and texts[0].lower() not in _CMAKE_WORDS:
            findings += _judge(given, variable, [_Entry(text, _cmake_code(text)) for text in texts], _as_cmake)
    return Examined(tuple(findings), {"known_to_torch": sorted(known.entries)})


def known_to_torch(torch: Torch | None) -> _Known:
    """Read from the installed torch what its list of architectures may hold."""
    if torch is None:
        return _Known(frozenset(), {})
    entries: list[str] = []
    names: list[tuple[str, str]] = []
    with suppress(OSError, SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        source = (torch.folder / "utils" / "cpp_extension.py").read_text(encoding="utf-8")
        if match := _SUPPORTED.search(source):
            entries = [entry for entry in ast.literal_eval(match[1]) if isinstance(entry, str)]
        if match := _NAMED.search(source):
            names = [
                (name, meaning) for name, meaning in ast.literal_eval(match[1]) if {type(name), type(meaning)} == {str}
            ]
    return _Known(frozenset(entries), dict(names))


def _torch_code(text: str) -> tuple[Architecture, ...]:
    match = _TORCH_ENTRY.fullmatch(text)
    if match is None:
        return ()
    capability = int(match[1]), int(match[2])
    sass = Architecture(Code.SASS, capability, match[3])
    return (sass, Architecture(Code.PTX, capability, match[3])) if match[4] else (sass,)


def _cmake_code(text: str) -> tuple[Architecture, ...]:
    match = _CMAKE_ENTRY.fullmatch(text)
    if match is None:
        return ()
    capability = int(match[1]), int(match[2])
    codes = {"-real": (Code.SASS,), "-virtual": (Code.PTX,)}.get(match[4], (Code.SASS, Code.PTX))
    return tuple(Architecture(code, capability, match[3]) for code in codes)


def _as_torch(devices: list[tuple[int, int]]) -> str:
    return ";".join(format_capability(capability) for capability in devices)


def _as_cmake(devices: list[tuple[int, int]]) -> str:
    return ";".join(f"{major}{minor}" for major, minor in devices)


def _judge(
    given: Given, variable: str, entries: list[_Entry], write: Callable[[list[tuple[int, int]]], str]
) -> Iterator[Finding]:
    place = given.place
    devices = sorted({device.capability for device in given.survey.devices})
    right = advice.set_variable(place, variable, write(devices or [(BLACKWELL, 0)]))
    malformed = [entry.text for entry in entries if not entry.code]
    value = place.environ[variable]
    if malformed:
        yield Finding(
            id="arch-list-malformed",
            severity=Severity.WARNING,
            what=f"{variable}={value!r} contains what is no GPU architecture: {', '.join(malformed)}.",
            why="Builds of extensions stop there, or build nothing for your GPU.",
            next=right,
        )
    codes = [code for entry in entries for code in entry.code]
    for capability in devices if codes else ():
        loadable = [code for code in codes if loads_on(code, capability)]
        if not loadable:
            yield Finding(
                id="arch-list-lacks-device",
                severity=Severity.WARNING,
                what=f"{variable}={value!r} leaves out your GPU ({format_capability(capability)}).",
                why='Extensions built so fail on it with "no kernel image is available" (error 209).',
                next=right,
            )
        elif all(code.code is Code.PTX for code in loadable):
            yield Finding(
                id="arch-list-only-ptx",
                severity=Severity.INFO,
                what=f"{variable}={value!r} builds no ready-made code for your GPU ({format_capability(capability)}).",
                why="Such extensions run by PTX, compiled at the first start, without what was written for your GPU.",
                next=right,
            )
    if given.blackwell and any(code.capability[0] == _HOPPER for code in codes):
        yield Finding(
            id="arch-list-hopper",
            severity=Severity.WARNING,
            what=f"{variable}={value!r} asks for Hopper's code (9.0) beside a GPU of the RTX 50 series.",
            why='Some libraries then compile their Hopper sources for the RTX 50, too, which stops with "Instruction '
            "'wgmma.fence' not supported on .target 'sm_120'\" (thu-ml/SageAttention#291).",
            next=right,
        )


def _unknown(given: Given, entries: list[_Entry], known: _Known) -> Iterator[Finding]:
    torch = given.stack.torch
    unknown = [entry.text for entry in entries if entry.code and entry.text.removesuffix("+PTX") not in known.entries]
    if torch and known.entries and unknown:
        yield Finding(
            id="arch-list-unknown-to-torch",
            severity=Severity.WARNING,
            what=f"TORCH_CUDA_ARCH_LIST names architectures that {torch} does not know: {', '.join(unknown)}.",
            why=f'Builds of extensions stop with "Unknown CUDA arch ({unknown[0]}) or GPU not supported".',
            next=advice.unset_variable(given.place, "TORCH_CUDA_ARCH_LIST"),
        )
