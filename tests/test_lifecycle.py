"""Coming late, going away, coming back; blocks; torch.compile; other people's patches."""

from __future__ import annotations

import pytest

from probes import ASKING_FUNCTIONS, ASKS

SIMULATED = {"RTX50_SIMULATE": "12.0"}

#: Without the start-up file's hook: as under `python -S`, or where start-up files are ignored.
WITHOUT_START_UP = """
import sys
import _rtx50_autoload_importlib_bootstrap as hook
hook.uninstall()
"""
WITHOUT_BOTH_DOORS = {**SIMULATED, "TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}


def test_the_second_door_opens_at_the_end_of_import_torch(either_torch):
    code = WITHOUT_START_UP + ASKS + "print(asks('xformers')['function'], hook.door)"
    result = either_torch.run_code(code, env=SIMULATED)
    assert result.stdout == "(9, 0) torch.backends\n"
    assert "after torch was imported" not in result.stderr


def test_late_activation_works_and_says_so_once(either_torch):
    code = (
        WITHOUT_START_UP
        + ASKS
        + """
before = asks("xformers")["function"]
import rtx50_autoload
print(before, rtx50_autoload.activate(), rtx50_autoload.activate(), asks("xformers")["function"], hook.door)
"""
    )
    # A device that is simulated is only there once we are: before, torch refuses to answer.
    code = code.replace('before = asks("xformers")["function"]', "import torch\nbefore = None")
    result = either_torch.run_code(code, env=WITHOUT_BOTH_DOORS)
    assert result.stdout == "None True True (9, 0) api\n"
    assert result.stderr.count("activated after torch was imported") == 1


def test_activation_before_torch_is_not_late(either_torch):
    code = WITHOUT_START_UP + "import rtx50_autoload\nrtx50_autoload.activate()\n" + ASKS
    result = either_torch.run_code(code + "print(asks('xformers')['function'])", env=WITHOUT_BOTH_DOORS)
    assert result.stdout == "(9, 0)\n"
    assert "after torch" not in result.stderr


def test_deactivate_restores_the_very_same_objects(either_torch):
    code = (
        ASKS
        + """
import torch, rtx50_autoload
import _rtx50_autoload_importlib_bootstrap as hook
cuda = torch.cuda
names = "get_device_capability get_device_properties get_device_name _CudaDeviceProperties _lazy_init".split()
rtx50_autoload.deactivate()
def state():
    cls = cuda._CudaDeviceProperties
    return (
        {name: getattr(cuda, name) for name in names},
        {name: getattr(cuda, name).__code__ for name in names if hasattr(getattr(cuda, name), "__code__")},
        dict(vars(cls)), set(vars(cuda)), list(sys.meta_path),
    )
stock = state()
for _ in range(3):
    rtx50_autoload.activate()
    patched = state()
    assert asks("xformers")["function"] == (9, 0)
    rtx50_autoload.deactivate()
    assert state() == stock and patched != stock
    for before, after in zip(stock[0].values(), state()[0].values()):
        assert before is after
    for before, after in zip(stock[1].values(), state()[1].values()):
        assert before is after
print("same")
"""
    )
    assert either_torch.run_code(code, env=SIMULATED).stdout == "same\n"


def test_the_process_looks_after_deactivate_as_it_does_without_us(with_fake_torch):
    code = """
import sys, torch
print(eval("torch.cuda.get_device_capability(0)", {"__name__": "xformers", "torch": torch}))
if "rtx50_autoload" in sys.modules:
    sys.modules["rtx50_autoload"].deactivate()
def shown(thing):
    return getattr(thing, "__name__", type(thing).__name__)
print([shown(finder) for finder in sys.meta_path], hasattr(sys.meta_path[-1], "find_distributions"))
print(sorted(vars(torch.cuda)), sorted(vars(torch._C._CudaDeviceProperties)), sys.excepthook is sys.__excepthook__)
"""
    environment = {"FAKE_TORCH_DEVICES": "12.0"}
    ours = with_fake_torch.run_code(code, env=environment).stdout.splitlines()
    stock = with_fake_torch.run_code(code, env={**environment, "RTX50_DISABLE": "1"}).stdout.splitlines()
    assert (ours[0], stock[0]) == ("(9, 0)", "(12, 0)")
    assert ours[1:] == stock[1:]


def test_after_deactivate_a_new_import_is_left_alone(either_torch):
    code = """
import rtx50_autoload
rtx50_autoload.deactivate()
import torch
print("rtx50" in torch.cuda.get_device_capability.__code__.co_filename)
"""
    assert either_torch.run_code(code, env=SIMULATED).stdout == "False\n"


def test_torch_cuda_is_patched_again_after_a_reload_and_a_second_import(with_fake_torch):
    # On the fake torch: the real one registers C++ types at import and refuses to be imported twice.
    code = (
        ASKS
        + """
import importlib, torch
importlib.reload(torch.cuda)
print(asks("xformers")["function"], asks("__main__")["properties"])
del sys.modules["torch.cuda"]
import torch.cuda
print(asks("xformers")["function"], asks("__main__")["properties"])
import rtx50_autoload
rtx50_autoload.deactivate()
print([name for name in vars(torch.cuda) if "rtx50" in name], "major" in vars(torch.cuda._CudaDeviceProperties))
"""
    )
    assert with_fake_torch.run_code(code, env=SIMULATED).stdout.splitlines() == ["(9, 0) (12, 0)"] * 2 + ["[] False"]


def test_blocks_tell_everyone_the_truth_or_all_but_code_generators_the_target(either_torch):
    code = (
        ASKS
        + """
import torch, rtx50_autoload as r
def told(name):
    return asks(name)["function"], asks(name)["properties"]
with r.truth():
    print(told("xformers"))
with r.masquerade():
    print(told("__main__"), told("torch._inductor"))
    with r.truth():
        print(told("__main__"))
with r.masquerade("12.0:8.6", callers=["mylib"]):
    print(told("mylib.x"), told("__main__"), told("xformers"))
print(told("__main__"), told("xformers"))
"""
    )
    assert either_torch.run_code(code, env=SIMULATED).stdout.splitlines() == [
        "((12, 0), (12, 0))",
        "((9, 0), (9, 0)) ((12, 0), (12, 0))",
        "((12, 0), (12, 0))",
        "((8, 6), (8, 6)) ((12, 0), (12, 0)) ((12, 0), (12, 0))",
        "((12, 0), (12, 0)) ((9, 0), (9, 0))",
    ]


def test_a_block_patches_for_its_own_time_where_nothing_else_is_patched(with_fake_torch):
    code = (
        ASKS
        + """
import torch, rtx50_autoload as r
def patched():
    return "rtx50" in torch.cuda.get_device_capability.__code__.co_filename
before = patched()
with r.masquerade("8.9:9.0"):
    with r.masquerade("8.9:7.5"):
        inner = asks("__main__")["function"], patched()
    outer = asks("__main__")["function"], patched()
print(before, inner, outer, patched(), asks("__main__")["function"])
"""
    )
    result = with_fake_torch.run_code(code, env={"FAKE_TORCH_DEVICES": "8.9"})
    assert result.stdout == "False ((7, 5), True) ((9, 0), True) False (8, 9)\n"


def test_a_block_holds_in_its_own_thread_only(either_torch):
    code = (
        ASKS
        + """
import threading, torch, rtx50_autoload as r
inside, done, seen = threading.Event(), threading.Event(), []
def other():
    inside.wait(60)
    seen.append(asks("__main__")["function"])
    done.set()
thread = threading.Thread(target=other)
thread.start()
with r.masquerade():
    inside.set()
    done.wait(60)
    seen.append(asks("__main__")["function"])
thread.join()
print(seen)
"""
    )
    assert either_torch.run_code(code, env=SIMULATED).stdout == "[(12, 0), (9, 0)]\n"


def test_a_wrong_mapping_of_a_block_is_an_error_of_ours_and_a_value_error(either_torch):
    code = """
import rtx50_autoload as r
try:
    with r.masquerade("hopper"):
        pass
except ValueError as error:
    print(isinstance(error, r.RTX50Error), error)
"""
    assert either_torch.run_code(code).stdout.startswith("True 'hopper' is no mapping such as '12.0:9.0'")


COMPILED = (
    ASKING_FUNCTIONS
    + """
def compiled(function):
    torch._dynamo.reset()
    try:
        return torch.compile(function, fullgraph=True, backend="eager")(torch.ones(())).item()
    except Exception as error:
        return type(error).__name__
"""
)


def test_torch_compile_with_fullgraph_works_through_every_road(with_torch):
    code = COMPILED + "print([compiled(f) for f in (by_attribute, by_properties, by_reference)])"
    assert with_torch.run_code(code, env=SIMULATED).stdout == "[1201.0, 1201.0, 1201.0]\n"


def test_torch_compile_after_deactivate_does_what_it_does_without_us(with_torch):
    # A CPU build has no device left then, so each function fails as it does in a torch that never met us.
    functions = "[compiled(f) for f in (by_attribute, by_properties, by_reference)]"
    after = with_torch.run_code(
        COMPILED + f"{functions}; rtx50_autoload.deactivate(); print({functions})", env=SIMULATED
    )
    stock = with_torch.run_code(COMPILED + f"print({functions})", env={"RTX50_DISABLE": "1"})
    assert after.stdout == stock.stdout


#: What a CUDA build's device layer answers, put under a CPU build of torch: no GPU is needed to see how Dynamo
#: treats the functions, and they are torch's own.
DEVICE_LAYER = """
import torch
real = object.__new__(torch.cuda._CudaDeviceProperties)
vars(real).update(name="a GPU that this test made up", major=12, minor=0)
torch.cuda._lazy_init = lambda: None
torch.cuda.device_count = lambda: 1
torch.cuda._get_device_index = lambda device, optional=False: 0
torch.cuda._get_device_properties = lambda index: real
"""


def test_torch_compile_works_before_and_after_deactivate_where_there_is_a_device(with_torch):
    code = (
        DEVICE_LAYER
        + COMPILED
        + """
functions = (by_attribute, by_properties, by_reference)
own_code = capability.__code__, properties.__code__
print([compiled(f) for f in functions])
with rtx50_autoload.masquerade(callers=["xformers"]):
    patched = capability.__code__ is not own_code[0]
    print([compiled(f) for f in functions], patched)
print([compiled(f) for f in functions])
rtx50_autoload.deactivate()
print([compiled(f) for f in functions], (capability.__code__, properties.__code__) == own_code)
"""
    )
    answers = "[1201.0, 1201.0, 1201.0]"
    lines = with_torch.run_code(code).stdout.splitlines()
    assert lines == [answers, f"{answers} True", answers, f"{answers} True"]


def test_a_wrapper_that_somebody_else_puts_around_the_function_stays(either_torch):
    code = (
        ASKS
        + """
import functools, torch, rtx50_autoload
stock = torch.cuda.get_device_capability
@functools.wraps(stock)
def theirs(device=None):
    return stock(device)
torch.cuda.get_device_capability = theirs
rtx50_autoload.deactivate()
print(torch.cuda.get_device_capability is theirs, "rtx50" in stock.__code__.co_filename)
"""
    )
    assert either_torch.run_code(code, env=SIMULATED).stdout == "True False\n"


def test_a_function_that_cannot_be_patched_is_reported_and_left(with_fake_torch):
    code = (
        WITHOUT_START_UP
        + """
import torch, json
stock = torch.cuda.get_device_capability
torch.cuda.get_device_capability = lambda device=None: stock(device)
import rtx50_autoload
rtx50_autoload.activate()
[failed] = [patch for patch in rtx50_autoload.status()["patches"] if patch["state"] == "failed"]
print(failed["target"], failed["error"])
print(torch.cuda.get_device_capability(0))
"""
    )
    lines = with_fake_torch.run_code(code, env=WITHOUT_BOTH_DOORS).stdout.splitlines()
    assert lines[0].startswith("torch.cuda.get_device_capability TypeError: it has been replaced by <function <lambda>")
    assert lines[1] == "(12, 0)"


def test_a_device_that_nvml_does_not_name_is_found_when_cuda_is_up(with_fake_torch):
    """Containers without the driver's utility library have no NVML; CUDA works there."""
    code = (
        ASKS
        + """
import torch
stock = "rtx50" not in torch.cuda.get_device_capability.__code__.co_filename
first = eval("f(0)", {"__name__": "xformers", "f": torch.cuda.get_device_capability})
print(stock, first, asks("xformers")["properties"], asks("__main__")["function"])
"""
    )
    result = with_fake_torch.run_code(code, env={"FAKE_TORCH_DEVICES": "12.0,8.9"})
    assert result.stdout == "True (9, 0) (9, 0) (12, 0)\n"


def test_a_torch_for_amd_gpus_is_left_alone(with_fake_torch):
    """ROCm answers for a Radeon RX 9070 (gfx1201) with the capability of an RTX 50."""
    code = """
import sys, torch.version
torch.version.hip, torch.version.cuda = "6.4", None
import torch, rtx50_autoload
with rtx50_autoload.masquerade():
    caller = {"__name__": "xformers", "torch": torch}
    print(eval("torch.cuda.get_device_capability(0)", caller), rtx50_autoload.status()["patches"])
"""
    # Importing torch.version imports torch, so the build is made up before torch is imported a second time.
    code = code.replace(
        "import torch, rtx50", "del sys.modules['torch'], sys.modules['torch.cuda']\nimport torch, rtx50"
    )
    result = with_fake_torch.run_code(code, env={"FAKE_TORCH_DEVICES": "12.0"})
    assert result.stdout == "(12, 0) []\n"


def test_cuda_is_initialised_when_the_program_does_and_not_before(with_fake_torch):
    code = """
import torch, rtx50_autoload
rtx50_autoload.status()
rtx50_autoload.true_capability()
before = torch.cuda.is_initialized()
torch.cuda.get_device_capability(0)
print(before, torch.cuda.is_initialized())
"""
    for environment in ({"FAKE_TORCH_DEVICES": "12.0"}, {"FAKE_TORCH_DEVICES": "9.0", **SIMULATED}):
        assert with_fake_torch.run_code(code, env=environment).stdout == "False True\n"


@pytest.mark.parametrize("devices", ["9.0", "8.9,9.0"])
def test_simulation_over_a_real_device_keeps_its_properties_objects(with_fake_torch, devices):
    code = (
        ASKS
        + """
import torch
properties = torch.cuda.get_device_properties(0)
own = type(properties) is torch._C._CudaDeviceProperties
print(own, properties.name, properties.major, asks("xformers")["function"])
import rtx50_autoload
rtx50_autoload.deactivate()
print(torch.cuda.get_device_properties(0).major, torch.cuda.get_device_properties(0).name)
"""
    )
    environment = {"FAKE_TORCH_DEVICES": devices, "RTX50_SIMULATE": "NVIDIA GeForce RTX 5090:12.0"}
    first, second = with_fake_torch.run_code(code, env=environment).stdout.splitlines()
    assert first == "True NVIDIA GeForce RTX 5090 12 (9, 0)"
    assert second.startswith(devices[0])
    assert "5090" not in second


def test_simulation_in_a_cuda_build_without_a_gpu(with_fake_torch):
    code = (
        ASKS
        + """
import torch, rtx50_autoload
print(asks("xformers")["properties"], asks("__main__")["function"], torch.cuda.get_device_name(0))
print(torch.cuda.is_available())
rtx50_autoload.deactivate()
print(torch.cuda._CudaDeviceProperties is torch._C._CudaDeviceProperties)
"""
    )
    result = with_fake_torch.run_code(code, env={"FAKE_TORCH_DEVICES": "", **SIMULATED})
    assert result.stdout.splitlines() == ["(9, 0) (12, 0) simulated device", "False", "True"]


SWITCHED_OFF = """
import torch
print(sorted(name for name in sys.modules if "rtx50" in name))
print([finder for finder in sys.meta_path if "rtx50" in repr(finder)])
functions = [getattr(torch.cuda, name) for name in ("get_device_capability", "get_device_properties", "_lazy_init")]
print({function.__code__.co_filename for function in functions} == {torch.cuda.__file__})
print(sorted(name for name in vars(torch.cuda) if "rtx50" in name), "major" in vars(torch.cuda._CudaDeviceProperties))
"""
#: The modules that are loaded all the same, for they have to ask: what the start-up file names, and what torch does.
BOTH_DOORS = "['_rtx50_autoload_importlib_bootstrap', 'rtx50_autoload_second_door']"


def test_switched_off_from_outside_there_is_no_finder_no_patch_and_no_message(either_torch):
    result = either_torch.run_code("import sys" + SWITCHED_OFF, env={**SIMULATED, "RTX50_DISABLE": "1"})
    assert result.stdout.splitlines() == [BOTH_DOORS, "[]", "True", "[] False"]
    assert "rtx50" not in result.stderr


def test_switched_off_inside_the_program_nothing_happens_either(either_torch):
    code = "import os, sys\nos.environ['RTX50_DISABLE'] = '1'" + SWITCHED_OFF
    modules, _, *rest = either_torch.run_code(code, env=SIMULATED).stdout.splitlines()
    # The finder stands there since the start of Python; it only lets imports pass.
    assert (modules, rest) == (BOTH_DOORS, ["True", "[] False"])
