"""What an error costs that is none of ours: raised and caught, with the hooks installed and without them.

    python benchmarks/exceptions.py [--errors 100000]

Runs where the package and any torch are installed. Prints three tables: errors that are raised and caught, in one
process, short rounds with us and without us alternating, so that what else the machine does falls on both; the
instructions of the same by valgrind, where that is installed; and what each way costs once such an error comes to it.
Exits with 1 where raising and catching takes 1.02 times as long with us.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING

import rtx50_autoload

if TYPE_CHECKING:
    from collections.abc import Callable

CEILING = 1.02
ROUNDS = 100


class CustomError(Exception):
    """An error of the program's own."""


#: None of them is one that the package knows; each is made as a program makes it.
ERRORS: dict[str, Callable[[], BaseException]] = {
    "ValueError": lambda: ValueError("invalid literal for int() with base 10: 'x'"),
    "KeyError": lambda: KeyError("missing"),
    "RuntimeError": lambda: RuntimeError("dictionary changed size during iteration"),
    "FileNotFoundError": lambda: FileNotFoundError(2, "No such file or directory", "model.safetensors"),
    "CustomError": lambda: CustomError("something of the program's own"),
}


def raise_and_catch(make: Callable[[], BaseException], errors: int) -> float:
    """Raise and catch errors, and give the seconds that it took."""
    start = time.perf_counter()
    for _ in range(errors):
        try:
            raise make()  # noqa: TRY301 - what is measured
        except Exception:  # noqa: BLE001, S110, PERF203 - likewise
            pass
    return time.perf_counter() - start


def compare(make: Callable[[], BaseException], errors: int) -> tuple[float, float, float]:
    """Give the median nanoseconds of one error without us and with us, and the ratio of the medians."""
    seconds: dict[bool, list[float]] = {False: [], True: []}
    for number in range(2 * ROUNDS):
        # Twice the same, then twice the other: neither is always the one that comes after a switch.
        installed = number // 2 % 2 == 1
        switch(on=installed)
        raise_and_catch(make, errors // ROUNDS)  # what Python specialises, it has specialised then
        seconds[installed].append(raise_and_catch(make, errors // ROUNDS))
    without, ours = (statistics.median(seconds[installed]) / (errors // ROUNDS) * 1e9 for installed in (False, True))
    return without, ours, ours / without


def switch(*, on: bool) -> None:
    """Install the hooks, or take them away, and see that it has worked."""
    if on:
        rtx50_autoload.activate()
    else:
        rtx50_autoload.deactivate()
    if (sys.excepthook is not sys.__excepthook__) is not on:
        raise RuntimeError("the hooks are not as they should be")


def instructions(errors: int, *, on: bool) -> float:
    """Count the instructions that raising and catching one error of each kind takes, without those of the start."""
    counts = []
    for number in (errors, 2 * errors):
        command = [sys.executable, __file__, "--child", str(number), "on" if on else "off"]
        valgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={os.devnull}", *command]
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        result = subprocess.run(valgrind, env=environment, check=True, capture_output=True, text=True)
        collected = re.search(r"Collected\s*:\s*(\d+)", result.stderr)
        if collected is None:
            raise RuntimeError(f"valgrind has counted nothing:\n{result.stderr}")
        counts.append(int(collected[1]))
    return (counts[1] - counts[0]) / errors


def child(errors: int, *, on: bool) -> None:
    """Be what valgrind looks at. torch stays out of it: valgrind would take minutes to import it."""
    import gc

    switch(on=on)
    gc.disable()  # how often it runs, and over how much, is another matter
    for make in ERRORS.values():
        raise_and_catch(make, errors)


def ways(errors: int) -> dict[str, float]:
    """Give the microseconds that an unrelated error costs once it is brought to us, by way and error."""
    import threading
    from types import SimpleNamespace

    # What is there before us shows nothing, so that only we are measured.
    rtx50_autoload.deactivate()
    before = sys.excepthook, threading.excepthook
    sys.excepthook, threading.excepthook = (lambda *_: None), (lambda _: None)
    rows = {}
    for installed in (False, True):
        if installed:
            rtx50_autoload.activate()
        for name, make in ERRORS.items():
            error = make()
            calls = {
                "sys.excepthook": lambda error=error: sys.excepthook(type(error), error, None),
                "threading.excepthook": lambda error=error: threading.excepthook(SimpleNamespace(exc_value=error)),
            }
            for way, call in calls.items():
                start = time.perf_counter()
                for _ in range(errors):
                    call()
                spent = (time.perf_counter() - start) / errors * 1e6
                rows[f"{way}, {name}"] = spent - rows.get(f"{way}, {name}", 0.0) if installed else spent
    rtx50_autoload.deactivate()
    sys.excepthook, threading.excepthook = before
    return rows


def device_errors(errors: int) -> dict[str, tuple[float, float, float]]:
    """Compare the creation of torch's own error of the device, which is where we look at each one."""
    import torch

    kind = getattr(torch, "AcceleratorError", None)
    if kind is None:
        return {}
    texts = {"nothing that we know": "something else", "known, met before": "CUDA error: invalid device ordinal"}
    return {f"AcceleratorError, {what}": compare(lambda text=text: kind(text), errors) for what, text in texts.items()}


def main() -> int:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--errors", type=int, default=100_000)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        errors, on = options.child
        child(int(errors), on=on == "on")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        # What is recorded on the way is nobody's failure.
        os.environ["XDG_STATE_HOME"] = folder
        return measure(options.errors)


def measure(errors: int) -> int:
    """Print the tables; give the exit code."""
    import torch

    print(f"Python {sys.version.split()[0]}, torch {torch.__version__}, {errors} errors of each kind each way")
    print(f"\n{'raised and caught':44} {'without ns':>10} {'with us ns':>10} {'ratio':>7}")
    rows = {name: compare(make, errors) for name, make in ERRORS.items()}
    for name, row in (rows | device_errors(errors // 10)).items():
        print(f"{name:44} {row[0]:10.1f} {row[1]:10.1f} {row[2]:7.3f}")
    if shutil.which("valgrind") is not None:
        without, ours = (instructions(5_000, on=on) for on in (False, True))
        print(f"\n{'one of each, instructions by valgrind':44} {without:10.0f} {ours:10.0f} {ours / without:7.3f}")
    print(f"\n{'brought to us':44} {'added us':>10}")
    for name, spent in ways(errors // 10).items():
        print(f"{name:44} {spent:10.2f}")
    worst = max(ratio for *_, ratio in rows.values())
    print(f"\nraised and caught, worst ratio: {worst:.3f} (ceiling {CEILING})")
    return int(worst >= CEILING)


if __name__ == "__main__":
    sys.exit(main())
