"""Why a torch was chosen, in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.version import InvalidVersion, Version

from rtx50_autoload.capability import format_capability

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rtx50_autoload.diagnosis.situation import Gpu
    from rtx50_autoload.installer.candidates import Candidate, Candidates
    from rtx50_autoload.installer.family import Setting

__all__ = ["listed", "named", "of"]


def of(chosen: Candidate, candidates: Candidates, leaves: Sequence[Gpu], branch: int | None) -> Iterator[str]:
    """Give the reasons for a candidate: why this variant, why this release, and which GPUs it does not serve."""
    setting, serves = chosen.setting, listed(chosen.serves)
    if setting.stays:
        yield f"{named(setting)} holds code for {serves} and stays."
        if candidates.is_left_alone:
            yield "It is no release, and is left alone."
    else:
        yield f"{named(setting)} holds code for {serves}{_carried(setting, branch)}."
        yield _release(setting, candidates)
    for gpu in leaves:
        yield _left(gpu, candidates)


def named(setting: Setting) -> str:
    """Name a torch with its variant: ``torch 2.8.0+cu128``."""
    return f"torch {setting.torch}+{setting.index.variant}"


def listed(gpus: Sequence[Gpu]) -> str:
    """Name GPUs, each kind once: ``NVIDIA GeForce RTX 5090 (12.0) and NVIDIA GeForce RTX 4090 (8.9)``."""
    *others, last = dict.fromkeys(map(_kind, gpus))
    return f"{', '.join(others)} and {last}" if others else last


def _kind(gpu: Gpu) -> str:
    return f"{gpu.name or 'a GPU'} ({format_capability(gpu.capability)})" if gpu.capability else str(gpu.name)


def _carried(setting: Setting, branch: int | None) -> str:
    if branch is None:
        return ""
    how = " by NVIDIA's minor version compatibility" if setting.index.own_driver > branch else ""
    return f", and driver {setting.machine.driver} carries it{how}"


def _release(setting: Setting, candidates: Candidates) -> str:
    torch, facts = candidates.torch, candidates.facts
    fitting = "that is known to fit the driver, the Python and what is installed"
    if torch is None:
        return f"{setting.torch} is the newest {fitting}."
    if torch.version == setting.torch:
        return f"The release stays {setting.torch}, so that what was installed for it goes on to fit."
    if _is_newer(torch.version, facts.releases[0].parsed):
        return (
            f"torch {torch.version} is newer than the facts of {facts.dated}; {setting.torch} is the newest {fitting}."
        )
    return f"No build of torch {torch.version} is known that would do; {setting.torch} is the newest {fitting}."


def _left(gpu: Gpu, candidates: Candidates) -> str:
    if candidates.one_build_for_all():
        hindrance = "the driver, the Python or what is installed"
        return f"{_kind(gpu)} is not served: the builds for all GPUs here do not fit {hindrance}."
    return (
        f"{_kind(gpu)} is not served: no build of torch holds code for all GPUs of this machine. Give it an "
        "environment of its own, and choose with CUDA_VISIBLE_DEVICES which GPU a program sees."
    )


def _is_newer(version: str, newest: Version) -> bool:
    try:
        return Version(version).release > newest.release
    except InvalidVersion:
        return False
