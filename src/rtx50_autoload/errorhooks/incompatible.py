"""A torch without code for a device: said when the program brings CUDA up, before the first kernel fails.

torch warns then, too. Its test takes another minor version for another device and has warned of GPUs that run; here the
loading rules decide, by the list of what torch was built for. What torch says is not touched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rtx50_autoload import voice
from rtx50_autoload.capability import format_capability
from rtx50_autoload.evidence.arch import loads_on, parse_architecture
from rtx50_autoload.masquerading.torch_cuda import is_rocm_build

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

    from rtx50_autoload.capability import Capability

    from .attendant import Attendant

__all__ = ["runs_on", "tell_of_incompatible_devices"]


def tell_of_incompatible_devices(attendant: Attendant, cuda: ModuleType) -> None:
    """Say and record for which devices this torch holds no code. CUDA has to be up, or to be coming up."""
    if not attendant.active or is_rocm_build(cuda):
        return
    architectures = cuda.get_arch_list()
    if not architectures:
        return
    told = set()
    for index in range(cuda.device_count()):
        properties = cuda.get_device_properties(index)
        capability = (properties.major, properties.minor)
        if capability in told or runs_on(capability, architectures):
            continue
        told.add(capability)
        # torch's own words, which every version of it has for this.
        found = attendant.find(
            f"UserWarning: {properties.name} with CUDA capability sm_{capability[0]}{capability[1]} is not compatible "
            "with the current PyTorch installation.\nThe current PyTorch install supports CUDA capabilities "
            f"{' '.join(architectures)}.",
            "UserWarning",
        )
        if found is None or found.speaks:
            command = "doctor" if found is None or found.incident is None else f"incidents show {found.incident}"
            voice.say(
                f"{properties.name} ({format_capability(capability)}) cannot run what this torch "
                f"({cuda.torch.__version__}) computes: it holds GPU code for {', '.join(architectures)} only. "
                f"Run: rtx50-autoload {command}"
            )


def runs_on(capability: Capability, architectures: Iterable[str]) -> bool:
    """Tell whether code of one of these names, ``sm_90`` or ``compute_90``, runs on a device; unknown names do."""
    for name in architectures:
        try:
            architecture = parse_architecture(name)
        except ValueError:
            return True
        if loads_on(architecture, capability):
            return True
    return False
