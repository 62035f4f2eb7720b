"""The question to an assistant: the facts, the error as data, and the shape that the answer has to have."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from importlib.resources import files
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from rtx50_autoload.capability import format_capability
from rtx50_autoload.printable import printable

from .offline import plan_lines
from .redaction import redact
from .shorten import clip, shorten

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rtx50_autoload.diagnosis.diagnosis import Diagnosis
    from rtx50_autoload.diagnosis.situation import Situation

__all__ = ["LONGEST", "Prompt", "compose"]

#: In characters; a local model with a context of 8,192 tokens can still read and answer it.
LONGEST: Final = 20_000
_LONGEST_ERROR: Final = 7_000
_LONGEST_TRIED: Final = 2_500
_LONGEST_CONTEXT: Final = 1_500
_LONGEST_LIST: Final = 1_500
_LONGEST_PLAN: Final = 3_000
#: Read before anything is taken out, which takes time; what is cut off here stands far from all that is kept.
_LOOKED_AT: Final = 40_000
_LOOKED_AT_IN_A_LINE: Final = 4_000

#: Packages of these names are told of first: their versions are what such errors depend on.
_MATTERS: Final = re.compile(
    "torch|nvidia|cuda|triton|xformers|attn|flash|bitsandbytes|vllm|sglang|numpy|transformers|diffusers|accelerate|"
    "deepspeed|onnxruntime|jax|tensorflow|ninja|setuptools|rtx50"
)


@dataclass(frozen=True, slots=True)
class Prompt:
    """What would be sent, to the last character.

    Attributes:
        text: the prompt, with what is private taken out.
        redacted: how many things of which kind were taken out.

    """

    text: str
    redacted: Mapping[str, int] = field(default_factory=dict)


def compose(
    error: str,
    diagnosis: Diagnosis,
    situation: Situation,
    *,
    tried: Sequence[str] = (),
    context: Sequence[str] = (),
) -> Prompt:
    """Write the question to an assistant.

    Args:
        error: the error's text, of which the lines around the one that decided are kept where it is long.
        diagnosis: what this package makes of it.
        situation: what is known of the machine.
        tried: what has been tried already and did not help: scripts with what they printed, earlier answers.
        context: what the program says of itself, a line each.

    """
    facts = {
        "The machine": _within(_LONGEST_LIST, _machine(situation)),
        "What the program says of itself": _kept(context, _LONGEST_CONTEXT),
        "What a rule-based diagnosis says": _within(_LONGEST_LIST, _findings(diagnosis)),
        "The plan that it proposes": _within(_LONGEST_PLAN, plan_lines(diagnosis.fix)),
        "What was tried already and did not mend it": _kept(tried, _LONGEST_TRIED),
        "The error": _kept([error], _LONGEST_ERROR, diagnosis.headline),
    }
    data = redact("\n\n".join("\n".join([f"{title}:", *lines]) for title, lines in facts.items() if lines))
    # No text can hold a piece of the hash of what it stands in, and so none can close its own frame. The same question
    # has the same one: what is shown first is what is sent.
    marker = hashlib.sha256(data.text.encode("utf-8", "replace")).hexdigest()[:16]
    shell = "powershell" if situation.system == "windows" else "bash"
    parts = [
        _template("prompt_task.txt").replace("{marker}", marker),
        f"----- begin data {marker} -----\n{data.text}\n----- end data {marker} -----",
        "The question: What is wrong, and what mends it on this machine?",
        _template("prompt_answer.txt").replace("{shell}", shell),
    ]
    return Prompt("\n\n".join(parts) + "\n", data.counts)


def _template(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8").strip()


def _machine(situation: Situation) -> list[str]:
    gpus = [
        f"{gpu.name or 'a GPU'} ({format_capability(gpu.capability) if gpu.capability else 'capability not known'})"
        for gpu in situation.gpus or ()
    ]
    torch = situation.torch and f"{situation.torch}, built for {situation.torch_variant or 'what is not known'}"
    packages = sorted(situation.versions.items(), key=lambda package: _MATTERS.search(package[0]) is None)
    facts = {
        "GPU": "; ".join(gpus) or ("none is seen" if situation.gpus == () else None),
        "torch": torch,
        "NVIDIA driver": situation.driver,
        "CUDA toolkit": situation.cuda_toolkit,
        "operating system": situation.system,
        "Python": situation.python_version,
        "packages are installed with": situation.tool,
        "this Python is called": situation.python_command,
    }
    told = [f"- {name}: {_line(value)}" for name, value in facts.items() if value]
    # Each in a line of its own, so that the least important ones are what a limit leaves out.
    return [*told, *(clip(printable(f"- {name} {version}")) for name, version in packages)]


def _findings(diagnosis: Diagnosis) -> list[str]:
    return [
        f"- category: {diagnosis.category} (confidence {diagnosis.confidence:.2f})",
        f"- cause: {_line(diagnosis.cause)}",
        *([f"- at fault: {_line(diagnosis.culprit)}"] if diagnosis.culprit else []),
        *(f"- evidence: {_line(fact)}" for fact in diagnosis.evidence),
        *(f"- not known: {_line(fact)}" for fact in diagnosis.missing_evidence),
    ]


def _line(text: str) -> str:
    """Write a text that quotes the error; a cut must not leave half of what has to be taken out as a whole."""
    return clip(printable(" ".join(redact(clip(text, _LOOKED_AT_IN_A_LINE)).text.split())))


def _kept(texts: Sequence[str], longest: int, headline: str = "") -> list[str]:
    """Keep what matters of texts from outside. First all that is private goes, then what is too long.

    In the other order a cut could leave half of a secret, which no rule knows.
    """
    if not any(texts):
        return []
    near = shorten("\n".join(texts), headline, _LOOKED_AT, longest_line=_LOOKED_AT_IN_A_LINE)
    return [shorten(redact(near).text, redact(headline).text, longest)]


def _within(longest: int, lines: Iterable[str]) -> list[str]:
    """Keep the first lines, and say how many there are more."""
    lines = list(lines)
    sizes = accumulate(len(line) + 1 for line in lines)
    kept = sum(size <= longest for size in sizes)
    return lines if kept == len(lines) else [*lines[:kept], f"[… {len(lines) - kept} more lines left out …]"]
