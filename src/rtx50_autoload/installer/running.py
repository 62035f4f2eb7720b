"""Run one command that changes the environment, and keep what it says."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rtx50_autoload.interruption import interruption
from rtx50_autoload.process_groups import end_gently, release_guard, start_guard

from .environment import child_environ, child_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

__all__ = ["Ran", "listen_to", "run_command"]

#: How long what was interrupted may take to end by itself; pip puts back what it was replacing.
_GRACE: Final = 10.0
_LOOK: Final = 0.1


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended; its exit code is below 0 for a signal."""

    code: int
    is_interrupted: bool


def listen_to(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a command of pip or uv to its end, and give what it says."""
    return subprocess.run(  # noqa: S603 - uv or the pip of this Python
        command,
        cwd=child_folder(command[0]),
        env=child_environ({}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )


def run_command(
    command: Sequence[str],
    environ: Mapping[str, str],
    log: Path,
    on_start: Callable[[int], None],
    show: Callable[[str], None],
) -> Ran:
    """Run a command without input, in a session of its own that ends when this process does.

    Args:
        command: the program and its arguments.
        environ: all its variables.
        log: where its output goes; it must not exist.
        on_start: gets the number of its process.
        show: gets its output, line by line.

    Raises:
        OSError: it cannot be started, or the log cannot be written.

    """
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream, interruption() as stopped:
        process = subprocess.Popen(  # noqa: S603 - pip or uv, as a person has agreed to
            command,
            cwd=child_folder(command[0]),
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=sys.platform != "win32",
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
        guard = start_guard(process.pid)
        try:
            on_start(process.pid)
            reader = threading.Thread(target=_read, args=(process, stream.write, show), daemon=True)
            reader.start()
            while process.poll() is None and not stopped.is_set():
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_LOOK)
        finally:
            code = end_gently(process, _GRACE)
            if guard is not None:
                release_guard(guard)
        reader.join(_GRACE)
        return Ran(code, stopped.is_set())


def _read(process: subprocess.Popen[str], keep: Callable[[str], object], show: Callable[[str], None]) -> None:
    with contextlib.suppress(ValueError):
        for line in process.stdout or ():
            # The log's disk may be full, and the terminal gone: the command goes on.
            with contextlib.suppress(OSError):
                keep(line)
            with contextlib.suppress(OSError):
                show(line)
