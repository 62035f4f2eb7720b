"""What a build needs that is not there: nvcc, a C++ compiler, the build tools of Python."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final, NamedTuple

from rtx50_autoload.evidence.environment.topic import CudaVersion, dotted, parse_version
from rtx50_autoload.installer.build_recipes import newest_compiler, nvcc_knows
from rtx50_autoload.installer.plan import Change, Command, Step

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rtx50_autoload.capability import Capability
    from rtx50_autoload.installer.machine import Machine

__all__ = ["Prerequisite", "build_tools", "compiler", "headers", "pip_install", "toolkit"]

_ARCHIVE: Final = "https://developer.nvidia.com/cuda-toolkit-archive"
#: The first CUDA whose nvcc is on PyPI: nvidia-cuda-nvcc-cu12 holds ptxas and no nvcc (12.9.86 looked into).
_FIRST_ON_PYPI: Final = 13
#: Each by its name, or pip takes the newest nvvm and crt, whose PTX the older ptxas refuses (13.5 beside 13.0: tried).
_TOOLKIT: Final = "cuda-toolkit[nvcc,nvvm,crt,cudart,cccl]=={version}.*"
#: Linkers and torch look for lib64 and for libcudart.so, and the wheels have neither (13.0.2: tried).
_LINKS: Final = (
    "import pathlib, nvidia\n"
    "homes = [pathlib.Path(each, 'cu{major}') for each in nvidia.__path__]\n"
    "home = next(each for each in homes if each.is_dir())\n"
    "for link, target in (('lib64', 'lib'), ('lib/libcudart.so', 'libcudart.so.{major}')):\n"
    "    if not (home / link).exists():\n"
    "        (home / link).symlink_to(target)\n"
)
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


def toolkit(machine: Machine, cuda: CudaVersion, architectures: Sequence[Capability]) -> Prerequisite:
    """Give what leads to an nvcc of torch's CUDA that knows the GPUs.

    Args:
        machine: where it is built.
        cuda: the version to install where there is none that fits.
        architectures: what is compiled for.

    """
    there = parse_version(machine.toolkit) if machine.toolkit else None
    if there and there[0] == cuda[0] and all(nvcc_knows(there, each) for each in architectures):
        return Prerequisite(None, {"CUDA_HOME": machine.toolkit_home} if machine.toolkit_home else {})
    newest = max(architectures)
    why = f"Wheels of torch bring no nvcc, and torch refuses one of another CUDA than {cuda[0]}."
    if there:
        why = (
            f"The nvcc here is {dotted(there)}: torch refuses one of another CUDA than {cuda[0]}."
            if there[0] != cuda[0]
            else f"The nvcc here is {dotted(there)}, which does not compile for {dotted(newest)}; it stops with "
            f"\"Unsupported gpu architecture 'compute_{newest[0]}{newest[1]}'\"."
        )
    what = f"Install the compiler of CUDA {dotted(cuda)}; the driver stays as it is."
    check = f"`nvcc --version` of it prints release {dotted(cuda)}."
    if machine.kind == "venv" and machine.system in ("linux", "wsl") and cuda[0] >= _FIRST_ON_PYPI:
        packages = PurePosixPath(machine.executable).parent.parent / "lib" / f"python{machine.python}" / "site-packages"
        home = str(packages / "nvidia" / f"cu{cuda[0]}")
        commands = (
            pip_install(machine, _TOOLKIT.format(version=dotted(cuda))),
            Command((machine.executable, "-c", _LINKS.format(major=cuda[0]))),
        )
        step = Step(
            "install-cuda-toolkit",
            what,
            f"{why} NVIDIA's packages on PyPI hold it, without administrator's rights.",
            commands,
            changes=(Change("cuda-toolkit", None, dotted(cuda)),),
            # nvidia/cu13 had 271 MB with these packages of 13.0.2.
            download=100_000_000,
            back="Uninstall cuda-toolkit, nvidia-cuda-nvcc, nvidia-nvvm, nvidia-cuda-crt and nvidia-cuda-cccl.",
            check=check,
        )
        return Prerequisite(step, {"CUDA_HOME": home})
    by_hand, home = _by_hand(machine, cuda)
    step = Step("install-cuda-toolkit", what, why, by_hand=by_hand, back="Remove its folder.", check=check)
    return Prerequisite(step, {"CUDA_HOME": home})


def _by_hand(machine: Machine, cuda: CudaVersion) -> tuple[tuple[str, ...], str]:
    version = dotted(cuda)
    if machine.system == "windows":
        home = rf"C:\Program Files\NVIDIA GPU Computing Toolkit\CUDA\v{version}"
        return (f"Install CUDA toolkit {version} from {_ARCHIVE}, without the driver that the installer offers.",), home
    if machine.kind == "conda":
        prefix = str(PurePosixPath(machine.executable).parent.parent)
        return (f"conda install --prefix {prefix} -c conda-forge cuda-toolkit={version}",), prefix
    apt = f"cuda-toolkit-{cuda[0]}-{cuda[1]}"
    where = "inside WSL, for WSL-Ubuntu" if machine.system == "wsl" else "for your distribution"
    return (
        f"Install CUDA toolkit {version} {where} from {_ARCHIVE}.",
        f"From NVIDIA's package source take {apt} only: the package `cuda` would replace the driver.",
        "Without administrator's rights: run the runfile with --silent --toolkit --toolkitpath=FOLDER.",
    ), f"/usr/local/cuda-{version}"


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
