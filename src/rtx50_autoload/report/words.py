"""The sentences that the terminal and the page have in common, made from what ``doctor --json`` gives."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MEANINGS", "headline", "judged_for", "next_steps", "others", "probe_detail", "verdict_word"]

#: What the verdicts on a library mean.
MEANINGS: Final[Mapping[str, str]] = {
    "native": "made for this GPU",
    "jit": "runs; the driver compiles it when it is first used, which takes a while once",
    "partial": "some of it runs, some fails",
    "impossible": "nothing in it runs on this GPU",
    "unknown": "it loads its GPU code by itself; only running it tells",
    "unreadable": "a file of it is damaged",
    "no_gpu_code": "built without code for NVIDIA GPUs",
}


def headline(document: dict[str, Any]) -> str:
    """Say in a few words how it stands."""
    counts = Counter(finding["severity"] for finding in document["findings"])
    parts = [
        f"{counts[word]} {word}{'' if counts[word] == 1 else 's'}" for word in ("error", "warning") if counts[word]
    ]
    return f"{' and '.join(parts) or 'Nothing wrong'} found"


def judged_for(document: dict[str, Any]) -> list[str]:
    """Say for which devices the libraries were judged, and why for those."""
    lines = [] if document["devices"] else [f"No GPU can be seen. {document['device_reason']}"]
    for subject in document["judged_for"]:
        driver = f", driver {subject['driver']}" if subject["driver"] else ""
        lines.append(f"Judged for {subject['name']} of compute capability {subject['capability']}{driver}.")
    return lines


def next_steps(document: dict[str, Any]) -> list[str]:
    """Return what to do, the most important first."""
    steps = (finding["next"] for finding in document["findings"] if finding["severity"] != "info")
    return list(dict.fromkeys(filter(None, steps)))


def probe_detail(result: dict[str, Any]) -> str:
    """Say how a computation on the GPU went, beside its state."""
    error = result["error"]
    if error is None:
        if result["largest_error"] is None:
            return ""
        seconds = f"{result['seconds']:.2f} s, " if result["seconds"] is not None else ""
        return f"{seconds}largest error {float(result['largest_error']):.1e} of {result['bound']:g} allowed"
    code = "" if error["code"] is None else f" {error['code']}"
    text = f"{error['type']}{code}: {error['message']}"
    return f"{text}: {result['why']}" if result["why"] else text


def verdict_word(verdict: str) -> str:
    """Write a verdict as a person reads it."""
    return verdict.replace("_", " ")


def others(document: dict[str, Any]) -> str:
    """Say how much is not listed."""
    number = document["others"]
    return f"{number} more distribution{'' if number == 1 else 's'} without GPU code."
