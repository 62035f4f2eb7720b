"""The question to an assistant: the facts, the error as data, and the shape that the answer has to have."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from rtx50_autoload.capability import format_capability
from rtx50_autoload.printable import printable

from .redaction import redact
from .shorten import clip, shorten

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rtx50_autoload.diagnosis.diagnosis import Diagnosis, FixStep
    from rtx50_autoload.diagnosis.situation import Situation

__all__ = ["Prompt", "compose"]

# In characters. Together with the rest a prompt stays below 20,000, which a local model with a context of 8,192 tokens
# can still read and answer.
_LONGEST_ERROR: Final = 8_000
_LONGEST_TRIED: Final = 3_000


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
    question: str = "",
) -> Prompt:
    """Write the question to an assistant.

    Args:
        error: the error's text, of which the lines around the one that decided are kept where it is long.
        diagnosis: what this package makes of it.
        situation: what is known of the machine.
        tried: what has been tried already and did not help: scripts with what they printed, earlier answers.
        question: what the person wants to know besides how to mend it.

    """
    # Chosen anew each time, so that no text can close its own frame.
    marker = secrets.token_hex(8)
    facts = {
        "The machine": _machine(situation),
        "What a rule-based diagnosis says": _findings(diagnosis),
        "The plan that it proposes": _plan(diagnosis.fix),
        "What was tried already and did not mend it": [shorten("\n".join(tried), "", _LONGEST_TRIED)] if tried else [],
        "The error": [shorten(error, diagnosis.headline, _LONGEST_ERROR)],
    }
    data = "\n\n".join("\n".join([f"{title}:", *lines]) for title, lines in facts.items() if lines)
    shell = "powershell" if situation.system == "windows" else "bash"
    parts = [
        _template("prompt_task.txt").replace("{marker}", marker),
        f"----- begin data {marker} -----\n{data}\n----- end data {marker} -----",
        f"The question: {question or 'What is wrong, and what mends it on this machine?'}",
        _template("prompt_answer.txt").replace("{shell}", shell),
    ]
    cleaned = redact("\n\n".join(parts) + "\n")
    return Prompt(cleaned.text, cleaned.counts)


def _template(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8").strip()


def _machine(situation: Situation) -> list[str]:
    gpus = [
        f"{gpu.name or 'a GPU'} ({format_capability(gpu.capability) if gpu.capability else 'capability not known'})"
        for gpu in situation.gpus or ()
    ]
    torch = situation.torch and f"{situation.torch}, built for {situation.torch_variant or 'what is not known'}"
    facts = {
        "GPU": "; ".join(gpus) or ("none is seen" if situation.gpus == () else None),
        "torch": torch,
        "NVIDIA driver": situation.driver,
        "CUDA toolkit": situation.cuda_toolkit,
        "operating system": situation.system,
        "Python": situation.python_version,
        "packages are installed with": situation.tool,
        "this Python is called": situation.python_command,
        "other packages": ", ".join(f"{name} {version}" for name, version in situation.versions.items()),
    }
    return [f"- {name}: {clip(printable(value))}" for name, value in facts.items() if value]


def _findings(diagnosis: Diagnosis) -> list[str]:
    return [
        f"- category: {diagnosis.category} (confidence {diagnosis.confidence:.2f})",
        f"- cause: {clip(printable(diagnosis.cause))}",
        *([f"- at fault: {clip(printable(diagnosis.culprit))}"] if diagnosis.culprit else []),
        *(f"- evidence: {clip(printable(fact))}" for fact in diagnosis.evidence),
        *(f"- not known: {clip(printable(fact))}" for fact in diagnosis.missing_evidence),
    ]


def _plan(steps: Sequence[FixStep]) -> list[str]:
    return [
        line
        for number, step in enumerate(steps, 1)
        for line in (f"{number}. {step.step} WHY: {step.why}", *(f"   {command}" for command in step.commands))
    ]
