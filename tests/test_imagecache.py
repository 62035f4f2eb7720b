"""The cache of what was read: right or not used, and never in the way."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys

import pytest

from fake_binaries import container, elf, image
from rtx50_autoload.evidence.gpucode import GpuCode, read_gpu_code
from rtx50_autoload.evidence.imagecache import ImageCache, cache_file
from rtx50_autoload.evidence.positioned import source_of


@pytest.fixture
def library(tmp_path):
    path = tmp_path / "lib.so"
    path.write_bytes(b"x")
    return path


@pytest.fixture
def file(tmp_path):
    return tmp_path / "cache" / "images.json"


def code_of(*containers, **layout):
    data = elf(containers, **layout)
    return read_gpu_code(source_of(io.BytesIO(data), len(data)))


CODES = {
    "all roles": code_of(
        *[container("sm_90a", "compute_120f", image("compute_80", isa=(9, 1)), "lto_120")] * 3,
        linked=[1],
        unregistered=[2],
        relocatable=[container("sm_80")],
    ),
    "empty": code_of(container(image("sm_80", size=1040))),
    "none": GpuCode("pe", 12),
    "unreadable": GpuCode("ar", 12, problem="cut short"),
}


@pytest.mark.parametrize("code", CODES.values(), ids=CODES)
def test_what_was_put_in_comes_out_in_this_process_and_the_next(file, library, code):
    cache = ImageCache(file)
    cache.put(library, library.stat(), [("", code), ("member", code)])
    assert cache.get(library, library.stat()) == (("", code), ("member", code))
    cache.save()
    assert ImageCache(file).get(library, library.stat()) == (("", code), ("member", code))


@pytest.mark.parametrize("change", ["size", "time"])
def test_a_changed_file_is_not_known(file, library, change):
    cache = ImageCache(file)
    cache.put(library, library.stat(), [])
    if change == "size":
        before = library.stat()
        library.write_bytes(b"xy")
        os.utime(library, ns=(before.st_atime_ns, before.st_mtime_ns))
    else:
        os.utime(library, ns=(1, 1))
    assert cache.get(library, library.stat()) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"reader":0,"files":{}}',
        b'{"reader":1,"files":[]}',
        b'{"reader":1,"files":{"PATH":1}}',
        b'{"reader":1,"files":{"PATH":[1,MTIME,[1]]}}',
        b'{"reader":1,"files":{"PATH":[1,MTIME,[["",["elf",1,null,[[1,"module",false,["sm_x"]]]]]]]}}',
        b'{"reader":1,"files":{"PATH":[1,MTIME,[["",["elf",1,null,[[1,"no role",false,[]]]]]]]}}',
        b'{"reader":1,"files":{"PATH":[1,MTIME,[["",["elf",1,null,[[1,"module",false,["compute_80@8"]]]]]]]}}',
    ],
)
def test_a_corrupt_cache_is_ignored_and_rewritten(file, library, content):
    status = library.stat()
    replaced = content.replace(b'"PATH"', json.dumps(str(library)).encode())
    file.parent.mkdir()
    file.write_bytes(replaced.replace(b"MTIME", str(status.st_mtime_ns).encode()))
    cache = ImageCache(file)
    assert cache.get(library, status) is None
    cache.put(library, status, [("", CODES["none"])])
    cache.save()
    assert ImageCache(file).get(library, status) == (("", CODES["none"]),)


def test_what_another_process_has_written_meanwhile_stays(file, library, tmp_path):
    other = tmp_path / "other.so"
    other.write_bytes(b"y")
    ours, theirs = ImageCache(file), ImageCache(file)
    assert ours.get(library, library.stat()) is None
    theirs.put(other, other.stat(), [])
    theirs.save()
    ours.put(library, library.stat(), [])
    ours.save()
    assert ImageCache(file).get(other, other.stat()) == ()
    assert ImageCache(file).get(library, library.stat()) == ()


def test_processes_that_save_at_once_leave_a_valid_cache(file, library):
    script = (
        "import sys; from pathlib import Path; from rtx50_autoload.evidence.imagecache import ImageCache\n"
        "library = Path(sys.argv[2])\n"
        "for _ in range(50):\n"
        "    cache = ImageCache(Path(sys.argv[1])); cache.put(library, library.stat(), []); cache.save()\n"
        "    assert ImageCache(Path(sys.argv[1])).get(library, library.stat()) == ()\n"
    )
    command = [sys.executable, "-c", script, str(file), str(library)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    processes = [subprocess.Popen(command, env=environment) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path, library):
    blocked = tmp_path / "a file"
    blocked.touch()
    cache = ImageCache(blocked / "images.json")
    cache.put(library, library.stat(), [])
    cache.save()
    assert cache.get(library, library.stat()) == ()


def test_a_write_that_fails_leaves_the_old_cache_and_no_remains(file, library):
    cache = ImageCache(file)
    cache.put(library, library.stat(), [])
    file.mkdir(parents=True)  # a folder cannot be replaced by a file
    cache.save()
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_the_oldest_entries_go_first(file, tmp_path, monkeypatch):
    monkeypatch.setattr("rtx50_autoload.evidence.imagecache._MAX_FILES", 2)
    paths = [tmp_path / name for name in ("a", "b", "c")]
    for path in (*paths[:2], paths[0], paths[2]):
        path.touch()
        cache = ImageCache(file)
        cache.put(path, path.stat(), [])
        cache.save()
    assert [ImageCache(file).get(path, path.stat()) for path in paths] == [(), None, ()]


def test_the_cache_lies_where_the_platform_wants_it():
    assert "rtx50-autoload" in cache_file().parts
