"""Which shared libraries belong to which distribution."""

from __future__ import annotations

import subprocess
import sys

import pytest

from fake_distributions import install
from rtx50_autoload.evidence.installed import installed_distributions, is_loadable, normalised


def binaries(*sites):
    return {one.name: [name for name, _ in one.binaries] for one in installed_distributions([*map(str, sites)])}


def test_record_says_which_libraries_belong_to_a_distribution(tmp_path):
    install(tmp_path, "one", "1", {"one/_C.so": b"", "one/core.pyd": b"", "one/a.py": b"", "one/static.a": b""})
    install(tmp_path, "two", "2", {"two.libs/libx-1234.so.12": b""})
    assert binaries(tmp_path) == {"one": ["one/_C.so", "one/core.pyd"], "two": ["two.libs/libx-1234.so.12"]}


def test_a_library_in_record_that_is_gone_is_there_to_be_found_unreadable(tmp_path):
    install(tmp_path, "one", "1", recorded=["one/_C.so"])
    assert binaries(tmp_path) == {"one": ["one/_C.so"]}


def test_the_first_of_two_distributions_with_one_name_counts(tmp_path):
    install(tmp_path / "a", "My.Package", "1")
    install(tmp_path / "b", "my_package", "2", {"x.so": b""})
    assert binaries(tmp_path / "a", tmp_path / "b") == {"My.Package": []}


def test_a_distribution_without_a_name_is_left_out(tmp_path):
    (tmp_path / "~orch-2.0.dist-info").mkdir()
    assert binaries(tmp_path) == {}


@pytest.mark.parametrize("record", [b"\xff\xfe", b'"\0'])
def test_a_damaged_record_lists_nothing(tmp_path, record):
    install(tmp_path, "one", "1")
    (tmp_path / "one-1.dist-info" / "RECORD").write_bytes(record)
    assert binaries(tmp_path) == {"one": []}


def test_an_old_installation_without_record_is_read_too(tmp_path):
    info = tmp_path / "old-1.egg-info"
    info.mkdir()
    (info / "PKG-INFO").write_text("Metadata-Version: 1.0\nName: old\nVersion: 1\n")
    (info / "installed-files.txt").write_text("../old/_C.so\n../old/__init__.py\n")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "_C.so").touch()
    assert binaries(tmp_path) == {"old": ["old/_C.so"]}


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    for name in ("pkg/_C.so", "build/lib/pkg/_C.so", ".git/x.so", "venv/pkg/_C.so", "venv/pyvenv.cfg", "pkg/a.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def editable(site, **written):
    install(site, "pkg", "1", **written)
    (one,) = installed_distributions([str(site)])
    return one.origin, [name for name, _ in one.binaries]


def test_a_start_up_file_leads_to_the_source_tree(tmp_path, source):
    files = {"_pkg.pth": f"{source}\n", "other.pth": "import os\n# nothing\n/nowhere\n\n"}
    assert editable(tmp_path / "site", files=files) == ("editable", ["pkg/_C.so"])


def test_the_finder_of_setuptools_leads_to_the_package(tmp_path, source):
    finder = f"import sys\nMAPPING: dict[str, str] = {{'pkg': {str(source / 'pkg')!r}}}\nNAMESPACES = {{}}\n"
    files = {"__editable___pkg_1_finder.py": finder, "__editable__.pkg-1.pth": "import __editable___pkg_1_finder"}
    assert editable(tmp_path / "site", files=files) == ("editable", ["pkg/_C.so"])


@pytest.mark.parametrize("finder", ["MAPPING = {", "MAPPING = {f(): 1}", "MAPPING: x = {1: 2}", "\0", ""])
def test_a_finder_that_says_something_else_leads_nowhere(tmp_path, finder):
    assert editable(tmp_path, files={"__editable___pkg_1_finder.py": finder}) == ("record", [])


def test_without_such_files_the_url_of_the_installation_leads_there(tmp_path, source):
    url = {"url": source.as_uri(), "dir_info": {"editable": True}}
    assert editable(tmp_path / "site", direct_url=url) == ("editable", ["pkg/_C.so"])


@pytest.mark.parametrize(
    "content", ["{", "[]", "{}", '{"dir_info": {"editable": true}}', '{"url": "file:///x", "dir_info": []}']
)
def test_a_url_that_is_of_no_editable_install_leads_nowhere(tmp_path, content):
    assert editable(tmp_path, files={"pkg-1.dist-info/direct_url.json": content}) == ("record", [])


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a/b.so", True), ("b.so.12", True), ("b.dll", True), ("b.a", False), ("b.lib", False), ("b.py", False)],
)
def test_what_a_program_loads_is_told_by_its_name(name, expected):
    assert is_loadable(name) is expected


def test_names_are_compared_as_installers_do():
    assert normalised("Flash_Attn.3") == normalised("flash-attn-3")


def test_a_program_that_asks_for_an_examination_gets_no_finder_of_importlib_metadata():
    code = """
import sys
import rtx50_autoload.checkup, rtx50_autoload.evidence.inventory
assert "importlib_metadata" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
