"""On a real NVIDIA GPU: a kernel that cannot be loaded, for real, and what a program sees of it.

Run where the package and a CUDA build of torch with its compiler (nvcc, a C++ compiler, ninja) are installed beside
pytest: ``python -m pytest tests/test_gpu_errors.py``. The notebook needs nbclient and ipykernel, too.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

from test_gpu import nvml_sees_a_gpu

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(not nvml_sees_a_gpu(), reason="needs an NVIDIA GPU and its driver")

#: A kernel that adds one, and its launch, which is checked as torch's own are.
SOURCE = r"""
#include <torch/extension.h>
#include <c10/cuda/CUDAException.h>

__global__ void add_one(float* values, int count) {
  int index = blockIdx.x * blockDim.x + threadIdx.x;
  if (index < count) values[index] += 1.0f;
}

void launch(torch::Tensor values) {
  add_one<<<(values.numel() + 255) / 256, 256>>>(values.data_ptr<float>(), values.numel());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}

PYBIND11_MODULE(TORCH_EXTENSION_NAME, module) { module.def("launch", &launch); }
"""

#: By its name, the only GPU code that the extension holds. No GPU runs both; those of 8.x run the second.
ARCHITECTURES = {"only_for_120": "sm_120", "only_for_80": "sm_80"}

BUILD = """
import sys
from torch.utils.cpp_extension import load
name, source, folder, number = sys.argv[1:]
load(name, [source], build_directory=folder, is_python_module=False, extra_cuda_cflags=[
    f"-gencode=arch=compute_{number},code=sm_{number}"
])
"""

PRELUDE = """
import sys
sys.path[:0] = [{folder!r}]
import torch
import {name}
values = torch.ones(1000, device="cuda")
WORDS = "CUDA error: no kernel image is available for execution on the device"
def run():
    {name}.launch(values)
"""

RECORDED = """
import json
from rtx50_autoload.diagnosis.incidents import load_all
print(json.dumps([[i.diagnosis.category, i.count, i.exception_type] for i in load_all().incidents]))
"""


def run(code, state: Path, *arguments, check=True, **environment):
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("RTX50_", "CUDA_LAUNCH"))}
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        env={**variables, "XDG_STATE_HOME": str(state), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not check or result.returncode == 0, result.stdout + result.stderr
    return result


@pytest.fixture(scope="session", params=ARCHITECTURES)
def prelude(request, tmp_path_factory):
    """Give the beginning of a program that has an extension without code for the GPU at hand."""
    if shutil.which("nvcc") is None and not os.environ.get("CUDA_HOME"):
        pytest.skip("needs nvcc on the PATH or in CUDA_HOME")
    name, number = request.param, ARCHITECTURES[request.param].removeprefix("sm_")
    folder = tmp_path_factory.mktemp(name)
    source = folder / f"{name}.cu"
    source.write_text(SOURCE, encoding="utf-8")
    # torch adds the architecture of the GPU at hand unless the flags name one.
    run(BUILD, folder, name, source, folder, number, TORCH_CUDA_ARCH_LIST=f"{number[:-1]}.{number[-1]}")
    code = PRELUDE.format(folder=str(folder), name=name)
    probe = run(code + "try:\n    run()\nexcept RuntimeError:\n    print('fails')", folder, RTX50_DISABLE="1")
    if probe.stdout != "fails\n":
        pytest.skip(f"this GPU runs code for {ARCHITECTURES[name]}")
    return code


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state"


def note_in(text: str) -> list[str]:
    """Give the lines of ours, which have to be the last ones of the traceback."""
    lines = text[text.rfind("Traceback") :].rstrip().splitlines()
    ours = [line for line in lines if line.startswith("rtx50-autoload: ")]
    assert ours, text
    assert lines[-len(ours) :] == ours, text
    assert "Run: rtx50-autoload incidents show " in ours[-1], text
    return ours


def recorded(state: Path) -> list[list[object]]:
    return json.loads(run(RECORDED, state).stdout)


def test_the_traceback_ends_with_our_note_and_the_incident_is_recorded(prelude, state):
    result = run(prelude + "run()", state, check=False)
    assert result.returncode == 1
    assert "no kernel image is available" in result.stderr
    note_in(result.stderr)
    ((category, count, kind),) = recorded(state)
    assert (category, count) == ("no_kernel_image", 1)
    assert kind in {"AcceleratorError", "RuntimeError"}
    (file,) = (state / "rtx50-autoload" / "incidents").glob("*.json")
    json.loads(file.read_text(encoding="utf-8"))


def test_type_arguments_code_and_identity_are_torchs(prelude, state):
    code = prelude + (
        """
import traceback
try:
    try:
        run()
    except RuntimeError as error:
        first = error
        raise
except Exception as error:
    frames = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    print([
        error is first, f"{type(error).__module__}.{type(error).__qualname__}", error.args, str(error),
        getattr(error, "error_code", None), frames,
    ])
print(torch.ones(2, device="cuda").sum().item())
"""
    )
    ours, stock = run(code, state), run(code, state, RTX50_DISABLE="1")
    assert ours.stdout == stock.stdout
    assert ours.stdout.startswith("[True, 'torch.")
    if "torch.AcceleratorError" in ours.stdout:
        assert ", 209, " in ours.stdout


WAYS = {
    "logging.exception": """
        import logging
        try:
            run()
        except Exception:
            logging.exception("the framework goes on")
        """,
    "a thread": """
        import threading
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        """,
    "asyncio": """
        import asyncio
        async def main():
            asyncio.get_running_loop().call_soon(run)
            await asyncio.sleep(0)
        asyncio.run(main())
        """,
    "guard()": """
        import rtx50_autoload, traceback
        try:
            with rtx50_autoload.guard():
                run()
        except RuntimeError:
            traceback.print_exc()
        """,
}


@pytest.mark.parametrize("way", WAYS)
def test_each_way_shows_the_note_and_prints_the_rest_as_without_us(prelude, state, way):
    code = prelude + textwrap.dedent(WAYS[way])
    ours, stock = run(code, state), run(code, state, RTX50_DISABLE="1")
    note_in(ours.stderr)
    rest = [line for line in ours.stderr.splitlines() if not line.startswith("rtx50-autoload: ")]
    assert [line.partition(" at 0x")[0] for line in rest] == [
        line.partition(" at 0x")[0] for line in stock.stderr.splitlines()
    ]
    assert [category for category, *_ in recorded(state)] == ["no_kernel_image"]


def test_an_error_that_surfaces_in_torchs_own_call_is_noted_too(prelude, state, tmp_path):
    # A launch that nobody checks: the next call that does raises the error.
    source = tmp_path / "unchecked.cu"
    source.write_text(SOURCE.replace("C10_CUDA_KERNEL_LAUNCH_CHECK();", ""), encoding="utf-8")
    number = "120" if "only_for_120" in prelude else "80"
    run(BUILD, tmp_path, "unchecked", source, tmp_path, number, TORCH_CUDA_ARCH_LIST=f"{number[:-1]}.{number[-1]}")
    code = PRELUDE.format(folder=str(tmp_path), name="unchecked") + "run()\nprint(values * 2)"
    note_in(run(code, state, check=False).stderr)


def test_a_library_that_tries_and_catches_goes_on_at_full_speed_and_is_recorded_once(prelude, state):
    code = prelude + (
        """
caught = 0
for _ in range(1000):
    try:
        run()
    except RuntimeError:
        caught += 1
print(caught)
"""
    )
    assert run(code, state).stdout == "1000\n"
    assert [count for _, count, _ in recorded(state)] == [1]


def test_the_kernel_of_a_notebook_sends_the_note(prelude, state):
    missing = [name for name in ("nbclient", "ipykernel") if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"needs {' and '.join(missing)} installed")
    code = """
import json, sys
import nbclient, nbformat
notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sys.argv[1:]])
nbclient.NotebookClient(notebook, allow_errors=True, kernel_name="python3").execute()
print(json.dumps([[dict(output) for output in cell.outputs] for cell in notebook.cells]))
"""
    result = run(code, state, prelude, "run()", "1 / 0")
    first, device, unrelated = json.loads(result.stdout.splitlines()[-1])
    assert [output for output in first if output["output_type"] == "error"] == []
    (error,) = [output for output in device if output["output_type"] == "error"]
    assert "no kernel image is available" in error["evalue"]
    assert "\n".join(error["traceback"]).count("Run: rtx50-autoload incidents show ") == 1
    assert "rtx50-autoload" not in json.dumps(unrelated)


def test_processes_that_fail_at_once_make_one_incident_and_one_note(prelude, state):
    variables = {name: value for name, value in os.environ.items() if not name.startswith("RTX50_")}
    children = [
        subprocess.Popen(
            [sys.executable, "-c", prelude + "run()"],
            env={**variables, "XDG_STATE_HOME": str(state), "RANK": str(rank), "WORLD_SIZE": "8"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(8)
    ]
    outputs = [child.communicate(timeout=300)[1] for child in children]
    assert all("no kernel image" in output for output in outputs), outputs
    assert sum("Run: rtx50-autoload" in output for output in outputs) == 1, outputs
    ((category, count, _),) = recorded(state)
    assert (category, count) == ("no_kernel_image", 8)
