"""Programs with many processes: each is activated, or not, like the one that starts it, and one speaks for all."""

from __future__ import annotations

import json
import sys

import pytest

import rig
from rtx50_autoload import job
from rtx50_autoload.diagnosis.incident import Incident

SIMULATED = {"RTX50_SIMULATE": "12.0"}

#: What this process is told: its own code, and a library that is told another capability; and whether we are active.
TELLS = """
import json, multiprocessing, os, sys
from concurrent.futures import ProcessPoolExecutor
import torch

def told(name):
    try:
        return eval("torch.cuda.get_device_capability()", {"__name__": name, "torch": torch})
    except Exception as error:
        return type(error).__name__

def tell(_=None):
    activation = sys.modules.get("rtx50_autoload.activation")
    active = activation is not None and activation.current() is not None
    return [told("mylib"), told("xformers.ops"), active]

AT_IMPORT = tell()

def work(_):
    return os.getpid(), AT_IMPORT, tell()
"""

#: Asks in the main module, so that a process that is spawned asks before multiprocessing says whose child it is.
POOLS = (
    TELLS
    + """
if __name__ == "__main__":
    answers = {}
    for method in sys.argv[1:]:
        context = multiprocessing.get_context(method)
        with context.Pool(2) as pool:
            answers["Pool", method] = pool.map(work, range(6), chunksize=1)
        with ProcessPoolExecutor(2, mp_context=context) as executor:
            answers["ProcessPoolExecutor", method] = list(executor.map(work, range(6)))
    different = [answer for kind in answers.values() for answer in kind if answer[1:] != (AT_IMPORT, tell())]
    assert all(os.getpid() not in {pid for pid, *_ in answer} for answer in answers.values())
    print(json.dumps([tell(), different]))
"""
)

METHODS = ["spawn"] if sys.platform == "win32" else ["fork", "spawn", "forkserver"]


@pytest.fixture
def run(tmp_path):
    """Run a program that lies in a file, as one whose processes are spawned has to, with incidents of its own."""

    def run(venv, code, *arguments, check=True, **variables):
        (tmp_path / "program.py").write_text(code, encoding="utf-8")
        folders = {"XDG_STATE_HOME": str(tmp_path / "state"), "LOCALAPPDATA": str(tmp_path / "state")}
        command = (venv.python, tmp_path / "program.py", *arguments)
        return venv.run(*command, env={**folders, **variables}, check=check)

    return run


def speeches(stderr):
    return [line for line in stderr.splitlines() if line.startswith("rtx50-autoload:")]


@pytest.mark.parametrize("method", METHODS)
def test_pools_are_told_what_their_parent_is_told_and_one_process_says_it(with_fake_torch, run, method):
    result = run(with_fake_torch, POOLS, method, **SIMULATED)
    assert json.loads(result.stdout) == [[[12, 0], [9, 0], True], []]
    (line,) = result.stderr.splitlines()
    assert line.startswith("rtx50-autoload: xformers is told")


@pytest.mark.parametrize("method", METHODS)
def test_pools_of_a_program_that_is_switched_off_are_switched_off(with_fake_torch, run, method):
    # Switched off by the program itself: what it starts inherits that.
    code = "import os\nos.environ['RTX50_DISABLE'] = '1'\n" + POOLS
    result = run(with_fake_torch, code, method, FAKE_TORCH_DEVICES="12.0")
    assert json.loads(result.stdout) == [[[12, 0], [12, 0], False], []]
    assert result.stderr == ""


@pytest.mark.skipif(sys.platform == "win32", reason="no forkserver")
def test_the_server_that_forks_workers_does_not_speak(with_fake_torch, run, tmp_path):
    code = (
        TELLS
        + "multiprocessing.set_forkserver_preload(['program'])\n"
        + POOLS.partition("def work(_):")[2].join(("def work(_):", ""))
    )
    result = run(with_fake_torch, code, "forkserver", PYTHONPATH=str(tmp_path), **SIMULATED)
    assert len(speeches(result.stderr)) == 1, rig.describe(result)


LOADERS = (
    TELLS
    + """
from torch.utils.data import DataLoader, Dataset, get_worker_info

class Answers(Dataset):
    def __len__(self):
        return 6
    def __getitem__(self, _):
        assert get_worker_info() is not None
        own, library, active = tell()
        return torch.tensor([*own, *library, active])

if __name__ == "__main__":
    for method in sys.argv[1:]:
        loader = DataLoader(Answers(), num_workers=2, multiprocessing_context=method, persistent_workers=True)
        for epoch in range(2):
            print(sorted({tuple(each.squeeze().tolist()) for each in loader}))
"""
)


def test_workers_of_data_loaders_are_told_what_their_parent_is_told(with_torch, run):
    methods = [method for method in METHODS if method != "forkserver"]
    result = run(with_torch, LOADERS, *methods, **SIMULATED)
    assert result.stdout.splitlines() == ["[(12, 0, 9, 0, 1)]"] * 2 * len(methods)
    assert len(speeches(result.stderr)) == 1, result.stderr


FAILS = """
import multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor
import torch

TEXT = "CUDA error: no kernel image is available for execution on the device"

def fail(_=None):
    raise torch.AcceleratorError(TEXT)

def fail_together(barrier):
    barrier.wait()
    fail()
"""
CRASHES = {
    "a pool": "with multiprocessing.Pool(2) as pool: pool.map(fail, [0])",
    "an executor": "with ProcessPoolExecutor(2) as executor: list(executor.map(fail, [0]))",
    "processes": (
        "barrier = multiprocessing.Barrier(3)\n"
        "    them = [multiprocessing.Process(target=fail_together, args=(barrier,)) for _ in range(3)]\n"
        "    for each in them: each.start()\n"
        "    for each in them: each.join()"
    ),
}


def recorded(home):
    files = [path for path in home.rglob("*.json") if "incidents" in path.parts]
    return [Incident.from_json(json.loads(path.read_bytes())) for path in files]


@pytest.mark.parametrize(("crash", "count"), [("a pool", 1), ("an executor", 1), ("processes", 3)])
def test_an_error_of_a_worker_is_counted_once_and_told_by_its_note(with_fake_torch, run, tmp_path, crash, count):
    code = f"{FAILS}\nif __name__ == '__main__':\n    {CRASHES[crash]}\n"
    result = run(with_fake_torch, code, check=False, **SIMULATED)
    (incident,) = recorded(tmp_path)
    assert incident.count == count
    # A pool's error is shown with the worker's traceback before it, which has the note, too.
    last = result.stderr.rpartition("The above exception was the direct cause")[2]
    assert last.count("Run: rtx50-autoload incidents show") == 1, result.stderr


def test_where_the_speaking_workers_error_is_thrown_away_the_program_speaks(with_fake_torch, run, tmp_path):
    # `map` raises the first task's error, and the second task's was recorded, and given its note, before it.
    code = (
        FAILS
        + """
import time
def fail_in_turns(turn):
    time.sleep(1.5 * (turn == 0))
    fail()

if __name__ == "__main__":
    with ProcessPoolExecutor(2) as executor:
        list(executor.map(fail_in_turns, range(2)))
"""
    )
    result = run(with_fake_torch, code, check=False, **SIMULATED)
    assert result.stderr.count("Run: rtx50-autoload incidents show") == 1, result.stderr
    (incident,) = recorded(tmp_path)
    assert incident.count == 2


def test_an_error_of_a_data_loaders_worker_is_counted_once_and_told_once(with_torch, run, tmp_path):
    code = (
        FAILS
        + """
from torch.utils.data import DataLoader, Dataset
class Fails(Dataset):
    def __len__(self):
        return 1
    def __getitem__(self, _):
        fail()

if __name__ == "__main__":
    list(DataLoader(Fails(), num_workers=1))
"""
    )
    result = run(with_torch, code, check=False, **SIMULATED)
    assert result.stderr.count("Run: rtx50-autoload incidents show") == 1, result.stderr
    assert [incident.count for incident in recorded(tmp_path)] == [1]


RANKS = (
    TELLS
    + """
import torch.distributed as dist
dist.init_process_group("gloo")
total = torch.ones(1) * (dist.get_rank() + 1)
dist.all_reduce(total)
print(json.dumps([tell(), total.item()]) + chr(10), end="", flush=True)
if sys.argv[1:] and dist.get_rank() == 1:
    text = "CUDA error: no kernel image is available for execution on the device"
    raise torch.AcceleratorError(text)
dist.destroy_process_group()
"""
)
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")


def test_ranks_of_torchrun_are_told_the_same_and_work_together_and_a_failing_one_tells_why(with_torch, tmp_path):
    # One run for all of it: each rank imports torch. The session `many` runs eight.
    program = tmp_path / "program.py"
    program.write_text(RANKS, encoding="utf-8")
    environment = {
        **SIMULATED,
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "OMP_NUM_THREADS": "1",
    }
    result = with_torch.run(*TORCHRUN, program, "fails", env=environment)
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert answers == [[[[12, 0], [9, 0], True], 3.0]] * 2, rig.describe(result)
    assert len([line for line in speeches(result.stderr) if "is told that" in line]) == 1, result.stderr
    assert result.stderr.count("Run: rtx50-autoload incidents show") == 1, result.stderr
    assert [incident.count for incident in recorded(tmp_path)] == [1]
    assert "ChildFailedError" in result.stderr


@pytest.mark.parametrize(
    "command",
    [
        [
            "python",
            "-c",
            "from multiprocessing.spawn import spawn_main; spawn_main(pipe_handle=7)",
            "--multiprocessing-fork",
        ],
        ["python", "-c", "from multiprocessing.forkserver import main; main(3, 4, ['__main__'])"],
        ["python", "-m", "joblib.externals.loky.backend.popen_loky_posix", "--process-name", "LokyProcess-1"],
        ["python", "-m", "loky.backend.popen_loky_posix", "--process-name", "LokyProcess-1"],
        ["python", "/venv/lib/python3.11/site-packages/ray/_private/workers/default_worker.py", "--node-id=1"],
        ["python", "C:\\venv\\Lib\\site-packages\\ray\\_private\\workers\\default_worker.py", "--node-id=1"],
        ["python", "/venv/site-packages/torch/_inductor/compile_worker/__main__.py", "--workers=4"],
    ],
    ids=lambda command: " ".join(command)[:60],
)
def test_a_process_that_works_for_another_is_known_by_its_command(command):
    assert job.is_helper({}, command)


@pytest.mark.parametrize("command", [[], ["python"], ["python", "-m", "ray"], ["python", "train.py", "--workers", "4"]])
def test_a_program_is_no_helper(command):
    assert not job.is_helper({}, command)


@pytest.mark.parametrize(
    ("variables", "rank"),
    [
        ({"RANK": "3", "LOCAL_RANK": "1"}, 3),
        ({"LOCAL_RANK": "1"}, 1),
        ({"HOROVOD_RANK": "2"}, 2),
        ({"OMPI_COMM_WORLD_RANK": "2", "PMIX_RANK": "2"}, 2),
        ({"SLURM_PROCID": "5", "SLURM_NTASKS": "8"}, 5),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "1"}, None),
        ({"RANK": ""}, None),
        ({"RANK": "first"}, None),
        ({}, None),
    ],
    ids=str,
)
def test_the_number_of_a_process_in_its_job_is_the_launchers(variables, rank):
    assert job.rank(variables) == rank
