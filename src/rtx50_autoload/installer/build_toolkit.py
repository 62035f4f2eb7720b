"""The CUDA toolkit that a build needs: whether the one here fits, and where one comes from."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from rtx50_autoload.evidence.environment.topic import dotted, parse_version
from rtx50_autoload.installer.build_prerequisites import Prerequisite, pip_install
from rtx50_autoload.installer.build_recipes import nvcc_knows
from rtx50_autoload.installer.plan import Change, Command, Step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtx50_autoload.capability import Capability
    from rtx50_autoload.evidence.environment.topic import CudaVersion
    from rtx50_autoload.installer.machine import Machine

__all__ = ["toolkit"]

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
