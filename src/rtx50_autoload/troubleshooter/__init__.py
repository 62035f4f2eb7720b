"""Help from the user's own assistant: what it may see, and what becomes of its answer."""

from __future__ import annotations
