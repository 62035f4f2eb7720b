"""The Windows Subsystem for Linux, where the driver is Windows's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from rtx50_autoload.evidence.environment import advice
from rtx50_autoload.evidence.environment.loader import Loader
from rtx50_autoload.evidence.environment.topic import Examined, Given
from rtx50_autoload.evidence.finding import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rtx50_autoload.evidence.environment.place import Place

__all__ = ["examine", "version"]

#: Where WSL 2 puts the Windows driver's libraries (NVIDIA, CUDA on WSL User Guide).
_LIBRARIES = "/usr/lib/wsl/lib"


def version(place: Place) -> Literal[1, 2] | None:
    """Tell which WSL this is; None outside of it."""
    release = place.read("/proc/sys/kernel/osrelease") if place.is_linux else None
    if release is None or "microsoft" not in release.lower():
        return None
    # WSL 1: 4.4.0-19041-Microsoft. WSL 2: 5.15.153.1-microsoft-standard-WSL2, self-built kernels with other endings.
    return 1 if release.startswith("4.4.") and "Microsoft" in release else 2


def examine(given: Given) -> Examined:
    """Look at how the GPU comes into WSL."""
    which = version(given.place)
    return Examined(tuple(_findings(given, which)) if which else (), {"version": which})


def _findings(given: Given, which: Literal[1, 2]) -> Iterator[Finding]:
    place = given.place
    if which == 1:
        yield Finding(
            id="wsl-1",
            severity=Severity.ERROR,
            what="This is WSL 1, which has no access to the GPU.",
            why="CUDA works in WSL 2 only (NVIDIA, CUDA on WSL User Guide).",
            next='In PowerShell: wsl --list, then wsl --set-version "NAME" 2',
        )
        return
    own = place.system(f"{_LIBRARIES}/libcuda.so.1")
    if not own.exists() or not place.system("/dev/dxg").exists():
        yield Finding(
            id="wsl-without-driver",
            severity=Severity.ERROR,
            what="Windows hands no NVIDIA GPU into WSL.",
            why=f"{_LIBRARIES}/libcuda.so.1 or /dev/dxg is missing: Windows has no driver for it, or too old a WSL.",
            next=f"In PowerShell: wsl --update, then wsl --shutdown. {advice.install_driver(place, is_wsl=True)}",
        )
        return
    found = Loader(place).find("libcuda.so.1")
    if found and found.resolve().parent not in (own.parent, own.resolve().parent):
        yield Finding(
            id="wsl-linux-driver",
            severity=Severity.WARNING,
            what=f"A Linux driver is installed inside WSL: programs find {found} instead of Windows's driver.",
            why="It covers the one that Windows maps in, and finds no GPU (NVIDIA, CUDA on WSL User Guide).",
            next="sudo apt purge 'libnvidia-compute-*' 'nvidia-driver-*', then in PowerShell: wsl --shutdown",
        )
