"""A person at a terminal with assistants on PATH: what the tests of consultations share."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psutil

import rig
from terminal import at_terminal

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from terminal import Terminal

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
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
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

    def sit_down(self, *arguments: str, **more: str) -> AbstractContextManager[Terminal]:
        """Start the environment's Python at a terminal, a wide one, so that no sentence is folded."""
        return at_terminal(self.venv, self.venv.python, *arguments, env={**self.variables, **more}, columns=250)

    def command(self, *arguments: str, **more: str) -> AbstractContextManager[Terminal]:
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
