"""What an error means, whose fault it is, and what mends it."""

from __future__ import annotations

from .classifier import classify

__all__ = ["classify"]
