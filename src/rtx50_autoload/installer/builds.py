"""Building a package from source for the GPUs of a machine: the steps, or why it cannot be built there."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from rtx50_autoload.capability import format_capability
from rtx50_autoload.evidence.installed import normalised
from rtx50_autoload.installer import build_prerequisites as prerequisites
from rtx50_autoload.installer.build_aim import find_aim
from rtx50_autoload.installer.build_recipes import recipe_for
from rtx50_autoload.installer.build_toolkit import toolkit as toolkit_for
from rtx50_autoload.installer.plan import Change, Command, Step, Unsolved

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rtx50_autoload.capability import Capability
    from rtx50_autoload.installer.build_aim import Aim
    from rtx50_autoload.installer.build_recipes import BuildRecipe
    from rtx50_autoload.installer.machine import Machine

__all__ = ["build_steps"]

_GIB: Final = 2**30


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
    aim = find_aim(machine, recipe, torch)
    if isinstance(aim, Unsolved):
        return aim
    if recipe.disk and machine.free_disk is not None and machine.free_disk < recipe.disk:
        return Unsolved(
            "build-disk-too-small",
            f"There is too little disk space to build {recipe.package}.",
            f"It takes about {_gib(recipe.disk)} GiB while it is built, and {_gib(machine.free_disk)} GiB are free.",
            "Free some space, for instance pip's cache: pip cache purge.",
        )
    toolkit = toolkit_for(machine, aim.cuda, aim.architectures)
    compiler = prerequisites.compiler(machine, aim.cuda)
    steps = (
        toolkit.step,
        compiler.step,
        prerequisites.headers(machine),
        prerequisites.build_tools(machine, recipe.requires),
        _build(machine, recipe, aim, {**toolkit.environ, **compiler.environ}),
    )
    return tuple(step for step in steps if step)


def _build(machine: Machine, recipe: BuildRecipe, aim: Aim, environ: Mapping[str, str]) -> Step:
    architectures = aim.architectures
    per_job = recipe.memory_of_job(len(architectures))
    jobs = _jobs(machine, per_job)
    variables = {**recipe.variables_for(architectures), "MAX_JOBS": str(jobs), **environ}
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

    Both keep wheels that they have built, whatever they were built for: one for other GPUs would come back (tried with
    pip, which takes it in spite of ``--no-binary``).
    """
    common = ("--no-build-isolation", "--no-deps", "--no-binary", recipe.package, "--verbose")
    if machine.installer == "uv":
        return (*common, "--no-cache", "--reinstall-package", recipe.package)
    return (*common, "--no-cache-dir", "--force-reinstall")


def _jobs(machine: Machine, per_job: int) -> int:
    limits = [machine.cores] if machine.cores else []
    limits += [machine.memory // per_job] if machine.memory else []
    return max(1, min(limits, default=1))


def _reasons(machine: Machine, recipe: BuildRecipe, aim: Aim, jobs: int, per_job: int) -> list[str]:
    known = f"{_gib(machine.memory)} GiB of memory" if machine.memory else "an unknown amount of memory"
    cores = f"{machine.cores} cores" if machine.cores else "an unknown number of cores"
    reasons = [
        f"Compiled for {_named(aim.architectures)}, the code that the GPUs here run"
        + (", with PTX for later ones." if recipe.ptx else "."),
        f"MAX_JOBS is {jobs}: {cores}, {known}, and about {_gib(per_job)} GiB for each job.",
    ]
    if machine.memory and machine.memory < per_job:
        reasons.append("Even one job may need more memory than there is: add swap space, and close other programs.")
    if not machine.ninja:
        reasons.append(
            "torch looks for ninja in PATH, and compiles one file after the other without it: activate the environment."
        )
    if " @ git+" in recipe.requirement:
        reasons.append("Its sources come from Git, so `git` has to be installed.")
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
