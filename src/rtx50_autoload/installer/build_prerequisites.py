"""What a build needs that is not there: a C++ compiler, header files, the build tools of Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from rtx50_autoload.evidence.environment.topic import dotted
from rtx50_autoload.installer.build_recipes import newest_compiler
from rtx50_autoload.installer.plan import Change, Command, Step

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rtx50_autoload.evidence.environment.topic import CudaVersion
    from rtx50_autoload.installer.machine import Machine

__all__ = ["Prerequisite", "build_tools", "compiler", "headers", "pip_install"]

_COMPILERS: Final = {"gcc": "GCC", "clang": "Clang", "msvc": "MSVC"}


class Prerequisite(NamedTuple):
    """A step before the build, and the variables that the build needs for it."""

    #: None where nothing has to be done.
    step: Step | None
    environ: Mapping[str, str]


def pip_install(machine: Machine, *arguments: str) -> Command:
    """Install with the installer of the environment, into it and no other."""
    if machine.installer == "uv":
        return Command(("uv", "pip", "install", "--python", machine.executable, *arguments))
    return Command((machine.executable, "-m", "pip", "install", *arguments))


def compiler(machine: Machine, cuda: CudaVersion) -> Prerequisite:
    """Give what leads to a C++ compiler that this nvcc accepts."""
    kind, version = machine.compiler or (None, None)
    wanted = "msvc" if machine.system == "windows" else "gcc"
    if kind is None or (wanted == "msvc" and kind != "msvc"):
        return Prerequisite(_missing_compiler(machine), _windows(machine))
    newest = newest_compiler(cuda, kind)
    if version is None or newest is None or version <= newest:
        return Prerequisite(None, _windows(machine))
    limit = newest if wanted == "msvc" else (newest_compiler(cuda, wanted) or newest)
    shown = f"MSVC {limit // 100}.{limit % 100}" if wanted == "msvc" else f"GCC {limit}"
    step = Step(
        "install-older-compiler",
        f"Install {shown} beside the compiler that is there.",
        f"nvcc {dotted(cuda)} refuses {_COMPILERS[kind]} {version} as too new; {shown} is the newest that it accepts.",
        by_hand=(
            "In the Visual Studio Installer, under single components, choose an older MSVC v143 build tools."
            if wanted == "msvc"
            else f"On Debian and Ubuntu: sudo apt install g++-{limit}",
        ),
        back="Uninstall it; what is there stays the default.",
        check=f"`g++-{limit} --version` prints {limit}." if wanted == "gcc" else "The build names that compiler.",
    )
    # torch hands CC to nvcc as -ccbin; a second one, as by NVCC_PREPEND_FLAGS, nvcc would refuse.
    chosen = {"CC": f"gcc-{limit}", "CXX": f"g++-{limit}", "CUDAHOSTCXX": f"g++-{limit}"}
    return Prerequisite(step, _windows(machine) if wanted == "msvc" else chosen)


def _windows(machine: Machine) -> dict[str, str]:
    # Without it torch stops inside of Visual Studio's own command prompt.
    return {"DISTUTILS_USE_SDK": "1"} if machine.system == "windows" else {}


def _missing_compiler(machine: Machine) -> Step:
    if machine.system == "windows":
        return Step(
            "install-compiler",
            "Install Microsoft's C++ compiler.",
            "nvcc on Windows works with MSVC only.",
            by_hand=(
                "Install the Build Tools for Visual Studio 2022: https://visualstudio.microsoft.com/downloads",
                'Choose the workload "Desktop development with C++".',
            ),
            back="Uninstall it in the Visual Studio Installer.",
            check='In the "x64 Native Tools Command Prompt", `cl` prints its version.',
        )
    return Step(
        "install-compiler",
        "Install a C++ compiler and the header files of Python.",
        "nvcc calls a C++ compiler for the code that runs on the processor.",
        by_hand=(
            f"On Debian and Ubuntu: sudo apt install build-essential python{machine.python.rstrip('t')}-dev",
            "On Fedora: sudo dnf install gcc-c++ python3-devel. On Arch: sudo pacman -S base-devel",
        ),
        back="Uninstall the same packages.",
        check="`g++ --version` prints a version.",
    )


def headers(machine: Machine) -> Step | None:
    """Give what leads to Python's header files where they are known to be missing."""
    if machine.kind != "embedded":
        return None
    return Step(
        "copy-python-headers",
        "Copy the header files of Python into the application's folder.",
        "A Python in an application's folder comes without them, and every extension is compiled against them.",
        by_hand=(
            f"Install Python {machine.python} somewhere else: https://www.python.org/downloads",
            f"Copy its folders include and libs into the folder of {machine.executable}.",
        ),
        back="Delete the two folders.",
        check="The folder of python.exe holds include\\Python.h.",
    )


def build_tools(machine: Machine, requires: Sequence[str]) -> Step | None:
    """Give what installs the Python packages that the build calls."""
    missing = [name for name in requires if name not in machine.packages and not (name == "ninja" and machine.ninja)]
    if not missing:
        return None
    return Step(
        "install-build-tools",
        f"Install what the build calls: {', '.join(missing)}.",
        "The build must see the installed torch (--no-build-isolation), so nothing is installed for it by itself. "
        "Without ninja, files are compiled one after the other.",
        (pip_install(machine, *missing),),
        changes=tuple(Change(name, None, "newest") for name in missing),
        back=f"Uninstall {', '.join(missing)}.",
        check="The installer ends without an error.",
    )
