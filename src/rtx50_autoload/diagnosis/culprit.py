"""Which binary or package is at fault: what the text tells, and what the installed binaries confirm."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rtx50_autoload.diagnosis.normalise import NormalisedText
    from rtx50_autoload.diagnosis.situation import Situation
    from rtx50_autoload.evidence.installed import Installed

__all__ = ["Confirmation", "confirm", "find_culprit"]

#: The source file in ``CUDA error (/src/flash_fwd_launch_template.h:188)``, and folders that name its project.
_SOURCE: Final = re.compile(r"(?:cuda|cudnn|cublas) ?(?:error|failure)[^(]{0,20}\(([^():\s]{1,300}\.(?:cu|cuh|h|hpp|cpp|cc)):\d{1,6}\)", re.IGNORECASE)  # fmt: skip
_FUNCTION_FILE: Final = re.compile(r"(?:\bat line \d{1,6} in file|in function \w{1,80} at|\bin file) ([^\s:]{1,300}\.(?:cu|cuh|cpp|cc|h))", re.IGNORECASE)  # fmt: skip
_PROJECTS: Final = {
    "hopper": "FlashAttention-3",
    "flash_attn_3": "FlashAttention-3",
    "flashmla": "FlashMLA",
    "flash_fwd_mla": "FlashMLA",
    "flash-attention": "flash_attn",
    "flash_fwd_launch_template": "flash_attn",
    "bitsandbytes": "bitsandbytes",
    "ggml-cuda": "ggml",
    "ggml": "ggml",
    "turbomind": "lmdeploy",
    "sageattention": "sageattention",
    "xformers": "xformers",
    "flashinfer": "flashinfer",
    "deep_gemm": "deep_gemm",
    "spconv": "spconv",
    "nvdiffrast": "nvdiffrast",
    "gsplat": "gsplat",
    "nccl": "nccl",
}
#: A library by its path or its name, in the sentences in which loaders name the one that fails.
_BINARY: Final = (
    re.compile(
        r"((?:[A-Za-z]:)?[\w./\\+@~() -]{0,300}?[\w.+-]{1,120}\.(?:so(?:\.\d+)*|pyd|dll))\"?:? (?:undefined symbol|cannot open shared object)",
        re.IGNORECASE,
    ),
    re.compile(r"error loading \"([^\"]{1,300}\.(?:dll|pyd|so))\"", re.IGNORECASE),
    re.compile(r"dll load failed while importing ([\w.]{1,80})", re.IGNORECASE),
    re.compile(
        r"could not (?:load|locate|find)(?: library| dynamic library| module)? '?([\w./\\:+-]{1,300}\.(?:dll|so[.\d]*))",
        re.IGNORECASE,
    ),
    re.compile(r"library ([\w.+-]{1,120}) is not found or cannot be loaded", re.IGNORECASE),
    re.compile(r"([\w.+-]{1,120}\.so(?:\.\d+)*): cannot open", re.IGNORECASE),
)
_FRAME: Final = re.compile(r"(?:site|dist)-packages[/\\]{1,2}([A-Za-z_]\w{0,80})[/\\.]")
#: A crash of a program that is no Python.
_GGML: Final = re.compile(r"\bggml_cuda\w*|ggml-cuda\.cu")
#: Packages that only pass a call on to those below them.
_BYSTANDERS: Final = frozenset(
    {"accelerate", "transformers", "diffusers", "lightning", "pytorch_lightning", "gradio", "huggingface_hub", "starlette"}
    | {"uvicorn", "fastapi", "anyio", "ray", "peft", "trl", "datasets", "setuptools", "pip", "triton", "numpy", "tqdm"}
    | {"decorator", "pydantic", "click", "typer", "nodes", "concurrent", "importlib", "torch"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What the installed binaries of one package say.

    Attributes:
        culprit: the binary that cannot run on the GPU here, or the package.
        sentence: what was found, to stand beside the evidence of the diagnosis.
        confirmed: True where a binary cannot run, False where all can, None where that cannot be told.

    """

    culprit: str
    sentence: str
    confirmed: bool | None


def find_culprit(text: NormalisedText, values: dict[str, str]) -> str | None:
    """Name the binary or the package that a text speaks of, None where it names none.

    Args:
        text: the error.
        values: what the signature took from it; ``file``, ``library`` and ``package`` come first.

    """
    for key in ("file", "library", "module", "package"):
        if values.get(key):
            return values[key].strip(" '\"")
    for pattern in (_SOURCE, _FUNCTION_FILE):
        match = pattern.search(text.flat)
        if match:
            lower = match[1].lower()
            return next((name for part, name in _PROJECTS.items() if part in lower), match[1].replace("\\", "/").rpartition("/")[2])  # fmt: skip
    for pattern in _BINARY:
        match = pattern.search(text.flat)
        if match:
            return re.split(r"(?:Error|error|Exception): ", match[1])[-1].strip()
    if _GGML.search(text.lower):
        return "ggml"
    packages = list(dict.fromkeys(match[1] for match in _FRAME.finditer(text.flat)))
    own = [package for package in packages if package.lower() not in _BYSTANDERS]
    if own:
        return own[-1]
    return "torch" if "torch" in packages else None


def confirm(name: str, situation: Situation) -> Confirmation | None:
    """Look into the installed binaries of one package: whether they can run on the GPU here.

    It reads files of that package only, and takes longer than `classify`. Nothing is raised.

    Args:
        name: what `Diagnosis.culprit` says: a package, a module or a library's file.
        situation: only one of this machine can be confirmed.

    Returns:
        None where the package is not installed, or the situation is not of this machine.

    """
    gpu = next((gpu for gpu in situation.gpus or () if gpu.capability), None)
    if situation.source != "machine" or gpu is None:
        return None
    # An inventory needs much; who only wants to know what a text says does not pay for it.
    from rtx50_autoload.evidence.assessment import assess  # noqa: PLC0415
    from rtx50_autoload.evidence.installed import installed_distributions  # noqa: PLC0415
    from rtx50_autoload.evidence.scan import scan_file  # noqa: PLC0415
    from rtx50_autoload.evidence.subject import subjects, survey_devices  # noqa: PLC0415
    from rtx50_autoload.evidence.torch_build import torch_build  # noqa: PLC0415
    from rtx50_autoload.evidence.verdict import Verdict  # noqa: PLC0415

    installed = list(installed_distributions())
    package = next((one for one in installed if _is_of(one, name)), None)
    if package is None:
        return None
    torch = next((torch_build(one) for one in installed if one.name.lower() == "torch"), None)
    subject = subjects(survey_devices(), gpu.capability)[0]
    results = {
        binary: result
        for binary, file in package.binaries
        for result in scan_file(file, subject.target, named=False)
        if result.judgement.verdict is not Verdict.NO_GPU_CODE
    }
    if not results:
        return None
    assessment = assess(package, results, subject, torch)
    bad = next((one for one in assessment.binaries if one.unused is None and one.verdict is Verdict.IMPOSSIBLE), None)
    works = assessment.judgement.verdict in {Verdict.NATIVE, Verdict.JIT}
    return Confirmation(
        culprit=bad.name if bad else package.name,
        sentence=f"{package.name} {package.version or ''}".rstrip()
        + f" on {gpu.name or 'this GPU'}: {bad.result.judgement.reason if bad else assessment.judgement.reason}",
        confirmed=True if bad else False if works else None,
    )


def _is_of(installed: Installed, name: str) -> bool:
    """Tell whether a package, a module or a library's file belongs to a distribution."""
    last = name.replace("\\", "/").rpartition("/")[2].lower()
    module = last.partition(".")[0].replace("-", "_")
    if installed.name.lower().replace("-", "_") == module:
        return True
    return any(
        binary.lower().endswith(last)
        or binary.lower().startswith(f"{module}/")
        or binary.lower().rpartition("/")[2].partition(".")[0] == module
        for binary, _ in installed.binaries
    )
