"""What runs on a node. The code of this module is sent there, so a node without the package can say that it has none.

The examination itself is the node's own: its Python, its packages, its rtx50-autoload, in a child of Ray's worker.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rtx50_autoload.process_groups import end_group, release_guard, start_guard

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["NOT_INSTALLED", "run_doctor"]

#: The exit code that says that the node's Python does not know the package.
NOT_INSTALLED: Final = 86
#: How much of the end of a child's stderr is told, in characters.
_TAIL: Final = 2000
#: How often limits are looked at, in seconds.
_TICK: Final = 1.0
_HIDING: Final = "CUDA_VISIBLE_DEVICES"

# Not `-m`: that would look in the working directory first, which may hold anything.
_DOCTOR: Final = f"""\
import sys
sys.path[:] = [folder for folder in sys.path if folder]
try:
    import rtx50_autoload
except ModuleNotFoundError as error:
    if error.name != "rtx50_autoload":
        raise
    sys.exit({NOT_INSTALLED})
from rtx50_autoload.cli.main import main
sys.exit(main())
"""


def run_doctor(arguments: Sequence[str], limit: float) -> dict[str, Any]:
    """Run ``doctor`` on this node, and leave nothing of it behind, also where Ray ends this worker.

    Args:
        arguments: the words behind ``doctor``.
        limit: how long it may take, in seconds.

    Returns:
        `code`, None where it was ended; `stdout`; the end of `stderr`; the `python` that ran it; whether this worker is
        `orphaned`, as Ray's own process on the node is gone. Nothing but
        what every Python has: who reads it may have another version of the package.

    """
    process = subprocess.Popen(  # noqa: S603 - this interpreter and our own program
        [sys.executable, "-c", _DOCTOR, "doctor", *arguments],
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        # A group of its own, to be ended with all that it has started.
        start_new_session=True,
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    )
    guard = start_guard(process.pid)
    deadline, raylet, code = time.monotonic() + limit, os.getppid(), None
    try:
        # A worker goes on with its task where Ray's own process on the node, which started it, is gone.
        while (left := deadline - time.monotonic()) > 0 and os.getppid() == raylet:
            with suppress(subprocess.TimeoutExpired):
                stdout, stderr = process.communicate(timeout=min(left, _TICK))
                code = process.returncode
                break
        else:
            end_group(process)
            stdout, stderr = process.communicate()
    finally:
        end_group(process)
        if guard is not None:
            release_guard(guard)
    orphaned = os.getppid() != raylet
    return {"code": code, "stdout": stdout, "stderr": stderr[-_TAIL:], "python": sys.executable, "orphaned": orphaned}


def _environment() -> dict[str, str]:
    """Give this worker's environment with the GPUs that Ray was started with on this node.

    Ray hides all of them from a task that asks for none (CUDA_VISIBLE_DEVICES is empty then, in all versions before
    2.60 or by RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO), and the examination asks for none, so as not to wait for one.
    """
    environment = dict(os.environ)
    hidden = environment.pop(_HIDING, None)
    try:
        # Ray's own process on this node, which started us; nobody has changed what it was started with.
        entries = Path(f"/proc/{os.getppid()}/environ").read_bytes().split(b"\0")
    except OSError:
        return environment if not hidden else {**environment, _HIDING: hidden}
    prefix = f"{_HIDING}=".encode()
    own = [os.fsdecode(entry.removeprefix(prefix)) for entry in entries if entry.startswith(prefix)]
    return environment if not own else {**environment, _HIDING: own[0]}
