"""`rtx50_autoload.doctor()`: the examination for a program or a notebook."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import Any

from rtx50_autoload.errors import RTX50Error
from rtx50_autoload.own_python import own_command
from rtx50_autoload.printable import printable

__all__ = ["Checkup", "ExaminationError", "doctor"]


class ExaminationError(RTX50Error, RuntimeError):
    """The examination did not come to an end."""


@dataclass(frozen=True, repr=False)
class Checkup:
    """What `doctor` has found; a notebook shows it as a page.

    Attributes:
        document: all of it, as ``doctor --json`` prints it.

    """

    document: dict[str, Any]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return bool(self.document["ok"])

    @property
    def libraries(self) -> list[dict[str, Any]]:
        """The libraries with GPU code, each with its `verdict` and the `reason` for it."""
        return list(self.document["libraries"])

    @property
    def findings(self) -> list[dict[str, str]]:
        """The findings, each with `id`, `severity`, `what`, `why` and `next`; the most important first."""
        return list(self.document["findings"])

    def __repr__(self) -> str:
        from rtx50_autoload.report.words import headline, judged_for, next_steps  # noqa: PLC0415 - only if shown

        libraries = [
            f"  {one['name']} {one['version'] or ''}: {one['verdict']}, {one['reason']}" for one in self.libraries
        ]
        findings = [f"{finding['severity']}: {finding['what']}" for finding in self.findings]
        steps = [f"Next: {step}" for step in next_steps(self.document)[:1]]
        lines = (f"<Checkup: {headline(self.document)}>", *judged_for(self.document), *libraries, *findings, *steps)
        return "\n".join(map(printable, lines))

    def _repr_html_(self) -> str:
        from rtx50_autoload.report.page import fragment  # noqa: PLC0415 - only if shown

        return fragment(self.document)


def doctor(device: str | None = None) -> Checkup:
    """Examine this environment: which installed libraries run on the GPU, what is wrong, and what to do.

    The command does it, in a process of its own: this one stays as it is, no library is imported, and CUDA is not
    initialised.

    Args:
        device: judge for this compute capability, such as ``"12.0"``, rather than for the devices here.

    Raises:
        ExaminationError: the command failed; its message says why.

    """
    command = own_command("doctor", "--json")
    if device is not None:
        command += ["--device", device]
    result = subprocess.run(command, check=False, capture_output=True, encoding="utf-8", errors="replace")  # noqa: S603
    try:
        return Checkup(json.loads(result.stdout))
    except ValueError:
        raise ExaminationError(result.stderr.strip() or f"the command ended with {result.returncode}") from None
