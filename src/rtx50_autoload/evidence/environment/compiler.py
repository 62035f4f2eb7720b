"""The C++ compiler and ninja: what builds of extensions need beside nvcc, and Triton at run time."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rtx50_autoload.evidence.environment import advice
from rtx50_autoload.evidence.environment.toolkit import Toolkit, find_toolkit
from rtx50_autoload.evidence.environment.topic import Examined, Given
from rtx50_autoload.evidence.finding import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rtx50_autoload.evidence.environment.place import Place

__all__ = ["Compiler", "examine", "find_compiler"]

_VARIABLES: Final = ("CUDAHOSTCXX", "CXX", "CC")
#: In the order in which builds take them.
_LINUX: Final = ("g++", "c++", "gcc", "clang++", "clang", "cc")
_VSWHERE: Final = "Program Files (x86)/Microsoft Visual Studio/Installer/vswhere.exe"
_VERSION: Final = re.compile(r"\b(\d+)\.(\d+)(?:\.\d+)*")

#: The newest version that nvcc takes stands in its own header: ``#if __GNUC__ > 15``, ``(__clang_major__ >= 21)``,
#: ``_MSC_VER >= 1950``. Read from CUDA 13.0's; by the compiler's kind, with what is added to get the newest.
_HEADERS: Final = ("include/crt/host_config.h", "targets/x86_64-linux/include/crt/host_config.h")
_LIMITS: Final = {
    "gcc": (re.compile(r"#if __GNUC__ > (\d+)"), 0),
    "clang": (re.compile(r"__clang_major__ >= (\d+)"), -1),
    "msvc": (re.compile(r"_MSC_VER >= (\d+)\s"), -1),
}


#: As the header's error messages call them.
_NAMES: Final = {"gcc": "GNU", "clang": "clang", "msvc": "Microsoft Visual Studio"}


@dataclass(frozen=True)
class Compiler:
    """A compiler for the code that runs on the processor."""

    path: Path
    #: ``gcc``, ``clang`` or ``msvc``.
    kind: str
    #: Major version; of MSVC the number that its macro `_MSC_VER` has, 1944 for 19.44. None where it did not say.
    version: int | None

    @property
    def shown(self) -> str:
        """The version as its users know it."""
        if self.version is None:
            return self.kind
        number = f"{self.version // 100}.{self.version % 100}" if self.kind == "msvc" else self.version
        return f"{self.kind} {number}"


def examine(given: Given) -> Examined:
    """Look at the compiler and at ninja."""
    place = given.place
    compiler = find_compiler(place)
    ninja = place.find_program("ninja")
    facts = {
        "compiler": compiler and {"path": str(compiler.path), "kind": compiler.kind, "version": compiler.version},
        "ninja": str(ninja) if ninja else None,
        "ninja_version": (place.run(ninja, "--version") or "").strip() if ninja else None,
    }
    findings = list(_missing(given)) if compiler is None else list(_too_new(given, compiler, find_toolkit(place)))
    if ninja is None:
        findings.append(_ninja(place))
    return Examined(tuple(findings), facts)


def find_compiler(place: Place) -> Compiler | None:
    """Find the compiler that a build takes; None where there is none."""
    paths = (path for name in _names(place) if (path := place.find_program(name)))
    path = next(paths, None)
    if path is None:
        # cl is on the PATH of Visual Studio's own command prompt only.
        vswhere = place.system(_VSWHERE)
        return Compiler(vswhere, "msvc", None) if place.is_windows and vswhere.is_file() else None
    is_msvc = path.stem.lower() == "cl"
    first_line, _, _ = ((place.run(path) if is_msvc else place.run(path, "--version")) or "").partition("\n")
    versions = _VERSION.findall(first_line)
    if is_msvc:
        return Compiler(path, "msvc", int(versions[0][0]) * 100 + int(versions[0][1]) if versions else None)
    kind = "clang" if "clang" in first_line else "gcc"
    # "gcc (Debian 12.2.0-14+deb12u1) 12.2.0": the distribution's number may come first.
    return Compiler(path, kind, int(versions[-1][0]) if versions else None)


def _names(place: Place) -> Iterator[str]:
    for variable in _VARIABLES:
        # "ccache g++" and the like: the last word is the compiler.
        value = place.environ.get(variable, "")
        try:
            words = shlex.split(value, posix=not place.is_windows)
        except ValueError:  # a quotation mark without its like, for which builds stop, too
            words = value.split()
        if words:
            yield next((word for word in reversed(words) if not word.startswith("-")), words[0])
    yield from ("cl.exe", "cl") if place.is_windows else _LINUX


def _missing(given: Given) -> Iterator[Finding]:
    place = given.place
    triton = given.stack.version("triton")
    step = advice.install_system(
        place,
        "compiler",
        'winget install Microsoft.VisualStudio.2022.BuildTools, with the workload "Desktop development with C++"'
        if place.is_windows
        else "Install gcc and g++.",
    )
    if triton and place.is_linux:
        yield Finding(
            id="triton-without-compiler",
            severity=Severity.WARNING,
            what=f"No C compiler is installed, and Triton {triton} needs one while it runs.",
            why='torch.compile and Triton kernels fail with "Failed to find C compiler".',
            next=step,
        )
    else:
        yield Finding(
            id="host-compiler-missing",
            severity=Severity.INFO,
            what="No C++ compiler is installed.",
            why=advice.ONLY_FOR_BUILDING,
            next=step,
        )


def _too_new(given: Given, compiler: Compiler, kit: Toolkit | None) -> Iterator[Finding]:
    newest = _newest_accepted(kit, compiler.kind) if kit else None
    if kit and newest and compiler.version and compiler.version > newest:
        limit = Compiler(compiler.path, compiler.kind, newest).shown
        yield Finding(
            id="host-compiler-too-new",
            severity=Severity.INFO,
            what=f"{compiler.shown} ({compiler.path}) is newer than the CUDA compiler {kit.nvcc} accepts.",
            why=f'Only building needs it: it stops with "unsupported {_NAMES[compiler.kind]} version". {limit} is the '
            "newest that its header host_config.h allows; -allow-unsupported-compiler is reported to fail later.",
            next=f"Before you build something: install {limit}"
            + (
                f" and {advice.set_variable(given.place, 'CUDAHOSTCXX', f'g++-{newest}')}"
                if compiler.kind == "gcc"
                else "."
            ),
        )


def _newest_accepted(kit: Toolkit, kind: str) -> int | None:
    pattern, step = _LIMITS[kind]
    for header in _HEADERS:
        try:
            text = (kit.home / header).read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        # Several branches of the header may name a limit, all the same one.
        if match := pattern.search(text):
            return int(match[1]) + step
    return None


def _ninja(place: Place) -> Finding:
    inside = place.python.executable.with_name("ninja.exe" if place.is_windows else "ninja")
    installed = inside.is_file()
    return Finding(
        id="ninja-missing",
        severity=Severity.INFO,
        what="ninja is installed but not in PATH." if installed else "ninja is not installed.",
        why=advice.ONLY_FOR_BUILDING,
        next=f"Activate the environment, so that {inside.parent} is in PATH."
        if installed
        else advice.pip_install(place, "ninja"),
    )
