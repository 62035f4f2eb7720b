"""The interpreter: whether there are wheels for it, its headers, and which torch it finds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.version import Version

from rtx50_autoload.evidence.environment import advice
from rtx50_autoload.evidence.environment.stack import Torch
from rtx50_autoload.evidence.environment.topic import Examined, Given
from rtx50_autoload.evidence.environment.torch_builds import last_torch_by_python
from rtx50_autoload.evidence.finding import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["examine"]


def examine(given: Given) -> Examined:
    """Look at the interpreter."""
    python = given.place.python
    facts = {
        "version": ".".join(map(str, python.version)),
        "free_threaded": python.free_threaded,
        "bits": python.bits,
        "executable": str(python.executable),
        "prefix": str(python.prefix),
        "headers": str(python.include) if (python.include / "Python.h").is_file() else None,
        "embedded": _is_embedded(given),
        "torch_copies": [str(path) for path in given.stack.torch_copies],
    }
    findings = [*_wheels(given), *_headers(given), *_copies(given)]
    if _is_embedded(given):
        findings.append(_embedded(given))
    return Examined(tuple(findings), facts)


def _wheels(given: Given) -> Iterator[Finding]:
    python = given.place.python
    if python.bits < 64:  # noqa: PLR2004 - the number is its own name
        yield Finding(
            id="python-32-bit",
            severity=Severity.ERROR,
            what=f"This Python is a {python.bits}-bit one.",
            why="torch and everything of CUDA exist for 64-bit Pythons only.",
            next="Install a 64-bit Python from https://www.python.org/downloads and make a new environment with it.",
        )
        return
    if given.stack.torch:
        return
    last = last_torch_by_python()
    newest = max(last.values(), key=Version)
    served = [name for name, release in last.items() if release == newest and not name.endswith("t")]
    if python.name not in last:
        yield Finding(
            id="python-without-wheels",
            severity=Severity.WARNING,
            what=f"No ready-made torch is known for Python {python.name}.",
            why=f"pip then finds no matching distribution. There are wheels for {', '.join(last)}.",
            next=f"Make an environment with another Python: python{served[-2]} -m venv my-environment",
        )
        return
    if last[python.name] != newest:
        yield Finding(
            id="python-served-no-longer",
            severity=Severity.INFO,
            what=f"torch {last[python.name]} is the last one with wheels for Python {python.name}.",
            why="Later versions of torch are made for other Pythons only.",
            next=f"It serves the RTX 50 series. For later ones: python{served[-2]} -m venv my-environment",
        )
    if given.stack.readable and "torch" not in given.stack.installed:
        yield Finding(
            id="torch-not-installed",
            severity=Severity.WARNING if given.survey.devices else Severity.INFO,
            what=f"torch is not installed in this environment, {python.prefix}.",
            why="Either it is still to be installed, or another Python has it: each environment has its own packages.",
            next=advice.install_torch(given.place, given.survey, replace=False),
        )


def _headers(given: Given) -> Iterator[Finding]:
    place, python = given.place, given.place.python
    if (python.include / "Python.h").is_file() or not (place.is_linux or place.is_windows):
        return
    triton = given.stack.version("triton") or given.stack.version("triton-windows")
    # Windows links extensions with the libraries of libs.
    yield Finding(
        id="python-headers-missing",
        severity=Severity.WARNING if triton else Severity.INFO,
        what=f"The headers of Python {python.name} are not installed: there is no Python.h in {python.include}.",
        why=f'Triton {triton} compiles a module at its first use: torch.compile fails with "Python.h: No such file".'
        if triton
        else advice.ONLY_FOR_BUILDING,
        next=f"Copy the folders Include and libs of a full Python {python.name} beside {python.executable}."
        if place.is_windows
        else advice.install_system(place, "headers", "Install your distribution's development package of Python."),
    )


def _copies(given: Given) -> Iterator[Finding]:
    python, copies = given.place.python, given.stack.torch_copies
    if len(copies) < 2:  # noqa: PLR2004 - one is as it should be
        return
    first, *others = copies
    shadowing = not first.is_relative_to(python.prefix) and any(path.is_relative_to(python.prefix) for path in others)
    from_user_site = python.user_site is not None and first.is_relative_to(python.user_site)
    version = given.stack.torch.version if isinstance(given.stack.torch, Torch) else ""
    yield Finding(
        id="torch-shadowed" if shadowing else "torch-twice",
        severity=Severity.ERROR if shadowing else Severity.WARNING,
        what=f"There are {len(copies)} copies of torch; {first} ({version}) is the one that is imported"
        + (", not that of this environment." if shadowing else "."),
        why=f"The others: {', '.join(map(str, others))}. Libraries made for one are then loaded into the other "
        "(pytorch/vision#9174).",
        next=advice.set_variable(given.place, "PYTHONNOUSERSITE", "1")
        if from_user_site
        else advice.unset_variable(given.place, "PYTHONPATH")
        if shadowing and given.place.environ.get("PYTHONPATH")
        else f"Remove the copies that you do not want, the first at {first}.",
    )


def _is_embedded(given: Given) -> bool:
    # python313._pth beside python.exe makes Python ignore variables, the user's packages and the current folder.
    return given.place.is_windows and any(given.place.python.executable.parent.glob("python*._pth"))


def _embedded(given: Given) -> Finding:
    return Finding(
        id="python-embedded",
        severity=Severity.INFO,
        what="This is an embedded Python, as portable programs bring it.",
        why="A bare `pip` belongs to another Python here, and installs there (woct0rdho/triton-windows#34). "
        "PYTHONPATH and the user's packages are ignored.",
        next=f"Install with this Python itself: {advice.pip_install(given.place, 'NAME')}",
    )
