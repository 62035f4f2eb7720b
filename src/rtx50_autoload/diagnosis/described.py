"""A situation from what somebody has written down of a machine, in words of their own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from rtx50_autoload.diagnosis.conditions import capability_number
from rtx50_autoload.diagnosis.gpu_names import find_gpus
from rtx50_autoload.diagnosis.situation import Gpu, Situation
from rtx50_autoload.errors import UsageError

if TYPE_CHECKING:
    from rtx50_autoload.capability import Capability
    from rtx50_autoload.diagnosis.situation import OperatingSystem, Vendor

__all__ = ["read_description"]

_OWN_KEYS: Final = frozenset({"gpu", "capability", "torch", "cuda", "driver", "os", "python", "machine", "tool"})
_VERSION: Final = re.compile(r"\d+(?:\.\d+){1,3}(?:\.?(?:dev|rc|post|a|b)\d+)*")
_VARIANT: Final = re.compile(r"\b(cu\d{2,3}|cpu|xpu|rocm ?[\d.]*)\b", re.IGNORECASE)
_NVCC: Final = re.compile(r"nvcc\D{0,12}(\d+\.\d+)|(\d+\.\d+)\D{0,6}(?:nvcc|toolkit)", re.IGNORECASE)
_DRIVER: Final = re.compile(r"\b\d{3}(?:\.\d+){0,2}\b")
_PYTHON: Final = re.compile(r"\b3\.\d{1,2}(?:\.\d{1,2})?")
_ARCH: Final = re.compile(r"\b(?:sm|cc|compute capability|capability)[ _]?\(?(\d{1,2}\.[\dx]|\d{2,3})\b", re.IGNORECASE)
_NO_GPU: Final = re.compile(
    r"\s*(?:none|no (?:nvidia |cuda )?gpu|(?:without|w/o) gpu|cpu(?:[ -]only)?)\s*", re.IGNORECASE
)
#: Characters; what is longer is neither a name nor a version, and the patterns would take time with its square.
_LONGEST: Final = 1000
_NO_VERSION: Final = 10**9
#: The oldest that any CUDA in use knows; what is below is something else, such as the 12 of 12.0 alone.
_FIRST: Final = (2, 0)
_IN_PARENTHESES: Final = re.compile(r"\([^()]*\)")
#: In this order: the first that matches.
_SYSTEMS: Final[tuple[tuple[str, OperatingSystem], ...]] = (
    (r"\bwsl", "wsl"),
    (r"mac ?os|darwin|os x|macbook", "macos"),
    (r"windows(?!.*linux)|\bwin(?:10|11|32|64)?\b", "windows"),
    (r"linux|ubuntu|debian|fedora|cent ?os|rhel|red hat|rocky|alma|suse|arch|nixos|manjaro|mint|pop", "linux"),
    (r"gentoo|docker|container|el\d|jetson|actions|colab|kaggle", "linux"),
)


def read_description(environment: object) -> Situation:
    """Read a mapping with any of the keys gpu, capability, torch, cuda, driver, os and python.

    Other keys are names of libraries, and their values versions. Values are free text: ``"nightly cu128"``. What cannot
    be understood is not known.

    Raises:
        UsageError: this is no mapping, or its ``capability`` is none.

    """
    if not isinstance(environment, Mapping):
        raise UsageError(
            'the environment has to be an object such as {"gpu": "RTX 5090", "torch": "2.7.1+cu128"}, '
            f"not {type(environment).__name__}"
        )
    text = {str(key).lower(): words for key, value in environment.items() if (words := _words(value))}
    torch, variant = _torch(text.get("torch", ""))
    return Situation(
        source="file",
        gpus=_gpus(text.get("gpu"), _capability(environment.get("capability"))),
        torch=torch,
        torch_variant=variant,
        cuda_toolkit=_toolkit(text.get("cuda", "")),
        driver=_first(_DRIVER, text.get("driver", "")),
        system=_system(text.get("os", "").lower()),
        python_version=_first(_PYTHON, text.get("python", "")),
        versions=MappingProxyType(
            {
                re.sub(r"[-_.]+", "-", name): version
                for name, words in text.items()
                if name not in _OWN_KEYS and (version := _first(_VERSION, words))
            }
        ),
    )


def _words(value: object) -> str:
    if isinstance(value, (list, tuple)):
        # A list in a list says nothing, however deep they are nested.
        items = [each for each in value[:_LONGEST] if not isinstance(each, (list, tuple))]
        return " + ".join(filter(None, map(_words, items)))[:_LONGEST]
    if isinstance(value, str):
        return value[:_LONGEST]
    # A whole number may be longer than Python writes one.
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < _NO_VERSION
    return str(value) if is_number else ""


def _first(pattern: re.Pattern[str], text: str) -> str | None:
    match = pattern.search(text)
    return match[0] if match else None


def _capability(value: object) -> Capability | None:
    if value is None or value == "":
        return None
    text = ".".join(map(_words, value[:3])) if isinstance(value, (list, tuple)) else _words(value)
    text = text.lower().removeprefix("sm_")
    capability = capability_number(text)
    if capability is None or capability < _FIRST:
        raise UsageError(f'"capability" has to be a compute capability such as "12.0" or [12, 0], not {text!r}')
    return capability


def _gpus(text: str | None, capability: Capability | None) -> tuple[Gpu, ...] | None:
    if text is None:
        return None if capability is None else (Gpu(None, capability, "nvidia"),)
    if capability is None and _NO_GPU.fullmatch(text):
        return ()
    # Words in parentheses are remarks: "RTX 5070 (replaced a 3090)"; but a capability there is the GPU's.
    outside = _IN_PARENTHESES.sub(" ", text)
    gpus = find_gpus(outside, bare=True) or find_gpus(text, bare=True)
    match = _ARCH.search(text)
    stated = capability or (capability_number(match[1].lower().replace("x", "0")) if match else None)
    if not gpus:
        return (Gpu(text, stated, None if stated is None else "nvidia"),)
    if stated is not None and all(gpu.capability != stated for gpu in gpus):
        vendor: Vendor | None = "nvidia" if gpus[0].vendor == "nvidia" else gpus[0].vendor
        gpus = (Gpu(gpus[0].name, stated, vendor), *gpus[1:])
    return gpus


def _torch(text: str) -> tuple[str | None, str | None]:
    now = text.rpartition("->")[2]
    variant = _VARIANT.search(now)
    return _first(_VERSION, now), variant[1].lower().replace(" ", "") if variant else None


def _toolkit(text: str) -> str | None:
    match = _NVCC.search(text)
    if match:
        return match[1] or match[2]
    if "built with" in text or "container" in text:
        return None
    version = re.search(r"\b\d{1,2}\.\d", text)
    return version[0] if version else None


def _system(lower: str) -> OperatingSystem | None:
    return next((system for pattern, system in _SYSTEMS if re.search(pattern, lower)), None)
