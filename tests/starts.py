"""Two hundred interpreters start together: while their byte code is written, and while the settings are changed."""

from __future__ import annotations

import importlib.util
import json
import marshal
import subprocess
from collections import Counter
from typing import TYPE_CHECKING

import rig
from rtx50_autoload.diagnosis.incident import Incident
from rtx50_autoload.settings_file import read_values

if TYPE_CHECKING:
    from pathlib import Path

STARTS = 200
#: So many at once: each has its own memory, and the machine that tests may be small.
_WAVE = 50
#: One start in so many records an error: a diagnosis takes as long as several starts.
_ONE_FAILS = 40

# Each prints what it has seen. The last one catches the error that it records.
_PROGRAMS = {
    "starts": "import sys; print(any('rtx50' in getattr(finder, '__name__', '') for finder in sys.meta_path))",
    "imports torch": """
import sys, torch
print(torch.cuda.get_device_capability(), sys.modules["rtx50_autoload.activation"].current() is not None)
""",
    "fails": """
import torch, rtx50_autoload
try:
    with rtx50_autoload.guard():
        raise torch.AcceleratorError("CUDA error: no kernel image is available for execution on the device")
except torch.AcceleratorError:
    print("failed")
""",
}

#: Changes the settings file as the commands do, until its input ends.
_SWITCHES = """
import sys, threading
from rtx50_autoload.cli.main import main
end = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), end.set()), daemon=True).start()
times = 0
while not end.wait(0.05):
    assert main(["disable"]) == main(["enable"]) == 0
    times += 2
print(times, file=sys.stderr)
"""


def start_two_hundred(venv: rig.Venv, folder: Path, one_imports_torch: int) -> None:
    """Start them and look at all that they leave.

    Args:
        venv: an environment of its own with the stand-in for torch, without byte code.
        folder: an empty one, for what they print.
        one_imports_torch: one start in so many imports torch.

    """
    kinds = [
        "fails" if number % _ONE_FAILS == 0 else "imports torch" if number % one_imports_torch == 0 else "starts"
        for number in range(STARTS)
    ]
    assert _byte_code(venv) == []
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    switching = subprocess.Popen([venv.python, "-c", _SWITCHES], env=venv.environment(), **pipes)
    codes: list[int] = []
    for first in range(0, STARTS, _WAVE):
        children = [_start(venv, folder, number, kinds[number]) for number in range(first, first + _WAVE)]
        codes += [child.wait(rig.TIMEOUT) for child in children]
    switched = switching.communicate(timeout=rig.TIMEOUT)[1]

    assert (codes, switching.returncode) == ([0] * STARTS, 0), switched
    assert {path.read_text() for path in folder.glob("*.err")} == {""}
    printed = Counter(path.read_text().strip() for path in folder.glob("*.out"))
    assert set(printed) <= {"True", "(12, 0) True", "(12, 0) False", "failed"}, printed
    assert printed["True"] == kinds.count("starts")
    assert printed["failed"] == kinds.count("fails")
    _look_at_files(venv, kinds.count("fails"))
    print(f"{STARTS} starts, {switched.strip()} changes of the settings meanwhile, {dict(printed)}")  # noqa: T201


def _start(venv: rig.Venv, folder: Path, number: int, kind: str) -> subprocess.Popen[bytes]:
    with (folder / f"{number}.out").open("wb") as out, (folder / f"{number}.err").open("wb") as err:
        return subprocess.Popen(
            [venv.python, "-c", _PROGRAMS[kind]],
            env=venv.environment({"FAKE_TORCH_DEVICES": "12.0", "RTX50_SIMULATE": "12.0"}),
            cwd=venv.home,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
        )


def _look_at_files(venv: rig.Venv, failures: int) -> None:
    """See that each file is whole and that none is left over."""
    assert read_values(venv.root / "rtx50-autoload.toml").get("disable", False) is False
    records = list((venv.home / "state").rglob("*.json"))
    # A start that the settings have switched off records nothing.
    assert sum(Incident.from_json(json.loads(path.read_bytes())).count for path in records) <= failures
    record = next(venv.site_packages.glob("rtx50_autoload-*.dist-info")) / "RECORD"
    assert all(line.count(",") == 2 for line in record.read_text(encoding="utf-8").splitlines())
    dotted = [path for top in (venv.root, venv.home) for path in top.rglob(".*")]
    assert {path.name for path in dotted} <= {".lock", ".gitignore"}
    byte_code = _byte_code(venv)
    assert len(byte_code) > 1
    for path in byte_code:
        content = path.read_bytes()
        assert content.startswith(importlib.util.MAGIC_NUMBER)
        marshal.loads(content[16:])  # noqa: S302 - written by the interpreter under test


def _byte_code(venv: rig.Venv) -> list[Path]:
    return [path for path in venv.site_packages.rglob("*.pyc*") if "rtx50" in str(path.relative_to(venv.root))]
