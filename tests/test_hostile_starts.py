"""Interpreter options, and the ways in which a program can be started."""

from __future__ import annotations

import sys

import pytest

from hostile import Case, make_sides

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the scripts are those of a POSIX shell")

#: What Python prints of its own with these options differs, as a module more is imported.
QUIETLY = "exec $PYTHON {} program.py 2>/dev/null"
BUILD_ZIP = "mkdir app; cp program.py app/__main__.py; $PYTHON -m zipapp app"

OPTIONS = ("-I", "-E", "-s", "-O", "-OO", "-B", "-u", "-b", "-bb", "-X dev", "-X utf8", "-W error", "-X faulthandler")
OPTIONS += ("-X frozen_modules=off", "-X frozen_modules=on", "-X pycache_prefix=elsewhere", "-X tracemalloc")
OPTIONS += ("-P", "-X no_debug_ranges") if sys.version_info >= (3, 11) else ()

VARIABLES = {
    "PYTHONSAFEPATH": "1",
    "PYTHONOPTIMIZE": "2",
    "PYTHONHASHSEED": "0",
    "PYTHONMALLOC": "debug",
    "PYTHONNOUSERSITE": "1",
    "PYTHONWARNINGS": "error",
    "PYTHONASYNCIODEBUG": "1",
    "PYTHONPYCACHEPREFIX": "/proc/nowhere",
    "PYTHONINTMAXSTRDIGITS": "640",
    "PYTHONPATH": "/nowhere:/etc/passwd",
}

FORBIDDEN = """
def hook(event, arguments):
    if event == {0!r} and {1!r} in str(arguments[0]): raise PermissionError("forbidden")
sys.addaudithook(hook)
"""
FORGET = "for name in [name for name in sys.modules if name.startswith('torch')]: del sys.modules[name]"
ALARM = (
    "import signal; signal.signal(signal.SIGALRM, lambda *_: None); signal.setitimer(signal.ITIMER_REAL, 1e-3, 1e-3)"
)

WAYS = {
    **{f"python {option}": Case(f"exec $PYTHON {option} program.py") for option in OPTIONS},
    **{f"{name}={value}": Case(env={name: value}) for name, value in VARIABLES.items()},
    "python -X importtime": Case(QUIETLY.format("-X importtime")),
    "python -v": Case(QUIETLY.format("-v")),
    "python -S": Case("exec $PYTHON -S program.py", told=False),
    "python -S, with site imported later": Case("exec $PYTHON -S program.py", before="import site; site.main()"),
    "python -S, with the folder of the packages": Case("PYTHONPATH=$PACKAGES exec $PYTHON -S program.py"),
    "python -c": Case('exec $PYTHON -c "$(cat program.py)" fail', noted=True),
    "python -m": Case("exec $PYTHON -m program fail", noted=True),
    "python -": Case("exec $PYTHON - fail < program.py", noted=True),
    "python < program": Case("exec $PYTHON < program.py"),
    "python -i": Case("echo 'print(6 * 7)' | $PYTHON -i -q program.py 2>/dev/null"),
    "interactive": Case("echo 'import program; 1/0' | $PYTHON -i -q 2>/dev/null"),
    "a folder with __main__": Case("mkdir app; mv program.py app/__main__.py; exec $PYTHON app fail", noted=True),
    "an archive": Case(f"{BUILD_ZIP}; exec $PYTHON app.pyz fail", noted=True),
    "an archive with an interpreter": Case(f"{BUILD_ZIP} -p $PYTHON; exec ./app.pyz fail", noted=True),
    "a file of byte code": Case(
        '$PYTHON -c \'import py_compile; py_compile.compile("program.py", "program.pyc")\'; exec $PYTHON program.pyc'
    ),
    "runpy.run_path": Case("exec $PYTHON -c 'import runpy; runpy.run_path(\"program.py\")'"),
    "runpy.run_module": Case("exec $PYTHON -c 'import runpy; runpy.run_module(\"program\", alter_sys=True)'"),
    "exec": Case("exec $PYTHON -c 'exec(open(\"program.py\").read())'"),
    "a link to the interpreter": Case("ln -s $PYTHON python; exec ./python -c 'import program'", told=False),
    "the interpreter of the base": Case(
        "PYTHONPATH=$PACKAGES exec $($PYTHON -c 'import sys; print(sys._base_executable)') program.py"
    ),
    "a debugger": Case("printf 'c\nq\n' | $PYTHON -m pdb program.py | grep -oE '(own|library) .*'"),
    "a profiler": Case("$PYTHON -m cProfile program.py | grep -E '^(own|library)'"),
    "a tracer": Case(
        "$PYTHON -m trace --count --coverdir=counts program.py fail | grep -E '^(own|library)'", noted=True
    ),
    "timeit": Case("exec $PYTHON -m timeit -n 1 -r 1 'import program' | grep -v loop"),
    "an audit hook that looks": Case(before="sys.addaudithook(lambda *_: None)"),
    "an audit hook that forbids to open files of ours": Case(
        before=FORBIDDEN.format("open", "rtx50_autoload/"), told=False
    ),
    "an audit hook that forbids to import ours": Case(before=FORBIDDEN.format("import", "rtx50"), told=False),
    "a tracing function": Case(before="sys.settrace(lambda *_: None)"),
    "a profiling function": Case(before="sys.setprofile(lambda *_: None)"),
    "a tracing function that fails": Case(
        "exec $PYTHON program.py 2>/dev/null", after="sys.settrace(lambda *_: 1/0)", told=None
    ),
    "faulthandler": Case(before="import faulthandler; faulthandler.enable()"),
    "sys.meta_path is cleared": Case(
        before="sys.meta_path[:] = [each for each in sys.meta_path if isinstance(each, type)]"
    ),
    "sys.meta_path is another list": Case(before="sys.meta_path = list(sys.meta_path)"),
    "our hook is no longer in sys.modules": Case(before="sys.modules.pop('_rtx50_autoload_importlib_bootstrap', 0)"),
    "all of ours is no longer in sys.modules": Case(
        after="for name in [name for name in sys.modules if 'rtx50' in name]: del sys.modules[name]"
    ),
    "torch is imported a second time": Case(after=FORGET + "\nimport torch"),
    "caches are forgotten": Case(
        before="import importlib; importlib.invalidate_caches(); sys.path_importer_cache.clear()"
    ),
    "importlib.metadata is blocked": Case(
        before="sys.modules['importlib.metadata'] = None; import os; os.environ['TORCH_DEVICE_BACKEND_AUTOLOAD'] = '0'",
        told=None,
    ),
    "builtins.__import__ is another": Case(
        before="import builtins; old = builtins.__import__; builtins.__import__ = lambda *a, **k: old(*a, **k)"
    ),
    "signals come while torch is imported": Case(before=ALARM),
    "garbage is collected all the time": Case(before="import gc; gc.set_threshold(1)"),
    "nobody may collect garbage": Case(before="import gc; gc.disable(); gc.freeze()"),
}


@pytest.fixture
def sides(with_fake_torch, fake_torch_alone, tmp_path):
    return make_sides(with_fake_torch, fake_torch_alone, tmp_path)


@pytest.mark.parametrize("case", WAYS.values(), ids=WAYS)
def test_a_program_runs_as_without_us_and_the_package_is_active(sides, case):
    sides.compare(case)


@pytest.mark.parametrize("command", ["--help", "plan", "explain program.py"])
def test_commands_need_no_docstrings(sides, command):
    (sides.with_us.folder / "program.py").write_text("RuntimeError: CUDA error: no kernel image is available")
    usual, bare = (sides.with_us.run(f"$PYTHON {option} -m rtx50_autoload {command}") for option in ("", "-OO"))
    assert (bare.stdout, bare.stderr, bare.code) == (usual.stdout, usual.stderr, usual.code)
