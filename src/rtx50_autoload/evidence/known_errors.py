"""What errors of GPU programs mean, in plain words, read from `known_errors.toml`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

from rtx50_autoload.knowledge import read_tables

if TYPE_CHECKING:
    from rtx50_autoload.evidence.arch import JitSwitches

__all__ = ["KnownError", "explain", "load_known_errors"]


@dataclass(frozen=True, slots=True)
class KnownError:
    """One kind of error; what its fields mean stands at the head of the file."""

    id: str
    why: str
    next: str
    source: str
    codes: tuple[int, ...] = ()
    types: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    switch: Literal["forced", "disabled", ""] = ""

    def matches(self, type_: str, text: str, code: int | None, switches: JitSwitches) -> bool:
        """Tell whether an error is of this kind."""
        if self.switch and not getattr(switches, self.switch):
            return False
        lowered = text.lower()
        return code in self.codes or type_ in self.types or any(part.lower() in lowered for part in self.texts)


@cache
def load_known_errors() -> tuple[KnownError, ...]:
    """Read `known_errors.toml`.

    Raises:
        TypeError: a key of the file is unknown or missing (the tests read the file, so a release's is sound).

    """
    return tuple(
        KnownError(
            codes=tuple(entry.pop("codes", ())),
            types=tuple(entry.pop("types", ())),
            texts=tuple(entry.pop("texts", ())),
            **entry,
        )
        for entry in read_tables(__package__, "known_errors.toml")["error"]
    )


def explain(type_: str, text: str, code: int | None, switches: JitSwitches) -> KnownError | None:
    """Give the first kind of error that matches, None where nothing is known.

    Args:
        type_: the name of the exception's class, or of the signal that ended the process.
        text: all that it says.
        code: the number of the CUDA runtime's error where torch gives it (`error_code`).
        switches: what the environment told the driver's JIT compiler.

    """
    return next((known for known in load_known_errors() if known.matches(type_, text, code, switches)), None)
