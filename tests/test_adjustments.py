"""The switches of xformers: set when it arrives, set back by deactivate."""

from __future__ import annotations

import pytest

SIMULATED = {"RTX50_SIMULATE": "12.0"}

#: The parts of xformers 0.0.35 that the switches are in, and who asks for the capability there.
FILES = {
    "__init__.py": "",
    "ops/__init__.py": "from . import fmha\n",
    "ops/fmha/__init__.py": "from . import cutlass, dispatch\n",
    "ops/fmha/cutlass.py": """
class FwOp:
    CUDA_MAXIMUM_COMPUTE_CAPABILITY = (9, 0)
class BwOp:
    CUDA_MAXIMUM_COMPUTE_CAPABILITY = FwOp.CUDA_MAXIMUM_COMPUTE_CAPABILITY
""",
    "ops/fmha/dispatch.py": """
_USE_FLASH_ATTENTION_3 = True
def _set_use_fa3(use_flash_attention3):
    global _USE_FLASH_ATTENTION_3
    _USE_FLASH_ATTENTION_3 = use_flash_attention3
def _get_use_fa3():
    return _USE_FLASH_ATTENTION_3
""",
}

SHOW = """
import sys
sys.path.insert(0, ".")
import {first}
import torch, xformers.ops
from xformers.ops.fmha import cutlass, dispatch
def state():
    limits = [op.CUDA_MAXIMUM_COMPUTE_CAPABILITY for op in (cutlass.FwOp, cutlass.BwOp)]
    return dispatch._get_use_fa3(), *limits
print(state())
if "rtx50_autoload" in sys.modules:
    import rtx50_autoload
    rtx50_autoload.deactivate()
print(state(), "CUDA_MAXIMUM_COMPUTE_CAPABILITY" in vars(cutlass.BwOp))
"""
STOCK = "(True, (9, 0), (9, 0))"
SET = "(False, None, None)"


@pytest.fixture
def folder(tmp_path):
    for name, text in FILES.items():
        path = tmp_path / "xformers" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


@pytest.mark.parametrize("first", ["torch", "xformers.ops"])
def test_the_switches_are_set_and_set_back(with_fake_torch, folder, first):
    lines = with_fake_torch.run_code(SHOW.format(first=first), env=SIMULATED, cwd=folder).stdout.splitlines()
    assert lines == [SET, f"{STOCK} True"]


@pytest.mark.parametrize(
    "environment",
    [{}, {"RTX50_SIMULATE": "8.9"}, {**SIMULATED, "RTX50_MODE": "observe"}, {**SIMULATED, "RTX50_DISABLE": "1"}],
)
def test_without_a_reason_nothing_is_set(with_fake_torch, folder, environment):
    lines = with_fake_torch.run_code(SHOW.format(first="torch"), env=environment, cwd=folder).stdout.splitlines()
    assert lines == [STOCK, f"{STOCK} True"]


def test_what_the_program_sets_itself_stays(with_fake_torch, folder):
    code = SHOW.format(first="torch").replace(
        "print(state())", "dispatch._set_use_fa3(True); cutlass.FwOp.CUDA_MAXIMUM_COMPUTE_CAPABILITY = (8, 9)", 1
    )
    lines = with_fake_torch.run_code(code, env=SIMULATED, cwd=folder).stdout.splitlines()
    assert lines == ["(True, (8, 9), (9, 0)) True"]


def test_a_switch_that_cannot_be_set_back_keeps_nothing_else_from_it(with_fake_torch, folder):
    code = """
import sys
sys.path.insert(0, ".")
import torch, xformers.ops, rtx50_autoload
from xformers.ops.fmha import cutlass, dispatch
def bug():
    raise ZeroDivisionError("a bug planted by the test")
dispatch._get_use_fa3 = bug
rtx50_autoload.deactivate()
print("rtx50" in torch.cuda.get_device_capability.__code__.co_filename, cutlass.FwOp.CUDA_MAXIMUM_COMPUTE_CAPABILITY)
"""
    assert with_fake_torch.run_code(code, env=SIMULATED, cwd=folder).stdout == "False (9, 0)\n"


def test_a_version_without_the_switches_is_imported_as_ever_and_status_says_so(with_fake_torch, folder):
    for name in ("dispatch", "cutlass"):
        folder.joinpath("xformers", "ops", "fmha", f"{name}.py").write_text("")
    code = """
import sys
sys.path.insert(0, ".")
import torch, xformers.ops, rtx50_autoload
print(*(row["state"] for row in rtx50_autoload.status()["adjustments"]), sep="\\n")
"""
    result = with_fake_torch.run_code(code, env=SIMULATED, cwd=folder)
    assert [line.split(":")[0] for line in result.stdout.splitlines()] == ["failed", "failed"]
    assert "Traceback" not in result.stderr
