"""Which binary or package is at fault: what the text tells, and what the installed binaries confirm."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from rtx50_autoload.knowledge import read_tables

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rtx50_autoload.diagnosis.normalise import NormalisedText
    from rtx50_autoload.diagnosis.situation import Situation
    from rtx50_autoload.evidence.installed import Installed
    from rtx50_autoload.evidence.subject import Subject

__all__ = ["Confirmation", "confirm", "find_culprit"]

_ANY_CASE: Final = re.IGNORECASE
_SUFFIX: Final = r"\.(?:cuh?|h|hpp|cpp|cc)"
_SOURCE_FILE: Final = re.compile(rf"{_SUFFIX}$", _ANY_CASE)
#: A source file: ``CUDA error (/src/flash_fwd_launch_template.h:188)``, ``at line 528 in file /src/csrc/ops.cu``.
_SOURCES: Final = (
    re.compile(
        rf"(?:cuda|cudnn|cublas) ?(?:error|failure)[^(]{{0,20}}\(([^()\s]{{1,300}}{_SUFFIX}):\d{{1,6}}\)", _ANY_CASE
    ),
    re.compile(
        rf"(?:at line \d{{1,6}} in file|in function \w{{1,80}} at|in file) ([^\s]{{1,300}}{_SUFFIX})\b", _ANY_CASE
    ),
    re.compile(rf"\(209\) ([^\s()]{{1,300}}{_SUFFIX}):", _ANY_CASE),
    re.compile(rf"(?<![^\s\"'])([^\s()]{{1,300}}{_SUFFIX}):\d{{1,6}} in function", _ANY_CASE),
)
#: A library by its path or its name, in the sentences in which loaders name the one that fails.
_BINARIES: Final = (
    re.compile(r"error loading \"([^\"]{1,300}\.(?:dll|pyd|so))\"", _ANY_CASE),
    re.compile(r"dll load failed while importing ([\w.]{1,80})", _ANY_CASE),
    re.compile(
        r"(?<![^\s\"'(])([^\s\"'()]{1,300}\.(?:so[.\d]{0,12}|pyd|dll))\"?: (?:undefined symbol|cannot open)", _ANY_CASE
    ),
    re.compile(
        r"could not (?:load|locate|find)(?: dynamic)?(?: library| module)? '?([^\s']{1,300}\.(?:dll|so[.\d]{0,12}))",
        _ANY_CASE,
    ),
    re.compile(r"library ([\w.+-]{1,120}) is not found or cannot be loaded", _ANY_CASE),
)
_FRAME: Final = re.compile(r"(?:site|dist)-packages[/\\]{1,2}([A-Za-z_]\w{0,80})[/\\.]")
#: The crash of a program that is no Python.
_GGML: Final = re.compile(r"\bggml_cuda\w{0,40}|ggml-cuda\.cu")


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What the installed binaries of one package say.

    Attributes:
        culprit: the binary that cannot run on the GPU here, or the package.
        sentence: what was found, to stand beside the evidence of the diagnosis.
        confirmed: True where a binary cannot run, False where all can, None where that cannot be told.

    """

    culprit: str
    sentence: str
    confirmed: bool | None


def find_culprit(text: NormalisedText, values: Mapping[str, str]) -> str | None:
    """Name the binary or the package that a text speaks of, None where it names none.

    Args:
        text: the error.
        values: what the signature took from it; ``file``, ``library`` and ``package`` come first.

    """
    for key in ("file", "library", "module", "package"):
        if values.get(key):
            name = values[key].strip(" '\"")
            return _project(name) if _SOURCE_FILE.search(name) else name
    for pattern in _SOURCES:
        match = pattern.search(text.flat)
        if match:
            return _project(match[1])
    for pattern in _BINARIES:
        match = pattern.search(text.flat)
        if match:
            return match[1]
    if _GGML.search(text.lower):
        return "ggml"
    packages = [match[1] for match in _FRAME.finditer(text.flat)]
    own = [package for package in packages if package.lower() not in _passed_through()]
    # The last frame is the innermost; torch is named only where nobody else is.
    return own[-1] if own else "torch" if "torch" in packages else None


def _project(path: str) -> str:
    """Name the project that a source file is of, else the file."""
    lower = path.lower()
    known = next((entry["name"] for entry in _knowledge()["project"] if entry["part"] in lower), None)
    return known or path.replace("\\", "/").rpartition("/")[2]


def _passed_through() -> frozenset[str]:
    return frozenset(_knowledge()["passed_through"]["packages"])


@cache
def _knowledge() -> dict[str, Any]:
    return read_tables(__package__, "culprits.toml")


def confirm(name: str, situation: Situation, path: Sequence[str] | None = None) -> Confirmation | None:
    """Look into the installed binaries of one package: whether they can run on the GPU here.

    Only that package's binaries are read; it takes longer than `classify` all the same.

    Args:
        name: what `Diagnosis.culprit` says: a package, a module or a library's file.
        situation: only one of this machine can be confirmed.
        path: where to look for distributions, by default `sys.path`.

    Returns:
        None where the package is not installed or holds no GPU code, and where the situation is not of this machine.

    """
    if situation.source != "machine" or not any(gpu.capability for gpu in situation.gpus or ()):
        return None
    # An inventory needs much; who only wants to know what a text says does not pay for it.
    from rtx50_autoload.evidence.assessment import assess  # noqa: PLC0415
    from rtx50_autoload.evidence.installed import installed_distributions  # noqa: PLC0415
    from rtx50_autoload.evidence.scan import scan_file  # noqa: PLC0415
    from rtx50_autoload.evidence.torch_build import torch_build  # noqa: PLC0415
    from rtx50_autoload.evidence.verdict import Verdict  # noqa: PLC0415

    installed = list(installed_distributions(path))
    package = next((one for one in installed if _is_of(one, name)), None)
    if package is None:
        return None
    subject = _subject(situation)
    results = {
        binary: result
        for binary, file in package.binaries
        for result in scan_file(file, subject.target, named=False)
        if result.judgement.verdict is not Verdict.NO_GPU_CODE
    }
    if not results:
        return None
    torch = next((torch_build(one) for one in installed if one.name.lower() == "torch"), None)
    assessment = assess(package, results, subject, torch)
    bad = next((one for one in assessment.binaries if one.unused is None and one.verdict is Verdict.IMPOSSIBLE), None)
    works = assessment.judgement.verdict in {Verdict.NATIVE, Verdict.JIT}
    judged, reason = (bad.name, bad.result.judgement.reason) if bad else (package.name, assessment.judgement.reason)
    return Confirmation(
        culprit=judged,
        sentence=f"{' '.join(filter(None, (package.name, package.version)))} on the {subject}: {reason}.",
        confirmed=True if bad else False if works else None,
    )


def _subject(situation: Situation) -> Subject:
    """Judge for the GPU that the situation has."""
    from rtx50_autoload.evidence.devices import Device, Survey  # noqa: PLC0415
    from rtx50_autoload.evidence.subject import subjects  # noqa: PLC0415

    devices = tuple(
        Device(index, gpu.name or "GPU", gpu.capability, "nvml", None)
        for index, gpu in enumerate(situation.gpus or ())
        if gpu.capability
    )
    return subjects(Survey(devices, situation.driver, ""))[0]


def _is_of(installed: Installed, name: str) -> bool:
    """Tell whether a package, a module or a library's file belongs to a distribution."""
    last = name.replace("\\", "/").rpartition("/")[2].lower()
    module = last.partition(".")[0].replace("-", "_")
    if installed.name.lower().replace("-", "_") == module:
        return True
    return any(
        binary.lower().endswith(last)
        or binary.lower().startswith(f"{module}/")
        or binary.lower().rpartition("/")[2].partition(".")[0] == module
        for binary, _ in installed.binaries
    )
