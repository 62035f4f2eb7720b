"""The root of every error that this package raises on purpose."""

from __future__ import annotations

__all__ = ["RTX50Error"]


class RTX50Error(Exception):
    """Something that this package was asked for could not be done; the message says what and why."""
