"""Programs that are frozen, embedded, interactive or run on green threads: as without us, and the package active.

Not among the default tests: the tools are fetched, and freezing takes its time. The nox session `packaged`
runs it on Linux; a C compiler is needed for the embedded interpreter.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig

import pytest

import rig
from hostile import PROGRAM, Case, Side, Sides, make_sides

TOOLS = ("pyinstaller", "gevent", "ipython")

EMBEDDED = r"""
#include <Python.h>
int main(int argc, char **argv) {
    PyConfig config;
    PyConfig_InitPythonConfig(&config);
    config.site_import = atoi(argv[1]);
    PyConfig_SetBytesString(&config, &config.executable, argv[2]);
    PyConfig_SetBytesString(&config, &config.program_name, argv[2]);
    PyStatus status = Py_InitializeFromConfig(&config);
    PyConfig_Clear(&config);
    if (PyStatus_Exception(status)) Py_ExitStatusException(status);
    FILE *file = fopen("program.py", "r");
    int failed = PyRun_SimpleFileExFlags(file, "program.py", 1, NULL);
    return Py_FinalizeEx() < 0 ? 120 : failed ? 1 : 0;
}
"""


GEVENT = """
import gevent
def work():
    import torch
    gevent.sleep(0)
    library = {"__name__": "xformers", "torch": torch}
    return torch.cuda.get_device_capability(0), eval("torch.cuda.get_device_capability(0)", library)
greenlets = [gevent.spawn(work) for _ in range(20)]
gevent.joinall(greenlets)
print({greenlet.value[0] for greenlet in greenlets})
def fails(): raise ValueError("mine")
greenlet = gevent.spawn(fails)
greenlet.join()
print(repr(greenlet.exception))
"""


@pytest.fixture(scope="module")
def venvs(_make_session_venv):
    made = _make_session_venv("wheel", "fake", coverage=False), _make_session_venv(None, "fake", coverage=False)
    for venv in made:
        rig.uv_pip("install", venv, *TOOLS)
    return made


@pytest.fixture
def sides(venvs, tmp_path) -> Sides:
    return make_sides(*venvs, tmp_path)


def built(side: Side, script: str) -> None:
    (side.folder / "program.py").write_text(PROGRAM.format(before="", after=""))
    done = side.run(script, timeout=500)
    assert done.code == 0, done


@pytest.mark.parametrize("collected", [False, True])
def test_a_folder_of_pyinstaller(sides, collected):
    names = (rig.HOOK, rig.WATCHING, rig.SECOND_DOOR, "rtx50_autoload")
    for side in (sides.with_us, sides.without):
        ours = collected and side is sides.with_us
        options = " ".join(f"--collect-all {name} --copy-metadata rtx50-autoload" for name in names) if ours else ""
        built(side, f"$PYTHON -m PyInstaller --onedir --noconfirm --log-level ERROR {options} program.py")
    sides.compare(Case("exec dist/program/program", told=collected))


@pytest.mark.parametrize("with_site", [True, False])
@pytest.mark.parametrize("packages_on_path", [True, False])
def test_an_embedded_interpreter(sides, with_site, packages_on_path):
    compiler = shutil.which("cc")
    library = sysconfig.get_config_var("LIBDIR")
    if compiler is None or not os.path.exists(f"{library}/{sysconfig.get_config_var('LDLIBRARY')}"):  # noqa: PTH110
        pytest.skip("needs a C compiler and Python's own library")
    include = sysconfig.get_path("include")
    version = sysconfig.get_config_var("LDVERSION")
    for side in (sides.with_us, sides.without):
        (side.folder / "embedded.c").write_text(EMBEDDED)
        command = [compiler, "embedded.c", "-o", "embedded", f"-I{include}", f"-L{library}", f"-lpython{version}"]
        subprocess.run([*command, f"-Wl,-rpath,{library}"], cwd=side.folder, check=True)
    path = "PYTHONPATH=$PACKAGES " if packages_on_path else ""
    can_import = with_site or packages_on_path
    sides.compare(Case(f"{path}exec ./embedded {int(with_site)} $PYTHON", told=can_import))


@pytest.mark.parametrize("patched", ["", "import gevent.monkey; gevent.monkey.patch_all()"])
@pytest.mark.parametrize("torch_first", [False, True])
def test_greenlets_that_import_torch_at_once(sides, patched, torch_first):
    lines = ["import torch", patched] if torch_first else [patched]
    outcomes = []
    for side in (sides.with_us, sides.without):
        (side.folder / "program.py").write_text("\n".join([*lines, GEVENT]))
        outcomes.append(side.run("exec $PYTHON program.py"))
    ours, other = outcomes
    # gevent writes the time into what it says of an error.
    said = [re.sub(r"\d{4}-\d\d-\d\dT[\d:]+Z", "", text) for text in (ours.without_ours[1], other.stderr)]
    assert (ours.stdout, said[0], ours.code) == (other.stdout, said[1], other.code), outcomes
    assert len(ours.said) == 1


def test_ipython(sides):
    sides.compare(Case("exec $PYTHON -m IPython --no-banner --colors=NoColor program.py 2>/dev/null"))
