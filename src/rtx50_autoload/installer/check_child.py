"""The process that checks an installation: the examination and the plan in one document, printed as JSON."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from rtx50_autoload.diagnosis.situation import Gpu
from rtx50_autoload.evidence.doctor import examine
from rtx50_autoload.evidence.finding import Finding, Severity
from rtx50_autoload.evidence.imagecache import ImageCache
from rtx50_autoload.installer.check_words import summary
from rtx50_autoload.installer.commanding import type_command
from rtx50_autoload.installer.here import machine_here
from rtx50_autoload.installer.planner import make_plan

if TYPE_CHECKING:
    from rtx50_autoload.installer.check import Wanted
    from rtx50_autoload.installer.machine import Machine

__all__ = ["main"]

_NO_TORCH: Final = "torch-not-installed"
#: What the package is for, where no GPU can be seen.
_MEANT: Final = Gpu("an RTX 50-series GPU", (12, 0), "nvidia")


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
        missing; `plan` is what `plan --json` prints, `system` the operating system that its commands are for.

    """
    examination = examine(cache=ImageCache())
    machine = machine_here(survey=examination.survey)
    missing = [] if "torch" in machine.packages else [_no_torch(machine)]
    found = [one for one in examination.findings if one.severity is not Severity.INFO and one.id != _NO_TORCH]
    findings = sorted((*missing, *found), key=lambda finding: list(Severity).index(finding.severity))
    return {
        "system": machine.system,
        "findings": [finding.as_json() for finding in findings],
        "plan": make_plan(machine).as_json(),
    }


def _no_torch(machine: Machine) -> Finding:
    """Say that torch is missing, on every machine, with the command of what installs packages there.

    The examination takes it for no fault where no GPU is seen, and its commands are pip's, which uv does not put into
    the environments that it makes.
    """
    # Without a GPU the plan for this machine installs nothing.
    plan = make_plan(replace(machine, gpus=machine.gpus or (_MEANT,), container=None))
    commands = [command for step in plan.steps if step.id == "install-torch" for command in step.commands]
    return Finding(
        _NO_TORCH,
        Severity.WARNING,
        f"torch is not installed in this environment, {sys.prefix}.",
        "Either it is still to be installed, or another Python has it: each environment has its own packages.",
        type_command(machine, commands[0]) if commands else "",
    )
