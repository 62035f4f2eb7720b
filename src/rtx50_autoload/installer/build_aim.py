"""For which GPUs of a machine a package can be built beside a torch, and with which CUDA."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from rtx50_autoload.capability import format_capability
from rtx50_autoload.evidence.environment.torch_builds import cuda_of, serves
from rtx50_autoload.installer.build_recipes import nvcc_knows, nvcc_versions
from rtx50_autoload.installer.plan import Unsolved
from rtx50_autoload.knowledge import within

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rtx50_autoload.capability import Capability
    from rtx50_autoload.evidence.environment.topic import CudaVersion
    from rtx50_autoload.installer.build_recipes import BuildRecipe
    from rtx50_autoload.installer.machine import Machine

__all__ = ["Aim", "find_aim"]

#: Where no GPU is here, one of the RTX 50 series is meant.
_RTX_50: Final = (12, 0)


class Aim(NamedTuple):
    """What a build compiles for."""

    #: The GPUs that it serves, and the code that they run.
    devices: Mapping[Capability, Capability]
    #: The other GPUs, each with the reason, as sentences.
    left_out: Sequence[str]
    #: The CUDA version of the toolkit to install where none fits.
    cuda: CudaVersion

    @property
    def architectures(self) -> list[Capability]:
        """What is compiled for, oldest first."""
        return sorted(set(self.devices.values()))


def find_aim(machine: Machine, recipe: BuildRecipe, torch: tuple[str, str | None] | None) -> Aim | Unsolved:
    """Choose what is compiled for; an unsolved point where nothing can be, or torch does not let it."""
    if machine.system == "macos":
        return _unsolved("no-cuda", recipe, "CUDA does not exist for macOS.", "Use a machine with an NVIDIA GPU.")
    if torch is None:
        return _unsolved(
            "without-torch",
            recipe,
            "It is compiled against the installed torch.",
            "Install a CUDA build of torch first.",
        )
    release, variant = torch
    cuda = cuda_of(variant)
    if cuda is None:
        return _unsolved(
            "torch-without-cuda",
            recipe,
            f"torch {release}{'+' + variant if variant else ''} is not known to be a build for CUDA, and an extension "
            "built beside such a torch has no GPU code, or does not link.",
            "Install a CUDA build of torch first.",
        )
    if within(release, recipe.torch) is False:
        reason = f"{recipe.requirement} builds with torch {recipe.torch} only, and {release} is there."
        return _unsolved("torch-does-not-fit", recipe, reason, f"Install torch {recipe.torch} first.")
    capabilities = [gpu.capability for gpu in machine.gpus if gpu.capability and gpu.vendor in ("nvidia", None)]
    devices: dict[Capability, Capability] = {}
    left_out = []
    for device in sorted(set(capabilities)) or [_RTX_50]:
        code = recipe.architecture_for(device)
        if serves(variant or "", device) is False:
            left_out.append(f"torch {release}+{variant} has no code for {format_capability(device)}.")
        elif code is None:
            left_out.append(f"{recipe.package} has no code for {format_capability(device)}.")
        elif not _compilable(cuda, code):
            left_out.append(f"No nvcc of CUDA {cuda[0]} compiles for {format_capability(code)}.")
        else:
            devices[device] = code
    if not devices:
        return _unsolved("no-code-for-gpu", recipe, " ".join(left_out), "Choose a torch for these GPUs first.")
    return Aim(devices, left_out, max(cuda, nvcc_versions(devices.values())))


def _compilable(cuda: CudaVersion, code: Capability) -> bool:
    wanted = max(cuda, nvcc_versions([code]))
    return wanted[0] == cuda[0] and nvcc_knows(wanted, code)


def _unsolved(reason: str, recipe: BuildRecipe, why: str, next_: str) -> Unsolved:
    return Unsolved(f"build-{reason}", f"{recipe.package} cannot be built here as it is.", why, next_)
