"""A fault of ours leaves the program exactly as without us: same output, same exit code."""

from __future__ import annotations

import pytest

from probes import ASKS

SIMULATED = {"RTX50_SIMULATE": "12.0"}

PROGRAM = """
import torch, sys
print("torch", torch.__version__, torch.ones(2).tolist() if hasattr(torch, "ones") else "")
try:
    print(torch.cuda.get_device_capability(0))
except AssertionError as error:
    print(error)
print("err", file=sys.stderr)
"""

#: Each is a place from which the outside enters our code; the statement plants a bug there.
PLACES = {
    "the handler's import": "sys.modules['rtx50_autoload.activation'] = None",
    "the watch on a found module": "watching._watch = bug",
    "module_loaded": "activation.module_loaded = bug",
    "module_failed": "activation.module_failed = bug",
    "torch_ready": "activation.torch_ready = bug",
    "the settings": "autoloader.settings_module.load = autoloader.Autoloader.__init__ = bug",
    "the survey of devices": "devices.survey = bug",
    "the simulation": "simulation.simulate = bug",
    "the making of the teller": "autoloader.make_teller = bug",
    "the patches": "autoloader.capability_patches = bug",
    "one patch": "patch.CodePatch.apply = patch.AttributePatch.apply = bug",
    "the policy": "policy.Policy.decide = bug",
    "the profiles": "known_profiles.known_profiles = bug",
    "the profiles of others": "known_profiles.package_profiles = known_profiles.read_values = bug",
    "the version lookup": "autoloader.installed_version = bug",
    "the voice": "voice.say = bug",
    "the adjustments": "adjustments.ADJUSTMENTS = None",
    "the error hooks": "hooks.ErrorHooks.install = hooks.ErrorHooks.arrived = hooks.ErrorHooks.import_failed = bug",
    "one way for errors": "hooks.uncaught_patches = hooks.asyncio_patches = hooks.accelerator_patches = bug",
    "the look at torch's own code": "incompatible.tell_of_incompatible_devices = bug",
    "the filter of errors": "attendant.concerns = attendant.linked = bug",
}

PLANT = """
import sys
import _rtx50_autoload_importlib_bootstrap as hook
import _rtx50_autoload_importlib_bootstrap_watching as watching
from rtx50_autoload import activation, autoloader, voice
from rtx50_autoload.errorhooks import attendant, hooks, incompatible
from rtx50_autoload.evidence import devices, driver
from rtx50_autoload.masquerading import adjustments, known_profiles, patch, policy, simulation

def bug(*args, **kwargs):
    raise ZeroDivisionError("a bug planted by the test")

"""


@pytest.fixture(scope="module")
def stock(either_torch):
    return either_torch.run_code(PROGRAM, env={"RTX50_DISABLE": "1"})


@pytest.mark.parametrize("place", PLACES)
def test_a_bug_leaves_the_import_and_the_output_unchanged(either_torch, stock, place):
    # Without a simulated device there is nothing to tell, so the program's output is torch's own.
    broken = either_torch.run_code(PLANT + PLACES[place] + PROGRAM)
    assert (broken.stdout, broken.stderr, broken.returncode) == (stock.stdout, stock.stderr, stock.returncode)


@pytest.mark.parametrize("place", PLACES)
def test_a_bug_with_a_device_to_mask_costs_the_masquerade_at_most(with_fake_torch, place):
    program = PLANT + PLACES[place] + ASKS + "print(asks('xformers')['function'], asks('__main__')['function'])"
    result = with_fake_torch.run_code(program, env={"FAKE_TORCH_DEVICES": "12.0"})
    assert result.stdout in {"(12, 0) (12, 0)\n", "(9, 0) (12, 0)\n"}
    assert "Traceback" not in result.stderr
    assert result.returncode == 0


def test_a_bug_in_the_patched_functions_gives_torchs_own_answer(with_fake_torch):
    program = """
import torch, json
import rtx50_autoload.masquerading.tell as tell
torch.cuda.get_device_capability(0)
def bug(*args):
    raise ZeroDivisionError("a bug planted by the test")
tell.Teller._decide = bug
tell.block_rule = None
caller = {"__name__": "xformers", "torch": torch}
print(eval("torch.cuda.get_device_capability(0), torch.cuda.get_device_properties(0).major", caller))
import _rtx50_autoload_importlib_bootstrap as hook
print(len(hook.faults))
"""
    result = with_fake_torch.run_code(program, env={"FAKE_TORCH_DEVICES": "12.0"})
    assert result.stdout.splitlines() == ["((12, 0), 12)", "2"]
    assert "Traceback" not in result.stderr


def test_debug_shows_the_fault_and_status_names_it(either_torch):
    program = PLANT + "driver.is_absent = bug\nimport torch\nprint(hook.faults)"
    result = either_torch.run_code(program, env={"RTX50_DEBUG": "1"})
    assert "internal fault" in result.stderr
    assert "a bug planted by the test" in result.stderr
    assert "ZeroDivisionError" in result.stdout


def test_a_failing_import_of_torch_fails_as_it_does_without_us(with_fake_torch, tmp_path):
    package = tmp_path / "torch"
    package.mkdir()
    package.joinpath("__init__.py").write_text(
        "class Odd(ImportError):\n    pass\nerror = Odd('no torch today', name='libx', path='/x')\nraise error\n"
    )
    program = """
import sys
sys.path.insert(0, ".")
try:
    import torch
except ImportError as error:
    print(type(error).__name__, error.args, error.name, error.path, "torch" in sys.modules)
"""
    with_us, without = (
        with_fake_torch.run_code(program, env=env, cwd=tmp_path) for env in ({}, {"RTX50_DISABLE": "1"})
    )
    assert with_us.stdout == without.stdout == "Odd ('no torch today',) libx /x False\n"
    assert with_us.stderr == without.stderr


@pytest.mark.parametrize("gone", ["sys.stderr.close()", "sys.stderr = None"])
def test_a_closed_stderr_costs_the_message_and_not_the_program(either_torch, gone):
    # torch's own warnings need stderr while it is imported; ours comes later.
    program = f"import sys, torch\n{gone}\n" + ASKS + "print(asks('xformers')['function'])"
    assert either_torch.run_code(program, env=SIMULATED).stdout == "(9, 0)\n"
