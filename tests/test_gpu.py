"""On a real NVIDIA GPU: the same answers where CUDA is really there, and what they are good for.

Run where the package and a CUDA build of torch are installed beside pytest: ``python -m pytest tests/test_gpu.py``.
No RTX 50 card is needed: `RTX50_SIMULATE` makes the card at hand answer 12.0.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from probes import ASK_ALL, ASKING_FUNCTIONS, ASKS, answers


def nvml_sees_a_gpu() -> bool:
    try:
        from rtx50_autoload.evidence import nvml  # noqa: PLC0415 - not where the package is not installed
    except ImportError:
        return False
    return bool(nvml.read(time_limit=60).gpus)


pytestmark = pytest.mark.skipif(not nvml_sees_a_gpu(), reason="needs an NVIDIA GPU and its driver")

SIMULATED = {"RTX50_SIMULATE": "NVIDIA GeForce RTX 5090:12.0"}


def run(code, *arguments, **environment):
    variables = {name: value for name, value in os.environ.items() if not name.startswith("RTX50_")}
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**variables, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result


def test_each_caller_is_told_its_own_answer():
    told = {
        "__main__": {(12, 0)},
        "xformers.ops.fmha.common": {(9, 0)},
        "flash_attn.flash_attn_interface": {(9, 0)},
        "flash_attn.cute.interface": {(12, 0)},
        "torch._inductor.utils": {(12, 0)},
        "triton.backends.driver": {(12, 0)},
    }
    assert answers(run(ASK_ALL, *told, **SIMULATED)) == told


def test_the_true_device_is_known_without_initialising_cuda_and_a_fork_still_works():
    code = """
import os, json, torch, rtx50_autoload
state = rtx50_autoload.status()
print(json.dumps([state["devices"], rtx50_autoload.true_capability(), torch.cuda.is_initialized()]))
child = os.fork()
if child == 0:
    os._exit(int(torch.ones(3, device="cuda").sum().item() != 3.0))
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(json.dumps(torch.cuda.get_device_capability()))
"""
    devices, exit_code, capability = run(code).stdout.splitlines()
    [device, *_], true, initialised = json.loads(devices)
    assert device["source"] == "nvml"
    assert device["capability"] == true == json.loads(capability)
    assert not initialised
    assert exit_code == "0"


def test_without_nvml_the_device_is_known_when_the_program_initialises_cuda():
    code = """
from rtx50_autoload.evidence import gpu, nvml
nvml.read = lambda time_limit: gpu.Reading((), None, ("there is no NVML",))
import torch, rtx50_autoload
unpatched = "rtx50" not in torch.cuda.get_device_capability.__code__.co_filename
first = eval("torch.cuda.get_device_capability()", {"__name__": "xformers", "torch": torch})
again = eval("torch.cuda.get_device_properties(0).major", {"__name__": "xformers", "torch": torch})
print(unpatched, first, again, torch.cuda.get_device_capability() == rtx50_autoload.true_capability())
print(rtx50_autoload.status()["devices"][0]["source"])
"""
    true = json.loads(run("import json, torch; print(json.dumps(torch.cuda.get_device_capability()))").stdout)
    mapping = f"{true[0]}.{true[1]}:7.5"
    assert run(code, RTX50_MASQUERADE=mapping).stdout.splitlines() == ["True (7, 5) 7 True", "torch"]


def test_simulation_where_cuda_is_there_but_no_device_is_visible():
    code = (
        ASKS
        + """
import torch
print(torch.cuda.is_available(), asks("__main__")["function"], asks("xformers")["properties"])
"""
    )
    assert run(code, CUDA_VISIBLE_DEVICES="", **SIMULATED).stdout == "False (12, 0) (9, 0)\n"


COMPILED = (
    ASKING_FUNCTIONS
    + """
def compiled(backend):
    torch._dynamo.reset()
    return [
        torch.compile(function, fullgraph=True, backend=backend)(torch.zeros((), device="cuda")).item()
        for function in (by_attribute, by_properties, by_reference)
    ]
"""
)


def test_torch_compile_works_before_and_after_deactivate():
    code = (
        COMPILED
        + """
eager = compiled("eager")
with rtx50_autoload.masquerade("9.0:8.9,12.0:8.9", callers=["xformers"]):
    inside = compiled("eager"), compiled("inductor"), "rtx50" in capability.__code__.co_filename
rtx50_autoload.deactivate()
after = compiled("eager"), compiled("inductor"), "rtx50" in capability.__code__.co_filename
major, minor = capability()
print(inside == (eager, eager, True), after == (eager, eager, False), eager[0] == major * 100 + minor)
"""
    )
    assert run(code).stdout == "True True True\n"


def test_torch_compile_sees_the_simulated_device():
    # Only what Dynamo traces is asked here: Inductor would compile for the simulated device.
    assert run(COMPILED + 'print(compiled("eager"))', **SIMULATED).stdout == "[1200.0, 1200.0, 1200.0]\n"


def test_invalid_devices_raise_torchs_own_errors():
    code = """
import torch
for device in (77, "cuda:77", "cpu", -5):
    try:
        print(torch.cuda.get_device_capability(device))
    except Exception as error:
        print(type(error).__name__, error)
"""
    assert run(code, **SIMULATED).stdout == run(code, RTX50_DISABLE="1").stdout


XFORMERS_CASES = """
import json, sys, torch
import torch.nn.functional as F
import xformers.ops as xops

torch.manual_seed(0)
results = {}
for dtype in (torch.float32, torch.float16, torch.bfloat16):
    for bias in ("none", "tensor", "causal"):
        q, k, v = (torch.randn(1, 64, 4, 32, device="cuda", dtype=dtype) for _ in range(3))
        mask = torch.randn(1, 4, 64, 64, device="cuda", dtype=dtype) if bias == "tensor" else None
        attn_bias = {"none": None, "tensor": mask, "causal": xops.LowerTriangularMask()}[bias]
        try:
            out = xops.memory_efficient_attention(q, k, v, attn_bias=attn_bias)
            reference = F.scaled_dot_product_attention(
                *(x.transpose(1, 2).double() for x in (q, k, v)),
                attn_mask=None if mask is None else mask.double(), is_causal=bias == "causal",
            ).transpose(1, 2)
            results[f"{dtype} {bias}"] = (out.double() - reference).abs().max().item()
        except NotImplementedError as error:
            results[f"{dtype} {bias}"] = "too new" if "too new" in str(error) else str(error)
print(json.dumps(results))
"""
#: Largest error against float64 that the rounding of each type allows for 64 keys of unit variance.
BOUNDS = {"torch.float32": 1e-4, "torch.float16": 1e-2, "torch.bfloat16": 6e-2}


def test_xformers_refuses_a_gpu_too_new_and_runs_all_cases_with_us():
    pytest.importorskip("xformers", reason="needs xformers installed")
    refused = json.loads(run(XFORMERS_CASES, RTX50_MODE="observe", **SIMULATED).stdout.splitlines()[-1])
    helped = json.loads(run(XFORMERS_CASES, **SIMULATED).stdout.splitlines()[-1])
    assert "too new" in refused.values(), f"this xformers has no gate that the masquerade lifts: {refused}"
    assert all(error < BOUNDS[case.split()[0]] for case, error in helped.items()), helped


def test_xformers_runs_in_compiled_code_as_it_does_in_eager_code():
    pytest.importorskip("xformers", reason="needs xformers installed")
    code = """
import torch, xformers.ops as xops
def attend(q, k, v):
    return xops.memory_efficient_attention(q, k, v) * 2
q, k, v = (torch.randn(1, 64, 4, 32, device="cuda") for _ in range(3))
compiled = torch.compile(attend, backend="aot_eager")
print((compiled(q, k, v) - attend(q, k, v)).abs().max().item())
"""
    assert float(run(code, **SIMULATED).stdout.splitlines()[-1]) < BOUNDS["torch.float32"]


def test_the_device_of_xformers_is_told_in_its_own_name_only():
    pytest.importorskip("xformers", reason="needs xformers installed")
    code = (
        ASKS
        + """
import xformers.ops
from xformers.ops.fmha import dispatch
print(dispatch._get_use_fa3(), asks("__main__")["function"], asks("xformers.ops")["function"])
"""
    )
    assert run(code, **SIMULATED).stdout.splitlines()[-1] == "False (12, 0) (9, 0)"
