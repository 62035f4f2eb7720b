"""Takes secrets, and what tells who and where somebody is, out of what is stored, shown and sent."""

from __future__ import annotations

from .environment import environment_facts
from .identity import Identity
from .text import Redacted, placeholders, redact

__all__ = ["Identity", "Redacted", "environment_facts", "placeholders", "redact"]
