"""Why there is no torch to choose for a machine as it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from rtx50_autoload.installer import reasons

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rtx50_autoload.installer.candidates import Candidate, Candidates
    from rtx50_autoload.installer.facts import Platform
    from rtx50_autoload.installer.machine import Machine

__all__ = ["NoChoice", "NoChoiceKind", "driver_too_old", "left_alone", "no_place_for_cuda", "nothing_serves"]

#: `gpu`: none is known. `vendor`: none of NVIDIA's. `system`: no CUDA there. `python`: no wheels for it. `driver`: it
#: is too old for every build. `capability`: no build has code for the GPU. `torch`: what is installed is left alone.
NoChoiceKind: TypeAlias = Literal["gpu", "vendor", "system", "python", "driver", "capability", "torch"]


@dataclass(frozen=True, slots=True)
class NoChoice:
    """No torch serves the machine as it is.

    Attributes:
        why: in one sentence.
        next: what a person can do about it.
        driver: the oldest branch with which there would be a choice, where the driver is what hinders.
        pythons: those for which there would be wheels, where Python is what hinders; the newest last.

    """

    kind: NoChoiceKind
    why: str
    next: str
    driver: int | None = None
    pythons: tuple[str, ...] = ()


def no_place_for_cuda(machine: Machine, platform: Platform | None) -> NoChoice:
    """Say why CUDA does not run there: the GPU, or the system."""
    others = [gpu for gpu in machine.gpus if gpu.vendor not in ("nvidia", None)]
    if others and len(others) == len(machine.gpus):
        return NoChoice(
            "vendor",
            f"{others[0].name or 'The GPU'} is not one of NVIDIA's, and CUDA runs on those only.",
            "Choose the build of torch for your GPU at https://pytorch.org/get-started.",
        )
    if platform is None:
        where = "macOS" if machine.system == "macos" else f"Windows on {machine.processor}"
        return NoChoice("system", f"There are no CUDA builds of torch for {where}.", "Use Linux or Windows on x86-64.")
    name = next((gpu.name for gpu in machine.gpus if gpu.name), None)
    why = f"The compute capability of {name} is not known." if name else "No GPU can be seen."
    return NoChoice("gpu", why, "Look with `rtx50-autoload doctor` why that is so.")


def driver_too_old(candidates: Candidates, possible: Sequence[Candidate]) -> NoChoice:
    """Say which driver would carry the best of those that the present one does not carry."""
    machine = candidates.machine
    needed = min(each.driver for each in [each for each in possible if each.setting.stays] or possible)
    return NoChoice(
        "driver",
        f"Driver {machine.driver} carries no torch for Python {machine.python} that serves "
        f"{reasons.listed(candidates.gpus)}; driver {needed} does.",
        f"Install driver {needed} or later.",
        driver=needed,
    )


def left_alone(candidates: Candidates) -> NoChoice:
    """Say that the installed torch, which is no release, is not exchanged though it may not serve."""
    why = f"torch {candidates.torch} is no release: it is left alone, though it is not known to serve the GPUs here."
    return NoChoice("torch", why, "Uninstall it, and a release is chosen.")


def nothing_serves(candidates: Candidates) -> NoChoice:
    """Say that another Python would do, or that no build has code for the GPUs."""
    gpus, pythons = reasons.listed(candidates.gpus), candidates.pythons()
    if not pythons:
        why = f"No build of torch that is known holds code for {gpus}."
        return NoChoice("capability", why, "Build torch from source, or take newer facts.")
    return NoChoice(
        "python",
        f"No torch that serves {gpus} has wheels for Python {candidates.machine.python}.",
        f"Make an environment with one of these: {', '.join(pythons)}.",
        pythons=pythons,
    )
