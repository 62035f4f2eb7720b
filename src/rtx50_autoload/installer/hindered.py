"""What can be done, and what has to be said, where no torch can be chosen for a machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rtx50_autoload.installer.preparing import driver_step
from rtx50_autoload.installer.wording import Wording

if TYPE_CHECKING:
    from rtx50_autoload.installer.choice import NoChoice
    from rtx50_autoload.installer.machine import Machine
    from rtx50_autoload.installer.plan import Step, Unsolved

__all__ = ["hindered"]


def hindered(machine: Machine, no: NoChoice) -> tuple[list[Step], list[Unsolved]]:
    """Give the steps that lead further, and what remains.

    Args:
        machine: as it is.
        no: why nothing is chosen.

    """
    wording = Wording(machine)
    if no.kind == "torch":
        words = {"torch": str(machine.packages["torch"]), "why": no.why, "next": no.next}
        return [], [wording.unsolved("torch-left-alone", words)]
    if no.kind in {"vendor", "system"}:
        vendors = sorted({gpu.vendor for gpu in machine.gpus if gpu.vendor})
        return [], [wording.unsolved("no-nvidia-gpu", facts=vendors)]
    if no.kind != "gpu":
        return [], [wording.unsolved("no-build", {"why": no.why, "next": no.next})]
    if machine.driver:
        unseen = wording.unsolved("no-gpu", facts=("driver-answers",))
        return [], [wording.unsolved("gpu-not-known") if machine.gpus else unseen]
    if machine.gpus or machine.container or machine.system == "wsl":
        return [driver_step(machine)], [wording.unsolved("gpu-not-known")]
    return [], [wording.unsolved("no-gpu")]
