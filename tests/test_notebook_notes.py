"""IPython and Jupyter show our note: in a shell, in a notebook's kernel, in every mode of tracebacks."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

import rig
from test_error_notes import DEVICE_ERROR, SIMULATED, recorded

if TYPE_CHECKING:
    from conftest import MakeVenv

#: One that shows notes by itself, and the last one for Python 3.10 and older tools that does not.
VERSIONS = ("ipython", "ipython==8.12.3")
MODES = ("Context", "Plain", "Verbose", "Minimal")

SHELL = """
import sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_cell(sys.argv[1])
for mode in sys.argv[3:]:
    shell.run_line_magic("xmode", mode)
    print("MODE")
    shell.run_cell(sys.argv[2])
shell.run_cell("1 / 0")
shell.run_cell("import rtx50_autoload; print(rtx50_autoload.status()['error_hooks'])")
"""


@pytest.fixture(scope="module", params=VERSIONS)
def venv(_make_session_venv: MakeVenv, request: pytest.FixtureRequest) -> rig.Venv:
    venv = _make_session_venv(torch="fake")
    # Old versions take distutils and imghdr from Python, which newer Pythons do not have.
    rig.uv_pip("install", venv, request.param, "setuptools")
    return venv


@pytest.mark.parametrize("kind", ["AcceleratorError", "RuntimeError"])
def test_the_note_stands_once_in_every_mode(venv, kind):
    raised = "launch()" if kind == "AcceleratorError" else "launch(RuntimeError)"
    result = venv.run(venv.python, "-c", SHELL, DEVICE_ERROR, raised, *MODES, env=SIMULATED)
    *shown, last = result.stdout.split("MODE\n")[1:]
    assert [part.count("Run: rtx50-autoload incidents show ") for part in (*shown, last)] == [1] * len(MODES), result
    assert "ZeroDivisionError" in last
    assert "IPython.InteractiveShell._get_exc_info" in last


def test_an_ipython_that_comes_after_torch_is_heard_of(venv):
    code = "import torch\n" + SHELL
    result = venv.run(venv.python, "-c", code, DEVICE_ERROR, "launch(RuntimeError)", "Context", env=SIMULATED)
    assert "Run: rtx50-autoload incidents show " in result.stdout, rig.describe(result)


def test_deactivate_takes_the_changes_to_ipython_away(venv):
    code = """
import torch, rtx50_autoload
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.ultratb import AutoFormattedTB
def state():
    return InteractiveShell._get_exc_info, AutoFormattedTB.structured_traceback
ours = state()
rtx50_autoload.deactivate()
stock = state()
rtx50_autoload.activate()
print([a.__module__.partition(".")[0] for a in ours + stock + state()])
"""
    assert (
        venv.run_code(code, env=SIMULATED).stdout
        == f"{['rtx50_autoload'] * 2 + ['IPython'] * 2 + ['rtx50_autoload'] * 2}\n"
    )


def test_the_kernel_of_a_notebook_sends_the_note(make_venv):
    venv = make_venv(torch="fake")
    rig.uv_pip("install", venv, "nbclient", "ipykernel")
    notebook = {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {"kernelspec": {"name": "python3", "display_name": "python3"}},
        "cells": [
            {"cell_type": "code", "id": str(number), "metadata": {}, "source": source, "outputs": []}
            | {"execution_count": None}
            for number, source in enumerate((DEVICE_ERROR, "launch()", "launch(RuntimeError)", "1 / 0"))
        ],
    }
    code = """
import json, sys, nbclient, nbformat
notebook = nbformat.reads(sys.argv[1], as_version=4)
nbclient.NotebookClient(notebook, allow_errors=True, kernel_name="python3").execute()
print(json.dumps([[dict(output) for output in cell.outputs] for cell in notebook.cells]))
"""
    result = venv.run(venv.python, "-c", code, json.dumps(notebook), env=SIMULATED, check=True)
    first, device, older, unrelated = json.loads(result.stdout)
    assert [output for output in first if output["output_type"] == "error"] == []
    for outputs, name in ((device, "AcceleratorError"), (older, "RuntimeError")):
        (error,) = [output for output in outputs if output["output_type"] == "error"]
        assert error["ename"] == name
        assert error["evalue"].startswith("CUDA error: no kernel image")
        assert "\n".join(error["traceback"]).count("Run: rtx50-autoload incidents show ") == 1
    (error,) = unrelated
    assert "rtx50" not in "\n".join(error["traceback"])
    # One for each type: the second cell's error is another one than the first one's.
    assert [category for category, *_ in recorded(venv)] == ["no_kernel_image"] * 2


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python has groups of exceptions from 3.11 on")
def test_a_group_of_errors_is_looked_into(venv):
    raised = "try:\n    launch(RuntimeError)\nexcept RuntimeError as error:\n    kept = error\n"
    raised += "raise ExceptionGroup('several', [kept])"
    result = venv.run(venv.python, "-c", SHELL, DEVICE_ERROR, raised, "Context", env=SIMULATED)
    assert "Run: rtx50-autoload incidents show " in result.stdout + result.stderr, rig.describe(result)
