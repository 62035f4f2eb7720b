"""Reading the containers of GPU code: what counts, what does not, and what damage leads to."""

from __future__ import annotations

import io
import struct
from collections import Counter

import pytest

from fake_binaries import ar, container, elf, image, pe, wrapper
from rtx50_autoload.evidence import positioned
from rtx50_autoload.evidence.arch import Code
from rtx50_autoload.evidence.fatbin import Role
from rtx50_autoload.evidence.gpucode import binary_format, format_by_name, read_gpu_code
from rtx50_autoload.evidence.positioned import MalformedError, Source, open_source, source_of


def source(data):
    return source_of(io.BytesIO(data), len(data))


def read(data):
    return read_gpu_code(source(data))


def roles(code):
    counts = Counter()
    for each, count in code.containers.items():
        counts[each.role] += count
    return counts


FORMATS = pytest.mark.parametrize("build", [elf, pe])


@FORMATS
def test_images_are_counted_by_architecture_over_all_containers(build):
    code = read(build([container("sm_80", "sm_90a", "compute_120f"), container("sm_80")]))
    assert code.problem is None
    assert code.images(Code.SASS) == {"sm_80": 2, "sm_90a": 1}
    assert code.images(Code.PTX) == {"compute_120f": 1}
    assert sum(code.containers.values()) == 2


@FORMATS
def test_the_newest_ptx_version_is_that_of_ptx_alone(build):
    images = image("compute_80", isa=(7, 8)), image("compute_90", isa=(8, 7)), image("sm_120")
    assert read(build([container(*images)])).newest_ptx == (8, 7)
    assert read(build([container("sm_120")])).newest_ptx is None


@FORMATS
def test_the_wrapper_decides_how_a_container_gets_to_the_driver(build):
    data = build(
        [container("sm_80"), container("sm_86"), container("sm_89")],
        [container("sm_90")],
        linked=[1],
        unregistered=[2],
    )
    assert roles(read(data)) == dict.fromkeys(Role, 1)


def test_a_wrapper_without_address_leaves_every_container_registered():
    data = elf([container("sm_80"), container("sm_90")], with_addresses=False)
    assert roles(read(data)) == {Role.MODULE: 2}


def test_a_wrapper_may_point_to_a_container_in_another_section():
    data = elf([container("sm_80")], names=(".ldata", "", ".nvFatBinSegment"))
    assert roles(read(data)) == {Role.MODULE: 1}


def test_an_object_files_containers_all_count_since_it_is_not_linked_yet():
    data = elf([container("sm_80")], [container("sm_90")], object_file=True)
    assert sum(read(data).containers.values()) == 2
    assert set(roles(read(data))) == {Role.MODULE}


def test_an_archive_holds_what_its_members_hold():
    code = read(ar(b"symbols", elf([container("sm_80")], object_file=True), elf([container("sm_80", "sm_90")])))
    assert code.format == "ar"
    assert code.images(Code.SASS) == {"sm_80": 2, "sm_90": 1}


def test_an_archive_of_windows_objects_is_not_taken_for_one_without_gpu_code():
    assert set(roles(read(ar(b"\x64\x86" + bytes(100))))) == {Role.UNREGISTERED}


def test_a_bare_cubin_is_gpu_code_that_nobody_registers():
    assert roles(read(elf([container("sm_80")], machine=190))) == {Role.UNREGISTERED: 1}


@pytest.mark.parametrize(("size", "empty"), [(2096, True), (2104, False)])
@pytest.mark.parametrize("packed", [False, True])
def test_a_container_is_empty_if_no_image_can_hold_a_kernel(size, empty, packed):
    small = image("sm_80", size=256, unpacked=size) if packed else image("sm_80", size=size)
    (found,) = read(elf([container(small, image("compute_80", size=56))])).containers
    assert found.empty is empty


def test_entry_headers_of_every_size_are_walked():
    entries = [image("sm_80", header_size=size) for size in (64, 72, 80, 96, 104, 112, 120)]
    assert read(elf([container(*entries)])).images(Code.SASS) == {"sm_80": 7}


def test_lto_code_is_neither_sass_nor_ptx():
    code = read(elf([container("lto_120")]))
    assert code.images(Code.LTO) == {"lto_120": 1}
    assert not code.images(Code.SASS)
    assert not code.images(Code.PTX)


def test_zeros_between_containers_are_padding():
    data = elf([container("sm_80"), bytes(48), container("sm_90")], unregistered=[1])
    assert roles(read(data)) == {Role.MODULE: 2}


@pytest.mark.parametrize(
    "data",
    [
        elf(),
        elf([container("sm_80")], names=(".hip_fatbin", "", ".hipFatBinSegment")),
        elf([container("sm_80")])[:4] + b"\x01" + elf([container("sm_80")])[5:],
        pe(),
        pe([container("sm_80")], magic=0x10B),
        ar(),
        ar(b"text"),
    ],
    ids=["elf", "rocm", "32-bit elf", "pe", "32-bit pe", "empty ar", "ar of text"],
)
def test_a_binary_without_cuda_code_has_no_containers_and_no_problem(data):
    code = read(data)
    assert not code.containers
    assert code.problem is None


@pytest.mark.parametrize("data", [b"", b"x", b"#!/bin/sh\n", b"PK\x03\x04", b"!<thin>\n"])
def test_other_files_are_no_binaries(data):
    assert read(data) is None


CONTAINER = container("sm_80")
PROBLEMS = {
    "cut in its code": elf([CONTAINER])[:200],
    "cut in its section table": elf([CONTAINER])[:-1],
    "cut in its header": elf([CONTAINER])[:20],
    "no section table": elf([CONTAINER])[:40] + bytes(8) + elf([CONTAINER])[48:],
    "section headers of another size": elf([CONTAINER])[:58] + b"\x20" + elf([CONTAINER])[59:],
    "dll cut in its code": pe([CONTAINER])[:2000],
    "dll cut in its header": pe([CONTAINER])[:100],
    "dll without signature": pe([CONTAINER]).replace(b"PE\0\0", b"NE\0\0"),
    "garbage for a container": elf([b"garbage!" * 8]),
    "less than a container's header": elf([CONTAINER, b"\x50\xed\x55\xba"]),
    "a container longer than its section": elf([struct.pack("<IHHQ", 0xBA55ED50, 1, 16, 2**40) + bytes(64)]),
    "a container with a header of two bytes": elf([struct.pack("<IHHQ", 0xBA55ED50, 1, 2, 64) + bytes(64)]),
    "an entry header of no size": elf([CONTAINER[:20] + bytes(4) + CONTAINER[24:]]),
    "an entry header of four gigabytes": elf([CONTAINER[:20] + b"\xff\xff\xff\xff" + CONTAINER[24:]]),
    "a payload of 2**64": elf([CONTAINER[:24] + b"\xff" * 8 + CONTAINER[32:]]),
    "a kind from the future": elf([CONTAINER[:16] + b"\x40" + CONTAINER[17:]]),
    "an architecture of 2**31": elf([CONTAINER[:44] + b"\0\0\0\x80" + CONTAINER[48:]]),
    "endless zeros": elf([CONTAINER, bytes(2**16), CONTAINER]),
    "no wrapper where one should be": elf([CONTAINER], extra_wrappers=b"\1" * 24),
    "a wrapper to nowhere": elf([CONTAINER], extra_wrappers=wrapper(0xDEADBEEF000)),
    "a wrapper into the middle of a container": elf([CONTAINER], extra_wrappers=wrapper(0x10000 + 64 + 24)),
    "an archive of garbage": b"!<arch>\n" + b"garbage!" * 10,
    "an archive cut in a member": ar(elf([CONTAINER]))[:-10],
    "an archive with a damaged member": ar(elf([CONTAINER])[:200]),
}


@pytest.mark.parametrize("data", PROBLEMS.values(), ids=PROBLEMS)
def test_a_damaged_binary_is_a_value_with_the_reason(data):
    code = read(data)
    assert code.problem
    assert not code.containers


def test_the_section_count_of_a_file_with_very_many_sections_is_in_its_first_section():
    data = bytearray(elf([container("sm_80")]))
    (table,) = struct.unpack_from("<Q", data, 40)
    count, names = struct.unpack_from("<HH", data, 60)
    struct.pack_into("<HH", data, 60, 0, 0xFFFF)
    struct.pack_into("<Q", data, table + 32, count)
    struct.pack_into("<I", data, table + 40, names)
    assert read(bytes(data)).images(Code.SASS) == {"sm_80": 1}


def test_a_claim_of_a_billion_sections_is_refused_before_they_are_read():
    data = bytearray(elf([container("sm_80")]))
    (table,) = struct.unpack_from("<Q", data, 40)
    struct.pack_into("<H", data, 60, 0)
    struct.pack_into("<Q", data, table + 32, 10**9)
    file = source(bytes(data))
    assert "sections" in read_gpu_code(file).problem
    assert file.bytes_read < 1000


def test_reading_stops_at_the_bounds(monkeypatch):
    monkeypatch.setattr(positioned, "MAX_READS", 50)
    file = source(elf([container("sm_80")] * 100))
    assert "50 reads" in read_gpu_code(file).problem
    assert file.reads == 51


def test_what_a_window_reads_counts_for_the_file(monkeypatch):
    monkeypatch.setattr(positioned, "MAX_BYTES", 1000)
    file = source(ar(*[elf([container("sm_80")], object_file=True)] * 10))
    assert "1,000 bytes" in read_gpu_code(file).problem


def test_headers_alone_are_read():
    file = source(elf([container(image("sm_80", size=10**6), image("compute_90", size=10**6))]))
    assert read_gpu_code(file).problem is None
    assert file.bytes_read < 1500


def test_a_file_that_shrinks_while_it_is_read_is_malformed():
    shrunk = Source(lambda _length, _offset: b"", 100)
    with pytest.raises(MalformedError, match="ends before"):
        shrunk.read(0, 10)


def test_an_error_of_the_operating_system_says_nothing_of_the_binary():
    def fail(_length, _offset):
        raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output error"):
        read_gpu_code(Source(fail, 100))


def test_a_window_stays_inside():
    with pytest.raises(MalformedError, match="reaches past"):
        source(bytes(10)).window(5, 6)


def test_a_file_is_read_by_position_without_pread_too(tmp_path, monkeypatch):
    path = tmp_path / "x.so"
    path.write_bytes(elf([container("sm_80")]))
    monkeypatch.delattr(positioned.os, "pread", raising=False)
    monkeypatch.delattr(positioned.os, "posix_fadvise", raising=False)
    with open_source(path) as file:
        assert read_gpu_code(file).images(Code.SASS) == {"sm_80": 1}


def test_a_format_is_told_by_the_first_bytes_or_by_the_name():
    assert [binary_format(build()) for build in (elf, pe, ar)] == ["elf", "pe", "ar"]
    names = ["libx.so.12.1", "x.cpython-312-x86_64-linux-gnu.so", "X.DLL", "x.pyd", "x.a", "x.lib", "x.py", "so"]
    assert [format_by_name(name) for name in names] == ["elf", "elf", "pe", "pe", "ar", "ar", None, None]
