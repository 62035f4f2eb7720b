"""What the exit code of a command says."""

from __future__ import annotations

from typing import Final

__all__ = ["FINDING", "INTERRUPTED", "OK", "USAGE"]

OK: Final = 0
FINDING: Final = 1
USAGE: Final = 2
#: 128 + SIGINT, as shells report it.
INTERRUPTED: Final = 130
