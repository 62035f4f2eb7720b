"""The ways by which errors of the user's program come to diagnosis, and the note that they carry away."""

from __future__ import annotations

from .attendant import Attendant
from .hooks import ErrorHooks

__all__ = ["Attendant", "ErrorHooks"]
