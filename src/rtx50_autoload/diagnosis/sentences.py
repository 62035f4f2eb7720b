"""How a diagnosis says what it rests on: causes with what is known filled in, and facts of the machine."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from rtx50_autoload.capability import format_capability

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rtx50_autoload.capability import Capability
    from rtx50_autoload.diagnosis.situation import Situation

__all__ = ["fill_in", "sentences_about"]

#: In a cause: what is filled in, and a part that is left out where that is not known.
_PLACE: Final = re.compile(r"\{(\w+)\}")
_OPTIONAL: Final = re.compile(r"\[([^\[\]]*)\]")


def fill_in(template: str, values: Mapping[str, str], situation: Situation) -> str:
    """Write a cause, with what the text and the machine tell in its places."""
    gpu = next((gpu for gpu in situation.gpus or () if gpu.capability), None) or next(iter(situation.gpus or ()), None)
    words = {
        "gpu": _gpu(gpu.name, gpu.capability) if gpu else "this GPU",
        "built": _torch(situation),
        **{name: value.strip() for name, value in values.items()},
    }
    known = _OPTIONAL.sub(lambda part: part[1] if words.keys() >= set(_PLACE.findall(part[1])) else "", template)
    cause = _PLACE.sub(lambda place: words.get(place[1], "?"), known)
    return f"T{cause[1:]}" if cause.startswith(("the ", "this ")) else cause


def _gpu(name: str | None, capability: Capability | None) -> str:
    if capability is None:
        return name or "this GPU"
    return f"{name or 'this GPU'} (compute capability {format_capability(capability)})"


def _torch(situation: Situation) -> str:
    version = "+".join(filter(None, (situation.torch, situation.torch_variant)))
    return f"torch {version}" if version else "the installed torch"


def sentences_about(situation: Situation) -> Iterator[str]:
    """Say what is known of the machine, one sentence each."""
    for gpu in situation.gpus or ():
        yield f"GPU: {_gpu(gpu.name, gpu.capability)}."
    if situation.torch or situation.torch_variant:
        yield f"Installed: {_torch(situation)}."
    if situation.driver:
        yield f"NVIDIA driver: {situation.driver}."
    if situation.cuda_toolkit:
        yield f"CUDA toolkit (nvcc): {situation.cuda_toolkit}."
