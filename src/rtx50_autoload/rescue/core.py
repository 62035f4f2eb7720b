"""What the stand-ins of every library are built on."""

from __future__ import annotations

from .dense import attend, attend_with_lse
from .varlen import Sequences, attend_varlen, attend_varlen_with_lse

__all__ = ["Sequences", "attend", "attend_varlen", "attend_varlen_with_lse", "attend_with_lse"]
