"""What is handed to an assistant leaves our hands: all of it goes through here."""

from __future__ import annotations

import json
from typing import Any, Final

from rtx50_autoload.printable import printable
from rtx50_autoload.troubleshooter.redaction import redact

__all__ = ["fit", "outgoing"]

#: In characters of JSON; indented, as it is sent, it is up to twice as long.
_LONGEST: Final = 25_000
_LONGEST_TEXT: Final = 4_000


def outgoing(value: Any) -> Any:  # noqa: ANN401 - whatever JSON knows
    """Make every text of an answer fit to be sent, the keys of objects too."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, dict):
        return {_text(key): outgoing(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [outgoing(each) for each in value]
    return value


def _text(text: str) -> str:
    text = redact(printable(text)).text
    more = len(text) - _LONGEST_TEXT
    return text if more <= 0 else f"{text[:_LONGEST_TEXT]}… ({more:,} more characters)"


def fit(document: dict[str, Any]) -> dict[str, Any]:
    """Cut the longest lists of a document at their ends until it is short enough, and say so in ``left_out``."""
    left_out: dict[str, int] = {}
    while (size := _size(document)) > _LONGEST:
        name, items = max(_lists(document), key=lambda found: _size(found[1]), default=("", []))
        if not items:
            break
        room = _LONGEST - (size - _size(items))
        kept = 0
        for item in items:
            room -= _size(item) + len(", ")
            if room < 0:
                break
            kept += 1
        kept = max(kept, 1)
        left_out[name] = left_out.get(name, 0) + len(items) - kept
        del items[kept:]
    return {**document, "left_out": left_out} if left_out else document


def _size(value: Any) -> int:  # noqa: ANN401
    return len(json.dumps(value))


def _lists(value: Any, name: str = "") -> list[tuple[str, list[Any]]]:  # noqa: ANN401
    """Give all lists in a document that can be cut, each with the key under which it stands."""
    if isinstance(value, dict):
        return [found for key, each in value.items() for found in _lists(each, key)]
    if isinstance(value, list):
        inner = [found for each in value for found in _lists(each, name)]
        return [(name, value), *inner] if len(value) > 1 else inner
    return []
