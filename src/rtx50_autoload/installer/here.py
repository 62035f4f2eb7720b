"""What a plan depends on, read off the machine and the environment that run this.

CUDA is not initialised, no library is imported, and no process is started but compilers, for their version.
"""

from __future__ import annotations

import json
import platform
import re
import sysconfig
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from rtx50_autoload.diagnosis.situation import Gpu
from rtx50_autoload.evidence.environment import container, wsl
from rtx50_autoload.evidence.environment.compiler import find_compiler
from rtx50_autoload.evidence.environment.driver import gpus_on_bus
from rtx50_autoload.evidence.environment.host import free_space, memory, processors
from rtx50_autoload.evidence.environment.place import Place
from rtx50_autoload.evidence.environment.stack import read_stack
from rtx50_autoload.evidence.environment.toolkit import find_toolkit
from rtx50_autoload.evidence.environment.topic import dotted
from rtx50_autoload.evidence.environment.torch_builds import newest_driver
from rtx50_autoload.evidence.installed import normalised
from rtx50_autoload.evidence.subject import survey_devices
from rtx50_autoload.installer.describe import split_version
from rtx50_autoload.installer.machine import Machine, Package

if TYPE_CHECKING:
    from rtx50_autoload.diagnosis.situation import OperatingSystem
    from rtx50_autoload.evidence.devices import Survey
    from rtx50_autoload.evidence.environment.stack import Stack
    from rtx50_autoload.evidence.environment.toolkit import Toolkit
    from rtx50_autoload.installer.machine import EnvironmentKind, Installer, Processor

__all__ = ["environment_kind", "machine_here"]

#: What nvcc says of its own folder before it does anything: ``#$ TOP=/usr/local/cuda-13.0/bin/..``.
_TOP: Final = re.compile(r"^#\$ TOP=(.+)/\.\.\s*$", re.MULTILINE)
_MADE_BY_UV: Final = re.compile(r"^uv\s*=", re.MULTILINE)
_ARM: Final = ("aarch64", "arm64")


def machine_here(place: Place | None = None, survey: Survey | None = None) -> Machine:
    """Describe this machine and the environment that runs this.

    Args:
        place: what to look at, by default what is here.
        survey: the devices, by default those that this process sees.

    """
    here = place or Place.here()
    seen = survey or survey_devices()
    kind = environment_kind(here)
    packages, hidden = _packages(here)
    toolkit, compiler = find_toolkit(here), find_compiler(here)
    return Machine(
        gpus=_gpus(here, seen),
        driver=_driver(seen),
        system=_system(here),
        processor=_processor(),
        python=here.python.name,
        executable=str(here.python.executable),
        kind=kind,
        installer=_installer(here, kind),
        container=container.kind(here),
        externally_managed=kind == "system" and Path(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED").is_file(),
        packages=MappingProxyType(packages),
        hidden=MappingProxyType(hidden),
        cores=processors(),
        memory=memory(here),
        free_disk=free_space(here.python.prefix),
        toolkit=dotted(toolkit.version) if toolkit and toolkit.version else None,
        toolkit_home=_toolkit_home(here, toolkit) if toolkit else None,
        compiler=(compiler.kind, compiler.version) if compiler else None,
        ninja=here.find_program("ninja") is not None,
    )


def environment_kind(place: Place) -> EnvironmentKind:
    """Tell what kind of environment an interpreter belongs to."""
    python = place.python
    if any(python.executable.parent.glob("python*._pth")):
        return "embedded"
    # A virtual environment made from conda's Python is its own.
    if python.prefix != python.base_prefix:
        return "venv"
    return "conda" if (python.prefix / "conda-meta").is_dir() else "system"


def _driver(survey: Survey) -> str | None:
    # Simulated GPUs come with a driver that serves them.
    simulated = any(device.source == "simulated" for device in survey.devices)
    return str(newest_driver()) if simulated else survey.driver


def _installer(place: Place, kind: EnvironmentKind) -> Installer:
    # The packages of conda and of portable programs are known to their own pip.
    if kind not in ("venv", "system"):
        return "pip"
    if place.find_program("uv"):
        return "uv"
    with suppress(OSError):
        # uv puts no pip into what it makes, unless that is asked for.
        has_pip = any((path / "pip").is_dir() for path in place.paths)
        if not has_pip and _MADE_BY_UV.search((place.python.prefix / "pyvenv.cfg").read_text(encoding="utf-8")):
            return "uv"
    return "pip"


def _toolkit_home(place: Place, toolkit: Toolkit) -> str:
    """Give the folder that CUDA_HOME has to be; of an nvcc that is a script around another one, the other one's."""
    if not (toolkit.home / "nvvm").is_dir():
        told = _TOP.search(place.run(toolkit.nvcc, "--dryrun", "none.cu") or "")
        if told:
            return str(Path(told[1]).resolve().parent)
    return str(toolkit.home)


def _gpus(place: Place, survey: Survey) -> tuple[Gpu, ...]:
    if survey.devices:
        return tuple(Gpu(device.name, device.capability, "nvidia") for device in survey.devices)
    # Without a driver nobody names them; with one, the user has hidden them (CUDA_VISIBLE_DEVICES).
    return (Gpu(None, None, "nvidia"),) * (gpus_on_bus(place) if survey.driver is None else 0)


def _system(place: Place) -> OperatingSystem:
    if place.is_windows:
        return "windows"
    if place.platform == "darwin":
        return "macos"
    return "wsl" if wsl.version(place) else "linux"


def _processor() -> Processor:
    return "aarch64" if platform.machine().lower() in _ARM else "x86_64"


def _packages(place: Place) -> tuple[dict[str, Package], dict[str, Package]]:
    """Read all metadata: the distributions that an import finds, and those that stand behind one of the same name."""
    # Importing it puts a finder on sys.meta_path: only in a process of our own, where somebody asks for this.
    import importlib_metadata  # noqa: PLC0415

    found: dict[str, Package] = {}
    hidden: dict[str, Package] = {}
    for path in place.paths:
        here: dict[str, Package] = {}
        for distribution in importlib_metadata.distributions(path=[str(path)]):
            with suppress(OSError, ValueError, KeyError, AttributeError):  # what an interrupted uninstallation leaves
                name, version = distribution.metadata["Name"], distribution.version
                if name and version:
                    here.setdefault(
                        normalised(name),
                        replace(
                            split_version(version),
                            requires=tuple(distribution.requires or ()),
                            origin=_origin(distribution.read_text("direct_url.json")),
                        ),
                    )
        for name, package in here.items():
            (hidden if name in found else found).setdefault(name, package)
    stack = read_stack(place)
    _add_variants(found, _variants(place, stack))
    if behind := stack.torch_copies[1:]:
        others = replace(place, paths=tuple(copy.parent for copy in behind))
        _add_variants(hidden, _variants(others, read_stack(others)))
    return found, hidden


def _add_variants(packages: dict[str, Package], variants: dict[str, str]) -> None:
    for name, variant in variants.items():
        if name in packages and packages[name].variant is None:
            packages[name] = replace(packages[name], variant=variant, names_variant=False)


def _variants(place: Place, stack: Stack) -> dict[str, str]:
    """Give what packages were built for where not their metadata, but their files say it."""
    variants = {
        name: variant for name, each in stack.installed.items() if (variant := split_version(each.built).variant)
    }
    if (xformers := stack.installed.get("xformers")) and (variant := _xformers_variant(xformers.folder)):
        variants["xformers"] = variant
    if (torch := stack.torch) is not None:
        # PyPI, conda and distributions leave it out of the version.
        if torch.cuda:
            variants["torch"] = f"cu{torch.cuda[0]}{torch.cuda[1]}"
        elif torch.hip:
            variants["torch"] = f"rocm{'.'.join(torch.hip.split('.')[:2])}"
        elif place.platform != "darwin":
            variants["torch"] = "cpu"
    return variants


def _xformers_variant(site: Path) -> str | None:
    """Give what xformers writes beside its library: ``{"version": {"cuda": 1208, …}, …}``."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        number = json.loads((site / "xformers" / "cpp_lib.json").read_text(encoding="utf-8"))["version"]["cuda"]
        return f"cu{number // 100}{number % 100}"
    return None


def _origin(text: str | None) -> str | None:
    """Give where a distribution was installed from; of an editable install, with that word before it."""
    with suppress(ValueError, TypeError, KeyError):
        origin: dict[str, Any] = json.loads(text or "null")
        url = origin["url"]
        if isinstance(url, str):
            editable = isinstance(origin.get("dir_info"), dict) and origin["dir_info"].get("editable")
            return f"editable {url}" if editable else url
    return None
