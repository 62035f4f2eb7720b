"""What belongs to the installed torch and does not fit it, where no other torch is chosen.

That is so where no GPU is seen, or none of NVIDIA's is there: the packages have to fit each other all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rtx50_autoload.evidence.environment.torch_builds import cuda_of, index_url
from rtx50_autoload.installer.candidates import Candidate, Candidates
from rtx50_autoload.installer.choice import Choice
from rtx50_autoload.installer.facts import Index, platform_of
from rtx50_autoload.installer.family import CPU, FAMILY, Setting

if TYPE_CHECKING:
    from rtx50_autoload.installer.facts import Facts
    from rtx50_autoload.installer.machine import Machine

__all__ = ["around_torch"]

#: Of torch's family, those that are built for the CPU, too.
_WITHOUT_CUDA: Final = ("torchvision", "torchaudio")
_NO_CUDA: Final = (0, 0)


def around_torch(machine: Machine, facts: Facts) -> Choice | None:
    """Choose what has to be exchanged around the installed torch, which stays; None where it fits, or is left alone.

    Args:
        machine: as it is.
        facts: what is known of releases.

    """
    platform = platform_of(machine)
    if platform is None or "torch" not in machine.packages:
        return None
    of_interest = tuple(name for name in FAMILY if name in machine.packages)
    candidates = Candidates(machine, facts, platform, (), of_interest)
    variant = candidates.variant
    cuda = _NO_CUDA if variant == CPU else cuda_of(variant)
    if variant is None or cuda is None or candidates.is_left_alone:
        return None
    index = facts.index(variant) or Index(variant, cuda, 0, "never", index_url(variant))
    torch = machine.packages["torch"].version
    setting = Setting(machine, facts, platform, torch, index, facts.release(torch), stays=True)
    wanted = of_interest if cuda != _NO_CUDA else tuple(name for name in of_interest if name in _WITHOUT_CUDA)
    kept = Candidate(setting, (), wanted)
    if not kept.pins:
        return None
    reason = f"torch {torch}+{variant} stays; what is exchanged was made for another one."
    return Choice(torch, variant, index.url, kept.pins, (), (), 0, (reason,), conflicts=kept.conflicts)
