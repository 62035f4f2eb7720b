"""Who is told what, in a fresh interpreter that imports torch and never us."""

from __future__ import annotations

import json

import pytest

from probes import ASK_ALL, ASKS, answers

SIMULATED = {"RTX50_SIMULATE": "12.0"}
TRUTH, HOPPER = {(12, 0)}, {(9, 0)}

TOLD = {
    "__main__": TRUTH,
    "xformers.ops.fmha.common": HOPPER,
    "flash_attn.flash_attn_interface": HOPPER,
    "flash_attn.cute.interface": TRUTH,
    "torch._inductor.utils": TRUTH,
    "triton.backends.driver": TRUTH,
}


def test_each_caller_is_told_its_own_answer_by_every_road(either_torch):
    assert answers(either_torch.run("-c", ASK_ALL, *TOLD, env=SIMULATED)) == TOLD


def test_the_editable_install_tells_the_same(either_torch_editable):
    assert answers(either_torch_editable.run("-c", ASK_ALL, *TOLD, env=SIMULATED)) == TOLD


@pytest.mark.parametrize("first", ["torch", "xformers"])
def test_import_order_does_not_matter(either_torch, tmp_path, first):
    package = tmp_path / "xformers"
    package.mkdir()
    # Stands in for xformers' package, which needs a CUDA build of torch to be of use; only who asks matters here.
    package.joinpath("__init__.py").write_text("import torch\n")
    code = f"import {first}\nimport torch, xformers\n" + ASK_ALL
    assert answers(either_torch.run("-c", code, *TOLD, env=SIMULATED, cwd=tmp_path)) == TOLD


def test_a_reference_bound_before_activation_is_told_the_same(either_torch):
    code = """
import torch
from torch.cuda import get_device_capability
import rtx50_autoload
rtx50_autoload.deactivate()
caller = {"__name__": "xformers.ops", "bound": get_device_capability}
rtx50_autoload.activate()
print(eval("bound(0)", caller), get_device_capability(0))
"""
    assert either_torch.run_code(code, env=SIMULATED).stdout.split("\n")[0] == "(9, 0) (12, 0)"


def test_a_project_in_a_folder_named_like_the_stack_is_told_the_truth(either_torch, tmp_path):
    project = tmp_path / "anna" / "pytorch-env" / "nn"
    project.mkdir(parents=True)
    script = project / "xformers_flash_attn_train.py"
    script.write_text(ASKS + "print(json.dumps({name: asks(name) for name in (__name__, 'nn.torch', 'xformersish')}))")
    told = answers(either_torch.run(either_torch.python, script, env=SIMULATED, cwd=project))
    assert told == {"__main__": TRUTH, "nn.torch": TRUTH, "xformersish": TRUTH}


@pytest.mark.parametrize("name", ["torch.cuda", "", "<eval_with_key>.7", "torch._dynamo.utils"])
def test_torch_itself_and_callers_without_a_name_of_their_own_are_told_the_truth(either_torch, name):
    assert answers(either_torch.run("-c", ASK_ALL, name, env=SIMULATED)) == {name: TRUTH}


def test_a_caller_without_any_name_is_told_the_truth(either_torch):
    code = "import torch\nprint(eval('f(0)', {'f': torch.cuda.get_device_capability}))"
    assert either_torch.run_code(code, env=SIMULATED).stdout == "(12, 0)\n"


@pytest.mark.parametrize(
    ("simulate", "device", "told"),
    [
        ("12.1", 0, (9, 0)),
        ("12.0,8.9", 0, (9, 0)),
        ("12.0,8.9", 1, (8, 9)),
        ("8.9", 0, (8, 9)),
        ("10.0", 0, (10, 0)),
    ],
)
def test_each_device_is_masked_or_not_by_itself(either_torch, simulate, device, told):
    code = ASKS + f"print(json.dumps({{'xformers': asks('xformers', {device})}}))"
    result = either_torch.run_code(code, env={"RTX50_SIMULATE": simulate})
    assert answers(result) == {"xformers": {told} | ({(9, 0)} if device else set())}


def test_observe_tells_everyone_the_truth(either_torch):
    told = answers(either_torch.run("-c", ASK_ALL, *TOLD, env={**SIMULATED, "RTX50_MODE": "observe"}))
    assert told == dict.fromkeys(TOLD, TRUTH)


def test_masquerade_tells_the_stack_the_target_and_spares_code_generators(either_torch):
    environment = {**SIMULATED, "RTX50_MODE": "masquerade"}
    expected = {
        "__main__": TRUTH,
        "torch.nn.functional": HOPPER,
        "torch.cuda": TRUTH,
        "torch._inductor.utils": TRUTH,
        "triton.backends.driver": TRUTH,
        "flash_attn.cute.interface": TRUTH,
        "flash_attn.bert_padding": HOPPER,
        "xformers.ops": HOPPER,
    }
    assert answers(either_torch.run("-c", ASK_ALL, *expected, env=environment)) == expected


def test_callers_of_the_user_come_before_the_profiles(either_torch):
    environment = {**SIMULATED, "RTX50_CALLERS": "mylib=8.9,xformers=true,mylib.probe=true"}
    expected = {"mylib": {(8, 9)}, "mylib.sub": {(8, 9)}, "mylib.probe": TRUTH, "mylibrary": TRUTH, "xformers": TRUTH}
    assert answers(either_torch.run("-c", ASK_ALL, *expected, env=environment)) == expected


def test_a_class_and_a_function_of_the_caller_ask_in_its_name(either_torch):
    code = """
import torch
module = {"__name__": "xformers.components"}
exec('''
import torch
class Layer:
    major = torch.cuda.get_device_properties(0).major
    def ask(self):
        return [torch.cuda.get_device_capability() for _ in range(1)][0]
''', module)
print(module["Layer"].major, module["Layer"]().ask(), torch.cuda.get_device_name(0))
"""
    assert either_torch.run_code(code, env=SIMULATED).stdout.startswith("9 (9, 0) simulated device")


def test_invalid_devices_raise_what_torch_raises(either_torch):
    code = """
import torch
for device in (7, "cuda:7", -1, "cpu", object()):
    try:
        print(torch.cuda.get_device_capability(device))
    except Exception as error:
        print(type(error).__name__, error)
"""
    lines = either_torch.run_code(code, env=SIMULATED).stdout.splitlines()
    assert lines[0] == lines[1] == lines[2] == "AssertionError Invalid device id"
    assert lines[3] == "ValueError Expected a cuda device, but got: cpu"
    assert lines[4].startswith(("TypeError", "RuntimeError"))


def test_one_line_is_said_once_and_to_stderr(either_torch):
    code = ASKS + "asks('xformers'); asks('flash_attn'); asks('xformers.ops')"
    result = either_torch.run_code(code, env={"RTX50_SIMULATE": "NVIDIA GeForce RTX 5090:12.0"})
    [line] = [line for line in result.stderr.splitlines() if "rtx50" in line]
    assert line.startswith("rtx50-autoload: xformers is told that NVIDIA GeForce RTX 5090 (12.0) is 9.0;")
    assert "rtx50-autoload status" in line
    assert "RTX50_QUIET=1" in line
    assert "RTX50_DISABLE=1" in line
    assert result.stdout == ""


@pytest.mark.parametrize(
    "silence",
    [{"RTX50_QUIET": "1"}, {"RANK": "3"}, {"SLURM_PROCID": "1", "SLURM_NTASKS": "2"}, {"OMPI_COMM_WORLD_RANK": "2"}],
)
def test_nothing_is_said_where_asked_or_in_the_other_processes_of_a_job(either_torch, silence):
    result = either_torch.run_code(ASKS + "print(asks('xformers')['function'])", env={**SIMULATED, **silence})
    assert result.stdout == "(9, 0)\n"
    assert "rtx50" not in result.stderr


def test_nothing_is_said_in_a_worker_process_of_multiprocessing(either_torch, tmp_path):
    script = tmp_path / "program.py"
    script.write_text(
        ASKS
        + """
import multiprocessing

def work():
    asks("xformers")

if __name__ == "__main__":
    process = multiprocessing.get_context("spawn").Process(target=work)
    process.start()
    process.join()
    sys.exit(process.exitcode)
"""
    )
    result = either_torch.run(either_torch.python, script, env=SIMULATED)
    assert result.returncode == 0, result.stderr
    assert "rtx50" not in result.stderr


def test_bad_settings_are_named_once_and_the_defaults_hold(either_torch):
    environment = {**SIMULATED, "RTX50_MODE": "loud", "RTX50_MASQUERADE": "hopper"}
    result = either_torch.run("-c", ASK_ALL, *TOLD, env=environment)
    assert answers(result) == TOLD
    named = [line for line in result.stderr.splitlines() if "allowed" in line]
    assert len(named) == 2
    assert "RTX50_MODE" in named[0]
    assert "RTX50_MASQUERADE" in named[1]


def test_batman_comes_when_called_and_a_masquerade_is_applied(either_torch):
    called = {"RTX50_BATMAN_MODE": "1"}
    code = "import torch, importlib, rtx50_autoload; importlib.reload(torch.cuda); importlib.reload(rtx50_autoload)"
    assert either_torch.run_code(code, env=SIMULATED | called).stderr.count("Batman") == 1
    for environment in (SIMULATED, called, SIMULATED | called | {"RTX50_MODE": "observe"}):
        assert "Batman" not in either_torch.run_code("import torch", env=environment).stderr


def test_batman_comes_to_a_block_that_tells_somebody_another_capability(either_torch):
    code = """
import rtx50_autoload, torch
with rtx50_autoload.{block}:
    print(torch.cuda.get_device_capability(0))
"""
    environment = {"RTX50_SIMULATE": "8.9", "RTX50_BATMAN_MODE": "1"}
    for block, told, times in (("masquerade('8.9:9.0')", "(9, 0)", 1), ("truth()", "(8, 9)", 0)):
        result = either_torch.run_code(code.format(block=block), env=environment)
        assert (result.stdout, result.stderr.count("Batman")) == (f"{told}\n", times)


def test_without_a_device_to_mask_nothing_is_patched(either_torch):
    code = """
import torch, inspect
print(inspect.getsourcefile(torch.cuda.get_device_capability.__code__) == torch.cuda.__file__)
print([name for name in vars(torch.cuda) if "rtx50" in name], "major" in vars(torch.cuda._CudaDeviceProperties))
"""
    for environment in ({}, {"RTX50_MODE": "observe"}):
        assert either_torch.run_code(code, env=environment).stdout == "True\n[] False\n"


def test_true_capability_and_our_own_code_see_the_truth(either_torch):
    code = (
        ASKS
        + """
import rtx50_autoload
with rtx50_autoload.masquerade():
    print(rtx50_autoload.true_capability(), asks("rtx50_autoload.evidence.devices")["function"])
print(json.dumps(rtx50_autoload.status()["devices"]))
"""
    )
    first, second = either_torch.run_code(code, env=SIMULATED).stdout.splitlines()
    assert first == "(12, 0) (12, 0)"
    assert json.loads(second)[0]["capability"] == [12, 0]
