"""The check of an installation, which runs in a process of its own, whoever wants it.

The program stays as it is: no library is imported into it, nothing is put on its `sys.meta_path`, and what takes its
time there takes none here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any, Final, Literal, TypeAlias

from rtx50_autoload.errors import RTX50Error
from rtx50_autoload.own_python import python_command

__all__ = ["CheckError", "Wanted", "answer_of", "check", "command", "environment"]

#: `document` is all that was found, `summary` a few lines of it.
Wanted: TypeAlias = Literal["document", "summary"]

_PROGRAM: Final = "from rtx50_autoload.installer.check_child import main; main(sys.argv[1])"


class CheckError(RTX50Error):
    """The check did not come to an end; the message says why."""


def check() -> dict[str, Any]:
    """Check this environment and wait for what is found.

    Returns:
        `findings` are the errors and the warnings of the examination as ``doctor --json`` has them, `plan` is a plan as
        JSON, `system` the operating system that its commands are for.

    Raises:
        CheckError: there is no answer.

    """
    if not sys.executable:
        raise CheckError("This environment could not be checked, for its Python interpreter is not known.")
    try:
        child = subprocess.run(  # noqa: S603 - this interpreter and our own program
            command("document"), check=False, capture_output=True, stdin=subprocess.DEVNULL, env=environment()
        )
    except OSError as error:
        raise CheckError(f"This environment could not be checked, for no process can be started ({error}).") from error
    try:
        document: dict[str, Any] = answer_of(child.stdout)
    except ValueError:
        last = (child.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {child.returncode}"])[-1]
        raise CheckError(f"This environment could not be checked ({last}).") from None
    return document


def command(wanted: Wanted) -> list[str]:
    """Give the program and its arguments; it prints its answer as JSON, in the last line."""
    # Isolated, because variables such as PYTHONWARNINGS and PYTHONINSPECT are meant for the program.
    return python_command(_PROGRAM, wanted, options=("-I",))


def environment() -> dict[str, str]:
    """Give its variables: those of this process, but it starts no check of its own."""
    return {**os.environ, "RTX50_CHECK_INSTALL": "0"}


def answer_of(output: bytes) -> Any:  # noqa: ANN401 - what was wanted decides
    """Read what it has printed.

    Raises:
        ValueError: it holds no answer.

    """
    return json.loads(output.rstrip().rpartition(b"\n")[2])
