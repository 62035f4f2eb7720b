"""The stand-in for torch behaves as torch does, where both can be asked: else the tests with it would prove nothing."""

from __future__ import annotations

import json

import pytest

import rig

# Everything is asked twice: the second answer may depend on what the first one left behind.
PROBE = """
import inspect, json, torch

def ask(function, *arguments):
    try:
        return repr(function(*arguments))
    except Exception as error:
        return f"{type(error).__name__}: {error}"

cuda = torch.cuda
answers = {}
for turn in (1, 2):
    for name in ("get_device_capability", "get_device_properties", "get_device_name"):
        for argument in ((), (0,), (-1,), (99,), ("cuda:1",), ("cpu",), (torch.device("cuda", 0),), (1.5,)):
            answers[f"{turn} {name}{argument}"] = ask(getattr(cuda, name), *argument)
    for name in ("device_count", "is_available", "is_initialized", "init", "_lazy_init", "current_device",
                 "get_arch_list", "_is_compiled", "_CudaDeviceProperties"):
        answers[f"{turn} {name}"] = ask(getattr(cuda, name))
for argument in (0, "cuda:1", "cuda", "cpu", None, torch.device("cuda:3"), torch.device("cpu")):
    for optional in (False, True):
        answers[f"index {argument} {optional}"] = ask(cuda._get_device_index, argument, optional)
        answers[f"index {argument} {optional} cpu"] = ask(cuda._get_device_index, argument, optional, True)
for text in ("cuda", "cuda:1", "cpu"):
    device = torch.device(text)
    answers[f"device {text}"] = repr((str(device), device, device.type, device.index, device == torch.device(text)))
called = []
cuda._lazy_call(lambda: called.append(1))
answers["queued"] = repr((called, type(cuda._queued_calls), [type(part) for part in cuda._queued_calls[-1]]))
answers["version"] = repr((torch.__version__.partition("+")[0], torch.version.cuda, torch.version.hip))
answers["dummy"] = repr([hasattr(torch._C, name) for name in ("_CudaDeviceProperties", "_cuda_init")])
for name in ("get_device_capability", "get_device_properties", "get_device_name", "device_count", "is_available",
             "is_initialized", "_lazy_init", "_lazy_call", "_get_device_index", "current_device", "set_device"):
    function = getattr(cuda, name)
    code = function.__code__
    answers[f"shape of {name}"] = repr((type(function).__name__, code.co_varnames[:code.co_argcount], code.co_freevars,
                                        function.__defaults__, function.__module__))
print("ANSWERS " + json.dumps(answers))
"""


def answers(venv: rig.Venv, **env: str) -> dict[str, str]:
    result = venv.run_code(PROBE, env={"RTX50_DISABLE": "1", **env})
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("ANSWERS ")]
    return json.loads(line.removeprefix("ANSWERS "))


def test_the_stand_in_answers_as_a_torch_without_cuda(with_fake_torch: rig.Venv, with_torch: rig.Venv):
    assert answers(with_fake_torch) == answers(with_torch)


def test_the_stand_in_has_the_devices_that_it_is_given(with_fake_torch: rig.Venv):
    given = answers(with_fake_torch, FAKE_TORCH_DEVICES="9.0,12.0")
    assert given["1 get_device_capability()"] == "(9, 0)"
    assert given["1 get_device_capability('cuda:1',)"] == "(12, 0)"
    assert given["1 get_device_capability(99,)"] == "AssertionError: Invalid device id"
    assert given["1 _CudaDeviceProperties"] == "TypeError: torch._C._CudaDeviceProperties: No constructor defined!"
    assert (given["1 is_initialized"], given["queued"][:3]) == ("True", "([1")


def test_the_stand_ins_devices_are_read_only(with_fake_torch: rig.Venv):
    with_fake_torch.run_code(
        """
        import torch
        properties = torch.cuda.get_device_properties(0)
        for name in ("major", "minor", "name", "anything"):
            try:
                setattr(properties, name, 1)
            except AttributeError:
                continue
            raise SystemExit(f"{name} can be set")
        """,
        env={"FAKE_TORCH_DEVICES": "12.0", "RTX50_DISABLE": "1"},
    )


@pytest.mark.parametrize("autoload", ["1", "0"])
def test_the_stand_in_calls_the_entry_points_and_passes_on_their_errors_as_torch_does(
    with_fake_torch: rig.Venv, with_torch: rig.Venv, autoload: str
):
    # Both shown to call us, by what they say when we raise.
    code = f"""
import {rig.HOOK} as hook, rtx50_autoload_second_door as door
hook.watched, door.torch_backend = (), lambda: 1 / 0
import torch
print('done')
"""
    outcomes = []
    for venv in (with_fake_torch, with_torch):
        result = venv.run_code(code, env={"TORCH_DEVICE_BACKEND_AUTOLOAD": autoload}, check=False)
        errors = [line for line in result.stderr.splitlines() if line.startswith(("RuntimeError", "ZeroDivisionError"))]
        outcomes.append((result.returncode, result.stdout, errors))
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][0] == int(autoload)
