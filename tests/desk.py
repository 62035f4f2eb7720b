"""A person at a terminal with assistants on PATH: what the tests of consultations share."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import rig

if TYPE_CHECKING:
    from pathlib import Path

#: How long a question may take to come, on a machine that does much else.
PATIENCE = 120.0

ANSWER = """\
## What is wrong
A library has no code for this card.
## Steps
1. Install another torch. WHY: it holds code for the card.
## Script
```bash
set -euo pipefail
echo mended
```
## How to verify
It prints mended.
## If it fails
Ask again.
"""

#: Makes the terminal on stdin the one that Ctrl+C comes from, and becomes the program that follows.
_TAKE_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)


def questions(folder: Path) -> list[str]:
    """Give what the stand-in in a folder was asked."""
    files = sorted(folder.glob("question-*.md"), key=lambda file: int(file.stem.partition("-")[2]))
    return [file.read_text(encoding="utf-8") for file in files]


def wait_for(file: Path) -> None:
    """Wait until somebody has written a file."""
    deadline = time.monotonic() + PATIENCE
    while not (file.exists() and file.read_text(encoding="utf-8").strip()):
        assert time.monotonic() < deadline, f"{file} is not written"
        time.sleep(0.02)


def all_have_ended(folder: Path) -> bool:
    """Wait until the stand-in in a folder, and what it has started, are gone."""
    return all(_has_ended(int(pid)) for pid in (folder / "pids").read_text(encoding="utf-8").split())


def _has_ended(pid: int) -> bool:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        command = ["ps", "-o", "stat=", "-p", str(pid)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if not result.stdout.strip() or result.stdout.startswith("Z"):
            return True
        time.sleep(0.05)
    return False


class Desk:
    """An environment in which the package is installed, a home of its own, and a PATH with stand-ins for assistants.

    Attributes:
        variables: what is set besides the rig's clean environment.

    """

    def __init__(self, venv: rig.Venv, folder: Path) -> None:
        self.venv, self.folder = venv, folder
        self.home = folder / "home"
        self.home.mkdir()
        places = {name: self.home / name.lower() for name in ("XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")}
        self.variables = {
            "HOME": str(self.home),
            **{name: str(place) for name, place in places.items()},
            "PATH": os.pathsep.join(["/usr/bin", "/bin"]),
            # Of this machine nothing is to be found, whoever runs the tests.
            "OLLAMA_HOST": "127.0.0.1:9",
        }

    def put(self, name: str, answer: str = ANSWER) -> Path:
        """Put a stand-in on PATH, logged in; give the folder that it keeps its questions in."""
        folder = self.folder / name
        folder.mkdir()
        text = (rig.FAKES / "chatty.py").read_text(encoding="utf-8")
        program = folder / name
        program.write_text(f"#!{sys.executable}\n{text}", encoding="utf-8")
        program.chmod(0o755)
        (folder / "answer.md").write_text(answer, encoding="utf-8")
        self.variables["PATH"] = os.pathsep.join([str(folder), self.variables["PATH"]])
        self.variables["OPENAI_API_KEY"] = "x"
        return folder

    def environment(self, **more: str) -> dict[str, str]:
        return self.venv.environment({**self.variables, **more})

    def run(self, *arguments: str, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        """Run the command without a terminal."""
        return self.run_python("-m", "rtx50_autoload", *arguments, stdin=stdin, **more)

    def run_python(self, *arguments: str, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.venv.python), *arguments],
            env=self.environment(**more),
            cwd=self.home,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=rig.TIMEOUT,
        )

    def sit_down(self, *arguments: str, **more: str) -> Terminal:
        """Start the environment's Python at a terminal."""
        return Terminal([str(self.venv.python), *arguments], self.environment(**more), self.home)

    def command(self, *arguments: str, **more: str) -> Terminal:
        """Start the command at a terminal."""
        return self.sit_down("-m", "rtx50_autoload", *arguments, **more)

    def kept(self) -> dict[str, str]:
        """Give all that was written in the home, by path."""
        files = [path for path in self.home.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
        return {str(path.relative_to(self.home)): path.read_text(encoding="utf-8", errors="replace") for path in files}

    def forget(self) -> None:
        """Forget all that was recorded, answered and chosen."""
        shutil.rmtree(self.home)
        self.home.mkdir()


class Terminal:
    """A terminal with a program in it; used as a context manager, which ends the program."""

    def __init__(self, command: list[str], environment: dict[str, str], folder: Path) -> None:
        self.seen = ""
        self._read_to = 0
        self._leader, follower = os.openpty()
        # Wide, so that no sentence is folded.
        import fcntl  # noqa: PLC0415 - only where there are such terminals
        import struct  # noqa: PLC0415
        import termios  # noqa: PLC0415

        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 60, 250, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-c", _TAKE_TERMINAL, *command],
            stdin=follower,
            stdout=follower,
            stderr=follower,
            env={**environment, "TERM": "dumb"},
            cwd=folder,
            start_new_session=True,
        )
        os.close(follower)

    def __enter__(self) -> Terminal:  # noqa: PYI034 - `typing` has `Self` from 3.11 on
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._leader)

    def expect(self, text: str) -> None:
        """Wait until the program has printed a text, after what was waited for before."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.seen[self._read_to :]:
            assert time.monotonic() < deadline, self.seen
            assert self._read(), f"{text!r} is not in\n{self.seen}"
        self._read_to = self.seen.index(text, self._read_to) + len(text)

    def type(self, keys: str) -> None:
        os.write(self._leader, keys.encode())

    def end(self) -> int:
        """Wait for the program's end, and give its exit code."""
        deadline = time.monotonic() + PATIENCE
        while self._read():
            assert time.monotonic() < deadline, self.seen
        return self.process.wait(PATIENCE)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._leader], [], [], 1.0)
        if not ready:
            return True
        try:
            data = os.read(self._leader, 65536)
        except OSError:  # nobody has the other end open any more
            return False
        self.seen += data.decode("utf-8", "replace").replace("\r\n", "\n")
        return bool(data)
