"""Building a package from source for the GPUs of a machine: the steps, or why it cannot be built there."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

from rtx50_autoload.capability import format_capability
from rtx50_autoload.evidence.environment.torch_builds import cuda_of, serves
from rtx50_autoload.evidence.installed import normalised
from rtx50_autoload.installer import build_prerequisites as prerequisites
from rtx50_autoload.installer.build_recipes import BuildRecipe, nvcc_knows, nvcc_versions, recipe_for
from rtx50_autoload.installer.plan import Change, Command, Step, Unsolved
from rtx50_autoload.knowledge import within

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rtx50_autoload.capability import Capability
    from rtx50_autoload.evidence.environment.topic import CudaVersion
    from rtx50_autoload.installer.machine import Machine

__all__ = ["build_steps"]

#: Where no GPU is here, one of the RTX 50 series is meant.
_RTX_50: Final = (12, 0)
_GIB: Final = 2**30


class _Aim(NamedTuple):
    """What a build compiles for."""

    #: The GPUs that it serves, and the code that they run.
    devices: Mapping[Capability, Capability]
    #: The other GPUs, each with the reason, as sentences.
    left_out: Sequence[str]
    #: The CUDA version of the toolkit to install where none fits.
    cuda: CudaVersion

    @property
    def architectures(self) -> list[Capability]:
        return sorted(set(self.devices.values()))


def build_steps(machine: Machine, package: str, torch: tuple[str, str | None] | None) -> tuple[Step, ...] | Unsolved:
    """Give the steps that build a package for the GPUs of a machine, or say why nothing does.

    The prerequisites come first, each only where it is known to be missing; the last step builds and then reads the
    GPU code of what was built (`check-build`).

    Args:
        machine: where it is built.
        package: its name.
        torch: the torch that will be there when it is built, as release and variant, ``("2.11.0", "cu128")``.

    """
    recipe = recipe_for(normalised(package))
    aim = _aim(machine, recipe, torch)
    if isinstance(aim, Unsolved):
        return aim
    if recipe.disk and machine.free_disk is not None and machine.free_disk < recipe.disk:
        return Unsolved(
            "build-disk-too-small",
            f"There is too little disk space to build {recipe.package}.",
            f"It takes about {_gib(recipe.disk)} GiB while it is built, and {_gib(machine.free_disk)} GiB are free.",
            "Free some space, for instance pip's cache: pip cache purge.",
        )
    toolkit = prerequisites.toolkit(machine, aim.cuda, aim.architectures)
    compiler = prerequisites.compiler(machine, aim.cuda)
    steps = (
        toolkit.step,
        compiler.step,
        prerequisites.headers(machine),
        prerequisites.build_tools(machine, recipe.requires),
        _build(machine, recipe, aim, {**toolkit.environ, **compiler.environ}),
    )
    return tuple(step for step in steps if step)


def _aim(machine: Machine, recipe: BuildRecipe, torch: tuple[str, str | None] | None) -> _Aim | Unsolved:
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
    return _Aim(devices, left_out, max(cuda, nvcc_versions(devices.values())))


def _compilable(cuda: CudaVersion, code: Capability) -> bool:
    wanted = max(cuda, nvcc_versions([code]))
    return wanted[0] == cuda[0] and nvcc_knows(wanted, code)


def _unsolved(reason: str, recipe: BuildRecipe, why: str, next_: str) -> Unsolved:
    return Unsolved(f"build-{reason}", f"{recipe.package} cannot be built here as it is.", why, next_)


def _build(machine: Machine, recipe: BuildRecipe, aim: _Aim, environ: Mapping[str, str]) -> Step:
    architectures = aim.architectures
    per_job = recipe.memory_of_job(len(architectures))
    jobs = _jobs(machine, per_job)
    variables = {
        "TORCH_CUDA_ARCH_LIST": recipe.arch_list(architectures),
        "FORCE_CUDA": "1",
        "MAX_JOBS": str(jobs),
        **recipe.variables,
        **environ,
    }
    if recipe.arch_variable:
        variables[recipe.arch_variable] = ";".join(f"{major}{minor}" for major, minor in architectures)
    if recipe.threads_variable:
        variables[recipe.threads_variable] = "1"
    before = machine.packages.get(recipe.package)
    install = prerequisites.pip_install(machine, *_options(machine, recipe), recipe.requirement)
    checks = [word for device in aim.devices for word in ("--device", format_capability(device))]
    minutes = None if recipe.core_minutes is None else math.ceil(recipe.core_minutes * len(architectures) / jobs)
    return Step(
        f"build-{recipe.package}",
        f"Build {recipe.requirement.partition(' @ ')[0]} from source for {_named(architectures)}.",
        " ".join((*_reasons(machine, recipe, aim, jobs, per_job), *aim.left_out)),
        (
            Command(install.arguments, variables),
            Command((machine.executable, "-m", "rtx50_autoload", "check-build", recipe.package, *checks)),
        ),
        by_hand=('Run it in the "x64 Native Tools Command Prompt" of Visual Studio.',)
        if machine.system == "windows"
        else (),
        changes=(Change(recipe.package, str(before) if before else None, _version(recipe)),),
        minutes=minutes,
        back=f"Install {recipe.package}=={before.version} again." if before else f"Uninstall {recipe.package}.",
        check=f"`check-build {recipe.package}` finds GPU code for {_named(aim.devices)}.",
    )


def _options(machine: Machine, recipe: BuildRecipe) -> tuple[str, ...]:
    """Give the options that make an installer build anew, with the torch that is there.

    Both keep wheels that they have built, whatever they were built for: one for other GPUs would come back.
    """
    common = ("--no-build-isolation", "--no-deps", "--no-binary", recipe.package, "--verbose")
    if machine.installer == "uv":
        return (*common, "--no-cache", "--reinstall-package", recipe.package)
    return (*common, "--no-cache-dir", "--force-reinstall")


def _jobs(machine: Machine, per_job: int) -> int:
    limits = [machine.cores] if machine.cores else []
    limits += [machine.memory // per_job] if machine.memory else []
    return max(1, min(limits, default=1))


def _reasons(machine: Machine, recipe: BuildRecipe, aim: _Aim, jobs: int, per_job: int) -> list[str]:
    known = f"{_gib(machine.memory)} GiB of memory" if machine.memory else "an unknown amount of memory"
    cores = f"{machine.cores} cores" if machine.cores else "an unknown number of cores"
    reasons = [
        f"Compiled for {_named(aim.architectures)}, the code that the GPUs here run"
        + (", with PTX for later ones." if recipe.ptx else "."),
        f"MAX_JOBS is {jobs}: {cores}, {known}, and about {_gib(per_job)} GiB for each job.",
    ]
    if machine.memory and machine.memory < per_job:
        reasons.append("Even one job may need more memory than there is: add swap space, and close other programs.")
    if recipe.disk:
        reasons.append(f"It takes about {_gib(recipe.disk)} GiB of disk while it is built.")
    return reasons


def _version(recipe: BuildRecipe) -> str:
    name, _, version = recipe.requirement.partition("==")
    return version or ("newest" if name == recipe.package else "from Git")


def _named(capabilities: Sequence[Capability] | Mapping[Capability, Capability]) -> str:
    return " and ".join(map(format_capability, capabilities))


def _gib(size: int) -> str:
    return f"{size / _GIB:.1f}".removesuffix(".0")
