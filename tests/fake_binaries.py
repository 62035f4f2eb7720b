"""Builds binaries byte by byte, with GPU code that is none.

What is faked: the payloads of the images are zeros, the ELF and PE files hold no host code, only what a reader of their
section tables needs. Everything else has the layout of nvcc's and the linkers' output.
"""

from __future__ import annotations

import re
import struct

ELF_ADDRESS = 0x10000
PE_BASE = 0x180000000

_KINDS = {"compute": 1, "sm": 2, "lto": 8}
_FLAGS = {"": 0, "a": 0x100000, "f": 0x200000}


def image(name, *, size=4096, isa=(8, 7), unpacked=0, header_size=64):
    """One entry: ``sm_90a`` or ``compute_120``; `size` and `unpacked` in bytes."""
    code, number, suffix = re.fullmatch(r"(sm|compute|lto)_(\d+)([af]?)", name).groups()
    size += -size % 8
    major, minor = isa if code == "compute" else (1, 8)
    flags = 0x11 | _FLAGS[suffix] | (0x2000 if unpacked else 0)
    header = struct.pack(
        "<HHIQIIHHIIIQQQ",
        *(_KINDS[code], 0x0101, header_size, size, size if unpacked else 0, 0),
        *(minor, major, int(number), 0, 0, flags, 0, unpacked),
    )
    return header.ljust(header_size, b"\0") + bytes(size)


def container(*entries):
    """Images given by name or ready made, as one fatbin container."""
    body = b"".join(image(entry) if isinstance(entry, str) else entry for entry in entries)
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(body)) + body


def wrapper(address, version=1):
    return struct.pack("<IIQQ", 0x466243B1, version, address, 0)


def _pack(containers):
    """Containers one behind the other, and where each begins."""
    data, offsets = b"", []
    for each in containers:
        data += bytes(-len(data) % 8)
        offsets.append(len(data))
        data += each
    return data, offsets


def _wrappers(offsets, base, linked, unregistered, with_addresses):
    return b"".join(
        wrapper(base + offset if with_addresses else 0, 2 if index in linked else 1)
        for index, offset in enumerate(offsets)
        if index not in unregistered
    )


def elf(  # noqa: PLR0913 - each is one thing that a test may want otherwise
    code=(),
    relocatable=(),
    *,
    linked=(),
    unregistered=(),
    with_addresses=True,
    object_file=False,
    names=(".nv_fatbin", "__nv_relfatbin", ".nvFatBinSegment"),
    machine=62,
    extra_wrappers=b"",
):
    """A shared library, or an object file, with `code` in ``.nv_fatbin`` and `relocatable` in ``__nv_relfatbin``.

    `linked` are the indices of the containers in `code` that the device linker made, `unregistered` those without a
    wrapper.
    """
    start = 64
    code_data, code_offsets = _pack(code)
    relocatable_start = start + len(code_data) + -len(code_data) % 8
    relocatable_data, relocatable_offsets = _pack(relocatable)
    segment_start = relocatable_start + len(relocatable_data) + -len(relocatable_data) % 8
    base = 0 if object_file else ELF_ADDRESS
    segment = _wrappers(code_offsets, base + start, linked, unregistered, with_addresses and not object_file)
    segment += _wrappers(relocatable_offsets, base + relocatable_start, (), (), with_addresses and not object_file)
    segment += extra_wrappers

    parts = [(names[0], start, code_data), (names[1], relocatable_start, relocatable_data)]
    parts += [(names[2], segment_start, segment), (".comment", segment_start + len(segment), b"made by hand")]
    parts = [part for part in parts if part[2]]
    strings = b"\0.shstrtab\0"
    body = bytearray(64)
    headers = [bytes(64)]
    for name, offset, data in parts:
        body += bytes(offset - len(body)) + data
        address = base + offset if base and name != ".comment" else 0
        headers.append(struct.pack("<IIQQQQIIQQ", len(strings), 1, 2, address, offset, len(data), 0, 0, 8, 0))
        strings += name.encode() + b"\0"
    headers.append(struct.pack("<IIQQQQIIQQ", 1, 3, 0, 0, len(body), len(strings), 0, 0, 1, 0))
    body += strings
    body += bytes(-len(body) % 8)
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    kind = 1 if object_file else 3
    struct.pack_into("<16sHHIQQQIHHHHHH", body, 0, ident, kind, machine, 1, 0, 0, len(body), 0, 64, 56, 0, 64, 0, 0)
    struct.pack_into("<HH", body, 60, len(headers), len(headers) - 1)
    return bytes(body) + b"".join(headers)


def pe(code=(), relocatable=(), *, linked=(), unregistered=(), magic=0x20B):
    """A DLL; the parameters are those of `elf`."""
    alignment = 1024
    code_data, code_offsets = _pack(code)
    relocatable_data, relocatable_offsets = _pack(relocatable)
    code_address, relocatable_address, segment_address = 0x1000, 0x1000000, 0x2000000
    segment = _wrappers(code_offsets, PE_BASE + code_address, linked, unregistered, with_addresses=True)
    segment += _wrappers(relocatable_offsets, PE_BASE + relocatable_address, (), (), with_addresses=True)
    # What grouping by the linker may leave between the wrappers of two objects.
    segment = bytes(8) + segment if segment else b""
    parts = [(b".nv_fatb", code_address, code_data), (b"__nv_rel", relocatable_address, relocatable_data)]
    parts += [(b".nvFatBi", segment_address, segment), (b".text", 0x3000000, b"\xc3")]
    parts = [part for part in parts if part[2]]

    signature, optional_size = 0x80, 0xF0
    offset = alignment
    table, body = b"", b""
    for name, address, data in parts:
        padded = data + bytes(-len(data) % alignment)
        table += struct.pack("<8sIIII16x", name, len(data), address, len(padded), offset)
        body += padded
        offset += len(padded)
    headers = b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", signature)
    headers = headers.ljust(signature, b"\0") + b"PE\0\0"
    headers += struct.pack("<HHIIIHH", 0x8664, len(parts), 0, 0, 0, optional_size, 0x2022)
    headers += struct.pack("<H22xQ", magic, PE_BASE).ljust(optional_size, b"\0") + table
    return headers.ljust(alignment, b"\0") + body


def ar(*members):
    """A static library of object files."""
    data = b"!<arch>\n"
    for index, member in enumerate(members):
        data += f"{f'o{index}.o/':<16}{0:<12}{0:<6}{0:<6}{0o644:<8}{len(member):<10}`\n".encode()
        data += member + b"\n" * (len(member) % 2)
    return data


def pe_with_imports(*names, magic=0x20B):
    """A DLL that imports nothing but whole libraries."""
    address, offset, signature, optional_size = 0x2000, 1024, 0x80, 0xF0
    size_of_table = 20 * (len(names) + 1)
    table, strings = b"", b""
    for name in names:
        table += struct.pack("<12xI4x", address + size_of_table + len(strings))
        strings += name.encode() + b"\0"
    data = (table.ljust(size_of_table, b"\0") + strings).ljust(1024, b"\0")
    headers = b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", signature)
    headers = headers.ljust(signature, b"\0") + b"PE\0\0"
    headers += struct.pack("<HHIIIHH", 0x8664, 1, 0, 0, 0, optional_size, 0x2022)
    directories = struct.pack("<I8xII", 16, address, size_of_table) if names else struct.pack("<I16x", 16)
    headers += (struct.pack("<H106x", magic) + directories).ljust(optional_size, b"\0")
    headers += struct.pack("<8sIIII16x", b".idata", len(data), address, len(data), offset)
    return headers.ljust(offset, b"\0") + data
