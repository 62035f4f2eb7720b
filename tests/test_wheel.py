"""Binaries inside wheels, read without unpacking the wheel."""

from __future__ import annotations

import random
import zipfile

import pytest

from fake_binaries import container, elf, image, pe
from rtx50_autoload.evidence import wheel as wheel_module
from rtx50_autoload.evidence.arch import Code
from rtx50_autoload.evidence.scan import scan
from rtx50_autoload.evidence.verdict import Target
from rtx50_autoload.evidence.wheel import read_wheel

LIBRARY = elf([container("sm_90", "sm_120")])


def make_wheel(path, members, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as wheel:
        for name, data in members.items():
            wheel.writestr(name, data)
    return path


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
def test_every_binary_is_read_and_nothing_else(tmp_path, compression):
    members = {"x/lib.so": LIBRARY, "x/lib.pyd": pe([container("sm_80")]), "x/__init__.py": b"", "x/data.so": b"text"}
    found = dict(read_wheel(make_wheel(tmp_path / "x.whl", members, compression)))
    assert set(found) == {"x/lib.so", "x/lib.pyd"}
    assert found["x/lib.so"].images(Code.SASS) == {"sm_90": 1, "sm_120": 1}
    assert found["x/lib.so"].size == len(LIBRARY)
    assert found["x/lib.pyd"].format == "pe"


def test_a_member_too_large_for_memory_goes_through_a_temporary_file(tmp_path, monkeypatch):
    monkeypatch.setattr(wheel_module, "_IN_MEMORY", 1024)
    large = elf([container(image("sm_120", size=3 * 2**20))])
    ((_name, code),) = read_wheel(make_wheel(tmp_path / "x.whl", {"lib.so": large}))
    assert code.images(Code.SASS) == {"sm_120": 1}


def test_a_member_that_would_fill_the_disk_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(wheel_module, "_MAX_MEMBER", 1024)
    ((_name, code),) = read_wheel(make_wheel(tmp_path / "x.whl", {"lib.so": LIBRARY}))
    assert "unpacks to" in code.problem


def test_a_damaged_member_is_unreadable_and_the_others_are_read(tmp_path):
    path = make_wheel(tmp_path / "x.whl", {"a.so": LIBRARY, "b.so": LIBRARY}, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[len(LIBRARY) // 2] ^= 0xFF
    path.write_bytes(data)
    found = dict(read_wheel(path))
    assert "Bad CRC-32" in found["a.so"].problem
    assert found["b.so"].problem is None


def test_a_compression_that_wheels_do_not_use_is_unreadable(tmp_path):
    pytest.importorskip("bz2")
    path = make_wheel(tmp_path / "x.whl", {"a.so": LIBRARY, "b.py": b""}, zipfile.ZIP_BZIP2)
    ((name, code),) = read_wheel(path)
    assert name == "a.so"
    assert "method 12" in code.problem


def test_a_damaged_stream_of_a_text_is_nobodys_concern(tmp_path):
    path = make_wheel(tmp_path / "x.whl", {"a.py": b"x = 1\n" * 100, "a.so": LIBRARY})
    data = bytearray(path.read_bytes())
    data[30 + len("a.py") : 40 + len("a.py")] = b"\xff" * 10
    path.write_bytes(data)
    assert set(dict(read_wheel(path))) == {"a.so"}


@pytest.mark.parametrize("data", [b"", b"not a zip file", b"PK\x05\x06" + b"\xff" * 18])
def test_a_file_that_is_no_wheel_is_one_unreadable_entry(tmp_path, data):
    path = tmp_path / "x.whl"
    path.write_bytes(data)
    ((name, code),) = read_wheel(path)
    assert name == ""
    assert "not a readable wheel" in code.problem


def test_a_mutated_wheel_is_read_or_unreadable(tmp_path):
    path = make_wheel(tmp_path / "x.whl", {"a.so": LIBRARY, "b/c.dll": pe([container("sm_80")]), "d.py": b"x = 1\n"})
    original = path.read_bytes()
    for seed in range(1000):
        chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
        data = bytearray(original)
        for _ in range(chance.choice((1, 4, 32))):
            data[chance.randrange(len(data))] = chance.choice((0, 1, 0x7F, 0x80, 0xFF))
        path.write_bytes(data if chance.random() < 0.9 else data[: chance.randrange(len(data))])
        for result in scan([path], Target((12, 0))):
            assert result.judgement.reason
