"""Record what the commands print, for the pages beside: `python docs/record.py PATH_OF_A_VENV`.

The environment has to hold the package, torch 2.13.0 (CPU), xformers 0.0.35 and bitsandbytes 0.50.2. Nothing but its
own settings is looked at: HOME is the folder that the environment lies in, and no variable of ours or of Python's is
passed on.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

RECORDED = Path(__file__).resolve().parent / "recorded"
MACHINES = RECORDED.parent.parent / "tests" / "machines"
SIMULATED = {"RTX50_SIMULATE": "NVIDIA GeForce RTX 5090:12.0"}
COMMAND = "rtx50-autoload"


def run(
    venv: Path, arguments: list[str], variables: dict[str, str], folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run one command of the environment as a person at a terminal of 88 columns would.

    Without another folder it runs where the packages lie, so that paths are shown without those of this machine.
    """
    environment = {"PATH": os.defpath, "HOME": str(venv.parent), "COLUMNS": "88", "LANG": "C.UTF-8", **variables}
    return subprocess.run(  # noqa: S603 - the command of the environment that the caller names
        [venv / "bin" / COMMAND, *arguments],
        env=environment,
        cwd=folder or next(venv.glob("lib/python3*/site-packages")),
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def terminal(venv: Path, *arguments: str, folder: Path | None = None, **variables: str) -> str:
    """Give the command line, what it printed and its exit code."""
    result = run(venv, list(arguments), variables, folder)
    shown = [*(f'{name}="{value}"' for name, value in variables.items()), COMMAND, *arguments]
    return f"$ {' '.join(shown)}\n{result.stdout}{result.stderr}$ echo $?\n{result.returncode}\n"


def as_json(venv: Path, command: str, **variables: str) -> str:
    """Give the JSON of a command with pairs of numbers on one line."""
    state = json.loads(run(venv, [command, "--json"], variables).stdout)
    if command == "status":
        # Enough to see the shape; the page says so.
        del state["callers"][3:]
        state["settings"] = dict(list(state["settings"].items())[:3])
    text = json.dumps(state, indent=2)
    return re.sub(r"\[\s+(\d+),\s+(\d+)\s+\]", r"[\1, \2]", text) + "\n"


def main() -> None:
    """Write every record."""
    venv = Path(sys.argv[1]).absolute()
    records = {
        "status.txt": terminal(venv, "status"),
        "status-simulated.txt": terminal(venv, "status", **SIMULATED),
        "status-verify.txt": terminal(venv, "status", "--verify"),
        "status.json": as_json(venv, "status", **SIMULATED),
        "doctor.txt": terminal(venv, "doctor", **SIMULATED),
        "scan.txt": terminal(venv, "scan", "xformers", "--device", "12.0"),
        # The error and the machine that it comes from lie beside the records.
        "explain.txt": terminal(venv, "explain", "crash.txt", "--environment", "machine.json", folder=RECORDED),
        "plan.txt": terminal(venv, "plan", "--machine", "desktop-5060-ti.toml", folder=MACHINES),
        "demo.txt": terminal(venv, "demo"),
        "demo.json": as_json(venv, "demo"),
        "switch.txt": "\n".join((terminal(venv, "disable"), terminal(venv, "status"), terminal(venv, "enable"))),
    }
    for name, text in records.items():
        (RECORDED / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
