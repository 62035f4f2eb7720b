"""A torch without code for the GPU: said and recorded when CUDA comes up; a GPU that runs is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from test_error_notes import forgetful, recorded

if TYPE_CHECKING:
    import rig

UP = """
import torch
torch.cuda.init()
print(torch.cuda.is_initialized())
"""


@pytest.fixture(scope="module")
def _venv(_make_session_venv) -> rig.Venv:
    return _make_session_venv(torch="fake")


@pytest.fixture
def venv(_venv) -> rig.Venv:
    return forgetful(_venv)


def lines(result) -> list[str]:
    return [line for line in result.stderr.splitlines() if line.startswith("rtx50-autoload:")]


@pytest.mark.parametrize(
    ("devices", "architectures"),
    [("12.0", "sm_50 sm_80 sm_90"), ("12.1", "sm_90a sm_100f"), ("12.0,12.0", "sm_90")],
)
def test_a_torch_without_code_for_a_gpu_is_told_of_in_one_line_and_recorded(venv, devices, architectures):
    result = venv.run_code(UP, env={"FAKE_TORCH_DEVICES": devices, "FAKE_TORCH_ARCHITECTURES": architectures})
    (line,) = lines(result)
    assert "Fake GPU 0" in line
    assert architectures.split()[0] in line
    assert "Run: rtx50-autoload incidents show " in line
    assert [(category, count) for category, count, _ in recorded(venv)] == [("torch_build_lacks_arch", 1)]
    assert result.stdout == "True\n"


@pytest.mark.parametrize(
    ("devices", "architectures"),
    [
        ("12.0", "sm_90 sm_120"),
        ("12.1", "sm_90 sm_120"),  # within a major version, newer devices run older code
        ("12.0", "sm_80 compute_90"),  # the driver compiles PTX
        ("12.1", "sm_120f"),
        ("8.9", "sm_80"),
        ("12.0", "sm_9000"),  # a name of which nothing is known
        ("", "sm_90"),
    ],
)
def test_a_gpu_that_runs_gets_no_alarm(venv, devices, architectures):
    code = "import torch\ntorch.cuda.device_count()\n" + ("torch.cuda.init()" if devices else "")
    result = venv.run_code(code, env={"FAKE_TORCH_DEVICES": devices, "FAKE_TORCH_ARCHITECTURES": architectures})
    assert lines(result) == []
    assert recorded(venv) == []


def test_torchs_own_warning_stays(venv):
    environment = {"FAKE_TORCH_DEVICES": "12.0", "FAKE_TORCH_ARCHITECTURES": "sm_90"}
    ours, stock = (venv.run_code(UP, env=env).stderr for env in (environment, {**environment, "RTX50_DISABLE": "1"}))
    assert "is not compatible with the current PyTorch installation" in stock
    assert [line for line in ours.splitlines() if not line.startswith("rtx50-autoload:")] == stock.splitlines()


def test_where_warnings_are_errors_the_error_that_torch_makes_of_it_gets_the_note(venv):
    environment = {"FAKE_TORCH_DEVICES": "12.0", "FAKE_TORCH_ARCHITECTURES": "sm_90"}
    result = venv.run_code(UP, "-W", "error", env=environment, check=False)
    assert "DeferredCudaCallError" in result.stderr
    assert "Run: rtx50-autoload incidents show " in result.stderr.rstrip().splitlines()[-1], result.stderr
    assert [category for category, *_ in recorded(venv)] == ["torch_build_lacks_arch"]


def test_a_rocm_build_is_left_alone(make_venv):
    venv = make_venv(torch="fake")
    version = venv.site_packages / "torch" / "version.py"
    text = version.read_text().replace("hip = None", 'hip = "6.3"')
    version.unlink()
    version.write_text(text)
    result = venv.run_code(UP, env={"FAKE_TORCH_DEVICES": "12.0", "FAKE_TORCH_ARCHITECTURES": "gfx1100"})
    assert lines(result) == []


def test_nothing_is_said_before_the_program_initialises_cuda(venv):
    code = "import torch\nprint(torch.cuda.is_initialized())"
    environment = {"FAKE_TORCH_DEVICES": "12.0", "FAKE_TORCH_ARCHITECTURES": "sm_90"}
    result = venv.run_code(code, env=environment)
    assert (result.stdout, result.stderr) == ("False\n", "")


def test_after_deactivate_nothing_is_said(venv):
    code = "import torch, rtx50_autoload\nrtx50_autoload.deactivate()\ntorch.cuda.init()"
    environment = {"FAKE_TORCH_DEVICES": "12.0", "FAKE_TORCH_ARCHITECTURES": "sm_90"}
    assert lines(venv.run_code(code, env=environment)) == []


def test_quiet_says_nothing(venv):
    environment = {"FAKE_TORCH_DEVICES": "12.0", "FAKE_TORCH_ARCHITECTURES": "sm_90", "RTX50_QUIET": "1"}
    assert lines(venv.run_code(UP, env=environment)) == []
    assert [category for category, *_ in recorded(venv)] == ["torch_build_lacks_arch"]
