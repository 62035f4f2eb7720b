"""Two versions in one place, one after the other or both at once: Python starts without a word, and torch is imported.

`tests/earlier_hooks` holds every earlier text of the start-up module, by the commit that brought it; the start-up file
and the names in it have always been the same. The nox session `upgrades` installs real wheels of earlier commits.
"""

from __future__ import annotations

import csv
import json
import shutil
import sys
from pathlib import Path

import pytest

import rig

SIMULATED = {"RTX50_SIMULATE": "12.0"}
EARLIER = sorted((Path(__file__).parent / "earlier_hooks").glob("*.txt"))
SECOND_DOOR = f"{rig.SECOND_DOOR}.py"

LOOK = f"""
import sys, torch
hook = sys.modules.get("{rig.HOOK}")
told = eval("torch.cuda.get_device_capability(0)", {{"__name__": "xformers", "torch": torch}})
print(told, sys.meta_path.count(hook), hook.faults)
"""


@pytest.fixture
def venv(make_venv):
    return make_venv(torch="fake", coverage=False)


def replace(path, content):
    # An installed file may share its inode with the installer's cache.
    path.unlink()
    path.write_bytes(content)


def is_silent(venv, **options):
    """Start Python with nothing to do, and with torch to import."""
    __tracebackhide__ = True
    for code in ("pass", "import torch"):
        result = venv.run_code(code, **options)
        assert (result.stdout, result.stderr) == ("", "")


def removal_order(venv):
    """Give what pip and uv remove, in their order: that of the names."""
    (record,) = venv.site_packages.glob("rtx50_autoload-*.dist-info/RECORD")
    with record.open(newline="", encoding="utf-8") as file:
        return sorted(row[0] for row in csv.reader(file) if not row[0].startswith(".."))


@pytest.mark.parametrize("earlier", EARLIER, ids=lambda path: path.stem)
def test_an_earlier_start_up_module_works_with_this_package(venv, earlier):
    replace(venv.site_packages / f"{rig.HOOK}.py", earlier.read_bytes())
    result = venv.run_code(LOOK, env=SIMULATED)
    assert result.stdout == "(9, 0) 1 []\n"
    assert "Traceback" not in result.stderr
    code = "import torch, rtx50_autoload as r; r.deactivate(); print(r.activate(), r.status()['faults'])"
    assert venv.run_code(code, env=SIMULATED).stdout == "True []\n"
    is_silent(venv)


@pytest.mark.parametrize("earlier", EARLIER, ids=lambda path: path.stem)
def test_a_process_that_runs_while_the_package_is_upgraded_goes_on(venv, earlier):
    module = venv.site_packages / f"{rig.HOOK}.py"
    now = module.read_bytes()
    replace(module, earlier.read_bytes())
    upgrade = f"import pathlib; pathlib.Path({str(module)!r}).write_bytes({now!r})\n"
    result = venv.run_code(upgrade + LOOK, env=SIMULATED)
    assert result.stdout == "(9, 0) 1 []\n"
    assert "Traceback" not in result.stderr


def test_at_every_point_of_its_removal_torch_can_be_imported(venv):
    names = removal_order(venv)
    # The package itself is thousands of equal steps: its first and its last file stand for them.
    package = [name for name in names if name.startswith("rtx50_autoload/")]
    said = []
    for name in names:
        (venv.site_packages / name).unlink()
        if name in package[1:-1]:
            continue
        result = venv.run_code("import torch")
        assert result.stdout == ""
        if result.stderr:
            # Python's own words, where the start-up file has outlived its module; nothing else may be said.
            assert (venv.site_packages / rig.PTH).exists()
            assert result.stderr.count("Traceback") == result.stderr.count("Error processing line 1 of") > 0
            said.append(name)
    assert said[0] == f"{rig.HOOK}.py"
    is_silent(venv)


def test_a_removal_that_was_cut_short_is_mended_by_installing_again(venv, wheel):
    for name in removal_order(venv)[:3]:
        (venv.site_packages / name).unlink()
    rig.uv_pip("install", venv, "--reinstall", "--no-deps", wheel)
    is_silent(venv)
    assert venv.run("-m", "rtx50_autoload", "status", "--verify").returncode == 0


@pytest.mark.parametrize("without", [f"{rig.HOOK}.py", f"{rig.WATCHING}.py", rig.PTH, SECOND_DOOR, "rtx50_autoload"])
def test_with_one_part_missing_python_runs(venv, without):
    path = venv.site_packages / without
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    # Without the second door torch itself refuses, so it is the one that installers remove last.
    codes = ["pass"] if without == SECOND_DOOR else ["pass", "import torch"]
    for code in codes:
        result = venv.run_code(code)
        assert "Traceback" not in result.stderr or without == f"{rig.HOOK}.py"


def test_in_the_users_folder_and_in_a_venv_one_hook_runs_and_status_names_both(make_venv, wheel, tmp_path):
    venv = make_venv(torch="fake", coverage=False)
    config = venv.root / "pyvenv.cfg"
    text = config.read_text(encoding="utf-8").replace(
        "include-system-site-packages = false", "include-system-site-packages = true"
    )
    config.write_text(text, encoding="utf-8")
    env = {"PYTHONUSERBASE": str(tmp_path / "user"), **SIMULATED}
    folder = Path(venv.run_code("import site; print(site.getusersitepackages())", env=env).stdout.strip())
    rig.uv("pip", "install", "--no-deps", "--python", venv.python, "--target", folder, wheel)
    earlier = EARLIER[0].read_bytes()
    replace(folder / f"{rig.HOOK}.py", earlier)
    assert venv.run_code(LOOK, env=env).stdout == "(9, 0) 1 []\n"
    state = json.loads(venv.run("-m", "rtx50_autoload", "status", "--json", env=env).stdout)
    first, second = (Path(each["path"]).parent for each in state["installations"])
    assert {first, second} == {folder.resolve(), venv.site_packages.resolve()}
    assert first.samefile(
        Path(venv.run_code("import rtx50_autoload as r; print(r.__file__)", env=env).stdout).parent.parent
    )
    # The files of each are judged by the RECORD of that installation: one was changed above.
    assert [file["path"] for file in state["startup_files"] if not file["matches_record"]] == [
        str(folder.resolve() / f"{rig.HOOK}.py")
    ]
    assert "Installed twice" in venv.run("-m", "rtx50_autoload", "status", env=env).stdout


def test_an_editable_install_whose_checkout_has_gone_leaves_torch_alone(make_venv, tmp_path):
    source = tmp_path / "checkout"
    for name in ("pyproject.toml", "README.md", "LICENSE", "src", rig.PTH):
        copy = shutil.copytree if (rig.ROOT / name).is_dir() else shutil.copy2
        source.mkdir(exist_ok=True)
        copy(rig.ROOT / name, source / name)
    venv = make_venv("editable", torch="fake", source=source, coverage=False)
    assert venv.run_code(LOOK, env=SIMULATED).stdout == "(9, 0) 1 []\n"
    shutil.rmtree(source)
    is_silent(venv, env=SIMULATED)
    result = venv.run_code("import torch; import rtx50_autoload", check=False)
    assert "No module named 'rtx50_autoload'" in result.stderr


def test_a_copied_environment_goes_on(venv, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(venv.root, copy, symlinks=True)
    shutil.rmtree(venv.root)
    moved = rig.Venv(copy, coverage=False)
    assert moved.run_code(LOOK, env=SIMULATED).stdout == "(9, 0) 1 []\n"
    assert moved.run("-m", "rtx50_autoload", "status", "--verify").returncode == 0


@pytest.mark.parametrize("place", ["a folder", "the wheel itself"])
def test_on_pythonpath_the_second_door_opens(make_venv, wheel, tmp_path, place):
    venv = make_venv(torch="fake", coverage=False)
    rig.uv_pip("uninstall", venv, "rtx50-autoload")
    if place == "a folder":
        rig.uv("pip", "install", "--no-deps", "--python", venv.python, "--target", tmp_path / "target", wheel)
        path = tmp_path / "target"
    else:
        path = wheel
    env = {"PYTHONPATH": str(path), **SIMULATED}
    result = venv.run_code(LOOK.replace("import sys, torch", "import sys, torch; import torch.cuda"), env=env)
    assert result.stdout == "(9, 0) 1 []\n"
    assert "Traceback" not in result.stderr
    status = venv.run("-m", "rtx50_autoload", "status", "--json", env=env)
    assert status.stderr == ""
    assert json.loads(status.stdout)["door"] == "torch.backends"
    assert len(json.loads(status.stdout)["installations"]) == (1 if place == "a folder" else 0)


def test_a_prefix_of_its_own_and_no_byte_code_make_no_difference(make_venv, wheel, tmp_path):
    venv = make_venv(None, torch="fake", coverage=False)
    command = [sys.executable, "-m", "pip", "--python", str(venv.python), "install", "-q", "--no-deps", "--no-compile"]
    rig.tool([*command, "--prefix", str(tmp_path / "prefix"), str(wheel)])
    (folder,) = (tmp_path / "prefix").rglob("site-packages")
    assert not list(folder.rglob("*.pyc"))
    is_silent(venv, env={"PYTHONPATH": str(folder)})
