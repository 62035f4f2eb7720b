"""NVML asked by a process of its own, so that the driver leaves nothing behind in the user's.

What it would leave is a thread, for good (:mod:`.nvml`). A program that forks workers with ``-W error``, or under
pytest, would fail by it from Python 3.12 on, and without us it would not: the threads that numpy's algebra keeps are
put away for the moment of a fork, the driver's is not (seen on an H200). Before Python 3.12 nobody notices, and the
driver is asked in this process, which is faster.
"""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from rtx50_autoload.evidence import driver

__all__ = ["DriverSilentError", "is_due", "read"]

# Isolated and without start-up files: nothing but our own code. Its folder comes last, for it holds all other packages
# of the environment, too.
_CODE: Final = """
import json, sys
sys.path.append(sys.argv[1])
from rtx50_autoload.evidence.nvml_reading import read_here
print(json.dumps(read_here().as_json()))
"""

#: Seconds for a process that is killed to end; one that hangs in the driver does not.
_GRACE: Final = 0.5


class DriverSilentError(Exception):
    """The driver does not answer in time."""


def is_due() -> bool:
    """Tell whether the driver is to be asked by another process: where this one would get a thread that is noticed."""
    try:
        return (
            sys.platform == "linux"
            and sys.version_info >= (3, 12)
            # An application that has Python inside may be its own `sys.executable`, and would start itself.
            and Path(sys.executable or "").name.startswith("python")
            and not getattr(sys, "frozen", False)
            # The program asks the driver itself, so that its thread is there.
            and "/libnvidia-ml.so" not in Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
            and not driver.is_absent()
        )
    except OSError:  # no /proc
        return False


def read(time_limit: float) -> object:
    """Start this Python and have it ask; give what `Reading.from_json` takes.

    Args:
        time_limit: seconds to wait for the driver.

    Raises:
        DriverSilentError: it does not answer in time.
        Exception: there can be no process, or it fails.

    """
    process = subprocess.Popen(  # noqa: S603 - this interpreter and our own code
        [sys.executable, "-I", "-S", "-c", _CODE, str(Path(__file__).parents[2])],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        answer, _ = process.communicate(timeout=time_limit)
    except subprocess.TimeoutExpired:
        raise DriverSilentError from None
    finally:
        _end(process)
    return json.loads(answer)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)
    if process.stdout is not None:
        process.stdout.close()
    if process.returncode is None:
        process.returncode = -1  # it is not waited for: nothing can be done about it
