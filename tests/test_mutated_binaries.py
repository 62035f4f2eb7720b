"""Damaged and hostile binaries: always a value, never an exception, never more reading than the bounds allow.

The seeds are fixed, so a failure names the file that fails: ``mutant(7, 1234)``.
"""

from __future__ import annotations

import io
import random
import re
import struct
from collections import Counter

import pytest

from fake_binaries import ar, container, elf, image, pe, wrapper
from rtx50_autoload.evidence.arch import Architecture, Code
from rtx50_autoload.evidence.fatbin import Container, Image, Role
from rtx50_autoload.evidence.gpucode import GpuCode, read_gpu_code
from rtx50_autoload.evidence.positioned import MAX_BYTES, MAX_READS, Source, source_of
from rtx50_autoload.evidence.verdict import Target, Verdict, judge

FILES = 20_000
BATCHES = 10

_CODE = [
    container("sm_80", "sm_90a", "compute_120f"),
    container(image("sm_120", size=600, unpacked=9000), image("compute_80", size=64, header_size=80)),
    container(image("sm_75", size=1040)),
    container("sm_89", "lto_120"),
]
_RELOCATABLE = [container("sm_80", "compute_80"), container("sm_90")]
_LAYOUT = {"linked": [2], "unregistered": [3]}
ORIGINALS = {
    "elf": elf(_CODE, _RELOCATABLE, **_LAYOUT),
    "object file": elf(_CODE, _RELOCATABLE, object_file=True),
    "pe": pe(_CODE, _RELOCATABLE, **_LAYOUT),
    "ar": ar(b"symbols", elf(_CODE, object_file=True), elf(_CODE, _RELOCATABLE, **_LAYOUT)),
}
#: Magics of ELF, PE, wrappers and containers: behind them lie the fields that say how much there is and where.
_ANCHORS = (b"\x7fELF", b"PE\0\0", b"\xb1\x43\x62\x46", b"\x50\xed\x55\xba", b"!<arch>\n", b".nv_fatb")
_HUGE = (0, 1, 7, 8, 63, 64, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 64, 2**64 - 1)


def _truncate(data, chance):
    del data[chance.randrange(len(data)) :]


def _flip_bits(data, chance):
    for _ in range(chance.choice((1, 4, 64))):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _fill_block(data, chance):
    start = chance.randrange(len(data))
    size = min(chance.choice((8, 64, 512, 4096)), len(data) - start)
    data[start : start + size] = chance.choice((bytes(size), b"\xff" * size, chance.randbytes(size)))


def _oversize_headers(data, chance):
    for _ in range(chance.choice((1, 3))):
        anchor = chance.choice(_ANCHORS)
        places = [match.start() for match in re.finditer(re.escape(anchor), data)]
        place = (chance.choice(places) if places else 0) + chance.randrange(0, 128, 2)
        # Or at the end, where an ELF file's section table is.
        place = chance.choice((place, len(data) - chance.randrange(8, 512)))
        size, format_ = chance.choice(((2, "<H"), (4, "<I"), (8, "<Q")))
        if 0 <= place <= len(data) - size:
            struct.pack_into(format_, data, place, chance.choice(_HUGE) % 2 ** (8 * size))


MUTATIONS = (_truncate, _flip_bits, _fill_block, _oversize_headers)


def mutant(batch, index):
    chance = random.Random(batch * FILES + index)  # noqa: S311 - repeatable, not secret
    data = bytearray(chance.choice(list(ORIGINALS.values())))
    for mutate in chance.sample(MUTATIONS, chance.choice((1, 1, 1, 2))):
        if data:
            mutate(data, chance)
    return bytes(data)


def read(data):
    source = source_of(io.BytesIO(data), len(data))
    return source, read_gpu_code(source)


@pytest.mark.parametrize("name", ORIGINALS)
def test_the_originals_are_sound(name):
    _source, code = read(ORIGINALS[name])
    assert code.problem is None
    assert sum(code.containers.values()) >= 6


@pytest.mark.parametrize("batch", range(BATCHES))
def test_a_mutated_file_is_read_within_bounds_and_judged(batch):
    seen = Counter()
    for index in range(FILES // BATCHES):
        data = mutant(batch, index)
        source, code = read(data)
        # No byte is read often: the headers once, a container that two sections claim once for each.
        assert source.bytes_read <= 4 * len(data) + 4096, (batch, index)
        assert source.reads <= len(data) // 8 + 64, (batch, index)
        seen["no binary" if code is None else judge(code, Target((12, 0))).verdict.value] += 1
    # The mutants reach every end, not only the first check.
    assert seen["unreadable"] > FILES // BATCHES // 4
    assert len(seen) >= 4


def endless(head, filler, size=2**40):
    """A terabyte that begins with `head` and goes on with `filler` without an end."""

    def read_at(length, offset):
        wanted = head[offset : offset + length]
        missing = length - len(wanted)
        start = max(offset - len(head), 0) % len(filler)
        repeats = -(-(start + missing) // len(filler))
        return wanted + (filler * repeats)[start : start + missing]

    return Source(read_at, size)


def _elf_head(names, sections):
    """An ELF header whose section table and names follow at once; sections as (name, address, offset, size)."""
    strings = b"\0.shstrtab\0" + b"\0".join(names) + b"\0"
    table_offset = 64 + len(strings) + -len(strings) % 8
    headers = [struct.pack("<IIQQQQIIQQ", 1, 3, 0, 0, 64, len(strings), 0, 0, 1, 0)]
    for name, address, offset, size in sections:
        headers.append(struct.pack("<IIQQQQIIQQ", strings.index(name), 1, 2, address, offset, size, 0, 0, 8, 0))
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header = struct.pack("<16sHHIQQQIHHHHHH", ident, 3, 62, 1, 0, 0, table_offset, 0, 64, 56, 0, 64, len(headers), 0)
    return (header + strings).ljust(table_offset, b"\0") + b"".join(headers)


TINY = struct.pack("<HHIQ", 2, 0x0101, 64, 0) + bytes(8) + struct.pack("<HHI", 8, 1, 80) + bytes(32)


NAMES = CODE, RELOCATABLE, WRAPPERS = b".nv_fatbin", b"__nv_relfatbin", b".nvFatBinSegment"
EMPTY_CONTAINER = struct.pack("<IHHQ", 0xBA55ED50, 1, 16, 0)
SMALL_CONTAINER = struct.pack("<IHHQ", 0xBA55ED50, 1, 16, 64) + TINY
START = 2**20

HOSTILE = {
    "endless zeros": ([(CODE, 4096, START, 2**39)], bytes(64), "zeros among its GPU code"),
    "endless empty containers": ([(CODE, 4096, START, 2**39)], EMPTY_CONTAINER, "65,536 reads"),
    "endless small containers": ([(CODE, 4096, START, 2**39)], SMALL_CONTAINER, "65,536 reads"),
    "an endless container": ([(CODE, 4096, START - 16, 2**38 + 16)], TINY, "65,536 reads"),
    "the same containers a thousand times": ([(CODE, 4096, START, 2**16)] * 1000, EMPTY_CONTAINER, "65,536 reads"),
    "endless wrappers": ([(WRAPPERS, 4096, START, 2**39)], wrapper(4096), "wrappers of GPU code take"),
    "all the wrappers allowed": (
        [(CODE, 4096, START, 2**16), (WRAPPERS, 2**30, START, 2**21)],
        wrapper(4096),
        "no container of GPU code",
    ),
    "very many segments of wrappers": ([(WRAPPERS, 4096, START, 2**20)] * 60_000, wrapper(4096), "wrappers"),
    "a segment of zeros": ([(WRAPPERS, 4096, START, 2**21)], bytes(24), None),
}


@pytest.mark.parametrize(("sections", "filler", "problem"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_costs_no_more_than_the_bounds(sections, filler, problem):
    head = _elf_head(NAMES, sections)
    at_start = struct.pack("<IHHQ", 0xBA55ED50, 1, 16, 2**38)
    source = endless(head.ljust(START - len(at_start), b"\0") + at_start if len(head) < START else head, filler)
    code = read_gpu_code(source)
    assert source.reads <= MAX_READS + 1
    assert source.bytes_read <= MAX_BYTES
    assert code.problem == problem or problem in code.problem
    assert judge(code, Target((12, 0))).verdict in {Verdict.UNREADABLE, Verdict.NO_GPU_CODE}


def test_judging_does_not_compare_every_linked_container_with_every_relocatable_one():
    looked_at = 0

    class Images(tuple):
        __slots__ = ()

        def __iter__(self):
            nonlocal looked_at
            looked_at += 1
            return super().__iter__()

    containers = {}
    for number in range(1000):
        images = Images(Image(Architecture(Code.SASS, (8, 0))) for _ in range(number))
        containers[Container(Role.LINKED, empty=False, images=images)] = 1
        containers[Container(Role.RELOCATABLE, empty=False, images=images)] = 1
    judge(GpuCode("elf", 0, containers), Target((12, 0)))
    assert looked_at < 10 * len(containers)
