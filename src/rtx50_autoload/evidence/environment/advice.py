"""Next steps: commands for the interpreter and the operating system in question."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rtx50_autoload.commands import Shell, Typist
from rtx50_autoload.evidence.environment.topic import BLACKWELL
from rtx50_autoload.evidence.environment.torch_builds import build_for, driver_branch, index_url, newest_driver

if TYPE_CHECKING:
    from pathlib import Path

    from rtx50_autoload.evidence.devices import Survey
    from rtx50_autoload.evidence.environment.place import Place
    from rtx50_autoload.evidence.environment.stack import Installed, Torch

__all__ = [
    "ONLY_FOR_BUILDING",
    "empty_pip_cache",
    "install_driver",
    "install_system",
    "install_torch",
    "match_torch",
    "pip_install",
    "pip_uninstall",
    "prepend_to_loader_path",
    "set_variable",
    "unset_variable",
]

#: Why the lack of a tool is no more than worth knowing.
ONLY_FOR_BUILDING: Final = "Only building an extension from source needs it; ready-made wheels do not."

#: Names of packages by distribution family: Debian's, Fedora's, Arch's.
_SYSTEM_PACKAGES = {
    "compiler": ("build-essential", "gcc-c++", "base-devel"),
    "headers": ("python{version}-dev", "python3-devel", "python"),
}
_INSTALLERS = ("sudo apt install", "sudo dnf install", "sudo pacman -S")
_FAMILIES = (("debian", "ubuntu"), ("fedora", "rhel", "centos"), ("arch",))


def pip_install(place: Place, *arguments: str) -> str:
    """Install with the pip of this very interpreter: a bare ``pip`` may be another Python's."""
    return _typist(place).pip("install", *arguments)


def pip_uninstall(place: Place, name: str) -> str:
    """Remove a package from the environment of this very interpreter."""
    return _typist(place).pip("uninstall", name)


def empty_pip_cache(place: Place) -> str:
    """Remove the wheels that pip keeps, those of every torch that it ever downloaded."""
    return _typist(place).pip("cache", "purge")


def install_torch(place: Place, survey: Survey, *beside: str, replace: bool = True) -> str:
    """Install the newest CUDA build of torch that the driver carries, and what has to match it.

    With `replace` what is there goes: pip keeps a torch that differs in its CUDA variant alone. One ``--index-url``,
    for with ``--extra-index-url`` pip prefers whatever has the higher version, such as a build for the CPU.
    """
    capabilities = [device.capability for device in survey.devices]
    # Where no GPU is known, or one that no build serves, a GPU of the RTX 50 series is meant.
    builds = [build_for(capability, driver_branch(survey.driver)) for capability in (*capabilities[:1], (BLACKWELL, 0))]
    url = next(build.url for build in builds if build)
    options = ("--force-reinstall",) if replace else ()
    return pip_install(place, *options, "torch", *beside, "--index-url", url)


def match_torch(place: Place, survey: Survey, torch: Torch, package: Installed, *, same_release: bool = False) -> str:
    """Install the build of a package that goes with this torch; pip finds it in the index of torch's variant only.

    With `same_release` only the variant is wrong, which pip does not see by itself.
    """
    if torch.cuda is None:
        return install_torch(place, survey, package.name)
    release = package.version.partition("+")[0]
    what = (
        ["--force-reinstall", "--no-deps", f"{package.name}=={release}"]
        if same_release
        else ["--upgrade", package.name, f"torch=={torch.version}"]
    )
    return pip_install(place, *what, "--index-url", index_url("cu{}{}".format(*torch.cuda)))


def install_driver(place: Place, *, is_wsl: bool) -> str:
    """Install a driver that serves an RTX 50 and CUDA 13."""
    newest = newest_driver()
    if place.is_windows or is_wsl:
        where = "on Windows, not inside WSL, " if is_wsl else ""
        return f"Install driver {newest} or later {where}from https://www.nvidia.com/drivers, then restart Windows."
    if _family(place) == 0 and "ubuntu" in (place.read("/etc/os-release") or "").lower():
        return f"sudo apt install nvidia-driver-{newest}-open, then restart the computer."
    return f"Install NVIDIA driver {newest} or later, with open kernel modules, from your distribution, then restart."


def install_system(place: Place, what: str, otherwise: str) -> str:
    """Install a package of the Linux distribution; `otherwise` where it is not known how."""
    family = _family(place)
    if not place.is_linux or family is None:
        return otherwise
    major, minor, _ = place.python.version
    return f"{_INSTALLERS[family]} {_SYSTEM_PACKAGES[what][family].format(version=f'{major}.{minor}')}"


def set_variable(place: Place, name: str, value: str) -> str:
    """Set a variable in the terminal."""
    return _typist(place).set_variable(name, value)


def unset_variable(place: Place, name: str) -> str:
    """Remove a variable from the terminal."""
    return _typist(place).unset_variable(name)


def prepend_to_loader_path(folder: Path) -> str:
    """Let the loader look in a folder first; it reads the variable when the program starts."""
    return Typist("posix", "").prepend("LD_LIBRARY_PATH", str(folder))


def _typist(place: Place) -> Typist:
    shell: Shell = "cmd" if place.is_windows else "posix"
    return Typist(shell, Typist(shell, "").quote(str(place.python.executable)))


def _family(place: Place) -> int | None:
    lines = (place.read("/etc/os-release") or "").lower().splitlines()
    names = {
        word.strip('"')
        for line in lines
        if line.startswith(("id=", "id_like="))
        for word in line[3:].split("=")[-1].split()
    }
    return next((index for index, family in enumerate(_FAMILIES) if names.intersection(family)), None)
