"""What is wrong, or worth knowing, in a form that a person and a program can act on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import Enum

__all__ = ["Finding", "Severity"]


class Severity(str, Enum):
    """How much a finding matters; in order of importance."""

    #: Something does not run, or will not.
    ERROR = "error"
    #: Something runs, but not as it should, or will fail in a use that is not certain.
    WARNING = "warning"
    #: Worth knowing; nothing to do.
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding.

    Attributes:
        id: kebab-case, stable between releases: what a script may look for.
        what: what was found, in one sentence that a beginner understands.
        why: what it causes, and how that is known.
        next: the next step: a command where one helps.

    """

    id: str
    severity: Severity
    what: str
    why: str
    next: str

    def as_json(self) -> dict[str, str]:
        """Give the keys and values of `doctor --json`."""
        return {**asdict(self), "severity": self.severity.value}
