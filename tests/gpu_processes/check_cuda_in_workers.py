"""On a real NVIDIA GPU: CUDA in forked and spawned workers, with us, switched off, and in an environment without us.

``python -m pytest -s tests/gpu_processes/check_cuda_in_workers.py`` where the package, a CUDA build of torch and pytest
are installed. Each program runs three times; what it prints has to be the same to the letter.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from test_gpu import nvml_sees_a_gpu

pytestmark = pytest.mark.skipif(not nvml_sees_a_gpu(), reason="needs an NVIDIA GPU and its driver")

#: No program takes longer: a worker that hangs in the driver fails the check.
TIMEOUT = 240

#: With a capability that somebody is to be told another one of, and as the machine is.
OURS = {"simulated": {"RTX50_SIMULATE": "NVIDIA GeForce RTX 5090:12.0"}, "as it is": {}}


@pytest.fixture(scope="session")
def without_us(tmp_path_factory):
    """A folder with all packages of this environment but us: links, and no start-up file runs from it."""
    folder = tmp_path_factory.mktemp("without")
    places = {Path(importlib.util.find_spec(name).origin).parents[1] for name in ("torch", "rtx50_autoload")}
    for place in places:
        for path in place.iterdir():
            ours = "rtx50" in path.name or path.suffix == ".pth" or path.name == "__pycache__"
            if not ours and not (folder / path.name).exists():
                (folder / path.name).symlink_to(path)
    return folder


def run(code, tmp_path, *options, without=None, **variables):
    """Run a program that lies in a file; give its exit code and what it has printed, without what differs by itself."""
    file = tmp_path / "program.py"
    file.write_text(code, encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RTX50_", "PYTHON"))}
    if without is not None:
        options = ("-S", *options)
        environment["PYTHONPATH"] = str(without)
    command = [sys.executable, *options, str(file)]
    result = subprocess.run(
        command, env={**environment, **variables}, capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    lines = [line for line in result.stdout.splitlines() if line.startswith("said ")]
    return result.returncode, lines, result.stderr


def everywhere(code, tmp_path, without_us, *options, **variables):
    """Run a program with us, switched off and without us; see that all print the same, and give that."""
    stock = run(code, tmp_path, *options, without=without_us, **variables)
    print(f"\nwithout us: exit code {stock[0]}, {stock[1]}")  # noqa: T201
    others = {"switched off": {"RTX50_DISABLE": "1"}, **OURS}
    for name, ours in others.items():
        found = run(code, tmp_path, *options, **variables, **ours)
        assert found[:2] == stock[:2], f"{name}\n--- stderr\n{found[2]}\n--- stderr without us\n{stock[2]}"
    return stock


LOADER = """
import sys, torch
from torch.utils.data import DataLoader, Dataset

class OnTheGpu(Dataset):
    def __len__(self):
        return 4
    def __getitem__(self, index):
        return (torch.ones(3, device="cuda") * index).sum().item()

def load(method):
    try:
        for epoch in range(2):
            loader = DataLoader(OnTheGpu(), num_workers=2, multiprocessing_context=method)
            print("said", sorted(float(each) for each in loader))
    except Exception as error:
        print("said", type(error).__name__, "Cannot re-initialize CUDA in forked subprocess" in str(error))
"""


def test_forked_workers_use_cuda_where_the_parent_has_not(tmp_path, without_us):
    code = LOADER + "if __name__ == '__main__':\n    load('fork')\n    print('said', torch.cuda.is_initialized())"
    assert everywhere(code, tmp_path, without_us)[:2] == (0, ["said [0.0, 3.0, 6.0, 9.0]"] * 2 + ["said False"])


def test_forked_workers_cannot_use_cuda_where_the_parent_has_and_the_error_is_torchs(tmp_path, without_us):
    code = LOADER + "if __name__ == '__main__':\n    torch.ones(1, device='cuda')\n    load('fork')"
    assert everywhere(code, tmp_path, without_us)[:2] == (0, ["said RuntimeError True"])


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_spawned_workers_use_cuda_though_the_parent_has(tmp_path, without_us, method):
    code = LOADER + f"if __name__ == '__main__':\n    torch.ones(1, device='cuda')\n    load({method!r})"
    assert everywhere(code, tmp_path, without_us)[:2] == (0, ["said [0.0, 3.0, 6.0, 9.0]"] * 2)


@pytest.mark.parametrize("by_nvml", ["0", "1"])
def test_asking_whether_cuda_is_there_before_a_fork_does_what_it_does_without_us(tmp_path, without_us, by_nvml):
    # By the CUDA runtime, torch's answer breaks CUDA in children; by NVML it does not. Neither is to change.
    code = LOADER + "if __name__ == '__main__':\n    print('said', torch.cuda.is_available())\n    load('fork')"
    everywhere(code, tmp_path, without_us, PYTORCH_NVML_BASED_CUDA_CHECK=by_nvml)


THREADS = """
import os, sys, warnings
{before}
def threads():
    return len(os.listdir("/proc/self/task"))
print("said threads", threads(), end=" ")
import torch
print(threads(), "libcuda" in open("/proc/self/maps").read())
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    child = os.fork()
    if child == 0:
        os._exit(int(torch.ones(3, device="cuda").sum().item() != 3.0))
print("said", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), [each.category.__name__ for each in caught])
"""


@pytest.mark.parametrize("before", ["", "sys.modules['numpy'] = None", "import numpy"], ids=["", "no numpy", "numpy"])
def test_import_torch_leaves_as_many_threads_and_a_fork_warns_as_without_us(tmp_path, without_us, before):
    if "import numpy" in before:
        pytest.importorskip("numpy", reason="needs numpy")
    everywhere(THREADS.format(before=before), tmp_path, without_us)


def test_a_program_that_makes_errors_of_warnings_forks_as_without_us(tmp_path, without_us):
    code = LOADER + "if __name__ == '__main__':\n    load('fork')"
    everywhere(code, tmp_path, without_us, "-W", "error::DeprecationWarning")


RANKS = """
import torch, torch.distributed as dist
dist.init_process_group("gloo")
total = torch.ones(4, device="cuda") * (dist.get_rank() + 1)
dist.all_reduce(total)
print(f"said {total.tolist()} {torch.cuda.is_initialized()}\\n", end="", flush=True)
dist.destroy_process_group()
"""


def test_two_ranks_share_a_gpu(tmp_path):
    # Without us only by RTX50_DISABLE: torch.distributed.run starts its ranks without Python's option -S.
    options = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    told = [run(RANKS, tmp_path, *options, **ours)[:2] for ours in ({"RTX50_DISABLE": "1"}, *OURS.values())]
    assert told == [(0, ["said [3.0, 3.0, 3.0, 3.0] True"] * 2)] * 3


TIMED = """
import time
start = time.perf_counter()
import torch
print("said", round(time.perf_counter() - start, 3))
"""


def test_what_the_question_to_the_driver_costs_is_printed(tmp_path):
    for name, ours in {"switched off": {"RTX50_DISABLE": "1"}, "as it is": {}}.items():
        times = sorted(float(run(TIMED, tmp_path, **ours)[1][0].split()[1]) for _ in range(5))
        print(f"\nimport torch, {name}: {times} s")  # noqa: T201
        assert times
