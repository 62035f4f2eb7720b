"""A person at a terminal: a program on a pseudo-terminal, what it prints, and what is typed."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import select
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import rig

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]")


class Terminal:
    """What a program does at a terminal."""

    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self.process = process
        self._master = master
        self._raw = b""
        self._expected = 0

    @property
    def screen(self) -> str:
        """All that was printed so far, without colours."""
        return _ESCAPES.sub("", self._raw.decode("utf-8", "replace")).replace("\r\n", "\n")

    @property
    def coloured(self) -> str:
        """All that was printed so far, as it came."""
        return self._raw.decode("utf-8", "replace")

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Read until something stands there; fail where the program ends before."""
        self._read_until(lambda: re.search(pattern, self.screen))
        found = re.search(pattern, self.screen)
        assert found, self.screen
        return found

    def expect(self, text: str) -> None:
        """Read until a text stands behind the one that was expected before; fail where the program ends before."""
        self._read_until(lambda: text in self.screen[self._expected :])
        assert text in self.screen[self._expected :], f"{text!r} is not in\n{self.screen}"
        self._expected = self.screen.index(text, self._expected) + len(text)

    def type(self, text: str) -> None:
        """Type; ``\\x03`` is Ctrl-C."""
        if text == "\x03":
            self._let_it_wait()
        os.write(self._master, text.encode())

    def _let_it_wait(self) -> None:
        """Give a program that has just put a question the time to wait for the answer.

        Ctrl-C between the two is noticed by Python only when the answer has been typed.
        """
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                if Path(f"/proc/{self.process.pid}/wchan").read_text(encoding="ascii") in {"wait_woken", "n_tty_read"}:
                    return
            time.sleep(0.05)

    def end(self) -> int:
        """Read to the end and give the exit code."""
        self._read_until(lambda: False)
        return self.process.wait(rig.TIMEOUT)

    def _read_until(self, is_done) -> None:
        deadline = time.monotonic() + rig.TIMEOUT
        while not is_done():
            assert time.monotonic() < deadline, f"nothing more came:\n{self.screen}"
            if not select.select([self._master], [], [], 1)[0]:
                continue
            try:
                read = os.read(self._master, 65536)
            except OSError as error:
                # How Linux says that the last program has left the terminal.
                if error.errno != errno.EIO:
                    raise
                read = b""
            if not read:
                return
            self._raw += read


@contextlib.contextmanager
def at_terminal(venv: rig.Venv, *command: str | Path, env: Mapping[str, str], columns: int = 100) -> Iterator[Terminal]:
    """Start a program as the leader of a terminal's session, as a shell would."""
    import fcntl  # noqa: PLC0415 - not on Windows
    import struct  # noqa: PLC0415
    import termios  # noqa: PLC0415

    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    # Its own session, whose terminal the first one becomes that it opens.
    starter = (
        "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
    )
    process = subprocess.Popen(
        [venv.python, "-I", "-S", "-c", starter, *map(str, command)],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**venv.environment(env), "TERM": "xterm-256color"},
        cwd=venv.home,
        start_new_session=True,
    )
    os.close(slave)
    try:
        yield Terminal(process, master)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        os.close(master)
