"""What the programs of these checks share; the Python that runs the checks runs them, with the package installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from rtx50_autoload.diagnosis.incident import Incident

#: Said of one process: what its own code and a library that is told another capability are told, and whether we are on.
TELLS = """
import json, os, sys, time

def tell(*_):
    import os, sys, time, torch  # by value: a cluster sends this function to its workers
    def told(name):
        try:
            return eval("torch.cuda.get_device_capability()", {"__name__": name, "torch": torch})
        except Exception as error:
            return type(error).__name__
    time.sleep(0.2)  # so that all workers get some of the work
    activation = sys.modules.get("rtx50_autoload.activation")
    active = activation is not None and activation.current() is not None
    return os.getpid(), [told("mylib"), told("xformers.ops"), active]

def fail(*_):
    import torch
    text = "CUDA error: no kernel image is available for execution on the device"
    raise torch.AcceleratorError(text)

def differ(answers, count):
    assert os.getpid() not in {pid for pid, _ in answers}
    assert len({pid for pid, _ in answers}) >= count, answers
    return [told for _, told in answers if list(map(str, told)) != list(map(str, tell()[1]))]
"""

#: What is told, as JSON has it.
ACTIVE = [[12, 0], [9, 0], True]

_KEPT = ("LANG", "LD_LIBRARY_PATH", "TMPDIR", "SSL_CERT_FILE", "PIP_", "UV_")


class Bench:
    """A folder with a home of its own, in which programs run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        kept = {
            name: os.environ[name]
            for name in ("LANG", "LD_LIBRARY_PATH", "TMPDIR", "SSL_CERT_FILE")
            if name in os.environ
        }
        kept |= {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_"))}
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
        self.environment = {**kept, "PATH": path, "HOME": str(folder), "OMP_NUM_THREADS": "1", "RTX50_SIMULATE": "12.0"}

    def run(self, *command: str, check: bool = True, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment."""
        environment = {**self.environment, **variables}
        result = subprocess.run(
            command, env=environment, cwd=self.folder, capture_output=True, text=True, timeout=180, check=False
        )
        if check:
            assert result.returncode == 0, result.stdout + result.stderr
        return result

    def program(self, code: str, *, check: bool = True, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a program that lies in a file."""
        file = self.folder / "program.py"
        file.write_text(TELLS + code, encoding="utf-8")
        return self.run(sys.executable, str(file), check=check, **variables)

    def counts(self) -> list[int]:
        """Give how often each recorded incident has happened."""
        files = [path for path in self.folder.rglob("*.json") if path.parent.name == "incidents"]
        return [Incident.from_json(json.loads(path.read_bytes())).count for path in files]


def speeches(result: subprocess.CompletedProcess[str]) -> int:
    """Count how often it was said that somebody is told another capability."""
    return (result.stdout + result.stderr).count("rtx50-autoload: xformers is told")
