"""Whether the installed packages fit each other, and the GPU."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from rtx50_autoload.evidence.environment import advice
from rtx50_autoload.evidence.environment.driver import gpus_on_bus
from rtx50_autoload.evidence.environment.loading import bitsandbytes_binary
from rtx50_autoload.evidence.environment.stack import satisfied
from rtx50_autoload.evidence.environment.topic import BLACKWELL, Examined, Given, dotted, knowledge, parse_version
from rtx50_autoload.evidence.finding import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rtx50_autoload.evidence.environment.stack import Installed, Torch

__all__ = ["examine"]

#: Compiled against one version of torch and built per CUDA variant.
_TORCH_FAMILY: Final = ("torchvision", "torchaudio")
#: What torch pins of NVIDIA's; other requirements are no business of a GPU's.
_NVIDIA: Final = ("nvidia-", "cuda-")
_TRITON: Final = ("triton", "triton-windows")
# flash_attn-2.8.3+cu12torch2.8cxx11abiTRUE-cp312-cp312-linux_x86_64.whl
_ABI: Final = 'Its compiled code fits that version only: "undefined symbol", "DLL load failed" or missing operators.'
_BUILT_FOR: Final = re.compile(r"torch(\d+\.\d+)")


def examine(given: Given) -> Examined:
    """Compare versions with each other and with what the devices need."""
    torch = given.stack.torch
    facts = {
        "torch": torch
        and {
            "version": torch.version,
            "cuda": torch.cuda and dotted(torch.cuda),
            "rocm": torch.hip,
            "folder": str(torch.folder),
        },
        "packages": {name: package.built for name, package in given.stack.installed.items() if name != "torch"},
    }
    findings = [*_requirements(given), *_triton(given)]
    if torch:
        # What says itself that it belongs to another torch has more faults, all with the one cause.
        others = [package for package in given.stack.installed.values() if package.accepts(torch)]
        findings += [*_torch_for_gpu(given, torch), *_variants(given, torch, others), *_pairs(given, torch, others)]
        findings += [*_built_for(given, torch, others), *_bitsandbytes(given, torch)]
    return Examined(tuple(findings), facts)


# What packages say of each other


def _requirements(given: Given) -> Iterator[Finding]:
    """Check what the installed metadata requires, as far as it concerns the GPU."""
    stack = given.stack
    for package in stack.installed.values():
        for text in package.requires:
            try:
                requirement = Requirement(text)
            except InvalidRequirement:
                continue
            name = canonicalize_name(requirement.name)
            known = name in {entry["name"] for entry in knowledge("stack")["package"]}
            if not known and not name.startswith(_NVIDIA):
                continue
            if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
                continue
            version = _installed_version(given, name)
            if version is not None and not satisfied(requirement.specifier, version):
                yield _disagreement(given, package, requirement, version)
            # NVIDIA's packages may be missing by right: conda and distributions bring the libraries in other ones.
            elif version is None and known:
                yield Finding(
                    id="requirement-missing",
                    severity=Severity.WARNING,
                    what=f"{package.name} {package.version} requires {name}, which is not installed.",
                    why="Its metadata says so; it was installed without its requirements, or they were removed since.",
                    next=advice.install_torch(given.place, given.survey)
                    if name == "torch"
                    else advice.pip_install(given.place, f"{name}{requirement.specifier}"),
                )


def _installed_version(given: Given, name: str) -> str | None:
    if name == "torch" and given.stack.torch:
        return given.stack.torch.version
    if name in given.stack.installed:
        return given.stack.installed[name].version
    # Importing it puts a finder on sys.meta_path: only in a process of our own, where somebody asks for this.
    import importlib_metadata  # noqa: PLC0415

    found = importlib_metadata.distributions(name=name, path=[str(path) for path in given.place.paths])
    for each in found:
        with suppress(OSError, ValueError, KeyError, AttributeError):  # what an interrupted uninstallation leaves
            return str(each.version)
    return None


def _disagreement(given: Given, package: Installed, requirement: Requirement, version: str) -> Finding:
    name = canonicalize_name(requirement.name)
    binds = name == "torch" and "==" in str(requirement.specifier)
    return Finding(
        id="requirement-unmet",
        severity=Severity.ERROR if binds else Severity.WARNING,
        what=f"{package.name} {package.version} requires {name}{requirement.specifier}, but {version} is installed.",
        why=_ABI if binds else "It was not made for that version. Often a later install replaced one of the two.",
        # torch stays: it decides over the GPU, and many packages depend on it.
        next=_reinstall(given, package, given.stack.torch)
        if name == "torch" and given.stack.torch
        else advice.pip_install(given.place, f"{name}{requirement.specifier}"),
    )


def _reinstall(given: Given, package: Installed, torch: Torch) -> str:
    if package.name in _TORCH_FAMILY:
        # Only torch's own index names the variants; there pip finds the release that goes with this torch.
        return advice.match_torch(given.place, given.survey, torch, package)
    if package.name == "xformers":
        return advice.pip_install(given.place, "--upgrade", "--no-deps", "xformers")
    return f"Install the {package.name} that was built for {torch}."


# The GPU


def _torch_for_gpu(given: Given, torch: Torch) -> Iterator[Finding]:
    place, survey = given.place, given.survey
    has_gpu = bool(survey.devices) or gpus_on_bus(place) > 0
    beside = [name for name in _TORCH_FAMILY if name in given.stack.installed]
    step = advice.install_torch(place, survey, *beside)
    if torch.cuda is None and has_gpu:
        made_for = "AMD's GPUs (ROCm)" if torch.hip else "the CPU only"
        yield Finding(
            id="torch-for-amd" if torch.hip else "torch-cpu-only",
            severity=Severity.ERROR,
            what=f"{torch} is a build for {made_for}; it cannot use an NVIDIA GPU.",
            why='torch.cuda.is_available() is False, and .cuda() fails with "Torch not compiled with CUDA enabled". '
            "On Windows a plain `pip install torch` gives this build.",
            next=step,
        )
        return
    oldest = next(row["cuda"] for row in knowledge("versions")["minimum"] if row["capability"] == BLACKWELL)
    if torch.cuda and given.blackwell and torch.cuda < parse_version(oldest):
        yield Finding(
            id="torch-cuda-too-old",
            severity=Severity.ERROR,
            what=f"{torch} is built with CUDA {dotted(torch.cuda)}, which does not know the {given.blackwell[0].name}.",
            why=f'Builds before CUDA {oldest} hold no code for it (sm_120) and no PTX to compile: "no kernel image is '
            'available". A newer driver does not change that, nor does a newer torch of the same CUDA variant.',
            next=step,
        )


def _triton(given: Given) -> Iterator[Finding]:
    oldest = next(row["triton"] for row in knowledge("versions")["minimum"] if row["capability"] == BLACKWELL)
    for name in _TRITON:
        version = given.stack.version(name)
        if version and given.blackwell and not satisfied(SpecifierSet(f">={oldest}"), version):
            yield Finding(
                id="triton-too-old",
                severity=Severity.ERROR,
                what=f"{name} {version} does not know the RTX 50 series.",
                why=f"Before {oldest} its compiler fails on sm_120 (\"'sm_120' is not a recognized processor\"), or "
                "ends the whole program. An own nvcc does not help: Triton brings its compiler.",
                next="Install a torch that brings a newer one: " + advice.install_torch(given.place, given.survey)
                if given.place.is_linux
                else advice.pip_install(given.place, "--upgrade", name),
            )


# torch's family


def _variants(given: Given, torch: Torch, packages: list[Installed]) -> Iterator[Finding]:
    for package in packages:
        names_variant = package.cuda is not None or package.is_cpu_only
        if package.name not in _TORCH_FAMILY or not names_variant or package.cuda == torch.cuda:
            continue
        theirs = f"CUDA {dotted(package.cuda)}" if package.cuda else "the CPU only"
        ours = f"CUDA {dotted(torch.cuda)}" if torch.cuda else "the CPU only"
        yield Finding(
            id="cuda-variants-differ",
            severity=Severity.ERROR,
            what=f"{package.name} {package.built} is built for {theirs}, {torch} for {ours}.",
            why='Expect "operator torchvision::nms does not exist" or its like: both have to come from one index.',
            next=advice.match_torch(given.place, given.survey, torch, package, same_release=True),
        )


def _pairs(given: Given, torch: Torch, packages: list[Installed]) -> Iterator[Finding]:
    """Compare with the table of releases; for builds whose metadata does not pin torch."""
    ours = dotted(torch.release)
    versions = knowledge("versions")
    for package in packages:
        pins_torch = any("==" in str(specifier) for specifier in package.torch_specifiers)
        if package.name not in _TORCH_FAMILY or pins_torch:
            continue
        stable = (row for row in versions["stable"] if row["package"] == package.name)
        if any(satisfied(SpecifierSet(row["version"]), package.version) for row in stable):
            continue
        theirs = _line(package.version)
        partner = next((_line(row["version"]) for row in versions["torch"] if _line(row[package.name]) == theirs), "")
        if partner and partner != ours:
            yield Finding(
                id="releases-differ",
                severity=Severity.ERROR,
                what=f"{package.name} {package.version} belongs to torch {partner}, but {torch} is installed.",
                why=_ABI,
                next=advice.match_torch(given.place, given.survey, torch, package),
            )


def _line(version: str) -> str:
    """Give the first two numbers of a version."""
    return ".".join(version.split(".")[:2])


def _built_for(given: Given, torch: Torch, packages: list[Installed]) -> Iterator[Finding]:
    rules = {rule["package"]: rule for rule in knowledge("versions")["built-for"]}
    for package in packages:
        rule = rules.get(package.name)
        if rule is None or ("below" in rule and not satisfied(SpecifierSet(f"<{rule['below']}"), package.version)):
            continue
        built_for = _written_target(package)
        if built_for and built_for != dotted(torch.release):
            yield Finding(
                id="built-for-other-torch",
                severity=Severity.ERROR,
                what=f"{package.name} {package.version} was built for torch {built_for}, but {torch} is installed.",
                why=_ABI,
                next=_reinstall(given, package, torch),
            )


def _written_target(package: Installed) -> str | None:
    """Give the version of torch, ``2.8``, that a package says it was built for."""
    for text in (package.origin or "", package.built):
        if match := _BUILT_FOR.search(text):
            return match[1]
    with suppress(OSError, ValueError, KeyError, TypeError):
        # xformers writes it beside its library.
        text = (package.folder / package.name / "cpp_lib.json").read_text(encoding="utf-8")
        return dotted(parse_version(json.loads(text)["version"]["torch"]))
    return None


def _bitsandbytes(given: Given, torch: Torch) -> Iterator[Finding]:
    binary = bitsandbytes_binary(given.place, given.stack)
    if binary is None or torch.cuda is None or binary.is_file():
        return
    override = given.place.environ.get("BNB_CUDA_VERSION")
    yield Finding(
        id="bitsandbytes-without-cuda-version",
        severity=Severity.ERROR,
        what=f"bitsandbytes {given.stack.version('bitsandbytes')} has no {binary.name}, which it would load.",
        why=f"BNB_CUDA_VERSION={override} asks for it."
        if override
        else f"{torch} is built with CUDA {dotted(torch.cuda)}, and this one has no library for it.",
        next=advice.unset_variable(given.place, "BNB_CUDA_VERSION")
        if override
        else advice.pip_install(given.place, "--upgrade", "--no-deps", "bitsandbytes"),
    )
