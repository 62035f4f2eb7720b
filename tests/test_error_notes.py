"""Errors of a program get a note, whichever way they come, and stay what they are."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import textwrap

import pytest

import rig

SIMULATED = {"RTX50_SIMULATE": "NVIDIA GeForce RTX 5090:12.0"}

#: Raises what torch raises where a kernel cannot be loaded.
DEVICE_ERROR = """
import sys, torch
WORDS = "CUDA error: no kernel image is available for execution on the device"
TEXT = WORDS + '''
Search for `cudaErrorNoKernelImageForDevice' in the CUDA runtime API documentation for more information.
CUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace below might be incorrect.
For debugging consider passing CUDA_LAUNCH_BLOCKING=1
Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.
'''

def launch(kind=torch.AcceleratorError):
    raise kind(TEXT)

"""

#: Prints what was recorded so far, as [category, count, type].
RECORDED = """
import json
from rtx50_autoload.diagnosis.incidents import load_all
print(json.dumps([[i.diagnosis.category, i.count, i.exception_type] for i in load_all().incidents]))
"""


@pytest.fixture(scope="module", params=["fake", "real"])
def _venv(_make_session_venv, request) -> rig.Venv:
    return _make_session_venv(torch=request.param)


@pytest.fixture(scope="module")
def _fake(_make_session_venv) -> rig.Venv:
    return _make_session_venv(torch="fake")


@pytest.fixture
def venv(_venv) -> rig.Venv:
    """The package beside the stand-in for torch, and beside the real one; nothing is recorded yet."""
    return forgetful(_venv)


@pytest.fixture
def fake(_fake) -> rig.Venv:
    return forgetful(_fake)


def forgetful(venv: rig.Venv) -> rig.Venv:
    for folder in ("state", "data"):
        shutil.rmtree(venv.home / folder, ignore_errors=True)
    return venv


def recorded(venv: rig.Venv) -> list[list[object]]:
    return json.loads(venv.run_code(RECORDED).stdout)


def note_in(text: str) -> list[str]:
    """Give the lines of ours in a traceback, which have to be its last."""
    lines = text[text.rfind("Traceback") :].rstrip().splitlines()
    ours = [line for line in lines if "rtx50-autoload:" in line]
    assert lines[len(lines) - len(ours) :] == ours, text
    return ours


def says_it_all(lines: list[str]) -> bool:
    return (
        2 <= len(lines) <= 4
        and all(line.startswith("rtx50-autoload: ") for line in lines)
        and "12.0" in "".join(lines)
        and "Run: rtx50-autoload incidents show " in lines[-1]
    )


WAYS = {
    "uncaught": "launch()",
    "uncaught, an older torch": "launch(RuntimeError)",
    "a thread": """
        import threading
        thread = threading.Thread(target=launch)
        thread.start()
        thread.join()
        """,
    "a thread, an older torch": """
        import threading
        thread = threading.Thread(target=launch, args=(RuntimeError,))
        thread.start()
        thread.join()
        """,
    "logging.exception": """
        import logging
        try:
            launch()
        except Exception:
            logging.exception("the framework goes on")
        """,
    "traceback.print_exc": """
        import traceback
        try:
            launch()
        except Exception:
            traceback.print_exc()
        """,
    "asyncio, a callback": """
        import asyncio
        async def main():
            asyncio.get_running_loop().call_soon(launch, RuntimeError)
            await asyncio.sleep(0)
        asyncio.run(main())
        """,
    "asyncio, a task nobody waits for": """
        import asyncio, gc
        async def fail():
            launch(RuntimeError)
        async def main():
            task = asyncio.ensure_future(fail())
            await asyncio.sleep(0)
            del task
            gc.collect()
        asyncio.run(main())
        """,
    "guard()": """
        import rtx50_autoload, traceback
        try:
            with rtx50_autoload.guard():
                launch(RuntimeError)
        except RuntimeError:
            traceback.print_exc()
        """,
}


@pytest.mark.parametrize("way", WAYS)
def test_a_traceback_ends_with_our_note_and_the_incident_is_recorded(venv, way):
    result = venv.run_code(DEVICE_ERROR + textwrap.dedent(WAYS[way]), env=SIMULATED, check=False)
    assert says_it_all(note_in(result.stderr)), result.stderr
    ((category, count, kind),) = recorded(venv)
    assert (category, count) == ("no_kernel_image", 1)
    assert kind in {"AcceleratorError", "RuntimeError"}


@pytest.mark.parametrize("way", WAYS)
def test_without_the_note_each_way_prints_what_it_prints_without_us(venv, way):
    code = DEVICE_ERROR + textwrap.dedent(WAYS[way])
    ours, stock = (venv.run_code(code, env=env, check=False) for env in (SIMULATED, {"RTX50_DISABLE": "1"}))
    without_note = [line for line in ours.stderr.splitlines() if not line.startswith("rtx50-autoload:")]
    assert numberless(without_note) == numberless(stock.stderr.splitlines())
    assert (ours.stdout, ours.returncode) == (stock.stdout, stock.returncode)


def numberless(lines: list[str]) -> list[str]:
    """Leave out addresses, and the frame that stands for the error's birth on Python 3.10."""
    return [line.partition(" at 0x")[0] for line in lines]


def test_the_error_keeps_type_arguments_identity_and_traceback(venv):
    code = (
        DEVICE_ERROR
        + """
import copy, pickle, traceback
error = torch.AcceleratorError(TEXT)
try:
    try:
        raise error
    except RuntimeError as caught:
        assert caught is error
        raise
except Exception as caught:
    frames = [frame.name for frame in traceback.extract_tb(caught.__traceback__)]
    print(caught is error, type(caught) is torch.AcceleratorError, caught.args == (TEXT,), str(caught) == TEXT, frames)
for again in (copy.copy(error), pickle.loads(pickle.dumps(error))):
    print(type(again) is torch.AcceleratorError, again.args == error.args)

class Derived(torch.AcceleratorError):
    def __init__(self, code, *rest):
        super().__init__(*rest)
        self.error_code = code
print(Derived(209, "a", 2).args, Derived(209).error_code)
print(torch.AcceleratorError().args, torch.AcceleratorError(1, 2).args)
print(repr(torch.AcceleratorError("x")), torch.AcceleratorError.__mro__[1].__name__)
try:
    torch.AcceleratorError("x", code=1)
except TypeError as refused:
    print(refused)
try:
    raise torch.AcceleratorError(TEXT) from ValueError("why")
except RuntimeError as caught:
    print(repr(caught.__cause__), caught.__suppress_context__)
"""
    )
    ours, stock = (venv.run_code(code, env=env) for env in (SIMULATED, {"RTX50_DISABLE": "1"}))
    assert ours.stdout == stock.stdout
    assert ours.stdout.startswith("True True True True ['<module>']")
    assert ours.stderr == stock.stderr


def test_an_error_is_noted_once_however_often_it_is_raised(venv):
    code = (
        DEVICE_ERROR
        + """
import rtx50_autoload
def again():
    with rtx50_autoload.guard():
        try:
            launch()
        except RuntimeError as error:
            raise error
try:
    with rtx50_autoload.guard():
        again()
except RuntimeError as error:
    raise ValueError("the framework failed") from error
"""
    )
    stderr = venv.run_code(code, env=SIMULATED, check=False).stderr
    assert stderr.count("Run: rtx50-autoload") == 1, stderr
    assert "ValueError: the framework failed" in stderr


def test_an_error_that_holds_the_workers_traceback_and_lends_its_notes_shows_them_once(fake):
    # As Ray makes it: the class is both, the text is the worker's traceback, all else is asked of the cause.
    code = """
import traceback
class Task(torch.AcceleratorError):
    def __init__(self, cause):
        self.cause, self.text = cause, "".join(traceback.format_exception(cause))
    def __str__(self):
        return self.text
    def __getattr__(self, name):
        return getattr(self.cause, name)
try:
    launch()
except torch.AcceleratorError as error:
    sys.excepthook(type(error), error, error.__traceback__)  # the worker's
    task = Task(error)
raise task
"""
    result = fake.run_code(DEVICE_ERROR + code, env=SIMULATED, check=False)
    assert result.returncode == 1
    assert result.stderr.count("Run: rtx50-autoload incidents show") == 2, result.stderr  # the worker's, and the task's


def test_the_cause_of_an_uncaught_error_is_looked_into(venv):
    code = (
        DEVICE_ERROR
        + """
try:
    launch(RuntimeError)
except RuntimeError as error:
    raise KeyError("the framework failed") from error
"""
    )
    stderr = venv.run_code(code, env=SIMULATED, check=False).stderr
    places = [stderr.index(text) for text in ("RuntimeError: CUDA", "Run: rtx50-autoload", "KeyError: 'the framework")]
    # Python 3.10 shows no notes: ours is said after the traceback.
    assert places == sorted(places) or sys.version_info < (3, 11)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python has groups of exceptions from 3.11 on")
def test_the_members_of_a_group_are_looked_into(venv):
    code = (
        DEVICE_ERROR
        + """
try:
    launch(RuntimeError)
except RuntimeError as error:
    kept = error
raise ExceptionGroup("several", [ValueError("other"), ExceptionGroup("inner", [kept])])
"""
    )
    stderr = venv.run_code(code, env=SIMULATED, check=False).stderr
    assert stderr.count("Run: rtx50-autoload") == 1, stderr


def test_the_same_error_again_gets_the_note_and_is_recorded_once(venv):
    code = (
        DEVICE_ERROR
        + """
import sys
notes = set()
for _ in range(100):
    try:
        launch()
    except RuntimeError as error:
        notes.add(tuple(error.__notes__))
print(len(notes))
"""
    )
    assert venv.run_code(code, env=SIMULATED).stdout == "1\n"
    assert [count for _, count, _ in recorded(venv)] == [1]


def test_threads_that_fail_at_once_all_get_the_note_of_one_diagnosis(venv):
    code = (
        DEVICE_ERROR
        + """
import threading
notes, barrier = [], threading.Barrier(8)
def fail():
    barrier.wait()
    try:
        launch()
    except RuntimeError as error:
        notes.append(tuple(error.__notes__))
threads = [threading.Thread(target=fail) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len(notes), len(set(notes)))
"""
    )
    assert venv.run_code(code, env=SIMULATED).stdout == "8 1\n"
    assert [count for _, count, _ in recorded(venv)] == [1]


def test_the_diagnosis_is_told_which_code_called(venv, tmp_path):
    folder = tmp_path / "site-packages" / "xformers"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("def attention(launch):\n    launch()\n")
    code = (
        DEVICE_ERROR
        + """
sys.path.insert(0, "site-packages")
import xformers
xformers.attention(launch)
"""
    )
    result = venv.run_code(code, env=SIMULATED, cwd=tmp_path, check=False)
    assert "xformers" in "".join(note_in(result.stderr)), result.stderr


UNRELATED = """
import rtx50_autoload
def unrelated():
    yield ValueError("invalid literal for int() with base 10: 'x'")
    yield KeyError("cuda")
    yield RuntimeError("dictionary changed size during iteration")
    yield FileNotFoundError(2, "No such file or directory", "model.safetensors")
    yield ModuleNotFoundError("No module named 'xformers'", name="xformers")
    yield type("Custom", (Exception,), {"__str__": lambda self: 1 / 0})()
    yield type("Custom", (RuntimeError,), {"__str__": lambda self: 1 / 0})()
    yield torch.AcceleratorError("something else")
"""


def test_for_an_unrelated_error_nothing_is_imported_and_nothing_said(venv):
    code = (
        DEVICE_ERROR
        + UNRELATED
        + """
guard = rtx50_autoload.guard()
before = set(sys.modules)
for error in unrelated():
    try:
        with guard:
            raise error
    except Exception as caught:
        assert caught is error and not hasattr(caught, "__notes__")
print(sorted(set(sys.modules) - before))
import _rtx50_autoload_importlib_bootstrap as hook
assert hook.faults == []
raise next(unrelated())
"""
    )
    ours, stock = (
        venv.run_code(code, env=env, check=False) for env in (SIMULATED, {**SIMULATED, "RTX50_DISABLE": "1"})
    )
    assert ours.stderr == stock.stderr
    assert ours.stdout == "[]\n"
    assert recorded(venv) == []


def test_what_ends_a_program_on_purpose_is_never_looked_into(venv):
    for statement, code in (("sys.exit('CUDA error')", 1), ("raise KeyboardInterrupt('CUDA error')", None)):
        program = f"{DEVICE_ERROR}import rtx50_autoload\nwith rtx50_autoload.guard():\n    {statement}"
        result = venv.run_code(program, env=SIMULATED, check=False)
        assert "rtx50-autoload" not in result.stderr
        assert result.returncode == code or code is None
    assert recorded(venv) == []


def test_quiet_says_nothing_and_the_incident_is_recorded_all_the_same(venv):
    result = venv.run_code(DEVICE_ERROR + "launch()", env={**SIMULATED, "RTX50_QUIET": "1"}, check=False)
    assert "rtx50-autoload" not in result.stderr
    assert [category for category, *_ in recorded(venv)] == ["no_kernel_image"]


def test_observe_diagnoses_all_the_same(venv):
    result = venv.run_code(DEVICE_ERROR + "launch()", env={**SIMULATED, "RTX50_MODE": "observe"}, check=False)
    assert says_it_all(note_in(result.stderr))


def test_switched_off_nothing_happens(venv):
    code = DEVICE_ERROR + "import rtx50_autoload\nwith rtx50_autoload.guard():\n    launch()"
    result = venv.run_code(code, env={**SIMULATED, "RTX50_DISABLE": "1"}, check=False)
    assert "rtx50-autoload:" not in result.stderr
    assert recorded(venv) == []


def test_control_characters_of_others_do_not_reach_the_terminal(venv, tmp_path):
    folder = tmp_path / "site-packages" / "x\x1b[2J"
    folder.mkdir(parents=True)
    (folder / "evil.py").write_text("def attention(launch):\n    launch()\n")
    code = DEVICE_ERROR + "sys.path.insert(0, 'site-packages/x\\x1b[2J')\nimport evil\nevil.attention(launch)"
    stderr = venv.run_code(code, env=SIMULATED, cwd=tmp_path, check=False).stderr
    assert not any("\x1b" in line for line in stderr.splitlines() if line.startswith("rtx50-autoload:"))


def test_eight_processes_that_crash_at_once_make_one_incident_and_one_note(venv):
    environment = venv.environment(SIMULATED)
    children = [
        subprocess.Popen(
            [venv.python, "-c", DEVICE_ERROR + "launch()"],
            env={**environment, "RANK": str(rank), "WORLD_SIZE": "8"},
            cwd=venv.home,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(8)
    ]
    outputs = [child.communicate(timeout=rig.TIMEOUT)[1] for child in children]
    assert all("no kernel image" in output for output in outputs)
    assert sum("Run: rtx50-autoload" in output for output in outputs) == 1, outputs
    assert recorded(venv) == [["no_kernel_image", 8, "AcceleratorError"]]


def test_the_hooks_of_others_are_called_and_ours_go_away(venv):
    code = (
        DEVICE_ERROR
        + """
import asyncio, threading, traceback
import rtx50_autoload
rtx50_autoload.deactivate()
def state():
    loop = asyncio.BaseEventLoop
    return [
        sys.excepthook, threading.excepthook, dict(vars(torch.AcceleratorError)), dict(vars(loop)),
        dict(vars(traceback.TracebackException)), hook.watched,
    ]
import _rtx50_autoload_importlib_bootstrap as hook
stock = state()
assert stock[:2] == [sys.__excepthook__, threading.__excepthook__], stock
called = []
sys.excepthook = theirs = lambda *args: called.append(args[1])
threading.excepthook = theirs_of_threads = lambda args: called.append(args.exc_value)
for _ in range(3):
    rtx50_autoload.activate()
    assert sys.excepthook is not theirs and len(state()[-1]) > len(stock[-1])
    try:
        launch(RuntimeError)
    except RuntimeError as error:
        sys.excepthook(type(error), error, error.__traceback__)
        assert called.pop() is error and error.__notes__
    thread = threading.Thread(target=launch, args=(RuntimeError,))
    thread.start(); thread.join()
    assert called.pop().__notes__
    rtx50_autoload.deactivate()
    assert sys.excepthook is theirs and threading.excepthook is theirs_of_threads
    assert state()[2:] == stock[2:] and state()[-1] is stock[-1]
print("restored")
"""
    )
    assert venv.run_code(code, env=SIMULATED).stdout == "restored\n"


def test_a_hook_chained_on_ours_stays_and_ours_passes_everything_on(venv):
    code = (
        DEVICE_ERROR
        + """
import rtx50_autoload
ours, called = sys.excepthook, []
def theirs(*args):
    called.append(args[1])
    ours(*args)
sys.excepthook = theirs
own_init = torch.AcceleratorError.__init__
def their_init(self, *args):
    own_init(self, *args)
    self.theirs = True
torch.AcceleratorError.__init__ = their_init
rtx50_autoload.deactivate()
assert sys.excepthook is theirs and torch.AcceleratorError.__init__ is their_init
try:
    launch()
except RuntimeError as error:
    assert error.theirs and error.args == (TEXT,) and not hasattr(error, "__notes__")
rtx50_autoload.activate()
launch()
"""
    )
    result = venv.run_code(code, env=SIMULATED, check=False)
    assert says_it_all(note_in(result.stderr)), result.stderr
    assert result.stderr.count("Traceback") == 1


def test_status_names_the_ways_that_are_open(venv):
    code = """
import asyncio, torch, rtx50_autoload
import _rtx50_autoload_importlib_bootstrap as hook
print(rtx50_autoload.status()["error_hooks"])
rtx50_autoload.deactivate()
print(rtx50_autoload.status()["error_hooks"], hook.faults)
"""
    here, gone = venv.run_code(code, env=SIMULATED).stdout.splitlines()
    for name in ("sys.excepthook", "threading.excepthook", "torch.AcceleratorError.__init__", "asyncio.BaseEventLoop"):
        assert name in here
    assert gone == "[] []"


def test_asyncio_that_comes_later_than_torch_is_heard_of(fake):
    code = (
        DEVICE_ERROR
        + """
print("asyncio" in sys.modules)
import asyncio
async def main():
    asyncio.get_running_loop().call_soon(launch, RuntimeError)
    await asyncio.sleep(0)
asyncio.run(main())
"""
    )
    result = fake.run_code(code, env=SIMULATED)
    assert result.stdout == "False\n"
    assert says_it_all(note_in(result.stderr))


def test_an_own_handler_of_a_loop_sees_the_note(venv):
    code = (
        DEVICE_ERROR
        + """
import asyncio
async def main():
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: print(len(context["exception"].__notes__)))
    loop.call_soon(launch, RuntimeError)
    await asyncio.sleep(0)
asyncio.run(main())
"""
    )
    assert venv.run_code(code, env=SIMULATED).stdout == "1\n"


GUARDED = """
import asyncio, traceback, rtx50_autoload

@rtx50_autoload.guard()
def function(kind, *, say="said"):
    "Its text."
    if kind is None:
        return say
    launch(kind)

@rtx50_autoload.guard()
async def coroutine(kind):
    await asyncio.sleep(0)
    return function(kind)

@rtx50_autoload.guard()
def generator(kind):
    got = yield 1
    yield got
    launch(kind)

def frames(error):
    return [frame.name for frame in traceback.extract_tb(error.__traceback__)]
"""


def test_the_decorator_guards_functions_coroutines_and_generators(venv):
    code = (
        DEVICE_ERROR
        + GUARDED
        + """
print(function.__name__, function.__doc__, function(None, say="yes"), asyncio.run(coroutine(None)))
print(asyncio.iscoroutinefunction(coroutine))
running = generator(RuntimeError)
print(next(running), running.send(2))
for call in (lambda: function(RuntimeError), lambda: asyncio.run(coroutine(RuntimeError)), lambda: next(running)):
    try:
        call()
    except RuntimeError as error:
        print(len(error.__notes__), type(error) is RuntimeError, error.args == (TEXT,))
try:
    function(RuntimeError)
except RuntimeError as error:
    print("run" in frames(error), frames(error)[-2:])
"""
    )
    lines = venv.run_code(code, env=SIMULATED).stdout.splitlines()
    assert lines[:3] == ["function Its text. yes said", "True", "1 2"]
    assert lines[3:6] == ["1 True True"] * 3
    # Python 3.10 puts the frame back when the error is raised again.
    assert lines[6] == f"{sys.version_info < (3, 11)} ['function', 'launch']"


def test_a_guard_works_before_torch_is_imported(fake):
    code = """
import rtx50_autoload
try:
    with rtx50_autoload.guard():
        raise RuntimeError("CUDA error: no kernel image is available for execution on the device")
except RuntimeError as error:
    print(len(error.__notes__))
"""
    assert fake.run_code(code, env=SIMULATED).stdout == "1\n"
