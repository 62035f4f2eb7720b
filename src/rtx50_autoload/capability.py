"""CUDA compute capabilities as ``(major, minor)`` pairs: how they are read from text and written to it."""

from __future__ import annotations

import re
from typing import TypeAlias

__all__ = ["Capability", "format_capability", "parse_capability"]

Capability: TypeAlias = tuple[int, int]

_TEXT = re.compile(r"(\d{1,2})\.(\d)")


def parse_capability(text: str) -> Capability:
    """Read ``"12.0"`` as ``(12, 0)``.

    Raises:
        ValueError: the text is not a compute capability of the form ``major.minor``.

    """
    match = _TEXT.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a compute capability such as 12.0")
    return int(match[1]), int(match[2])


def format_capability(capability: Capability) -> str:
    """Write ``(12, 0)`` as ``"12.0"``."""
    major, minor = capability
    return f"{major}.{minor}"
