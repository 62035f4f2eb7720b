"""Binaries: GPU code in ELF, PE and ar files, in wheels, and what they need of other libraries."""

from __future__ import annotations

import contextlib
import io
import json
import struct
import zipfile

from target import Target, scratch

from fake_binaries import ar, container, elf, image, pe, pe_with_imports, wrapper
from rtx50_autoload.evidence import imagecache
from rtx50_autoload.evidence.arch import Code, JitSwitches, loads_on
from rtx50_autoload.evidence.elf_linkage import read_linkage
from rtx50_autoload.evidence.environment.loader import _cached
from rtx50_autoload.evidence.fatbin import Role
from rtx50_autoload.evidence.gpucode import read_gpu_code
from rtx50_autoload.evidence.pe_imports import read_imports
from rtx50_autoload.evidence.positioned import MAX_BYTES, MAX_READS, MalformedError, Source, open_source
from rtx50_autoload.evidence.scan import NotABinaryError, scan_file
from rtx50_autoload.evidence.verdict import Outcome, Verdict, judge
from rtx50_autoload.evidence.verdict import Target as Device

_DEVICES = [
    Device((12, 0)),
    Device((12, 1), driver=575),
    Device((9, 0), driver=535),
    Device((8, 6), switches=JitSwitches(disabled=True)),
    Device((7, 5), switches=JitSwitches(forced=True)),
]
#: Of an entry of a container: kind, size of its header, size of its payload; the architecture.
_HEAD, _NUMBER = struct.Struct("<HxxIQ"), struct.Struct("<28xI")


def _in_memory(data):
    """A source that sees to it that nothing outside of the file is asked for."""

    def read_at(length, offset):
        assert 0 <= offset <= offset + length <= len(data)
        return data[offset : offset + length]

    return Source(read_at, len(data))


def _has_image(data, kind, number):
    """Look for an image without any table that leads to it: its header, with a payload that the file has room for."""
    place = -1
    wanted = struct.pack("<I", number)
    while (place := data.find(wanted, place + 1)) >= 0:
        start = place - 28
        if start >= 0 and start + _HEAD.size <= len(data):
            found, header, payload = _HEAD.unpack_from(data, start)
            if found == kind and start + header + payload <= len(data):
                return True
    return False


def check_fatbin(data):
    source = _in_memory(data)
    code = read_gpu_code(source)
    assert source.bytes_read <= MAX_BYTES + len(data)
    assert source.reads <= MAX_READS + 1
    path = scratch() / "binary.so"
    path.write_bytes(data)
    with open_source(path) as file:
        assert read_gpu_code(file) == code
    if code is None:
        return
    assert code.size == len(data)
    assert code.problem is None or not code.containers
    kinds = {Code.PTX: 1, Code.SASS: 2, Code.LTO: 8}
    architectures = {found.architecture for each in code.containers for found in each.images}
    for architecture in architectures:
        major, minor = architecture.capability
        assert _has_image(data, kinds[architecture.code], 10 * major + minor), architecture
    for device in _DEVICES:
        judgement = judge(code, device)
        assert judgement.verdict in Verdict
        loadable = [each for each in architectures if loads_on(each, device.capability)]
        if judgement.verdict is Verdict.NATIVE or judgement.modules.get(Outcome.NATIVE):
            assert any(each.code is Code.SASS for each in loadable), judgement
        if judgement.verdict is Verdict.JIT:
            assert loadable, judgement
    kept = json.loads(json.dumps(imagecache._encode_code(code)))
    assert imagecache._decode_code(kept) == code


def _binaries():
    codes = [
        container("sm_80", "sm_90a", "compute_120f"),
        container(image("sm_120", size=64, unpacked=9000), image("compute_80", size=64, header_size=80)),
        container(image("sm_75", size=64), image("lto_120", size=64)),
    ]
    small = [container(image(name, size=8, unpacked=4096)) for name in ("sm_120", "compute_90")]
    related = [container(image("sm_80", size=8, unpacked=4096), image("compute_80", size=8, unpacked=4096))]
    yield elf(small, related, linked=[1])
    yield elf(small, related, linked=[1], unregistered=[0])
    yield elf(small, related, with_addresses=False)
    yield elf(small, object_file=True)
    yield elf(small, machine=190)
    yield elf(small, extra_wrappers=wrapper(0x999999))
    yield pe(small, related, linked=[1])
    yield ar(b"symbols", elf(small, object_file=True), b"\x64\x86" + bytes(18))
    yield elf(codes)
    yield b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", 0x40) + b"PE\0\0"


_MAGICS = (
    *(b"\x7fELF\x02\x01\x01", b"MZ", b"PE\0\0", b"!<arch>\n", b"`\n", b"\x50\xed\x55\xba", b"\xb1\x43\x62\x46"),
    *(b".nv_fatbin\0", b"__nv_relfatbin\0", b".nvFatBinSegment\0", b".nv_fatb", b"__nv_rel", b".nvFatBi", b"\x64\x86"),
    *(b"\xff\xff\xff\xff\xff\xff\xff\xff", b"\0\0\0\x80", b"\xff\xff\xff\x7f", b"\xff\xff", b"\x78\0\0\0", b"\x10\0"),
    *(b"\x00\x00\x10\0\0\0\0\0", b"\0\0\x20\0\0\0\0\0", b"\xbe\0", b"\x3e\0", b"\x40\0", b"\x01\x01"),
)


def check_linkage(data):
    linkage = imports = None
    with contextlib.suppress(MalformedError):
        linkage = read_linkage(_in_memory(data))
    with contextlib.suppress(MalformedError):
        imports = read_imports(_in_memory(data))
    names = [*(linkage.needed + linkage.rpath + linkage.runpath if linkage else ()), *(imports or ())]
    assert all("\0" not in name for name in names)
    for name in linkage.needed if linkage else ():
        assert name.encode("utf-8", "surrogateescape") in data
    list(_cached(data))


def _dynamic():
    """A library without sections that needs two others."""
    strings = b"\0libcudart.so.12\0$ORIGIN/lib:/opt\0libx.so\0"
    entries = [
        (1, 1),
        (14, strings.index(b"libx")),
        (29, strings.index(b"$")),
        (15, strings.index(b"$")),
        (5, 0x1000 + 232),
    ]
    table = b"".join(struct.pack("<qQ", *entry) for entry in entries)
    start = 64 + 2 * 56
    load = struct.pack("<IIQQQQQQ", 1, 5, 0, 0x1000, 0, 0x1000, 0x1000, 0)
    dynamic = struct.pack("<IIQQQQQQ", 2, 5, start, 0x1000 + start, 0, len(table), len(table), 0)
    header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack(
        "<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0
    )
    body = header + load + dynamic + table
    return body.ljust(232, b"\0")[:232] + table[232 - start :] + strings


def _linked():
    yield _dynamic()
    yield pe_with_imports("KERNEL32.dll", "cudart64_12.dll")
    entry = struct.pack("<iIIIQ", 1, 80, 90, 0, 0)
    yield b"glibc-ld.so.cache1.1" + struct.pack("<II", 1, 20) + bytes(20) + entry + b"libcuda.so.1\0/lib/libcuda.so.1\0"


def check_wheel(data):
    """Read a wheel of members that the input has cut out of it, or the input itself as the wheel."""
    path = scratch() / "w-1-py3-none-any.whl"
    path.write_bytes(data)
    for result in scan_file(path, _DEVICES[0]):
        json.dumps(result.as_json())
        assert result.judgement.verdict in Verdict
    for name in ("x.so", "x"):
        other = scratch() / name
        other.write_bytes(data)
        try:
            scan_file(other, _DEVICES[0])
        except NotABinaryError:
            assert not data.startswith((b"\x7fELF", b"MZ", b"!<arch>\n"))


def _wheels():
    library = elf([container(image("sm_120", size=8, unpacked=4096))])
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", compression) as wheel:
            wheel.writestr("a/_C.so", library)
            wheel.writestr("a/__init__.py", "")
        yield buffer.getvalue()


_ZIP = (
    *(
        b"PK\x01\x02",
        b"PK\x03\x04",
        b"PK\x05\x06",
        b"PK\x06\x06",
        b"PK\x06\x07",
        b"\x01\x00\x10\x00",
        b"\x01\x99\x07\x00",
    ),
    *(b"\xff\xff\xff\xff", b"\xff\xff", b"\0\0\0\x80", b".so", b"\x08\0", b"\x0c\0", b"\x0e\0", b"up\x05\0"),
)


def check_cache(data):
    """A damaged cache of images gives what a reader could have given, or nothing."""
    file = scratch() / "images.json"
    path = scratch() / "known.so"
    path.write_bytes(b"")
    status = path.stat()
    content = data.replace(b"PATH", str(path).encode()).replace(b"TIME", str(status.st_mtime_ns).encode())
    file.write_bytes(content)
    cache = imagecache.ImageCache(file)
    binaries = cache.get(path, status)
    for _member, code in binaries or ():
        for device in _DEVICES:
            judge(code, device)
        assert all(isinstance(each.role, Role) for each in code.containers)
        code.images(Code.SASS)
        assert code.newest_ptx is None or len(code.newest_ptx) == 2
    cache.put(path, status, ())
    cache.save()


def _caches():
    images = '["sm_120","compute_90@8.7"]'
    yield (
        '{"reader":1,"files":{"PATH":[0,TIME,[["",["elf",0,null,[[1,"module",false,%s]]]]]]}}' % images  # noqa: UP031
    ).encode()
    yield b'{"reader":1,"files":{"PATH":[0,TIME,[["",["elf",0,"damaged",[]]]]]}}'


TARGETS = (
    Target("fatbin", check_fatbin, _binaries, _MAGICS, 8192),
    Target("linkage", check_linkage, _linked, (*_MAGICS, b"glibc-ld.so.cache1.1"), 2048),
    Target("wheel", check_wheel, _wheels, (*_MAGICS, *_ZIP), 4096),
    Target("imagecache", check_cache, _caches, (b"PATH", b"TIME", b"null", b'"module"', b"1e999", b"[[[["), 1024),
)
