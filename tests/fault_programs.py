"""The programs that run while a fault of ours is raised, each with the surroundings that it runs in.

A program prints on stdout what a person's own code sees, which is the same with us and without us. What xformers is
told is the one thing that may differ: it is printed as whether it is the truth or the target.
"""

# ruff: noqa: E501 - programs, as they would be written
from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["PROGRAMS", "Program"]


@dataclass(frozen=True)
class Program:
    """One program.

    Attributes:
        code: its source.
        environment: its variables.
        driver: whether the stand-in for NVIDIA's management library tells of a device.
        libraries: whether xformers, flash_attn and IPython are there (tests/fakes/libraries_for_faults).
        may_be_rescued: whether each line of its stdout may also be that of a run with us and without a fault: an attention
            function has been answered for, or a device is simulated.
        asked_for: parts of the names of places whose error is the program's to have: it names us and asks for them.

    """

    code: str
    environment: dict[str, str] = field(default_factory=dict)
    driver: bool = True
    libraries: bool = True
    may_be_rescued: bool = False
    asked_for: tuple[str, ...] = ()


_NO_TORCH = """
import sys, importlib.util, importlib.metadata
print("out", importlib.util.find_spec("torch") is not None)
try:
    import nothing_of_this_name
except ModuleNotFoundError as error:
    print(error.name, error)
try:
    importlib.metadata.version("nothing-of-this-name")
except importlib.metadata.PackageNotFoundError as error:
    print("no", error.name)
print(sorted(d.metadata["Name"] for d in importlib.metadata.distributions() if d.metadata["Name"] in {"torch", "xformers"}))
print("err", file=sys.stderr)
sys.exit(3)
"""

_CAPABILITIES = """
import sys, threading, warnings, os
import torch, xformers.ops, flash_attn, unknown_library
from torch.cuda import get_device_capability as bound
torch.cuda.set_device(0)
for device in (None, 0, 1, "cuda:1", "cuda", torch.device("cuda", 0), 7, -2, "cpu", 1.5, "nonsense:x"):
    for ask in (torch.cuda.get_device_capability, bound, torch.cuda.get_device_properties, torch.cuda.get_device_name):
        try:
            told = ask(device)
            print(device, told if isinstance(told, (tuple, str)) else (told.major, told.minor, told.total_memory))
        except Exception as error:
            print(device, type(error).__name__, error)
print(torch.cuda.device_count(), torch.cuda.is_initialized(), torch.cuda.get_arch_list())
print({told in {(12, 0), (9, 0)} for told in xformers.asked(0)}, {told == (8, 9) for told in xformers.asked(1)})
print(unknown_library.asked())
def ask():
    print("thread", torch.cuda.get_device_capability(0))
thread = threading.Thread(target=ask)
thread.start()
thread.join()
try:
    torch.cuda.get_device_properties(0).major = 3
except AttributeError as error:
    print("read-only", type(error).__name__)
import importlib
importlib.reload(torch.cuda)
print(torch.cuda.get_device_capability(0), {told in {(12, 0), (9, 0)} for told in xformers.asked(0)})
sys.stdout.flush()
# The system may not have put the thread above away yet, of which Python warns from 3.12 on.
warnings.simplefilter("ignore", DeprecationWarning)
child = os.fork()
if child == 0:
    print("child", torch.cuda.get_device_capability(0))
    sys.stdout.flush()
    os._exit(4)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print("err", file=sys.stderr)
"""

_KERNEL = """
import sys, torch
def launch(kind=RuntimeError):
    raise kind("CUDA error: no kernel image is available for execution on the device\\nCompile with `TORCH_USE_CUDA_DSA`")
"""

_UNCAUGHT = _KERNEL + "print('before')\nlaunch(torch.AcceleratorError)\n"

_MANY_ERRORS = (
    _KERNEL
    + """
import asyncio, logging, threading, traceback, warnings
import IPython.core.interactiveshell as shell
for kind in (RuntimeError, torch.AcceleratorError, ImportError, KeyError, OSError):
    try:
        launch(kind)
    except Exception as error:
        print(type(error).__name__, error.args, error.__cause__, error.__context__, len(traceback.extract_tb(error.__traceback__)))
        logging.exception("logged")
        traceback.print_exc()
try:
    try:
        launch()
    except RuntimeError as error:
        raise KeyError("mine") from error
except KeyError as error:
    print(repr(error), repr(error.__cause__))
    traceback.print_exc()
def own(arguments):
    print("own hook", arguments.exc_type.__name__)
thread = threading.Thread(target=launch, name="one")
thread.start(); thread.join()
before, threading.excepthook = threading.excepthook, own
thread = threading.Thread(target=launch, name="two")
thread.start(); thread.join()
threading.excepthook = before
async def fails():
    launch()
async def main():
    task = asyncio.ensure_future(fails())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    del task
    import gc; gc.collect()
    asyncio.get_running_loop().call_soon(launch)
    await asyncio.sleep(0.001)
    try:
        await fails()
    except RuntimeError as error:
        print("awaited", type(error).__name__)
asyncio.run(main())
shell.InteractiveShell().run_cell("1/0")
shell.InteractiveShell().run_cell('raise RuntimeError("CUDA error: no kernel image is available for execution on the device")')
warnings.warn("a warning of the program")
print("end")
sys.exit("the last words")
"""
)

_OWN_HOOK = (
    _KERNEL
    + """
def own(kind, error, trace):
    print("own", kind.__name__, error.args)
    previous(kind, error, trace)
previous, sys.excepthook = sys.excepthook, own
import atexit
atexit.register(lambda: print("at exit"))
launch()
"""
)

_NONE_OF_OURS = """
import torch, sys
sys.path.append("here")
def fail():
    raise KeyError("of the program")
try:
    torch.cuda.get_device_capability("x:y:z")
except Exception as error:
    print(type(error).__name__, error)
fail()
"""

_FAILED_IMPORTS = """
import sys, torch
def write(name, text):
    import pathlib
    folder = pathlib.Path(name)
    folder.mkdir()
    folder.joinpath("__init__.py").write_text(text)
SYMBOL = "raise ImportError('/x/{0}/_C.so: undefined symbol: _ZN3c105ErrorC2ENS_14SourceLocationE')"
sys.path.insert(0, ".")
for name, text in {"bitsandbytes": SYMBOL.format("bitsandbytes"), "torchvision": "import torchvision_C", "vllm": "1/0", "triton": "raise SystemExit(9)"}.items():
    write(name, text)
    try:
        __import__(name)
    except BaseException as error:
        print(name, type(error).__name__, error, error.__context__, name in sys.modules)
        import traceback; traceback.print_exc()
write("flash_attn_3", SYMBOL.format("flash_attn_3"))
import flash_attn_3
"""

_BROKEN_FLASH = """
import sys, pathlib
folder = pathlib.Path("flash_attn"); folder.mkdir()
folder.joinpath("__init__.py").write_text("raise ImportError('/x/flash_attn_2_cuda.so: undefined symbol: _ZN3c105Error')")
sys.path.insert(0, ".")
"""

_IMPORT_FLASH = """
import torch, importlib.metadata, sys, types
provided = types.ModuleType("rtx50_autoload.rescue.provided")
provided.build_module = lambda note: {"flash_attn": types.ModuleType("flash_attn")}
if BUILDS:
    sys.modules[provided.__name__] = provided
try:
    print(importlib.metadata.version("flash_attn"))
except importlib.metadata.PackageNotFoundError as error:
    print("none", error.name)
try:
    import flash_attn
    print("imported", flash_attn.__name__)
except ImportError as error:
    print(type(error).__name__, error)
"""

_RESCUE = """
import sys, types, torch
class Device(tuple):
    type, index = "cuda", 0
class Tensor:
    device, requires_grad, is_cuda, ndim = Device(), False, True, 4
    def __init__(self, dim=64, dtype="float16"):
        self.dtype = dtype
        self.shape = (1, 16, 1, dim)
class Nothing:
    def __enter__(self): return self
    def __exit__(self, *_): pass
torch.Tensor, torch.float16, torch.bfloat16 = Tensor, "float16", "bfloat16"
torch.is_grad_enabled = lambda: False
torch.no_grad = Nothing
torch.zeros = lambda *_, **__: Tensor(dtype="float32")
torch.cuda.is_current_stream_capturing = lambda: False
torch.compiler = types.SimpleNamespace(is_dynamo_compiling=lambda: False)
import xformers.ops, flash_attn, traceback
stand_ins = types.ModuleType("rtx50_autoload.rescue.flash_attn")
def flash_attn_func(q, k, v, dropout_p=0.0, softmax_scale=None, causal=False):
    if causal:
        raise NotImplementedError("cannot")
    return "rescued"
stand_ins.flash_attn_func = flash_attn_func
sys.modules[stand_ins.__name__] = stand_ins
other = types.ModuleType("rtx50_autoload.rescue.xformers")
other.memory_efficient_attention = lambda query, key, value, attn_bias=None: "rescued"
sys.modules[other.__name__] = other
def attempt(*arguments, function=flash_attn.flash_attn_func, **options):
    try:
        return function(*arguments, **options)
    except Exception as error:
        return type(error).__name__ + " " + str(error).splitlines()[0]
q = Tensor()
for options in ({}, {}, {"causal": True}):
    print(attempt(q, q, q, **options))
print(attempt(Tensor(512), q, q))
print(attempt(1, 2, 3, 4, 5, 6, 7, 8))
b = Tensor(dtype="bfloat16")
print(attempt(b, b, b, function=xformers.ops.memory_efficient_attention))
print(attempt(q, q, q, function=xformers.ops.memory_efficient_attention))
flash_attn.flash_attn_func(q, q, q, causal=True)
"""

_API = """
import sys, torch, rtx50_autoload, warnings
import xformers.ops
print(rtx50_autoload.activate() in {True, False})
with rtx50_autoload.truth():
    print(torch.cuda.get_device_capability(0), xformers.asked(0)[0] in {(12, 0), (9, 0)})
with rtx50_autoload.masquerade("12.0:9.0", callers=["unknown_library"]):
    print(torch.cuda.get_device_capability(0))
@rtx50_autoload.guard()
def fails():
    raise RuntimeError("CUDA error: no kernel image is available for execution on the device")
@rtx50_autoload.guard()
def gives():
    yield 1
    fails()
for work in (fails, lambda: list(gives())):
    try:
        work()
    except RuntimeError as error:
        print(error)
with rtx50_autoload.guard():
    print("guarded")
rtx50_autoload.deactivate()
print(torch.cuda.get_device_capability(0), xformers.asked(0)[0])
try:
    with rtx50_autoload.guard():
        raise RuntimeError("CUDA error: no kernel image is available for execution on the device")
except RuntimeError as error:
    print(error)
"""

_SIMULATION = """
import torch
try:
    print(torch.cuda.get_device_capability(), torch.cuda.get_device_name(0), torch.cuda.get_device_capability("cuda:0"))
except AssertionError as error:
    print(error)
"""

_PROFILES = """
import os, pathlib, sys
home = pathlib.Path.cwd()
os.environ["XDG_CONFIG_HOME"] = str(home / "config")
sys.path.append(str(home / "site"))
def write(file, text):
    (home / file).parent.mkdir(parents=True, exist_ok=True)
    (home / file).write_text(text)
def profile(module, more=""):
    rules = ["versions = '<2'\\n", ""]
    text = f"[[profile]]\\nlibrary = '{module}'\\nmodules = ['{module}']\\nmasquerade = 'target'\\ndistribution = 'torch'\\n"
    return text + "".join(f"[[profile.rule]]\\n{rule}report = 'target'\\nreason = 'r'\\nsource = 's'\\n" for rule in rules) + more
write("config/rtx50-autoload/profiles.toml", profile("a") + profile("a") + profile("b", "adjust = [3]\\nunversioned = true\\n"))
for name in ("one", "two", "three"):
    info = f"site/{name}-1.0.dist-info"
    write(f"{info}/METADATA", f"Metadata-Version: 2.1\\nName: {name}\\nVersion: 1.0\\n")
    write(f"{info}/entry_points.txt", f"[rtx50_autoload.profiles]\\na = {name}:p.toml\\nb = nothing\\n")
    write(f"{info}/RECORD", f"{name}/p.toml,,\\n{name}/__init__.py,,\\nboth/__init__.py,,\\n" if name != "three" else "three.pth,,\\n")
    write(f"site/{name}/p.toml", profile(name) + profile("both") + profile("torch.nn"))
write("site/three-1.0.dist-info/direct_url.json", '{"url": "%s", "dir_info": {"editable": true}}' % (home / "site").as_uri())
write("site/three.pth", str(home / "site"))
import torch, unknown_library
print(unknown_library.asked())
for name in ("a", "b", "one", "both", "three.sub", "torch.nn", "elsewhere"):
    print(name, eval("f(0)", {"__name__": name, "f": torch.cuda.get_device_capability}) in {(12, 0), (9, 0)})
"""

_CHECK = "import torch, sys, os\nprint('out')\npid = os.fork()\nif pid == 0:\n    os._exit(0)\nos.waitpid(pid, 0)\n"

_PREDECESSOR = """
import importlib, importlib.util, warnings
warnings.simplefilter("ignore")
importlib.util.find_spec("rtx50_compat")
try:
    import rtx50_compat
    importlib.reload(rtx50_compat)
except ModuleNotFoundError as error:
    pass
print("out")
"""

_TWO = {"FAKE_TORCH_DEVICES": "12.0,8.9"}
_BAD_SETTINGS = {
    "RTX50_MODE": "bogus",
    "RTX50_MASQUERADE": "x",
    "RTX50_CALLERS": "=",
    "RTX50_RESCUE": "maybe",
    "RTX50_QUIT": "1",
    "CUDA_VISIBLE_DEVICES": "1,GPU-x",
}
_ONE = {"FAKE_TORCH_DEVICES": "12.0"}
_SIMULATED = {"RTX50_SIMULATE": "NVIDIA GeForce RTX 5090:12.0"}

PROGRAMS = {
    "a program without torch": Program(_NO_TORCH, _ONE),
    "capabilities": Program(_CAPABILITIES, _TWO),
    "capabilities where NVML does not answer": Program(_CAPABILITIES, _TWO, driver=False),
    "capabilities in mode masquerade": Program(
        _CAPABILITIES.replace("print(unknown_library.asked())", ""),
        {
            **_TWO,
            "RTX50_MODE": "masquerade",
            "RTX50_MASQUERADE": "12.0:9.0",
            "RTX50_CALLERS": "unknown_library=true,x=1",
        },
    ),
    "settings that are wrong": Program(_UNCAUGHT, {**_ONE, **_BAD_SETTINGS}),
    "nothing is said": Program(_UNCAUGHT, {**_ONE, "RTX50_QUIET": "1", "RTX50_BATMAN_MODE": "1"}),
    "an uncaught error": Program(_UNCAUGHT, _ONE),
    "an uncaught error, nothing can be recorded": Program(_UNCAUGHT, {**_ONE, "RTX50_TESTS_UNWRITABLE": "1"}),
    "an uncaught error in a worker of a job": Program(_UNCAUGHT, {**_ONE, "RANK": "1"}),
    "many errors": Program(_MANY_ERRORS, _ONE),
    "a hook of the program's own": Program(_OWN_HOOK, _ONE),
    "an error that is none of ours": Program(_NONE_OF_OURS, _ONE),
    "failed imports": Program(_FAILED_IMPORTS, _ONE),
    "a failed flash_attn": Program(
        _BROKEN_FLASH + "BUILDS = 1" + _IMPORT_FLASH, {**_ONE, "RTX50_RESCUE": "import"}, may_be_rescued=True
    ),
    "a missing flash_attn": Program(
        "BUILDS = 1" + _IMPORT_FLASH,
        {**_ONE, "RTX50_RESCUE": "provide"},
        libraries=False,
        may_be_rescued=True,
        asked_for=("StandInDistribution.read_text:",),
    ),
    "a missing flash_attn that cannot be provided": Program(
        "BUILDS = 0" + _IMPORT_FLASH,
        {**_ONE, "RTX50_RESCUE": "provide"},
        libraries=False,
        may_be_rescued=True,
        asked_for=("StandInDistribution.read_text:",),
    ),
    "a torch without code for the device": Program(
        "import torch\nprint(torch.cuda.get_device_capability())", {**_ONE, "FAKE_TORCH_ARCHITECTURES": "sm_80 sm_90"}
    ),
    "attention that cannot be loaded": Program(_RESCUE, _ONE, may_be_rescued=True),
    "what a program calls of ours": Program(
        _API,
        _ONE,
        asked_for=(
            *(":<module>:", "rtx50_autoload:__getattr__:", "CapabilityMap.parse", ":parse_capability:"),
            *("activation:truth:", "activation:masquerade:", "activation:_block:"),
            *("activation:guard:", "activation:deactivate:", "Guard.__call__:"),
        ),
    ),
    "a simulated device": Program(
        _SIMULATION,
        _SIMULATED,
        driver=False,
        may_be_rescued=True,
        asked_for=(":_Simulation.", "simulation:get_device_properties:"),
    ),
    "the predecessor": Program(_PREDECESSOR, {**_ONE, "RTX50_BATMAN_MODE": "1"}),
    "profiles of others": Program(_PROFILES, _ONE),
    "a check of the installation": Program(_CHECK, {**_ONE, "RTX50_CHECK_INSTALL": "1"}),
}
