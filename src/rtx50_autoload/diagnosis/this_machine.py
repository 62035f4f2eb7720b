"""A situation as it is here: cheap enough for the moment of a crash, in the user's process."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeVar

from rtx50_autoload.diagnosis.situation import Gpu, Situation
from rtx50_autoload.evidence.environment import wsl
from rtx50_autoload.evidence.environment.place import Place
from rtx50_autoload.evidence.environment.toolkit import find_toolkit
from rtx50_autoload.evidence.installed import Installed, normalised
from rtx50_autoload.evidence.subject import survey_devices
from rtx50_autoload.evidence.torch_build import torch_build

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rtx50_autoload.diagnosis.situation import OperatingSystem, Tool
    from rtx50_autoload.evidence.devices import Survey

__all__ = ["look"]

_T = TypeVar("_T")

#: In a toolkit's `version.json`; nvcc is not asked, since a process would have to be started for it.
_VERSION: Final = re.compile(r'"cuda"\s*:\s*\{[^{}]*"version"\s*:\s*"(\d+\.\d+)')
_DIST_INFO: Final = ".dist-info"


class _StillPlace(Place):
    """A place where no program is started: what nvcc would say is read from the file beside it."""

    def run(self, program: Path, *arguments: str) -> str | None:
        del arguments
        try:
            match = _VERSION.search((program.resolve().parent.parent / "version.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return f"release {match[1]}" if match else None


def look(place: Place | None = None) -> Situation:
    """Describe this machine and this Python; what cannot be read is not known, and nothing is raised.

    No process is started, torch is not imported, and CUDA is not initialised.

    Args:
        place: what to look at, by default what is here.

    """
    here = place or Place.here()
    still = _StillPlace(here.python, here.environ, here.paths, here.root, here.platform)
    survey = _or_none(survey_devices)
    torch, variant = _or_none(lambda: _torch(still)) or (None, None)
    toolkit = _or_none(lambda: find_toolkit(still))
    return Situation(
        source="machine",
        gpus=_gpus(survey) if survey else None,
        torch=torch,
        torch_variant=variant,
        cuda_toolkit=f"{toolkit.version[0]}.{toolkit.version[1]}" if toolkit and toolkit.version else None,
        driver=survey.driver if survey else None,
        system=_system(still),
        python_version=".".join(map(str, still.python.version)),
        versions=MappingProxyType(_or_none(lambda: _versions(still)) or {}),
        tool=_or_none(lambda: _tool(still)),
        python_command=_python_command(still),
    )


def _or_none(read: Callable[[], _T]) -> _T | None:
    """Give what a part says, None where it cannot be read: an error is being explained, and none may be added."""
    with suppress(Exception):
        return read()
    return None


def _gpus(survey: Survey) -> tuple[Gpu, ...]:
    return tuple(Gpu(device.name, device.capability, "nvidia") for device in survey.devices)


def _torch(place: Place) -> tuple[str, str | None] | None:
    build = torch_build(Installed("torch", None, "record", place.paths, ()))
    if build is None:
        return None
    version, _, local = build.version.partition("+")
    variant = re.search(r"cu\d{2,3}|cpu|xpu|rocm[\d.]+", local)
    if variant:
        return version, variant[0]
    if build.hip:
        return version, f"rocm{'.'.join(build.hip.split('.')[:2])}"
    return version, f"cu{build.cuda[0]}{build.cuda[1]}" if build.cuda else "cpu"


def _system(place: Place) -> OperatingSystem | None:
    if place.is_windows:
        return "windows"
    if place.platform == "darwin":
        return "macos"
    if not place.is_linux:
        return None
    return "wsl" if wsl.version(place) else "linux"


def _versions(place: Place) -> dict[str, str]:
    """Read names and versions off the folders of metadata, which needs none of them to be opened."""
    found: dict[str, str] = {}
    for path in place.paths:
        with suppress(OSError):
            for name in sorted(os.listdir(path)):  # noqa: PTH208 - names are all that is needed
                if name.endswith(_DIST_INFO):
                    distribution, dash, version = name.removesuffix(_DIST_INFO).rpartition("-")
                    if dash:
                        found.setdefault(normalised(distribution), version)
    found.pop("torch", None)
    return found


def _tool(place: Place) -> Tool:
    prefix = place.python.prefix
    if any(place.python.executable.parent.glob("python*._pth")):
        return "embedded"
    if (prefix / "conda-meta").is_dir():
        return "conda"
    with suppress(OSError):
        if re.search(r"^uv\s*=", (prefix / "pyvenv.cfg").read_text(encoding="utf-8"), re.MULTILINE):
            return "uv"
    return "pip"


def _python_command(place: Place) -> str:
    executable = str(place.python.executable)
    if not executable or executable == ".":
        return "python"
    return subprocess.list2cmdline([executable]) if sys.platform == "win32" else shlex.quote(executable)
