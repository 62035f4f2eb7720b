"""The steps that come before anything is installed; a person has to do them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from rtx50_autoload.evidence.environment.torch_builds import newest_driver
from rtx50_autoload.installer.commanding import type_line, way_back
from rtx50_autoload.installer.plan import Change
from rtx50_autoload.installer.wording import Wording

if TYPE_CHECKING:
    from rtx50_autoload.installer.machine import Machine
    from rtx50_autoload.installer.plan import Step

__all__ = ["driver_step", "environment_step", "hiding_torch_step", "in_new_environment", "names_in_both", "pip_step"]

#: The folder of a new environment, in the current one.
_ENVIRONMENT: Final = "rtx50-venv"
#: What a second torch brings with it.
_TORCH_AND_PARTS: Final = ("torch", "torchvision", "torchaudio")


def driver_step(machine: Machine, needed: int | None = None, reason: str = "") -> Step:
    """Install the driver, or a newer one where there is one; hand it into a container where it is not there.

    Args:
        machine: as it is.
        needed: the oldest branch that will do, by default one that carries every build of torch.
        reason: why a newer one is needed, in sentences.

    """
    wording = Wording(machine)
    if machine.container and machine.driver is None:
        return wording.step("give-container-gpu", {})
    identifier = "update-driver" if machine.driver else "install-driver"
    return wording.step(identifier, {"needed_driver": str(needed or newest_driver()), "reason": reason})


def in_new_environment(machine: Machine, python: str) -> Machine:
    """Give a machine with an empty environment in the place of the present one."""
    windows = machine.system == "windows"
    return replace(
        machine,
        python=python,
        kind="venv",
        executable=f"{_ENVIRONMENT}\\Scripts\\python.exe" if windows else f"{_ENVIRONMENT}/bin/python",
        externally_managed=False,
        packages={},
        hidden={},
    )


def environment_step(machine: Machine, new: Machine) -> Step:
    """Make an environment of its own.

    Args:
        machine: as it is.
        new: the same with that environment.

    """
    is_other = new.python != machine.python
    if machine.installer == "uv":
        words: tuple[str, ...] = ("uv", "venv", "--python", new.python if is_other else machine.executable)
    elif is_other:
        launcher = ("py", f"-{new.python}") if machine.system == "windows" else (f"python{new.python}",)
        words = (*launcher, "-m", "venv")
    else:
        words = (machine.executable, "-m", "venv")
    return Wording(machine).step(
        "new-environment",
        {
            "environment": _ENVIRONMENT,
            "make_environment": type_line(machine, *words, _ENVIRONMENT),
            "new_python": type_line(machine, new.executable),
            "new_version": new.python,
        },
        ("other-python",) if is_other else (),
    )


def pip_step(machine: Machine) -> Step:
    """Install pip."""
    wording = Wording(machine)
    return wording.step("install-pip", {"ensure_pip": wording.python("-m", "ensurepip")})


def names_in_both(machine: Machine) -> tuple[str, ...]:
    """Name torch, and what comes with it, as far as two of it are there; empty where torch is there once."""
    if "torch" not in machine.hidden:
        return ()
    return tuple(name for name in _TORCH_AND_PARTS if name in machine.packages and name in machine.hidden)


def hiding_torch_step(machine: Machine) -> Step:
    """Remove the torch that hides another one."""
    names, wording = names_in_both(machine), Wording(machine)
    before = [(name, machine.packages[name]) for name in names]
    words = {
        "before": str(machine.packages["torch"]),
        "after": str(machine.hidden["torch"]),
        # uv does not look into the user's packages; and what a variable leads to is not ours to remove.
        "remove": wording.python("-m", "pip", "uninstall", "-y", *names),
        "unset_pythonpath": "set PYTHONPATH=" if machine.system == "windows" else "unset PYTHONPATH",
        "back_command": way_back(machine, before),
    }
    changes = tuple(Change(name, str(package), str(machine.hidden[name])) for name, package in before)
    return replace(wording.step("remove-second-torch", words), changes=changes)
