"""The process that checks an installation: the examination and the plan in one document, printed as JSON."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from rtx50_autoload.evidence.doctor import examine
from rtx50_autoload.evidence.finding import Severity
from rtx50_autoload.evidence.imagecache import ImageCache
from rtx50_autoload.installer.check_words import summary
from rtx50_autoload.installer.here import machine_here
from rtx50_autoload.installer.planner import make_plan

if TYPE_CHECKING:
    from rtx50_autoload.installer.check import Wanted

__all__ = ["main"]


def main(wanted: Wanted) -> None:
    """Check this environment and print the answer."""
    document = _document()
    answer: Any = summary(document) if wanted == "summary" else document
    # After a line's end: what a library may have printed stays in lines of its own.
    sys.stdout.write(f"\n{json.dumps(answer)}\n")


def _document() -> dict[str, Any]:
    """Give what was found.

    Returns:
        `findings` are the errors and the warnings of the examination as `doctor --json` has them, and that torch is
        missing, whatever the examination makes of that; `plan` is what `plan --json` prints, `system` the operating
        system that its commands are for.

    """
    examination = examine(cache=ImageCache())
    machine = machine_here(survey=examination.survey)
    return {
        "system": machine.system,
        "findings": [
            finding.as_json()
            for finding in examination.findings
            if finding.severity is not Severity.INFO or finding.id == "torch-not-installed"
        ],
        "plan": make_plan(machine).as_json(),
    }
