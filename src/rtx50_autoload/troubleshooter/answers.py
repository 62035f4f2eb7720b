"""Read what an assistant has put out: its answer, or what it complains about."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["READERS", "Output", "Reading", "clean"]

# Sequences that steer a terminal: CSI, then OSC and others that carry a text with an end, then two-letter ones.
_SEQUENCES: Final = re.compile(
    "(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]"
    "|(?:\x1b[\\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\\\|\x9c)?"
    "|\x1b[ -/]*[0-~]?"
)
# What is left that cannot be seen and does something: control characters, directional and zero-width marks, bytes
# that are no UTF-8, tags.
_INVISIBLE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)


def clean(text: str) -> str:
    """Leave out what steers a terminal or cannot be seen."""
    return _INVISIBLE.sub("", _SEQUENCES.sub("", text.replace("\r\n", "\n")))


@dataclass(frozen=True, slots=True)
class Output:
    """What a program has put out: both streams, and the file that it was told to write its answer to."""

    stdout: str
    stderr: str
    file: str


@dataclass(frozen=True, slots=True)
class Reading:
    """The answer, None where there is none in the output, and what the program complains about."""

    text: str | None
    complaint: str


def _text(output: Output) -> Reading:
    return Reading(output.stdout, output.stderr)


def _claude(output: Output) -> Reading:
    """Read one JSON object; its `subtype` says success whatever happened."""
    reply = _json_object(output.stdout)
    if reply is None:
        return Reading(None, f"{output.stderr}\n{output.stdout}")
    result = str(reply.get("result") or "")
    if reply.get("is_error") is not False:
        return Reading(None, f"{result}\nstatus {reply.get('api_error_status')}\n{output.stderr}")
    return Reading(result, output.stderr)


def _gemini(output: Output) -> Reading:
    """Read JSON from stdout; where something went wrong, JSON ends stderr, and tries that failed are told before it."""
    reply = _json_object(output.stdout)
    if reply is not None:
        return Reading(str(reply.get("response") or ""), output.stderr)
    error = (_json_object(output.stderr[output.stderr.rfind("\n{") + 1 :]) or {}).get("error")
    if isinstance(error, dict):
        return Reading(None, f"{error.get('message')}\nstatus {error.get('code')}")
    return Reading(None, "\n".join(_lines(output.stderr, r"Attempt \d+ failed")) or output.stderr)


def _codex(output: Output) -> Reading:
    """Read the file; stderr repeats the question, so only its errors count."""
    return Reading(output.file, "\n".join(_lines(output.stderr, r"^(error\b|\S+ error |warning: falling back)")))


def _opencode(output: Output) -> Reading:
    """Read one JSON object a line: parts of the text, and errors."""
    texts, errors = [], []
    for line in output.stdout.splitlines():
        event = _json_object(line)
        if event is None:
            continue
        part = event.get("part")
        if event.get("type") == "text" and isinstance(part, dict):
            texts.append(str(part.get("text") or ""))
        elif event.get("type") == "error":
            errors.append(json.dumps(event.get("error")))
    return Reading(None if errors else "\n".join(texts), "\n".join((*errors, output.stderr)))


def _json_object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _lines(text: str, pattern: str) -> list[str]:
    return [line for line in text.splitlines() if re.search(pattern, line, re.IGNORECASE)]


#: How the output of each kind of program is read.
READERS: Final[dict[str, Callable[[Output], Reading]]] = {
    "text": _text,
    "claude": _claude,
    "gemini": _gemini,
    "codex": _codex,
    "opencode": _opencode,
}
