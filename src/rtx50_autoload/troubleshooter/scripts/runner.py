"""Runs a script that a person has agreed to, and keeps what it says."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import threading
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rtx50_autoload.errors import RTX50Error, UsageError
from rtx50_autoload.interruption import interruption
from rtx50_autoload.process_groups import end_gently
from rtx50_autoload.search_path import absolute_path, find_program
from rtx50_autoload.troubleshooter.redaction import redact

from .store import ScriptStoreError, open_private

if TYPE_CHECKING:
    from collections.abc import Callable

    from .store import SavedScript

__all__ = ["Outcome", "ScriptNotRunnableError", "command", "run"]

# How long what was interrupted may take to end by itself.
_GRACE: Final = 3.0

# How often it is looked whether the person has interrupted it.
_LOOK: Final = 0.1

# Lines of a private key; what never ends is none.
_LONGEST_KEY: Final = 200
_KEY_BEGINS: Final = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY")


class ScriptNotRunnableError(UsageError):
    """A script is of a language that is not run, or its shell is not here."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a script ended.

    Attributes:
        exit_code: of its shell; below 0 the signal that ended it.
        log: where its output lies, redacted.
        is_interrupted: whether the person stopped it.

    """

    exit_code: int
    log: Path
    is_interrupted: bool = False


def command(saved: SavedScript) -> list[str]:
    """Give what runs a script, so that it stops at the first error.

    Raises:
        ScriptNotRunnableError: it is not run, or its shell is not here.

    """
    if saved.script.language == "bash":
        program = find_program("bash")
        if program:
            # The text that was shown, not the file, which may be changed meanwhile.
            return [program, "--norc", "--noprofile", "-eu", "-o", "pipefail", "-c", saved.script.text, str(saved.path)]
    elif saved.script.language == "powershell":
        program = find_program("pwsh") or find_program("powershell")
        if program:
            path = str(saved.path).replace("'", "''")
            stop = "$ErrorActionPreference = 'Stop'; $PSNativeCommandUseErrorActionPreference = $true"
            options = ["-NoLogo", "-NoProfile", "-NonInteractive", "-ExecutionPolicy", "Bypass", "-Command"]
            return [program, *options, f"{stop}; & '{path}'; exit $LASTEXITCODE"]
    else:
        raise ScriptNotRunnableError(
            "batch files are not run, because they go on after an error: type its lines yourself, one by one"
        )
    raise ScriptNotRunnableError(f"the shell that runs it, {saved.script.language}, is not installed here")


def run(saved: SavedScript, show: Callable[[str], None]) -> Outcome:
    """Run a script in a session of its own, without input, and write what it says to a log.

    It finds the programs of this Python's environment first. When it has ended, or is interrupted, whatever it has
    left running in its session's process group is ended too.

    Args:
        saved: the script.
        show: gets its output, line by line.

    Raises:
        ScriptNotRunnableError: it is not run, or its shell is not here.
        ScriptStoreError: the log cannot be written; nothing has run then.

    """
    call = command(saved)
    started = datetime.now(timezone.utc)
    log = saved.path.with_name(f"{saved.id}-{started:%Y%m%dT%H%M%S%f}.log")
    try:
        with open_private(log) as descriptor:
            writer = _Log(descriptor)
            writer.note(f"{started.isoformat()} {saved.path.name}, written by {saved.assistant}")
            with interruption() as stopped:
                exit_code = _run(call, writer, show, stopped)
            is_interrupted = stopped.is_set()
            writer.note("interrupted" if is_interrupted else f"exit code {exit_code}")
            writer.close()
    except OSError as error:
        if isinstance(error, RTX50Error):
            raise
        raise ScriptStoreError(f"{error.filename or log}: {error.strerror}") from error
    return Outcome(exit_code, log, is_interrupted)


class _Log:
    """What a script says, redacted, in a file."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        # Lines of a private key, which is known as one only as a whole.
        self._held: list[str] = []

    def line(self, line: str) -> None:
        """Take a line of the script's output."""
        if self._held or _KEY_BEGINS.search(line):
            self._held.append(line)
            if "-----END" not in line and len(self._held) < _LONGEST_KEY:
                return
        self._write("".join(self._held) or line)
        self._held = []

    def note(self, text: str) -> None:
        """Write a line of our own."""
        self._write("".join(self._held))
        self._held = []
        self._write(f"# {text}\n")

    def close(self) -> None:
        """Write nothing more, whoever still reads from the script."""
        self._descriptor = -1

    def _write(self, text: str) -> None:
        view = memoryview(redact(text).text.encode("utf-8", "replace"))
        while view:
            view = view[os.write(self._descriptor, view) :]


def _run(call: list[str], log: _Log, show: Callable[[str], None], stopped: threading.Event) -> int:
    process = subprocess.Popen(  # noqa: S603 - what a person has agreed to
        call,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=sys.platform != "win32",
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    )
    reader = threading.Thread(target=_read, args=(process, log, show), daemon=True)
    reader.start()
    while process.poll() is None and not stopped.is_set():
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_LOOK)
    exit_code = end_gently(process, _GRACE)
    # What has left the group may keep the pipe open for ever.
    reader.join(_GRACE)
    return exit_code


def _read(process: subprocess.Popen[str], log: _Log, show: Callable[[str], None]) -> None:
    # The log's disk may fill up: the script goes on, and is read, so that it does not wait for ever.
    with contextlib.suppress(ValueError):
        for line in process.stdout or ():
            with contextlib.suppress(OSError):
                log.line(line)
            # The terminal may be gone.
            with contextlib.suppress(OSError):
                show(line)


def _environment() -> dict[str, str]:
    """Give this process's environment, in which `python` and `pip` are those of this Python."""
    folder = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": os.pathsep.join([folder, absolute_path(os.environ) or os.defpath])}
    if sys.prefix != sys.base_prefix:
        environment["VIRTUAL_ENV"] = sys.prefix
    # A file or function that bash would run first.
    return {name: value for name, value in environment.items() if name not in {"BASH_ENV", "ENV", "SHELLOPTS"}}
