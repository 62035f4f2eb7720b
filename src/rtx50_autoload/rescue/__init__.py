"""Stand-ins for attention functions whose compiled kernel cannot be loaded: torch's own attention answers instead."""

from __future__ import annotations

from .stepping_in import SteppingIn

__all__ = ["SteppingIn"]
