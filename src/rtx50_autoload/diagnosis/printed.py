"""What a text says of the machine that printed it: its GPUs, its torch, its operating system."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from rtx50_autoload.diagnosis.conditions import capability_number
from rtx50_autoload.diagnosis.gpu_names import find_gpus
from rtx50_autoload.diagnosis.situation import Gpu, Situation

if TYPE_CHECKING:
    from rtx50_autoload.capability import Capability
    from rtx50_autoload.diagnosis.normalise import NormalisedText
    from rtx50_autoload.diagnosis.situation import OperatingSystem, Vendor

__all__ = ["complete", "stated_capability"]

#: Sentences in which a program states the capability of the GPU that it runs on, not one that it was built for.
_STATED: Final = tuple(
    re.compile(pattern)
    for pattern in (
        r"which is of (?:cuda|compute) capability (?:\(cc\) )?(\d{1,2}\.\d)",
        r"with cuda capability sm_(\d{2,3}) is not compatible",
        r"but your gpu has capability \((\d{1,2}), ?(\d)\)",
        r"but your current gpu is (\d{2,3})\b",
        r"target gpu sm (\d{2,3}) is not supported",
        r"cuda device capability: ?(\d{2,3})\b",
        r"\bdevice \d{1,2}: [^,]{3,60}, \**compute capability (\d{1,2}\.\d)",
        r"attempting to run on a sm (\d{1,2}\.\d) gpu",
        r"kernel binaries compatible with compute capability (\d{1,2}\.\d)",
        r"ptxas does not support cc (\d{1,2}\.\d)",
        r"binary kernel for this graphics card compute capability \((\d{1,2}\.\d)\)",
        r"compatible with cuda arch (\d{3,4})\b",
        r"for compute capability (\d{2,3})\b",
        r"current (?:device )?(?:compute )?capability: ?\(?(\d{1,2})(?:, ?(\d))?",
        r"(?:device|gpu)(?:'s)? (?:has )?(?:compute )?capability:? ?(?:is )?\(?(?:sm_)?(\d{1,2})[., ]{1,2}(\d)\b",
        r"compute capability: (\d{2,3}|\d{1,2}\.\d)\b",
        r"\bdevicecapability\(major=(\d{1,2}), minor=(\d)\)",
        r"gpu: ?nvidia [^\n]{3,40} \(?sm_(\d{2,3})\b",
    )
)
_AMD: Final = re.compile(
    r"\bhip error|\bhiperror\w|\bmiopen(?:status|(?:\(hip\))?: ?error| error)|librocblas|libamdhip64|\+rocm\d|"
    r"\brocm version|amd radeon|amd instinct|\bgfx(?:9|1[0-2])\w{1,3}\b|rocblas_status|torch_use_hip_dsa|"
    r"hipblas_status|/opt/rocm"
)
_OTHER: Final = re.compile(r"torch[-_]npu|vllm[-_]ascend|\bascendcl\b|torch[-_]mlu|torch[-_]musa|habana|torch[-_]xla")
_INTEL: Final = re.compile(r"intel\(r\) arc|\+xpu\b|xpu backend|intel_extension_for_pytorch|ur_result_error")
# Not the markers of requirements that pip prints on every system.
_APPLE: Final = re.compile(
    r"mps backend|mps device|macosx_\d|(?<!sys_platform == .)\bdarwin\b|/users/\w+/library/|/opt/homebrew/"
)
_NVIDIA: Final = re.compile(r"nvidia|geforce|\bcuda error|nvcc|ptxas|nvrtc|\brtx\b")
_WINDOWS: Final = re.compile(r"\b[a-z]:\\|\bwinerror\b|site-packages\\|\.pyd\b|windows-\d|\bmsvc\b")
#: What no program prints that runs on another system.
_ONLY_WINDOWS: Final = re.compile(
    r"\b[a-z]:\\(?:users|program)|\bwinerror \d|microsoft visual c\+\+ \d|site-packages\\"
)
_LINUX: Final = re.compile(r"/(?:usr|home|root|opt|workspace|tmp|mnt)/|\.so\b|x86_64-linux")
_TORCH: Final = re.compile(
    r"\b(?:py)?torch(?:\.__version__)?(?: version)?[ :=]{1,4}v?"
    r"(\d\.\d{1,2}\.\d{1,2}[\w.]{0,16})?\+?(cu\d{2,3}|cpu|rocm[\d.]{1,5})?\b"
)


def complete(situation: Situation, text: NormalisedText) -> Situation:
    """Add to a situation what the text tells.

    A capability that the text prints for its GPU comes first: it is that GPU's error. Names come last. A text that can
    only come from Windows was brought to this machine, if it is none: what is known of it does not hold then.
    """
    lower = text.lower
    if situation.source == "machine" and situation.system in {"linux", "macos"} and _ONLY_WINDOWS.search(lower):
        situation = Situation(system="windows")
    stated = stated_capability(lower)
    named = find_gpus(text.flat)
    gpus = situation.gpus
    if stated is not None:
        known = next((gpu for gpu in (*(gpus or ()), *named) if gpu.capability == stated), None)
        gpus = (known or Gpu(None, stated, "nvidia"),)
    elif not gpus or all(gpu.capability is None and gpu.vendor in {None, "nvidia"} for gpu in gpus):
        nvidia = tuple(gpu for gpu in named if gpu.vendor == "nvidia")
        gpus = nvidia or gpus
    vendor = _vendor(lower, gpus)
    if vendor and vendor != "nvidia" and not any(gpu.vendor == vendor for gpu in gpus or ()):
        gpus = (Gpu(None, None, vendor),)
    torch = next((match for match in _TORCH.finditer(lower) if match[1] or match[2]), None)
    return replace(
        situation,
        gpus=gpus,
        torch=situation.torch or (torch[1] if torch else None),
        torch_variant=situation.torch_variant or (torch[2] if torch else None),
        system=situation.system or _system(lower),
    )


def stated_capability(lower: str) -> Capability | None:
    """Give the capability that a text states of the GPU that it runs on, the largest where it names several."""
    found = []
    for pattern in _STATED:
        for match in pattern.finditer(lower):
            number = f"{match[1]}.{match[2]}" if match.lastindex == 2 else match[1]  # noqa: PLR2004 - major and minor
            capability = capability_number(number)
            if capability is not None and (3, 0) <= capability <= (13, 0):
                found.append(capability)
        if found:
            return max(found)
    return None


def _vendor(lower: str, gpus: tuple[Gpu, ...] | None) -> Vendor | None:
    if gpus and gpus[0].vendor not in {None, "nvidia"}:
        return None if any(gpu.vendor == "nvidia" for gpu in gpus) else gpus[0].vendor
    if "hip error" in lower or "torch_use_hip_dsa" in lower:
        return "amd"
    if any(gpu.vendor == "nvidia" for gpu in gpus or ()):
        return "nvidia"
    if _AMD.search(lower) and not re.search(r"nvidia|geforce", lower):
        return "amd"
    for pattern, vendor in ((_OTHER, "other"), (_INTEL, "intel"), (_APPLE, "apple")):
        if pattern.search(lower) and not _NVIDIA.search(lower):
            return vendor  # type: ignore[return-value]
    return None


def _system(lower: str) -> OperatingSystem | None:
    if _WINDOWS.search(lower):
        return "windows"
    return "linux" if _LINUX.search(lower) else None
