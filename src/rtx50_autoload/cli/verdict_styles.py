"""The colours of the verdicts at the terminal."""

from __future__ import annotations

from typing import Final

from rtx50_autoload.evidence.verdict import Verdict

__all__ = ["STYLES"]

#: How rich shows each verdict.
STYLES: Final = {
    Verdict.NATIVE: "green",
    Verdict.JIT: "yellow",
    Verdict.PARTIAL: "bold yellow",
    Verdict.IMPOSSIBLE: "bold red",
    Verdict.UNKNOWN: "dim",
    Verdict.UNREADABLE: "bold red",
    Verdict.NO_GPU_CODE: "dim",
}
