"""joblib's loky, a Dask cluster, torchrun and Accelerate, all real; the nox session `many` runs it."""

from __future__ import annotations

import json
import sys
import textwrap

import pytest
from programs import ACTIVE, TELLS, speeches

JOBLIB = """
import joblib
AT_IMPORT = tell()
if __name__ == "__main__":
    answers = joblib.Parallel(2, backend="loky")(joblib.delayed(tell)() for _ in range(8))
    print(json.dumps([tell()[1], differ(answers, 2)]))
"""
DASK = """
from dask.distributed import Client, LocalCluster
AT_IMPORT = tell()
if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        answers = client.gather(client.map(tell, range(8)))
    print(json.dumps([tell()[1], differ(answers, 2)]))
"""


@pytest.mark.parametrize("code", [JOBLIB, DASK], ids=["joblib", "dask"])
def test_workers_are_told_what_the_program_is_told_and_the_program_says_it(bench, code):
    result = bench.program(code)
    assert json.loads(result.stdout.splitlines()[-1]) == [ACTIVE, []]
    assert speeches(result) == 1, result.stderr


@pytest.mark.parametrize("code", [JOBLIB, DASK], ids=["joblib", "dask"])
def test_workers_of_a_disabled_program_are_disabled(bench, code):
    result = bench.program(code, RTX50_DISABLE="1")
    assert json.loads(result.stdout.splitlines()[-1]) == [["AssertionError", "AssertionError", False], []]
    assert "rtx50" not in result.stderr


FAILS = {
    "joblib": "import joblib\nif __name__ == '__main__': joblib.Parallel(2)([joblib.delayed(fail)()])",
    "dask": """
from dask.distributed import Client, LocalCluster
if __name__ == "__main__":
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        client.submit(fail, retries=0).result()
""",
}


@pytest.mark.parametrize("code", FAILS.values(), ids=FAILS)
def test_an_error_of_a_worker_is_counted_once_and_told(bench, code):
    result = bench.program(code, check=False)
    assert "Run: rtx50-autoload incidents show" in result.stderr
    assert bench.counts() == [1], result.stderr


RANKS = """
import torch.distributed as dist
torchrun = not dist.is_initialized()  # Accelerate has done that, and ends it
if torchrun:
    dist.init_process_group("gloo")
import torch
total = torch.ones(1) * (dist.get_rank() + 1)
dist.all_reduce(total)
print(json.dumps([tell()[1], dist.get_world_size(), total.item()]) + chr(10), end="", flush=True)
if torchrun:
    dist.destroy_process_group()
"""
# `accelerate launch` starts one process on a CPU, unless there is MPI.
ACCELERATE = f"""
def work():
{textwrap.indent(RANKS, "    ")}
if __name__ == "__main__":
    from accelerate import debug_launcher
    tell()  # its ranks are processes that work for it, so it is the one that speaks
    debug_launcher(work, num_processes=8)
"""
LAUNCHERS = {
    "torchrun": (("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=8"), RANKS),
    "accelerate": ((), ACCELERATE),
}


@pytest.mark.parametrize(("launcher", "code"), LAUNCHERS.values(), ids=LAUNCHERS)
@pytest.mark.parametrize("disabled", [False, True])
def test_eight_ranks_are_told_the_same_work_together_and_one_says_it(bench, launcher, code, disabled):
    (bench.folder / "program.py").write_text(TELLS + code, encoding="utf-8")
    result = bench.run(sys.executable, *launcher, "program.py", RTX50_DISABLE=str(int(disabled)))
    told = ["AssertionError", "AssertionError", False] if disabled else ACTIVE
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert answers == [[told, 8, 36.0]] * 8, result.stderr
    assert speeches(result) == (not disabled), result.stderr
