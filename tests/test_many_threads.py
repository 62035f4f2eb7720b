"""Many threads at once in the patched functions, while others switch the package on and off.

On a build of Python without the global lock the threads really run at once; on the others they change places as often
as Python lets them.
"""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import rig

#: Two callers of each kind: of a library that is told 9.0, and such as see the truth.
SETUP = """
import json, sys, threading
import _rtx50_autoload_importlib_bootstrap as hook

sys.setswitchinterval(1e-6)
MODULE = '''
import torch
def ask():
    return torch.cuda.get_device_capability(0)
def read():
    properties = torch.cuda.get_device_properties(0)
    return properties.major, properties.minor
'''

def caller(name):
    module = {"__name__": name}
    exec(MODULE, module)
    return module

def run(*functions):
    start, errors = threading.Barrier(len(functions)), []
    def guarded(function):
        start.wait()
        try:
            function()
        except BaseException as error:
            errors.append(repr(error))
    threads = [threading.Thread(target=guarded, args=(function,)) for function in functions]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    return errors
"""

FIRST = """
libraries = [caller(f"library_{number}") for number in range(8)]
programs = [caller(name) for name in ("__main__", "my_program") * 4]
caller("__main__")["ask"]()  # CUDA is up before, so that nobody waits for it
told, seen = [], []
errors = run(
    *(lambda module=module: told.append(module["ask"]()) for module in libraries),
    *(lambda module=module: seen.append(module["ask"]()) for module in programs),
)
faults = [repr(fault) for fault in hook.faults]
print(json.dumps([sorted(set(told)), sorted(set(seen)), len(told + seen), errors, faults]))
"""

SWITCHING = """
import torch, rtx50_autoload
rounds, over = {rounds}, threading.Event()
cuda, cls = torch.cuda, torch.cuda._CudaDeviceProperties
answers = {{"xformers": set(), "__main__": set()}}
before = caller("xformers")["ask"]()

def asking(name):
    module = caller(name)
    def ask():
        while not over.is_set():
            answers[name].update([module["ask"](), module["read"]()])
    return ask

def switching(*, last):
    def switch():
        for _ in range(rounds):
            rtx50_autoload.deactivate()
            rtx50_autoload.activate()
            rtx50_autoload.status()
        if last.wait() == 0:
            over.set()
    return switch

last = threading.Barrier({switchers})
errors = run(*[asking("xformers"), asking("__main__")] * 8, *[switching(last=last)] * {switchers})
after = caller("xformers")["ask"]()
rtx50_autoload.deactivate()
code = cuda.get_device_capability.__code__
left = [name for name in vars(cuda) if "rtx50" in name], code.co_filename == cuda.__file__
stock = [vars(cls)[name].fget.__code__.co_filename == torch._C.__file__ for name in ("major", "minor")]
print(json.dumps([
    before, after, sorted(answers["xformers"]), sorted(answers["__main__"]), errors,
    [repr(fault) for fault in hook.faults], left, stock,
]))
"""

NEWCOMERS = """
import rtx50_autoload
def come(thread):
    for number in range(100):
        caller(f"newcomer_{thread}_{number}")["ask"]()
def look():
    for _ in range(15):
        rtx50_autoload.status()
caller("__main__")["ask"]()
errors = run(look, *(lambda thread=thread: come(thread) for thread in range(8)))
print(json.dumps([errors, [repr(fault) for fault in hook.faults], len(rtx50_autoload.status()["callers"]) > 800]))
"""

DEVICE = {"FAKE_TORCH_DEVICES": "12.0"}
LIBRARIES = {"RTX50_CALLERS": ",".join(f"library_{number}=9.0" for number in range(8))}


def test_sixteen_threads_that_ask_first_and_at_once_are_told_as_one_would_be(with_fake_torch: rig.Venv):
    result = with_fake_torch.run_code(SETUP + FIRST, env={**DEVICE, **LIBRARIES})
    assert json.loads(result.stdout) == [[[9, 0]], [[12, 0]], 16, [], []]
    assert result.stderr.count("rtx50-autoload:") == 1, result.stderr


@pytest.mark.parametrize("switchers", [1, 3])
def test_answers_are_right_while_others_switch_the_package_off_and_on(with_fake_torch: rig.Venv, switchers: int):
    code = SETUP + SWITCHING.format(rounds=8, switchers=switchers)
    result = with_fake_torch.run_code(code, env=DEVICE)
    before, after, library, program, errors, faults, left, stock = json.loads(result.stdout)
    assert (errors, faults) == ([], [])
    # Told or not, but nothing else; and the program's own code sees the truth all the time.
    assert all(answer in ([9, 0], [12, 0]) for answer in library)
    assert program == [[12, 0]]
    assert before == after == [9, 0]
    assert (left, stock) == ([[], True], [True, True])


def test_the_state_can_be_looked_at_while_new_callers_come(with_fake_torch: rig.Venv):
    result = with_fake_torch.run_code(SETUP + NEWCOMERS, env=DEVICE)
    assert json.loads(result.stdout) == [[], [], True]


def test_a_python_without_the_global_lock_stays_without_it(with_fake_torch: rig.Venv):
    # An extension module that is not made for it would bring the lock back for the whole program.
    code = "{ours}import sys, torch\nprint(getattr(sys, '_is_gil_enabled', lambda: True)())"
    ours = "import rtx50_autoload, rtx50_autoload.cli.main\nrtx50_autoload.status()\n"
    venv = dataclasses.replace(with_fake_torch, coverage=False)
    stock = venv.run_code(code.format(ours=""), env={**DEVICE, "RTX50_DISABLE": "1"})
    assert venv.run_code(code.format(ours=ours), env=DEVICE).stdout == stock.stdout
