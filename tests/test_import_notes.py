"""Imports that fail: which get a note, and what a program sees of it beside the note."""

from __future__ import annotations

import json
import os
import shutil
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

from test_error_notes import SIMULATED, forgetful, note_in, recorded

if TYPE_CHECKING:
    from pathlib import Path

    import rig

#: What the loader says where a library of CUDA is missing.
MISSING = "libcudart.so.12: cannot open shared object file: No such file or directory"

CAUGHT = """
import json, sys, traceback
try:
    import {module}
except Exception as error:
    values = [
        type(error).__name__, list(error.args), getattr(error, "name", None), getattr(error, "path", None),
        [frame.name + ":" + str(frame.lineno) for frame in traceback.extract_tb(error.__traceback__)],
        "{module}" in sys.modules,
    ]
    print(json.dumps(values))
    print(json.dumps(list(getattr(error, "__notes__", []))))
"""


@pytest.fixture(scope="module")
def _venv(_make_session_venv) -> rig.Venv:
    venv = _make_session_venv(torch="fake")
    failing(venv.site_packages / "xformers", "import torch")
    failing(venv.site_packages / "xformers" / "ops", f"raise ImportError({MISSING!r}, name='_C', path='/x/_C.so')")
    failing(venv.site_packages / "flash_attn", f"import torch\nraise OSError({MISSING!r})")
    failing(
        venv.site_packages / "transformers", "import torch\ntry:\n    import xformers.ops\nexcept ImportError: pass"
    )
    failing(venv.site_packages / "diffusers", "import torch\nimport xformers.ops")
    failing(venv.site_packages / "torchvision", "import torch\nraise RuntimeError('it rains')")
    return venv


def failing(package: Path, source: str) -> None:
    package.mkdir()
    (package / "__init__.py").write_text(source + "\n", encoding="utf-8")


@pytest.fixture
def venv(_venv) -> rig.Venv:
    return forgetful(_venv)


@pytest.mark.parametrize("module", ["xformers.ops", "flash_attn"])
def test_an_uncaught_failure_of_a_watched_import_ends_with_our_note(venv, module):
    result = venv.run_code(f"import {module}", check=False)
    assert "libcudart.so.12" in "".join(note_in(result.stderr)), result.stderr
    assert note_in(result.stderr)[-1].startswith("rtx50-autoload: Run: rtx50-autoload incidents show ")
    ((category, count, _),) = recorded(venv)
    assert (category, count) == ("missing_shared_library", 1)


@pytest.mark.parametrize("module", ["xformers.ops", "flash_attn"])
def test_a_caught_failure_has_the_note_and_is_otherwise_as_without_us(venv, module):
    ours, stock = (
        venv.run_code(CAUGHT.format(module=module), env=env).stdout.splitlines() for env in ({}, {"RTX50_DISABLE": "1"})
    )
    if sys.version_info >= (3, 11):
        assert ours[0] == stock[0]
    else:  # a frame that re-raises stays in the traceback there
        assert json.loads(ours[0])[:4] == json.loads(stock[0])[:4]
    (note,) = json.loads(ours[1])
    assert note.startswith("rtx50-autoload: ")
    assert stock[1] == "[]"


def test_a_failure_that_a_library_swallows_costs_nothing_and_is_not_recorded(venv):
    code = "import transformers, sys\nprint('rtx50_autoload.diagnosis.classifier' in sys.modules)"
    result = venv.run_code(code)
    assert (result.stdout, result.stderr) == ("False\n", "")
    assert recorded(venv) == []


def test_a_failure_that_a_library_lets_pass_is_noted_once_nobody_catches_it(venv):
    result = venv.run_code("import diffusers", check=False)
    assert "libcudart.so.12" in "".join(note_in(result.stderr)), result.stderr
    assert [count for _, count, _ in recorded(venv)] == [1]


def test_a_failure_of_which_nothing_is_known_is_left_alone(venv):
    assert venv.run_code(CAUGHT.format(module="torchvision")).stdout.splitlines()[1] == "[]"
    ours, stock = (
        venv.run_code("import torchvision", env=env, check=False).stderr for env in ({}, {"RTX50_DISABLE": "1"})
    )
    assert ours == stock or sys.version_info < (3, 11)
    assert recorded(venv) == []


@pytest.mark.parametrize("module", ["vllm", "triton", "nowhere"])
def test_a_package_that_is_not_installed_is_none_of_our_business(venv, module):
    result = venv.run_code(f"import torch\nimport {module}", check=False)
    assert "ModuleNotFoundError" in result.stderr
    assert "rtx50-autoload:" not in result.stderr
    assert recorded(venv) == []


def test_a_torch_that_cannot_be_imported_is_diagnosed(make_venv):
    venv = make_venv()
    failing(venv.site_packages / "torch", f"raise ImportError({MISSING!r})")
    result = venv.run_code("import torch", check=False)
    assert "libcudart.so.12" in "".join(note_in(result.stderr)), result.stderr


def test_real_xformers_without_its_cuda_library_names_it_and_the_package_that_brings_it(make_venv):
    wheel = os.environ.get("RTX50_TEST_XFORMERS")
    if not wheel:
        pytest.skip("needs a wheel of xformers 0.0.34: RTX50_TEST_XFORMERS is not set to its path")
    venv = make_venv(torch="real")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(venv.site_packages)
    # Without a GPU the first step would be to do without one.
    result = venv.run_code("import xformers.ops", env=SIMULATED, check=False)
    ours = "".join(note_in(result.stderr))
    assert "libcudart.so.12" in ours, result.stderr
    assert "nvidia-cuda-runtime-cu12" in ours, result.stderr
    shutil.rmtree(venv.site_packages / "xformers")
