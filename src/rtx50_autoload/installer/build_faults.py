"""What went wrong in a build, in sentences, by its binaries, its output and the variables."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from rtx50_autoload.capability import format_capability
from rtx50_autoload.evidence.arch import loads_on, parse_architecture
from rtx50_autoload.evidence.installed import normalised
from rtx50_autoload.evidence.verdict import Verdict
from rtx50_autoload.installer.build_recipes import recipe_for

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rtx50_autoload.capability import Capability
    from rtx50_autoload.evidence.installed import Installed
    from rtx50_autoload.evidence.torch_build import TorchBuild
    from rtx50_autoload.evidence.verdict import Judgement

__all__ = ["asked_for", "build_again", "misses", "without_code"]

#: As nvcc is called: -gencode arch=compute_90,code=sm_90 or -gencode=arch=compute_90,code=[sm_90,compute_90].
_GENCODE: Final = re.compile(r"-gencode[ =]'?\"?arch=compute_\w+,code=\[?([\w,]+)")


def misses(built: Installed, failing: Mapping[Capability, Judgement], inside: Sequence[str]) -> str:
    """Say which GPUs a build leaves out, and what it holds instead."""
    devices, images = " and ".join(map(format_capability, failing)), ", ".join(inside)
    if all(judgement.verdict is Verdict.JIT for judgement in failing.values()):
        return (
            f"{built.name} {built.version} does not hold ready-made code for {devices} throughout: there is {images}. "
            "The driver compiles its PTX when a program starts, without what was written for this GPU."
        )
    if any(loads_on(parse_architecture(name), device) for name in inside for device in failing):
        reasons = "; ".join(dict.fromkeys(judgement.reason for judgement in failing.values()))
        return f"{built.name} {built.version} does not run in whole on {devices}, though it holds {images}: {reasons}."
    return f"{built.name} {built.version} holds code for {images} only, which does not load on {devices}."


def asked_for(log: str | None, environ: Mapping[str, str]) -> str:
    """Say what the build was asked for, as far as its output and the variables tell."""
    sentences = []
    asked = list(dict.fromkeys(name for match in _GENCODE.findall(log or "") for name in match.split(",")))
    arch_list = environ.get("TORCH_CUDA_ARCH_LIST", "").strip()
    if asked:
        sentences.append(f"The build's output shows that nvcc was asked for {', '.join(asked)}.")
    if arch_list:
        sentences.append(f"TORCH_CUDA_ARCH_LIST is {arch_list!r}.")
    elif not asked:
        sentences.append(
            "TORCH_CUDA_ARCH_LIST is not set here: then a build takes the GPUs that it sees, or a list of its own."
        )
    return " ".join(sentences)


def without_code(built: Installed, torch: TorchBuild | None, log: str | None, environ: Mapping[str, str]) -> str:
    """Say why a build may hold no GPU code at all."""
    sentences = [f"{built.name} {built.version} holds no GPU code: it was built without CUDA."]
    if torch is not None and torch.cuda is None:
        sentences.append(f"torch {torch.version} here is no build for CUDA, and most builds go by torch.")
    elif log is not None and "nvcc" not in log:
        sentences.append("The build's output shows no call of nvcc.")
    if environ.get("FORCE_CUDA") != "1":
        sentences.append("FORCE_CUDA=1 is not set, and where no GPU is visible many builds leave CUDA out without it.")
    return " ".join(sentences)


def build_again(package: str, capabilities: Sequence[Capability]) -> str:
    """Say how to build it for these GPUs."""
    recipe = recipe_for(normalised(package))
    architectures = [code for each in capabilities if (code := recipe.architecture_for(each))]
    if not architectures:
        return f"{recipe.package} has no code for these GPUs."
    variables = recipe.variables_for(architectures)
    listed = ", ".join(f"{name}={value}" for name, value in variables.items())
    return f"Build it again beside the torch that is there, without the installer's cache, with {listed}."
