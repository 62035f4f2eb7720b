"""Fuzz all that reads bytes or text from outside, guided by the code that the inputs reach.

    python tests/fuzz/run.py [--seconds 240] [--folder FOLDER] [TARGET ...]

The seconds are for all targets together. The folder keeps the corpus that a run has reached for the next one, and under
`findings` of each kind of failure the shortest input, with its traceback. Exits with 1 where there is any: it becomes a
test, with the bytes in it, of the module that it shows a fault of.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from targets import TARGETS

_COVERAGE = re.compile(r"cov: (\d+) ft: (\d+)")
_STATISTIC = re.compile(r"stat::(\w+): +(\d+)")
_COUNTERS = re.compile(r"Loaded \d+ modules? +\((\d+) ")
#: What starting, instrumenting and the seeds may take beside a target's share of the seconds.
_START = 300


@dataclass(frozen=True)
class Result:
    """What one target's run came to."""

    name: str
    executions: int
    per_second: int
    branches: int
    features: int
    new: int
    findings: tuple[Path, ...]
    #: How it ended, where not by itself.
    fault: str = ""


def fuzz(name: str, folder: Path, seconds: int) -> Result:
    """Run one target."""
    corpus, findings = folder / name, folder / "findings"
    for each in (corpus, findings):
        each.mkdir(parents=True, exist_ok=True)
    for old in findings.glob(f"{name}-*"):
        old.unlink()
    before = len(list(corpus.iterdir()))
    engine = Path(__file__).with_name("engine.py")
    command = [sys.executable, str(engine), name, str(corpus), str(findings), str(seconds)]
    done = subprocess.run(command, capture_output=True, check=False, timeout=seconds + _START)
    said = done.stderr.decode("utf-8", "replace")
    coverage = _COVERAGE.findall(said) or [("0", "0")]
    statistics = {key: int(value) for key, value in _STATISTIC.findall(said)}
    return Result(
        name,
        statistics.get("number_of_executed_units", 0),
        statistics.get("average_exec_per_sec", 0),
        int(coverage[-1][0]),
        int(coverage[-1][1]),
        len(list(corpus.iterdir())) - before,
        tuple(sorted(file for file in findings.glob(f"{name}-*") if file.suffix != ".txt")),
        f"exit code {done.returncode}\n{said[-2000:]}" if done.returncode else "",
    )


def main() -> int:
    """Run the targets one after the other, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; by default all")
    parser.add_argument("--seconds", type=int, default=240, help="for all targets together (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="where corpus and findings are kept; by default a temporary one")
    arguments = parser.parse_args()
    names = arguments.targets or list(TARGETS)
    if unknown := [name for name in names if name not in TARGETS]:
        parser.error(f"no target is called {unknown[0]}; there are {', '.join(TARGETS)}")
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="rtx50-fuzz-"))
    share = max(1, arguments.seconds // len(names))
    print(f"{'target':<14}{'executions':>12}{'per second':>12}{'branches':>10}{'features':>10}{'new':>7}  findings")
    failed = False
    for name in names:
        result = fuzz(name, folder, share)
        print(
            f"{name:<14}{result.executions:>12,}{result.per_second:>12,}{result.branches:>10,}{result.features:>10,}"
            f"{result.new:>7,}  {len(result.findings)}",
            flush=True,
        )
        for finding in result.findings:
            print(f"    {finding}")
        if result.fault:
            print(f"    {result.fault}")
        failed |= bool(result.findings or result.fault)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
