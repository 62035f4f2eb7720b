"""What our finder costs imports that are none of its business, and what `import torch` takes longer.

    python benchmarks/imports.py [--torch PYTHON]

The first part counts instructions (valgrind) of a program that imports 500 modules of the standard library, in an empty
environment and in one with our start-up file; what the start itself adds is counted apart and taken off. The second
part needs an environment with this package and torch. There the CPU time of the importing thread is taken, of the whole
import and of what the import calls of ours, for whole imports differ by more than that from one another. xformers is
imported, too, where it is installed; it is told a capability because RTX50_SIMULATE makes the device answer 12.0.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import report
import startup

MODULES = 500
ROUNDS = 15
# Where files lie and how long their names are changes counts by more than a finder costs.
COUNTED = 5

# Modules that open windows or browsers, print, run for their import, or need what may not be there, are left out.
LISTED = """
import contextlib, importlib, io, json, pkgutil, sys
apart = {"antigravity", "ensurepip", "idlelib", "lib2to3", "test", "this", "tkinter", "turtle", "turtledemo"}
names = []
for top in sorted(name for name in sys.stdlib_module_names if name not in apart and not name.startswith("_")):
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            module = importlib.import_module(top)
    except Exception:
        continue
    names.append(top)
    for found in pkgutil.iter_modules(getattr(module, "__path__", [])):
        name = f"{top}.{found.name}"
        if found.name.startswith("_") or ".test" in name or found.name in ("windows_events", "windows_utils"):
            continue
        try:
            importlib.import_module(name)
        except Exception:
            continue
        names.append(name)
print(json.dumps(names))
"""


def count_imports(folder: Path) -> tuple[int, dict[str, tuple[int, int]]]:
    """Count the start and the imports in both environments; give how many modules there were, too."""
    python, _ = startup.make_venv(sys.executable, folder / "bare")
    listed = subprocess.run([python, "-W", "ignore", "-c", LISTED], check=True, capture_output=True, text=True)
    names = json.loads(listed.stdout)[:MODULES]
    program = folder / "program.py"
    program.write_text("import sys\n" + "".join(f"import {name}\n" for name in names), encoding="utf-8")
    statement = f"import runpy; runpy.run_path({str(program)!r})"
    code = f"{statement}; import sys; print(len(sys.modules))"
    loaded = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True)
    ours, site = startup.make_venv(sys.executable, folder / "ours")
    for file in startup.OURS:
        shutil.copy(file, site)
    counts = {}
    for what, code in (("start", "import runpy"), ("imports", statement)):
        counts[what] = startup.count(python, code), startup.count(ours, code)
    return int(loaded.stdout.split()[-1]), counts


# How the CPU time of an import is divided: {"import": seconds, "ours": seconds of it}.
STOPWATCH = """
import json, sys, time
import _rtx50_autoload_importlib_bootstrap as hook

spent = 0.0
running = False

def timed(call):
    def run(*arguments):
        global spent, running
        outer, running = running, True
        start = time.thread_time()
        try:
            return call(*arguments)
        finally:
            running = outer
            if not outer:
                spent += time.thread_time() - start
    return run

def notify(*arguments, told=hook.notify):
    given = told(*arguments)
    teller = getattr(sys.modules.get("rtx50_autoload.masquerading.tell"), "Teller", None)
    if teller is not None and teller._decide.__name__ != "run":
        # Asked by others than the import: what the first question of a caller takes.
        teller._decide = timed(teller._decide)
    return given

import importlib.util
import pathlib  # which torch imports after us: not ours
hook.notify = timed(notify)
start = time.thread_time()
import {module}
print(json.dumps({{"import": time.thread_time() - start, "ours": spent}}))
"""


def time_import(python: Path, module: str, **variables: str) -> dict[str, float]:
    """Give the CPU seconds of one import in a new process, and which part of them is ours."""
    env = {**startup.environment(**variables), "HOME": os.environ.get("HOME", "")}
    code = STOPWATCH.format(module=module)
    done = subprocess.run([python, "-c", code], env=env, check=True, capture_output=True, text=True)
    seconds: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return seconds


def time_imports(python: Path) -> dict[str, list[dict[str, float]]]:
    """Time `import torch`, and xformers where it is."""
    simulated = {"RTX50_SIMULATE": "12.0"}
    cases = [
        ("import torch, nothing to tell", "torch", {}),
        ("import torch, a device of 12.0", "torch", simulated),
    ]
    tried = subprocess.run([python, "-c", "import xformers.ops"], check=False, capture_output=True)
    if tried.returncode == 0:
        cases.append(("import xformers.ops, told 9.0", "xformers.ops", simulated))
    found = {}
    for name, module, variables in cases:
        time_import(python, module, **variables)  # fills the disk's cache
        found[name] = [time_import(python, module, **variables) for _ in range(ROUNDS)]
    return found


def main() -> int:
    """Run."""
    parser = report.arguments(__doc__)
    parser.add_argument("--torch", type=Path, metavar="PYTHON", help="a Python with torch and this package")
    options = parser.parse_args()
    rows, raw = [], {}
    if shutil.which("valgrind") is not None:
        with tempfile.TemporaryDirectory() as folder:
            counted = [count_imports(Path(folder) / f"{number}") for number in range(COUNTED)]
        raw["instructions"] = counted
        loaded = counted[0][0]
        without, ours = (
            statistics.median(counts["imports"][column] - counts["start"][column] for _, counts in counted)
            for column in (0, 1)
        )
        added = ours - without
        cells = (f"{without / 1e6:,.1f} M", f"{ours / 1e6:,.1f} M", f"{added / 1e6:+.2f} M", f"{added / without:+.2%}")
        rows.append((f"import {loaded} modules, instructions", *cells))
    else:
        print("valgrind is not on the PATH: the instructions of imports are not counted", file=sys.stderr)
    for name, rounds in (time_imports(options.torch) if options.torch else {}).items():
        raw[name] = rounds
        whole, part = (statistics.median(one[what] for one in rounds) for what in ("import", "ours"))
        cells = (f"{(whole - part) * 1e3:,.0f} ms", f"{whole * 1e3:,.0f} ms", f"{part * 1e3:+.1f} ms")
        rows.append((f"{name}, CPU time", *cells, f"{part / (whole - part):+.2%}"))
    report.Result(
        "imports",
        "Imports without us and with us",
        "nox -s bench_imports",
        ("", "without us", "with us", "added", "part"),
        rows,
        raw,
        ("torch", "xformers"),
    ).finish(options.results)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
