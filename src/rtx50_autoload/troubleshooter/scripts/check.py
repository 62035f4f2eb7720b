"""What is known of a script before anybody runs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from .danger import Finding, findings
from .syntax import shellcheck, syntax_errors

if TYPE_CHECKING:
    from .extract import Script

__all__ = ["Check", "check"]

# What a system takes as one argument, with room to spare; nobody reads so long a script either.
_LONGEST: Final = 100_000


@dataclass(frozen=True, slots=True)
class Check:
    """What was found, which is never a proof that a script is harmless.

    Attributes:
        syntax_errors: why the script's shell cannot read it, a line each.
        findings: what a person should know of its lines, in their order.
        asked: what read it besides our own patterns, such as ``bash -n``.

    """

    syntax_errors: tuple[str, ...]
    findings: tuple[Finding, ...]
    asked: tuple[str, ...]

    @property
    def is_flagged(self) -> bool:
        """Whether a line is dangerous by what our patterns know."""
        return any(finding.severity == "danger" for finding in self.findings)


def check(script: Script) -> Check:
    """Read a script in all ways that there are here; it is not run."""
    if len(script.text.encode(errors="replace")) > _LONGEST:
        return Check((f"it is longer than {_LONGEST} bytes",), (), ())
    if "\0" in script.text:
        return Check(("it holds a null character, at which shells stop to read",), findings(script), ())
    parsed = syntax_errors(script)
    noted = shellcheck(script)
    asked = [parsed[0]] if parsed else []
    if noted is not None:
        asked.append("shellcheck")
    found = (*findings(script), *(noted or ()))
    return Check(
        parsed[1] if parsed else (),
        tuple(sorted(found, key=lambda finding: (finding.line, finding.severity))),
        tuple(asked),
    )
