"""What a question costs: `torch.cuda.get_device_capability` with us and without us, in one process, side by side.

    python benchmarks/calls.py

Set RTX50_MASQUERADE to the capability of the GPU (RTX50_MASQUERADE=9.0:8.9 on a Hopper), so that there is somebody to
tell something. Where torch finds no GPU, a device is put under its functions and under the driver's management library
(tests/fakes/nvml.c, which needs a C compiler). Its two numbers are those of another class of torch that is read through
pybind11, as a device's are: that is most of the time. RTX50_SIMULATE would measure the simulation, too.
"""

# ruff: noqa: SLF001 - what lies under torch's public functions has no other names

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import timeit
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import report
import rig
import rtx50_autoload

ROUNDS, CALLS = 15, 20_000

CASES = {
    "get_device_capability()": "capability()",
    "get_device_capability(0)": "capability(0)",
    "get_device_properties(0).major": "properties(0).major",
}
CALLERS = {"xformers.ops": "is told", "__main__": "hears the truth"}


def make_device() -> None:
    """Put a device under the functions of a torch that has none."""
    import torch

    class Properties(torch._C.BenchmarkConfig):
        name = "a GPU that this benchmark made up"
        major = torch._C.BenchmarkConfig.num_calling_threads
        minor = torch._C.BenchmarkConfig.num_warmup_iters

    device = Properties()
    device.num_calling_threads, device.num_warmup_iters = 12, 0
    torch.cuda._CudaDeviceProperties = Properties
    torch.cuda._initialized, torch.cuda._cached_device_count = True, 1
    torch._C._cuda_getDevice, torch._C._cuda_getDeviceCount = lambda: 0, lambda: 1
    torch.cuda._get_device_properties = lambda _: device


def run_with_driver() -> int:
    """Run this program where the management library knows a GPU."""
    with tempfile.TemporaryDirectory() as folder:
        if rig.build_driver(Path(folder)) is None:
            print("there is no GPU here, and no C compiler to make up one", file=sys.stderr)
            return 2
        env = {**os.environ, "LD_LIBRARY_PATH": folder, "FAKE_NVML_COUNT": "1"}
        return subprocess.run([sys.executable, *sys.argv], env=env, check=False).returncode


def seconds(statement: str, caller: str) -> float:
    """Time one statement, run as code of the module `caller`."""
    import torch

    module = {
        "__name__": caller,
        "capability": torch.cuda.get_device_capability,
        "properties": torch.cuda.get_device_properties,
    }
    return timeit.Timer(statement, globals=module).timeit(CALLS) / CALLS


def main() -> int:
    """Measure a row for each call and caller."""
    options = report.arguments(__doc__).parse_args()
    import torch

    rtx50_autoload.deactivate()
    there = torch.cuda.is_available()
    if there:
        torch.cuda.init()
    elif "FAKE_NVML_COUNT" not in os.environ:
        return run_with_driver()
    else:
        make_device()
    rows, raw = [], {}
    for name, statement in CASES.items():
        for caller, hears in CALLERS.items():
            rounds = []
            for _ in range(ROUNDS):
                rtx50_autoload.deactivate()
                stock = seconds(statement, caller)
                rtx50_autoload.activate()
                rounds.append((stock, seconds(statement, caller)))
            stock, ours = (statistics.median(column) * 1e6 for column in zip(*rounds, strict=True))
            ratio = statistics.median(ours / stock for stock, ours in rounds)
            rows.append((f"{name}, who asks {hears}", f"{stock:.3f} us", f"{ours:.3f} us", f"{ratio:.2f}"))
            raw[f"{name} {caller}"] = rounds
    if not rtx50_autoload.status()["patches"]:
        print("nothing is patched: nobody is told anything about this GPU", file=sys.stderr)
        return 1
    report.Result(
        "calls-gpu" if there else "calls",
        f"A question for the capability, {torch.cuda.get_device_name(0) if there else 'a device made up'}",
        "python benchmarks/calls.py" if there else "nox -s bench_calls",
        ("", "without us", "with us", "ratio"),
        rows,
        raw,
        ("torch",),
    ).finish(options.results)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
