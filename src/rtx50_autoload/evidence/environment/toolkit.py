"""The CUDA toolkit that builds of extensions would use. Running torch needs none."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rtx50_autoload.evidence.environment import advice
from rtx50_autoload.evidence.environment.topic import (
    BLACKWELL,
    CudaVersion,
    Examined,
    Given,
    dotted,
    knowledge,
    parse_version,
)
from rtx50_autoload.evidence.finding import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rtx50_autoload.evidence.environment.place import Place

__all__ = ["Toolkit", "examine", "find_toolkit"]

_RELEASE: Final = re.compile(r"release (\d+\.\d+)")
_LINUX_HOME: Final = "/usr/local/cuda"
_WINDOWS_HOMES: Final = "Program Files/NVIDIA GPU Computing Toolkit/CUDA"
_VARIABLES: Final = ("CUDA_HOME", "CUDA_PATH")


@dataclass(frozen=True)
class Toolkit:
    """One toolkit with a compiler."""

    nvcc: Path
    #: How it was found: a variable's name, ``PATH``, or ``the usual place``.
    found_by: str
    #: None where nvcc did not say.
    version: CudaVersion | None

    @property
    def home(self) -> Path:
        """The folder above ``bin``, of the file itself where nvcc is a link."""
        return self.nvcc.resolve().parent.parent

    def __str__(self) -> str:
        return f"{self.nvcc} ({dotted(self.version) if self.version else 'of an unknown version'}, by {self.found_by})"


def examine(given: Given) -> Examined:
    """Look at the toolkit."""
    place = given.place
    toolkits = _all(place)
    facts = {
        "nvcc": [
            {"path": str(kit.nvcc), "by": kit.found_by, "version": kit.version and dotted(kit.version)}
            for kit in toolkits
        ]
    }
    findings = [*_variables(place, toolkits)]
    if not toolkits:
        findings.append(
            Finding(
                id="nvcc-missing",
                severity=Severity.INFO,
                what="The CUDA compiler nvcc is not installed.",
                why=advice.ONLY_FOR_BUILDING,
                next="Prefer ready-made wheels. Otherwise install the CUDA toolkit of torch's version "
                f"({_torch_cuda(given)}) from https://developer.nvidia.com/cuda-toolkit-archive",
            )
        )
    else:
        findings += _used(given, toolkits[0])
        findings += _contradicting(place, toolkits)
    return Examined(tuple(findings), facts)


def find_toolkit(place: Place) -> Toolkit | None:
    """Find the toolkit that a build would use, in torch's order (torch/utils/cpp_extension.py, _find_cuda_home)."""
    return next(iter(_all(place)), None)


def _all(place: Place) -> list[Toolkit]:
    kits: dict[Path, Toolkit] = {}
    for found_by, nvcc in _candidates(place):
        if nvcc.is_file() and nvcc.resolve() not in kits:
            match = _RELEASE.search(place.run(nvcc, "--version") or "")
            kits[nvcc.resolve()] = Toolkit(nvcc, found_by, parse_version(match[1]) if match else None)
    return list(kits.values())


def _candidates(place: Place) -> Iterator[tuple[str, Path]]:
    name = "nvcc.exe" if place.is_windows else "nvcc"
    for variable in _VARIABLES:
        if value := place.environ.get(variable):
            yield variable, Path(value) / "bin" / name
    on_path = place.find_program(name)
    if on_path:
        yield "PATH", on_path
    if place.is_windows:
        for home in sorted(place.system(_WINDOWS_HOMES).glob("v*.*")):
            yield "the usual place", home / "bin" / name
    else:
        yield "the usual place", place.system(_LINUX_HOME) / "bin" / name


def _variables(place: Place, toolkits: list[Toolkit]) -> Iterator[Finding]:
    name = "nvcc.exe" if place.is_windows else "nvcc"
    for variable in _VARIABLES:
        value = place.environ.get(variable)
        if value and not (Path(value) / "bin" / name).is_file():
            yield Finding(
                id="cuda-home-wrong",
                severity=Severity.WARNING,
                what=f"{variable}={value} is set, but there is no {name} in its bin folder.",
                why="Builds of extensions look there and nowhere else.",
                next=advice.set_variable(place, variable, str(toolkits[0].home))
                if toolkits
                else advice.unset_variable(place, variable),
            )


def _used(given: Given, kit: Toolkit) -> Iterator[Finding]:
    torch = given.stack.torch
    if kit.version is None:
        return
    row = next(row for row in knowledge("versions")["minimum"] if row["capability"] == BLACKWELL)
    if given.blackwell and kit.version < parse_version(row["cuda"]):
        yield Finding(
            id="nvcc-too-old-for-device",
            severity=Severity.INFO,
            what=f"The CUDA compiler is {dotted(kit.version)} ({kit.nvcc}), which does not know the RTX 50 series.",
            why="Only building needs it: it stops with \"Unsupported gpu architecture 'compute_120'\". "
            f"{row['cuda']} is the first that knows it.",
            next=f"Before you build something: install CUDA toolkit {_torch_cuda(given)} and point CUDA_HOME to it.",
        )
    if torch and torch.cuda and torch.cuda[0] != kit.version[0]:
        yield Finding(
            id="nvcc-differs-from-torch",
            severity=Severity.INFO,
            what=f"The CUDA compiler {kit.nvcc} is {dotted(kit.version)}, {torch} has CUDA {dotted(torch.cuda)}.",
            why='Only building needs it: torch refuses with "The detected CUDA version mismatches". The version that '
            "nvidia-smi shows is the driver's and does not matter here.",
            next=f"Before you build something: install CUDA toolkit {dotted(torch.cuda)} and point CUDA_HOME to it.",
        )


def _contradicting(place: Place, toolkits: list[Toolkit]) -> Iterator[Finding]:
    first, *others = toolkits
    other = next((kit for kit in others if kit.version != first.version and kit.found_by != "the usual place"), None)
    if first.found_by in _VARIABLES and other:
        yield Finding(
            id="several-nvcc",
            severity=Severity.WARNING,
            what=f"Two CUDA compilers are set up: {first} and {other}.",
            why="Some builds follow the variable, others PATH: one extension may then be built with both.",
            next=f"Let both lead to one: {advice.set_variable(place, first.found_by, str(first.home))}, "
            f"and put {first.home / 'bin'} first in PATH.",
        )


def _torch_cuda(given: Given) -> str:
    torch = given.stack.torch
    oldest = next(row["cuda"] for row in knowledge("versions")["minimum"] if row["capability"] == BLACKWELL)
    fits = torch and torch.cuda and torch.cuda >= parse_version(oldest)
    return dotted(torch.cuda) if fits and torch and torch.cuda else oldest
