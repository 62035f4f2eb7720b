"""The NVIDIA driver: whether it answers, serves these devices, and carries the CUDA version of the installed torch."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from rtx50_autoload.evidence.environment import advice, container, wsl
from rtx50_autoload.evidence.environment.loader import Loader
from rtx50_autoload.evidence.environment.topic import BLACKWELL, Examined, Given, dotted, knowledge
from rtx50_autoload.evidence.environment.torch_builds import driver_branch, oldest_driver
from rtx50_autoload.evidence.finding import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rtx50_autoload.evidence.environment.place import Place

__all__ = ["examine", "gpus_on_bus"]

_KERNEL_MODULE: Final = "/proc/driver/nvidia/version"
_OPEN: Final = re.compile(r"NVRM version: .*Open Kernel Module")
_VENDOR: Final = "0x10de"
#: VGA and 3D controllers (PCI code and ID assignment, class 03): not the sound device on the same board.
_DISPLAY_CLASSES: Final = ("0x0300", "0x0302")

#: By NVML's error, as the survey's reason quotes it: what is wrong in a word, and what mends it.
_KNOWN_FAULTS: Final = {
    "NVML_ERROR_LIB_RM_VERSION_MISMATCH": (
        "driver-version-mismatch",
        "The NVIDIA driver was updated, and its old version is still running.",
        "Restart the computer.",
    ),
    "NVML_ERROR_NO_PERMISSION": (
        "driver-no-permission",
        "This user may not talk to the NVIDIA driver.",
        'sudo usermod -aG video,render "$USER", then log out and in again.',
    ),
    "NVML_ERROR_GPU_IS_LOST": (
        "gpu-lost",
        "The GPU has dropped off the bus.",
        "Shut the computer down, disconnect it for a minute, and start it again.",
    ),
}


def examine(given: Given) -> Examined:
    """Look at the driver."""
    place, survey = given.place, given.survey
    on_bus = gpus_on_bus(place)
    module = place.read(_KERNEL_MODULE)
    libcuda = Loader(place).find("libcuda.so.1") if place.is_linux else None
    facts = {
        "version": survey.driver,
        "kernel_module": None if module is None else "open" if _OPEN.search(module) else "proprietary",
        "nvidia_gpus_on_bus": on_bus,
        "libcuda": str(libcuda.resolve()) if libcuda else None,
    }
    simulated = any(device.source == "simulated" for device in survey.devices)
    findings: list[Finding] = []
    if simulated:
        return Examined((), facts)
    if survey.driver is None and not survey.devices:
        findings += _unanswered(given, on_bus)
    elif not survey.devices and "finds no GPU" in survey.reason and on_bus:
        findings.append(_ignored(given, proprietary=facts["kernel_module"] == "proprietary"))
    findings += _too_old(given)
    if libcuda is not None:
        findings += _libcuda(given, str(libcuda.resolve()))
    elif place.is_linux and any(device.source == "nvml" for device in survey.devices):
        findings.append(_libcuda_missing(given))
    return Examined(tuple(findings), facts)


def gpus_on_bus(place: Place) -> int:
    """Count NVIDIA's GPUs on the PCI bus, driver or not; Linux only, and not in WSL, which shows none."""
    devices = place.system("/sys/bus/pci/devices")
    if not place.is_linux or not devices.is_dir():
        return 0
    return sum(
        (place.read(f"/sys/bus/pci/devices/{device.name}/vendor") or "").strip() == _VENDOR
        and (place.read(f"/sys/bus/pci/devices/{device.name}/class") or "").startswith(_DISPLAY_CLASSES)
        for device in devices.iterdir()
    )


def _unanswered(given: Given, on_bus: int) -> Iterator[Finding]:
    place, reason = given.place, given.survey.reason
    known = next((fault for error, fault in _KNOWN_FAULTS.items() if error in reason), None)
    if known:
        identifier, what, step = known
        yield Finding(identifier, Severity.ERROR, what, reason, step)
    elif any(topic.examine(given).findings for topic in (container, wsl)):
        return  # the driver did not get in, and they say why
    elif on_bus or place.is_windows or container.kind(place) or wsl.version(place):
        yield Finding(
            id="driver-missing",
            severity=Severity.ERROR,
            what="No NVIDIA driver answers" + (", although an NVIDIA GPU is in this computer." if on_bus else "."),
            why=f"{reason} Without a driver nothing can use the GPU.",
            next=container.start(place)
            if container.kind(place)
            else advice.install_driver(place, is_wsl=wsl.version(place) is not None),
        )
    else:
        yield Finding(
            id="gpu-not-found",
            severity=Severity.WARNING,
            what="No NVIDIA GPU was found on this computer.",
            why=f"{reason} What is said here of libraries holds for no GPU in particular.",
            next="To judge for a GPU that is not here, set its compute capability: "
            + advice.set_variable(place, "RTX50_SIMULATE", "12.0"),
        )


def _ignored(given: Given, *, proprietary: bool) -> Finding:
    """Say that the driver runs but does not take the GPU."""
    why = "The driver is loaded and takes none of the NVIDIA GPUs on the bus."
    if proprietary:
        # NVIDIA's announcement of R560; the kernel module names its flavour in /proc.
        why += " Its kernel modules are the proprietary ones; the RTX 50 series is supported by the open ones only."
    return Finding(
        id="driver-ignores-gpu",
        severity=Severity.ERROR,
        what=f"NVIDIA driver {given.survey.driver} does not take the GPU of this computer.",
        why=why,
        next=advice.install_driver(given.place, is_wsl=False),
    )


def _too_old(given: Given) -> Iterator[Finding]:
    place, survey, torch = given.place, given.survey, given.stack.torch
    branch = driver_branch(survey.driver)
    if branch is None:
        return
    first = next(row["driver"] for row in knowledge("versions")["minimum"] if row["capability"] == BLACKWELL)
    step = advice.install_driver(place, is_wsl=wsl.version(place) is not None)
    if given.blackwell and branch < first:
        yield Finding(
            id="driver-too-old-for-device",
            severity=Severity.ERROR,
            what=f"NVIDIA driver {survey.driver} is older than the {given.blackwell[0].name}.",
            why=f"The first driver that knows the RTX 50 series (sm_120) is {first}.",
            next=step,
        )
    needed = oldest_driver(torch.cuda[0]) if torch and torch.cuda else None
    if torch and torch.cuda and needed and branch < needed:
        if not given.blackwell or branch >= first:
            step = f"{step} Or keep the driver: {advice.install_torch(place, survey)}"
        yield Finding(
            id="driver-too-old-for-torch",
            severity=Severity.ERROR,
            what=f"NVIDIA driver {survey.driver} is too old for {torch}, a build with CUDA {dotted(torch.cuda)}.",
            why=f"Programs built with CUDA {torch.cuda[0]} need driver {needed} or later (NVIDIA, minor version "
            'compatibility); torch reports "The NVIDIA driver on your system is too old" and finds no GPU.',
            next=step,
        )


def _libcuda(given: Given, path: str) -> Iterator[Finding]:
    if "/stubs/" in path:
        yield Finding(
            id="libcuda-stub",
            severity=Severity.ERROR,
            what=f"Programs find the toolkit's placeholder {path} instead of the driver's libcuda.so.1.",
            why="The placeholder is there for linking; every call into it fails.",
            next="Remove the folder named stubs from LD_LIBRARY_PATH.",
        )
    elif "/compat/" in path and any("GeForce" in device.name for device in given.survey.devices):
        yield Finding(
            id="libcuda-forward-compatibility",
            severity=Severity.WARNING,
            what=f"Programs find {path}, which is newer than the driver, instead of the driver's libcuda.so.1.",
            why="NVIDIA's forward compatibility serves data-centre GPUs only; on a GeForce GPU CUDA then fails with "
            "error 804 where the driver is older than the library.",
            next="Remove the folder named compat from LD_LIBRARY_PATH, and update the driver instead.",
        )


def _libcuda_missing(given: Given) -> Finding:
    in_container = container.kind(given.place)
    return Finding(
        id="libcuda-missing",
        severity=Severity.ERROR,
        what="The driver answers, but its library for CUDA, libcuda.so.1, is not where programs look.",
        why="torch.cuda.is_available() is False without it. "
        + (
            'A container gets it only where NVIDIA_DRIVER_CAPABILITIES contains "compute".'
            if in_container
            else "The driver's packages for computing are missing, or only those for the display are installed."
        ),
        next="Start the container with --gpus all -e NVIDIA_DRIVER_CAPABILITIES=compute,utility"
        if in_container
        else advice.install_driver(given.place, is_wsl=False),
    )
