"""Record what the commands print, for the pages beside: `python docs/record.py PATH_OF_A_VENV`.

The environment has to hold the package, torch 2.13.0 (CPU), xformers 0.0.35 and bitsandbytes 0.50.2. Nothing but its
own settings is looked at: HOME is the folder that the environment lies in, and no variable of ours or of Python's is
passed on. The README's picture is drawn from what a terminal with colours is sent.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

RECORDED = Path(__file__).resolve().parent / "recorded"
MACHINES = RECORDED.parent.parent / "tests" / "machines"
SIMULATED = {"RTX50_SIMULATE": "NVIDIA GeForce RTX 5090:12.0"}
COMMAND = "rtx50-autoload"

#: What torch says where a library has no code for the GPU.
ERROR = "RuntimeError: CUDA error: no kernel image is available for execution on the device"

#: The commands of the tutorial, in its order.
FIRST_STEPS = (
    "python3 -m venv try50",
    ". try50/bin/activate",
    "cd rtx50-autoload",
    "python -m pip install --quiet .",
    "rtx50-autoload status",
    "rtx50-autoload demo",
    f'export RTX50_SIMULATE="{SIMULATED["RTX50_SIMULATE"]}"',
    "rtx50-autoload doctor",
    "echo $?",
    "echo '" + ERROR + "' | rtx50-autoload explain",
    "rtx50-autoload disable",
    "rtx50-autoload status",
    "rtx50-autoload enable",
    "python -m pip uninstall --yes rtx50-autoload",
    "deactivate",
    "cd ..",
    "rm -r try50",
)


def run(
    venv: Path, arguments: list[str], variables: dict[str, str], folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run one command of the environment as a person at a terminal of 88 columns would.

    Without another folder it runs where the packages lie, so that paths are shown without those of this machine.
    """
    environment = {"PATH": os.defpath, "HOME": str(venv.parent), "COLUMNS": "88", "LANG": "C.UTF-8", **variables}
    return subprocess.run(
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


def first_steps(folder: Path) -> str:
    """Take the first steps of the tutorial in a folder, as a person who has the checkout there; give what is seen.

    Each command runs in the same shell as the one before. pip finds its registry as the caller does.
    """
    script = ["exec 2>&1", 'python3() { "$PYTHON" "$@"; }']
    # The exit code of the command before stays to be asked for.
    script += [
        f"code=$?; printf '%s\\n' {shlex.quote(f'$ {command}')}; (exit $code)\n{command}" for command in FIRST_STEPS
    ]
    variables = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    surroundings = {"PATH": os.defpath, "HOME": str(folder), "COLUMNS": "88", "LANG": "C.UTF-8"}
    checkout = folder / "rtx50-autoload"
    checkout.symlink_to(RECORDED.parent.parent)
    try:
        result = subprocess.run(
            ["bash", "-c", "\n".join(script)],  # noqa: S607 - the shell of the person
            env=variables | surroundings | {"PYTHON": sys.executable},
            cwd=folder,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
    finally:
        checkout.unlink()
    return result.stdout


#: Draws what a terminal was sent. The font is the reader's own: nothing is fetched for a picture.
PICTURE = """
import io, re, sys
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text
console = Console(record=True, file=io.StringIO(), width=88, force_terminal=True, color_system="truecolor")
console.print(Text.from_ansi(sys.stdin.read()))
own_font = re.sub(r"@font-face \\{\\{.*?\\}\\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
sys.stdout.write(console.export_svg(title=sys.argv[1], code_format=own_font))
"""


def picture(venv: Path, command: str) -> str:
    """Draw the terminal in which a command was typed, as SVG."""
    shown = run(venv, [command], {"FORCE_COLOR": "1", "TERM": "xterm-256color"}).stdout
    drawn = subprocess.run(
        [venv / "bin" / "python", "-c", PICTURE, f"{COMMAND} {command}"],
        input=f"$ {COMMAND} {command}\n{shown}",
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    return drawn.stdout


def main() -> None:
    """Write every record."""
    venv = Path(sys.argv[1]).absolute()
    records = {
        "first-steps.txt": first_steps(venv.parent),
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
    (RECORDED.parent / "demo.svg").write_text(picture(venv, "demo"), encoding="utf-8")


if __name__ == "__main__":
    main()
