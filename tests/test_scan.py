"""Scanning files, folders and wheels."""

from __future__ import annotations

import json
import os
import sys
import zipfile

import pytest

from fake_binaries import ar, container, elf, image, pe
from rtx50_autoload.errors import UsageError
from rtx50_autoload.evidence import scan as scan_module
from rtx50_autoload.evidence.imagecache import ImageCache
from rtx50_autoload.evidence.scan import NoSuchPathError, NotABinaryError, find_files, scan
from rtx50_autoload.evidence.verdict import Target, Verdict

RTX_5090 = Target((12, 0))
LIBRARY = elf([container("sm_80", image("compute_80", isa=(8, 7)))])


def verdicts(*paths, cache=None):
    return {result.path: result.judgement.verdict.value for result in scan(paths, RTX_5090, cache)}


def test_the_json_of_a_result_has_exactly_the_published_keys(tmp_path):
    path = tmp_path / "lib.so"
    path.write_bytes(elf([container("sm_80", "sm_90a", "compute_80"), container("sm_120")]))
    (result,) = scan([path], RTX_5090)
    assert json.loads(json.dumps(result.as_json())) == {
        "path": str(path),
        "format": "elf",
        "size": path.stat().st_size,
        "sass": {"sm_80": 1, "sm_90a": 1, "sm_120": 1},
        "ptx": {"compute_80": 1},
        "ptx_isa_max": "8.7",
        "modules": {"native": 1, "jit": 1, "missing": 0, "other_gpu": 0},
        "verdict": "jit",
        "driver_min": "570",
    }


def test_what_is_not_known_is_null_in_the_json(tmp_path):
    path = tmp_path / "lib.dll"
    path.write_bytes(pe([container("sm_120")]))
    (result,) = scan([path], RTX_5090)
    assert result.as_json()["format"] == "pe"
    assert result.as_json()["ptx_isa_max"] is None
    assert result.as_json()["driver_min"] is None


def test_a_wheels_members_are_named_after_the_wheel(tmp_path):
    path = tmp_path / "x-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr("x/lib.so", LIBRARY)
    (result,) = scan([path], RTX_5090)
    assert result.as_json()["path"] == f"{path}!x/lib.so"
    assert result.as_json()["format"] == "wheel-member"
    assert result.as_json()["size"] == len(LIBRARY)


def test_a_wheel_that_is_none_is_one_unreadable_result(tmp_path):
    path = tmp_path / "x.whl"
    path.write_bytes(b"")
    (result,) = scan([path], RTX_5090)
    assert result.judgement.verdict is Verdict.UNREADABLE
    assert result.as_json()["format"] == "wheel-member"


def test_the_name_of_a_library_in_a_wheel_counts_for_its_verdict(tmp_path):
    path = tmp_path / "x.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("nvidia/lib/libcublas.so.12", elf([container("sm_120"), container("sm_80", "sm_90")]))
    (result,) = scan([path], RTX_5090)
    assert result.judgement.verdict is Verdict.NATIVE


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "venv"
    (root / "lib").mkdir(parents=True)
    for name, data in {
        "lib/b.so.12": LIBRARY,
        "lib/a.so": elf(),
        "lib/c.a": ar(elf([container("sm_120")], object_file=True)),
        "tool": LIBRARY,
        "script": b"#!/bin/sh\n",
        "lib/module.py": LIBRARY,
        "lib/text.so": b"INPUT(b.so.12)",
    }.items():
        (root / name).write_bytes(data)
    return root


def test_below_a_folder_what_is_named_like_a_binary_and_is_one_is_scanned_in_order(folder):
    found = verdicts(folder)
    assert found == {
        str(folder / "tool"): "jit",
        str(folder / "lib" / "a.so"): "no_gpu_code",
        str(folder / "lib" / "b.so.12"): "jit",
        str(folder / "lib" / "c.a"): "native",
    }
    assert list(found) == [
        str(folder / "tool"),
        *sorted(str(folder / "lib" / name) for name in ("a.so", "b.so.12", "c.a")),
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="symbolic links need a privilege there")
def test_a_link_is_followed_only_where_its_target_is_not_met_anyway(folder, tmp_path):
    outside = tmp_path / "store.so"
    outside.write_bytes(LIBRARY)
    (folder / "inside.so").symlink_to(folder / "lib" / "b.so.12")
    (folder / "outside.so").symlink_to(outside)
    (folder / "dangling.so").symlink_to(tmp_path / "nowhere.so")
    (folder / "loop").symlink_to(folder)
    names = {path.name for path in find_files([folder])}
    assert "outside.so" in names
    assert not names & {"inside.so", "dangling.so", "loop"}


@pytest.mark.skipif(sys.platform == "win32", reason="symbolic links need a privilege there")
@pytest.mark.parametrize("question", ["os.path.realpath", "pathlib.Path.is_file"])
def test_a_link_that_may_not_be_followed_is_left_out(folder, tmp_path, monkeypatch, question):
    def refuse(*_arguments, **_options):
        raise PermissionError(13, "Permission denied")

    (folder / "link.so").symlink_to(tmp_path / "store.so")
    others = {path.name for path in find_files([folder])}
    real = os.path.realpath
    monkeypatch.setattr(question, lambda path, **options: real(path) if path == folder else refuse(path, **options))
    assert {path.name for path in find_files([folder])} == others
    assert "link.so" not in others


def test_a_file_that_is_shorter_than_it_says_is_no_binary(folder, monkeypatch):
    (folder / "setting").write_bytes(b"0")
    before = verdicts(folder)
    monkeypatch.setattr("os.fstat", lambda _descriptor: os.stat_result((0o100644, 0, 0, 0, 0, 0, 4096, 0, 0, 0)))
    assert str(folder / "setting") not in verdicts(folder)
    assert str(folder / "setting") not in before


def test_a_path_that_does_not_exist_is_an_error_that_says_so(tmp_path):
    with pytest.raises(NoSuchPathError, match="nowhere does not exist") as caught:
        verdicts(tmp_path / "nowhere")
    assert isinstance(caught.value, UsageError)
    assert isinstance(caught.value, FileNotFoundError)


def test_a_named_file_that_is_no_binary_is_an_error(folder):
    path = folder / "module.txt"
    path.write_text("text")
    with pytest.raises(NotABinaryError, match=r"module\.txt is neither"):
        verdicts(path)


def test_a_named_file_that_only_its_name_makes_a_binary_is_unreadable(folder):
    path = folder / "lib" / "text.so"
    assert verdicts(path) == {str(path): "unreadable"}


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_unreadable(folder):
    path = folder / "tool"
    path.chmod(0)
    assert verdicts(path) == {str(path): "unreadable"}


def test_an_error_of_the_operating_system_is_an_unreadable_result(folder, monkeypatch):
    def refuse(_path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(scan_module, "open_source", refuse)
    cache = ImageCache(folder / "images.json")
    assert set(verdicts(folder, cache=cache).values()) == {"unreadable"}
    assert cache.get(folder / "tool", (folder / "tool").stat()) is None


def test_a_folder_that_cannot_be_listed_is_an_unreadable_result(folder, monkeypatch):
    def refuse(_folder, onerror):
        onerror(PermissionError(13, "Permission denied", str(folder)))
        return iter(())

    monkeypatch.setattr(scan_module.os, "walk", refuse)
    assert verdicts(folder) == {str(folder): "unreadable"}


def test_a_second_scan_reads_no_file(folder, tmp_path, monkeypatch):
    first = verdicts(folder, cache=ImageCache(tmp_path / "images.json"))
    monkeypatch.setattr(scan_module, "open_source", None)
    assert verdicts(folder, cache=ImageCache(tmp_path / "images.json")) == first


def test_what_is_kept_serves_every_device(folder, tmp_path):
    verdicts(folder, cache=ImageCache(tmp_path / "images.json"))
    results = scan([folder / "lib" / "b.so.12"], Target((8, 9)), ImageCache(tmp_path / "images.json"))
    assert [result.judgement.verdict for result in results] == [Verdict.NATIVE]


def test_a_scan_that_is_broken_off_keeps_what_it_has_read(folder, tmp_path):
    results = scan([folder], RTX_5090, ImageCache(tmp_path / "images.json"))
    next(results)
    results.close()
    assert ImageCache(tmp_path / "images.json").get(folder / "tool", (folder / "tool").stat())
