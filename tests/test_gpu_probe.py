"""On a real NVIDIA GPU: what the probes say of it.

Run where the package and a CUDA build of torch are installed beside pytest:
``python -m pytest tests/test_gpu_probe.py``. xformers, flash_attn and bitsandbytes are tried where they are installed.
"""

from __future__ import annotations

import json
import os

import pytest

from rtx50_autoload.evidence.finding import Severity
from rtx50_autoload.evidence.probe import probe
from rtx50_autoload.evidence.probe_findings import findings
from rtx50_autoload.evidence.probe_report import State
from test_gpu import nvml_sees_a_gpu

pytestmark = pytest.mark.skipif(not nvml_sees_a_gpu(), reason="needs an NVIDIA GPU and its driver")


@pytest.fixture(scope="module", autouse=True)
def _clean_environment():
    with pytest.MonkeyPatch.context() as environment:
        for name in list(os.environ):
            if name.startswith(("RTX50_", "CUDA_FORCE_", "CUDA_DISABLE_")):
                environment.delenv(name)
        yield


@pytest.fixture(scope="module")
def report(_clean_environment):
    """Run the probes once, for all tests that look at the plain case."""
    return probe(120.0)


def by_name(report):
    return {result.name: result for result in report.results}


def test_torch_computes_on_this_gpu_what_the_cpu_computes(report):
    assert report.usable, report.reason
    states = {result.name: result.state for result in report.results if result.library == "torch"}
    # Which back ends of its attention torch has depends on the GPU; the plain one is always there.
    for name in ("elementwise", "matmul-fp32", "matmul-bf16", "conv-fp32", "conv-fp16", "sdpa-math"):
        assert states[name] is State.WORKS, by_name(report)[name]


def test_every_result_that_works_is_within_its_bound_and_off_by_rounding_only(report):
    for result in report.results:
        if result.state is State.WORKS:
            assert 0 < result.largest_error <= result.bound, result
            assert result.seconds > 0


def test_triton_compiles_and_computes(report):
    result = by_name(report)["triton"]
    if result.state is State.NOT_INSTALLED:
        pytest.skip("needs triton")
    assert result.state is State.WORKS, result
    assert by_name(report)["torch-compile"].state is State.WORKS, by_name(report)["torch-compile"]


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("xformers-fp16", "xformers"),
        ("xformers-fp32", "xformers"),
        ("flash-attn", "flash_attn"),
        ("bitsandbytes-4bit", "bitsandbytes"),
    ],
)
def test_what_is_installed_beside_torch_computes(report, name, package):
    result = by_name(report)[name]
    if result.state is State.NOT_INSTALLED:
        pytest.skip(f"needs {package}")
    assert result.state is State.WORKS, result


def test_the_report_names_the_true_device(report, monkeypatch):
    assert report.device
    assert report.capability
    assert report.driver
    assert json.loads(json.dumps(report.as_json(), allow_nan=False))["usable"]
    monkeypatch.setenv("RTX50_SIMULATE", "NVIDIA GeForce RTX 5090:12.0")
    simulated = probe(120.0)
    assert (simulated.device, simulated.capability) == (report.device, report.capability)


def test_where_the_driver_ignores_machine_code_torch_fails_and_the_reason_is_named(monkeypatch):
    monkeypatch.setenv("CUDA_FORCE_PTX_JIT", "1")
    found = probe(120.0)
    elementwise = by_name(found)["elementwise"]
    assert elementwise.state is State.FAILS, str(found)
    assert "no kernel image" in elementwise.error.message
    # torch gives the number from 2.8 on.
    assert elementwise.error.code in {209, None}
    assert "CUDA_FORCE_PTX_JIT=1 makes the driver ignore all machine code" in elementwise.why
    assert by_name(found)["matmul-fp32"].state is State.FAILS
    torch_fails = next(finding for finding in findings(found) if finding.id == "probe-torch-fails")
    assert torch_fails.severity is Severity.ERROR
    assert "elementwise" in torch_fails.what
    assert torch_fails.next == "Unset CUDA_FORCE_PTX_JIT (and CUDA_FORCE_JIT)."


def test_an_index_without_a_device_is_the_reason():
    found = probe(120.0, device=77)
    assert not found.usable
    assert found.obstacle == "no-cuda"
    assert "invalid device ordinal" in found.reason


def test_without_a_visible_device_it_says_so(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    found = probe(120.0)
    assert (found.usable, found.obstacle) == (False, "no-cuda")
