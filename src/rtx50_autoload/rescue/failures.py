"""Which errors mean that a kernel could not be loaded, read from `failures.toml`: what decides whether to step in."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from rtx50_autoload.knowledge import read_tables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rtx50_autoload.capability import Capability

__all__ = ["Failure", "failure_of", "load_failures"]

# In xformers' texts: what ends the line that names an operator, and what the lines of its reasons begin with.
_BECAUSE = " is not supported because:"
_INDENT = "    "


@dataclass(frozen=True, slots=True)
class Failure:
    """One kind of failed load; what its fields mean stands at the head of the file."""

    id: str
    what: str
    source: str
    codes: tuple[int, ...] = ()
    texts: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()
    capability: Capability | None = None
    pending: bool = False

    def matches(self, text: str, code: int | None, capability: Capability | None) -> bool:
        """Tell whether an error is of this kind.

        Args:
            text: what it says.
            code: the number of the CUDA runtime's error where torch gives it.
            capability: the true one of the device; None where it is not known.

        """
        if self.capability is not None and (capability is None or capability < self.capability):
            return False
        if code not in self.codes and not any(part in text for part in self.texts):
            return False
        return not self.refusals or any(map(self._is_refusal, _reasons(text)))

    def _is_refusal(self, reasons: list[str]) -> bool:
        """Tell whether an operator is refused for nothing but what `refusals` names."""
        return bool(reasons) and all(any(part in reason for part in self.refusals) for reason in reasons)


@cache
def load_failures() -> tuple[Failure, ...]:
    """Read `failures.toml`.

    Raises:
        TypeError: a key of the file is unknown or missing (the tests read the file, so a release's is sound).

    """
    return tuple(
        Failure(
            codes=tuple(entry.pop("codes", ())),
            texts=tuple(entry.pop("texts")),
            refusals=tuple(entry.pop("refusals", ())),
            capability=tuple(entry.pop("capability")) if "capability" in entry else None,
            **entry,
        )
        for entry in read_tables(__package__, "failures.toml")["failure"]
    )


def failure_of(error: Exception, capability: Capability | None) -> Failure | None:
    """Give the kind of failed load that an error means, None for any other error.

    Args:
        error: RuntimeError (torch.AcceleratorError and NotImplementedError are ones) and ValueError are looked at.
        capability: the true one of the device that was to compute; None where it is not known.

    """
    if not isinstance(error, (RuntimeError, ValueError)):
        return None
    code = getattr(error, "error_code", None)
    text = str(error)
    return next((failure for failure in load_failures() if failure.matches(text, code, capability)), None)


def _reasons(text: str) -> Iterator[list[str]]:
    """Yield, for each operator that xformers names, the reasons why it is not taken."""
    reasons: list[str] | None = None
    for line in text.splitlines():
        if line.endswith(_BECAUSE):
            if reasons is not None:
                yield reasons
            reasons = []
        elif reasons is not None and line.startswith(_INDENT):
            reasons.append(line.strip())
    if reasons is not None:
        yield reasons
