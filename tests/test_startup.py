"""What happens at every start of Python where the package is installed: as little as can be, and nothing to be seen."""

from __future__ import annotations

import ast
import base64
import csv
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

import rig

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import MakeVenv

# From CPython's test_site.StartupImportTests.test_startup_imports, which skips itself where there is any start-up file,
# and what made other packages' start-up files slow.
FORBIDDEN = {
    *("re", "_sre", "re._compiler", "re._constants", "re._parser", "sre_compile", "locale", "copyreg"),
    *("_collections", "collections", "functools", "heapq", "itertools", "keyword", "operator", "reprlib", "types"),
    *("weakref", "enum", "typing", "contextlib", "threading", "logging", "warnings", "importlib", "importlib.util"),
    *("importlib.machinery", "inspect", "json", "pathlib", "subprocess", "tempfile", "traceback", "__future__"),
} - set(sys.builtin_module_names)

SHOW_MODULES = "import sys; print(sorted(sys.modules))"


@pytest.fixture(scope="module", params=["wheel", "editable"])
def venv(request: pytest.FixtureRequest, _make_session_venv: MakeVenv) -> rig.Venv:
    return _make_session_venv(request.param, coverage=False)


@pytest.fixture(scope="module")
def bare(_make_session_venv: MakeVenv) -> rig.Venv:
    """An environment whose start-up file does nothing: from 3.13 on any such file loads the codec that reads it."""
    venv = _make_session_venv(None, coverage=False)
    (venv.site_packages / "nothing.pth").write_text("# nothing\n")
    return venv


def modules(venv: rig.Venv, *options: str, **environment: str) -> set[str]:
    venv.run_code("pass", *options, env=environment)  # so that there is byte code
    result = venv.run_code(SHOW_MODULES, *options, env=environment)
    assert result.stderr == ""
    return set(ast.literal_eval(result.stdout))


def record(venv: rig.Venv) -> dict[str, str]:
    (path,) = venv.site_packages.glob("rtx50_autoload-*.dist-info/RECORD")
    with path.open(newline="", encoding="utf-8") as file:
        return {row[0]: row[1] for row in csv.reader(file)}


def test_the_start_up_file_is_one_plain_import_line():
    text = (rig.ROOT / rig.PTH).read_text(encoding="ascii")
    assert re.fullmatch(rf"import {rig.HOOK}; {rig.HOOK}\.install\(\)\n?", text)
    assert not re.search(r"exec|eval|lambda|compile|__import__|base64|codecs|getattr", text)


def test_the_start_up_file_sorts_after_the_path_file_of_an_editable_install(venv: rig.Venv):
    assert max(path.name for path in venv.site_packages.glob("*.pth")) == rig.PTH


@pytest.mark.parametrize("name", [rig.PTH, f"{rig.HOOK}.py", f"{rig.WATCHING}.py"])
def test_the_files_stand_at_the_root_of_site_packages_and_are_recorded(venv: rig.Venv, name: str):
    source = rig.ROOT / name if name == rig.PTH else rig.ROOT / "src" / name
    installed = (venv.site_packages / name).read_bytes()
    assert installed == source.read_bytes()
    digest = base64.urlsafe_b64encode(hashlib.sha256(installed).digest()).rstrip(b"=").decode()
    assert record(venv)[name] == f"sha256={digest}"


def test_the_wheel_holds_the_files_once_at_its_root(wheel: Path):
    names = zipfile.ZipFile(wheel).namelist()
    assert [name for name in names if name.endswith(".pth")] == [rig.PTH]
    assert sorted(name for name in names if rig.HOOK in name) == [f"{rig.HOOK}.py", f"{rig.WATCHING}.py"]


def test_the_entry_point_names_the_module_that_is_removed_last(installed: rig.Venv):
    result = installed.run_code("""
        from importlib.metadata import entry_points
        (entry,) = entry_points(group="torch.backends")
        print(entry.name, entry.value)
        entry.load()
    """)
    assert result.stdout == "rtx50_autoload rtx50_autoload_second_door:torch_backend\n"


@pytest.mark.parametrize("options", [(), ("-I",), ("-E",), ("-s",), ("-u",), ("-O",)], ids=str)
def test_one_module_is_loaded_and_nothing_that_python_would_not_load_itself(
    venv: rig.Venv, bare: rig.Venv, options: tuple[str, ...]
):
    assert modules(venv, *options) - modules(bare, *options) == {rig.HOOK}
    assert modules(bare, *options) <= modules(venv, *options)


def test_none_of_the_modules_that_slow_start_up_files_load_is_loaded(venv: rig.Venv, bare: rig.Venv):
    loaded = modules(venv, "-I")
    assert loaded & FORBIDDEN == modules(bare, "-I") & FORBIDDEN


def test_importtime_shows_one_module_of_ours(venv: rig.Venv):
    result = venv.run("-X", "importtime", "-c", "pass", check=True)
    ours = [line for line in result.stderr.splitlines() if "rtx50" in line]
    assert len(ours) == 1
    assert ours[0].endswith(rig.HOOK)


@pytest.mark.parametrize("options", [(), ("-I",), ("-E",), ("-s",), ("-W", "error")], ids=str)
def test_one_finder_stands_first_and_nothing_is_printed(venv: rig.Venv, options: tuple[str, ...]):
    code = f"import sys; m = sys.modules['{rig.HOOK}']; print(sys.meta_path.index(m), sys.meta_path.count(m), m.door)"
    result = venv.run_code(code, *options)
    assert (result.stdout, result.stderr) == ("0 1 pth\n", "")


def test_nothing_runs_where_python_leaves_out_start_up_files(venv: rig.Venv):
    result = venv.run_code(SHOW_MODULES, "-S")
    assert rig.HOOK not in result.stdout
    assert "'sys'" in result.stdout
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("value", "off"), [("1", True), ("true", True), ("YES", True), ("on", True), ("", False), ("0", False)]
)
def test_switching_off_by_the_environment_leaves_no_finder(venv: rig.Venv, value: str, off: bool):
    result = venv.run_code(
        f"import sys; print(sys.modules['{rig.HOOK}'] in sys.meta_path, sys.modules['{rig.HOOK}'].door)",
        env={"RTX50_DISABLE": value},
    )
    assert (result.stdout, result.stderr) == (f"{not off} {None if off else 'pth'}\n", "")
    assert modules(venv, RTX50_DISABLE=value) == modules(venv)


def test_no_file_is_written_at_start_up(venv: rig.Venv):
    venv.run_code("pass")
    before = venv.snapshot()
    venv.run_code("import json, argparse, subprocess")
    assert venv.snapshot() == before


def test_python_ends_as_it_did(venv: rig.Venv):
    result = venv.run_code("import sys, atexit; atexit.register(print, 'bye'); sys.exit(5)", check=False)
    assert (result.returncode, result.stdout, result.stderr) == (5, "bye\n", "")


def test_what_is_not_a_program_of_python_code_gets_no_output_either(venv: rig.Venv):
    for arguments in (("--version",), ("-m", "site", "--user-base"), ("-m", "json.tool", os.devnull)):
        result = venv.run(venv.python, "-X", "dev", *arguments)
        assert "rtx50" not in result.stdout + result.stderr, rig.describe(result)


def test_a_moved_checkout_is_not_heard_of_at_start_up(make_venv: MakeVenv, tmp_path: Path):
    source = tmp_path / "checkout"
    files = ("pyproject.toml", "README.md", "LICENSE", "src", rig.PTH)
    for name in files:
        copy = shutil.copytree if (rig.ROOT / name).is_dir() else shutil.copy2
        copy_to = source / name
        copy_to.parent.mkdir(exist_ok=True)
        copy(rig.ROOT / name, copy_to)
    venv = make_venv("editable", source=source, coverage=False)
    where = venv.run_code("import rtx50_autoload; print(rtx50_autoload.__file__)").stdout
    assert where.startswith(str(source))
    source.rename(tmp_path / "elsewhere")
    (tmp_path / "torch.py").write_text("print('torch')")
    result = venv.run_code("import torch", cwd=tmp_path)
    # From 3.15 on, Python itself remarks that a path is gone which the build backend has written down.
    heard = [line for line in result.stderr.splitlines() if "_editable_impl_rtx50_autoload.pth: " not in line]
    assert (result.stdout, heard) == ("torch\n", [])


@pytest.mark.parametrize("install", ["wheel", "editable"])
@pytest.mark.parametrize("remover", ["pip", "uv"])
def test_uninstalling_leaves_nothing_of_ours_behind(make_venv: MakeVenv, install: str, remover: str):
    venv = make_venv(install, torch="fake", coverage=False)
    venv.run_code("import torch, rtx50_autoload")
    assert any("rtx50" in path for path in venv.snapshot())
    if remover == "pip":
        rig.tool([sys.executable, "-m", "pip", "--python", str(venv.python), "uninstall", "-qy", "rtx50-autoload"])
    else:
        rig.uv_pip("uninstall", venv, "rtx50-autoload")
    ours = [path for top in (venv.root, venv.home) for path in top.rglob("*") if "rtx50" in path.name.replace("-", "_")]
    # uv leaves the byte code of every package's top-level modules; Python does not run it without the source.
    assert [path for path in ours if remover == "pip" or path.suffix != ".pyc"] == []
    result = venv.run_code("import sys, torch; print([name for name in sys.modules if 'rtx50' in name])")
    assert (result.stdout, result.stderr) == ("[]\n", "")


def test_the_two_environments_of_two_installs_do_not_know_of_each_other(venv: rig.Venv, bare: rig.Venv):
    assert rig.HOOK in modules(venv)
    assert rig.HOOK not in modules(bare)


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="counts instructions: valgrind is not on the PATH")
@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the ceiling is one for Python 3.11")
def test_the_start_costs_at_most_1_200_000_instructions(tmp_path: Path):
    command = [sys.executable, str(rig.ROOT / "benchmarks" / "startup.py"), "--only-ours", "--results", str(tmp_path)]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    assert result.returncode == 0, rig.describe(result)
    (rows,) = json.loads((tmp_path / "startup.json").read_text(encoding="utf-8"))["raw"].values()
    # An empty module that is found and loaded costs half of it: less would mean that nothing was measured.
    assert 500_000 < rows["rtx50-autoload"] < 1_200_000, rows
    assert rows["rtx50-autoload, RTX50_DISABLE=1"] <= rows["rtx50-autoload"] + 100_000, rows
