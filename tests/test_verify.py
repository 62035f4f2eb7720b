"""`status --verify`: whether the files are those that were installed, and what lies beside them."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

import rig


@pytest.fixture
def venv(make_venv):
    venv = make_venv(coverage=False)
    venv.run_code("import rtx50_autoload.cli.verify")  # so that there is byte code
    return venv


@pytest.fixture(scope="module")
def shared(_make_session_venv):
    """An environment for tests that take away what they add."""
    return _make_session_venv(coverage=False)


def verify(venv, **options):
    result = venv.run("-m", "rtx50_autoload", "status", "--verify", "--json", **options)
    assert result.stderr == ""
    document = json.loads(result.stdout)
    assert result.returncode == (0 if document["sound"] else 1)
    return document


def differences(venv, **options):
    """Give what differs: path below site-packages and state."""
    document = verify(venv, **options)
    found = [row for each in document["installations"] for row in each["differences"]] + document["beside"]
    assert document["sound"] is not bool(found)
    assert all(row["why"] for row in found)
    return {os.path.relpath(row["path"], venv.site_packages.resolve()): row["state"] for row in found}


def replace(path, text):
    # An installed file may share its inode with the installer's cache.
    path.unlink()
    path.write_text(text, encoding="utf-8")


def test_an_installation_that_nobody_touched_is_sound(venv):
    document = verify(venv)
    assert document["sound"] is True
    [installation] = document["installations"]
    assert (installation["record"], installation["editable"], installation["differences"]) == (True, None, [])
    assert installation["compared"] > 200
    assert document["beside"] == []


def test_a_changed_a_missing_and_an_added_file_are_found(venv):
    package = venv.site_packages / "rtx50_autoload"
    replace(package / "commands.py", (package / "commands.py").read_text(encoding="utf-8") + "\n# one more line\n")
    (package / "py.typed").unlink()
    (package / "evidence" / "extra.so").write_bytes(b"\x7fELF")
    (info,) = venv.site_packages.glob("rtx50_autoload-*.dist-info")
    (info / "entry_points.txt").unlink()
    (info / "entry_points.txt").write_text("[torch.backends]\nrtx50_autoload = os:abort\n", encoding="utf-8")
    assert differences(venv) == {
        "rtx50_autoload/commands.py": "changed",
        "rtx50_autoload/py.typed": "missing",
        "rtx50_autoload/evidence/extra.so": "added",
        f"{info.name}/entry_points.txt": "changed",
    }


def test_a_file_whose_digest_was_taken_out_of_record_is_not_passed_over(venv):
    (record,) = venv.site_packages.glob("rtx50_autoload-*.dist-info/RECORD")
    lines = record.read_text(encoding="utf-8").splitlines()
    changed = [f"{rig.PTH},," if line.startswith(rig.PTH) else line for line in lines]
    replace(record, "\n".join(changed) + "\n")
    assert differences(venv) == {rig.PTH: "not recorded"}


@pytest.mark.parametrize("damage", [None, b"\xff\xfe not utf-8", b""])
def test_without_a_record_nothing_counts_as_compared(venv, damage):
    (record,) = venv.site_packages.glob("rtx50_autoload-*.dist-info/RECORD")
    record.unlink()
    if damage is not None:
        record.write_bytes(damage)
    document = verify(venv)
    assert document["sound"] is False
    result = venv.run("-m", "rtx50_autoload", "status", "--verify")
    assert result.returncode == 1
    assert "RECORD" in result.stdout
    assert result.stderr == ""


PLANT = """
import importlib.util, marshal, pathlib, py_compile, sys
source, kind = pathlib.Path(sys.argv[1]), sys.argv[2]
cached = pathlib.Path(importlib.util.cache_from_source(source))
other = source.with_name("planted.py")
other.write_text(source.read_text() + "\\nPLANTED = True\\n")
mode = py_compile.PycInvalidationMode
if kind == "unchecked":
    py_compile.compile(other, cached, doraise=True, invalidation_mode=mode.UNCHECKED_HASH)
elif kind == "checked hash":
    code = compile(other.read_text(), str(source), "exec")
    header = importlib.util.MAGIC_NUMBER + (3).to_bytes(4, "little") + importlib.util.source_hash(source.read_bytes())
    cached.write_bytes(header + marshal.dumps(code))
elif kind == "right header":
    header = cached.read_bytes()[:16]
    py_compile.compile(other, cached, doraise=True)
    cached.write_bytes(header + cached.read_bytes()[16:])
elif kind == "cut short":
    cached.write_bytes(cached.read_bytes()[:-200])
other.unlink()
"""


@pytest.mark.parametrize("kind", ["unchecked", "checked hash", "right header", "cut short"])
@pytest.mark.parametrize("module", ["rtx50_autoload/mcp_server/ask.py", f"{rig.HOOK}.py"])
def test_byte_code_that_is_not_of_its_source_is_found(shared, module, kind):
    venv = shared
    source = venv.site_packages / module
    venv.run("-S", "-m", "py_compile", source, check=True)
    assert differences(venv) == {}
    # Not with site-packages on the path: byte code of the start-up module would run in the child that plants it.
    venv.run("-S", "-c", PLANT, source, kind, check=True)
    cached = Path(module).parent / "__pycache__" / f"{Path(module).stem}.{sys.implementation.cache_tag}.pyc"
    result = venv.run("-m", "rtx50_autoload", "status", "--verify", "--json")
    [installation] = json.loads(result.stdout)["installations"]
    found = {
        os.path.relpath(row["path"], venv.site_packages.resolve()): row["state"] for row in installation["differences"]
    }
    (venv.site_packages / cached).unlink()
    assert found == {str(cached): "byte code"}
    assert result.returncode == 1


def test_byte_code_of_every_kind_that_installers_write_is_sound(venv):
    folder = venv.site_packages / "rtx50_autoload" / "mcp_server"
    for mode in ("timestamp", "checked-hash", "unchecked-hash"):
        for options in (("-O",), ("-OO",), ("-X", "no_debug_ranges")):
            venv.run(*options, "-m", "compileall", "-qf", "--invalidation-mode", mode, folder, check=True)
        assert differences(venv) == {}


def test_byte_code_that_python_would_not_use_is_passed_over(venv):
    source = venv.site_packages / f"{rig.HOOK}.py"
    tag = sys.implementation.cache_tag
    cached = source.parent / "__pycache__" / f"{rig.HOOK}.{tag}.pyc"
    content = cached.read_bytes()
    cached.write_bytes(content[:8] + b"\0\0\0\0" + content[12:-100])
    cached.chmod(0o444)
    assert differences(venv, env={"PYTHONDONTWRITEBYTECODE": "1"}) == {}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("zz_more.pth", f"import sys; import {rig.HOOK}; {rig.HOOK}.record(None)\n"),
        ("zz_more.start", f"{rig.HOOK}:uninstall\n"),
        (f"{rig.HOOK}.pth", "import sys\n"),
        ("rtx50_autoload.start", "antigravity\n"),
        ("rtx50_autoload.py", "print('not us')\n"),
        (f"{rig.HOOK}/__init__.py", "def install(): pass\n"),
    ],
)
def test_what_lies_beside_and_runs_in_our_name_is_found(shared, name, text):
    path = shared.site_packages / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    # Whatever the file does at start-up may be heard of on stderr.
    document = json.loads(shared.run("-m", "rtx50_autoload", "status", "--verify", "--json").stdout)
    top = shared.site_packages / name.partition("/")[0]
    shutil.rmtree(top) if top.is_dir() else top.unlink()
    assert document["sound"] is False
    assert [(row["path"], row["state"]) for row in document["beside"]] == [(str(top.resolve()), "added")]
    assert document["installations"][0]["differences"] == []


def test_start_up_files_of_others_are_none_of_our_business(venv):
    (venv.site_packages / "aa_theirs.pth").write_text("import sys\n# rtx50_autoload\n", encoding="utf-8")
    (venv.site_packages / "rtx50_autoload_of_somebody_else.py").write_text("", encoding="utf-8")
    assert differences(venv) == {}


def test_an_editable_install_says_where_the_code_is_that_nobody_recorded(installed_editable):
    document = verify(installed_editable)
    [installation] = document["installations"]
    assert (document["sound"], installation["editable"]) == (True, str(rig.ROOT))
    text = " ".join(installed_editable.run("-m", "rtx50_autoload", "status", "--verify").stdout.split())
    assert "Editable" in text
    assert "as they were installed" in text


def test_status_takes_the_module_in_the_source_tree_of_an_editable_install_for_no_start_up_file(installed_editable):
    state = json.loads(installed_editable.run("-m", "rtx50_autoload", "status", "--json").stdout)
    assert [file["matches_record"] for file in state["startup_files"]] == [True, True]
    assert [each["editable"] for each in state["installations"]] == [str(rig.ROOT)]


def test_a_settings_file_that_disable_has_written_is_no_difference(venv):
    venv.run("-m", "rtx50_autoload", "disable", check=True)
    assert differences(venv) == {}


def test_a_tree_on_the_path_that_was_never_installed_is_not_sound(make_venv):
    venv = make_venv(None)
    rig.uv_pip("install", venv, "rich", "importlib_metadata", "packaging", "platformdirs", "filelock", "tomli")
    env = {"PYTHONPATH": str(rig.ROOT / "src")}
    document = verify(venv, env=env)
    assert (document["sound"], document["installations"]) == (False, [])
    result = venv.run("-m", "rtx50_autoload", "status", "--verify", env=env)
    assert "is not installed in" in result.stdout


def test_the_text_names_each_file_and_what_to_do(venv):
    shutil.rmtree(venv.site_packages / "rtx50_autoload" / "report")
    result = venv.run("-m", "rtx50_autoload", "status", "--verify", env={"COLUMNS": "400"})
    assert result.returncode == 1
    assert "missing: " in result.stdout
    assert "report/page.css" in result.stdout
    assert "--force-reinstall" in result.stdout
