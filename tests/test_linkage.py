"""What a library needs of others, compared with what the tools and the loader of the system say."""

from __future__ import annotations

import io
import random
import shutil
import struct
import subprocess
import sys
from contextlib import suppress

import pytest

import fake_binaries
from rtx50_autoload.evidence.elf_linkage import Linkage, read_linkage
from rtx50_autoload.evidence.environment.loader import Loader, linkage_of
from rtx50_autoload.evidence.environment.loading import load
from rtx50_autoload.evidence.environment.place import Place, Python
from rtx50_autoload.evidence.pe_imports import read_imports
from rtx50_autoload.evidence.positioned import MalformedError, source_of

GCC = shutil.which("gcc")
needs_gcc = pytest.mark.skipif(not (sys.platform.startswith("linux") and GCC), reason="builds libraries for Linux")


def build(path, *needed, soname=None, rpath=None, runpath=None):
    """Build a library that needs others: their paths, or names for which a stand-in is made and thrown away."""
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = path.parent / "stand-ins"
    options = ["-nostdlib", "-shared", "-x", "c", "/dev/null", "-o", str(path)]
    for each in needed:
        build(folder / each, soname=each)
        options += ["-Wl,--no-as-needed", f"-L{folder}", f"-l:{each}"]
    if soname:
        options.append(f"-Wl,-soname,{soname}")
    if rpath:
        options += ["-Wl,--disable-new-dtags", f"-Wl,-rpath,{rpath}"]
    if runpath:
        options += ["-Wl,--enable-new-dtags", f"-Wl,-rpath,{runpath}"]
    subprocess.run([GCC, *options], check=True, capture_output=True, text=True, timeout=60)
    shutil.rmtree(folder, ignore_errors=True)
    return path


def source(data):
    return source_of(io.BytesIO(data), len(data))


@needs_gcc
def test_names_and_run_paths_are_read(tmp_path):
    library = build(tmp_path / "_C.so", "libcudart.so.12", "libc10.so", soname="_C.so", runpath="$ORIGIN:/opt/lib")

    assert linkage_of(library) == Linkage(
        needed=("libcudart.so.12", "libc10.so"), runpath=("$ORIGIN", "/opt/lib"), soname="_C.so"
    )


@needs_gcc
def test_the_older_kind_of_run_path_is_told_apart(tmp_path):
    library = build(tmp_path / "_C.so", "libcudart.so.12", rpath="$ORIGIN/lib")

    assert linkage_of(library) == Linkage(needed=("libcudart.so.12",), rpath=("$ORIGIN/lib",))


@needs_gcc
@pytest.mark.skipif(not shutil.which("strip"), reason="needs strip")
def test_a_library_without_section_table_is_read(tmp_path):
    library = build(tmp_path / "_C.so", "libcudart.so.12")
    data = bytearray(library.read_bytes())
    data[40:48] = bytes(8)  # e_shoff
    data[58:64] = bytes(6)  # e_shentsize, e_shnum, e_shstrndx
    library.write_bytes(data)

    assert linkage_of(library).needed == ("libcudart.so.12",)


@pytest.mark.parametrize("data", [b"", b"\x7fELF", b"\x7fELF\x01\x01".ljust(100), b"#!/bin/sh\n".ljust(100)])
def test_what_is_no_64_bit_elf_needs_nothing(data):
    assert read_linkage(source(data)) == Linkage()


@needs_gcc
def test_damaged_libraries_are_refused_within_bounds(tmp_path):
    whole = build(tmp_path / "_C.so", "libcudart.so.12", "libc10.so", runpath="$ORIGIN").read_bytes()
    chance = random.Random(5090)  # noqa: S311 - the same damage in every run
    for _ in range(2000):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 8)):
            # Most of the headers stand at the beginning.
            data[chance.randrange(chance.choice((64, 1024, len(data))))] = chance.randrange(256)
        with suppress(MalformedError):
            read_linkage(source(bytes(data[: chance.choice((len(data), chance.randrange(len(data))))])))


def test_imports_of_a_dll_are_read():
    names = ("cudart64_12.dll", "KERNEL32.dll")

    assert read_imports(source(fake_binaries.pe_with_imports(*names))) == names


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"MZ",
        b"\x7fELF".ljust(100),
        fake_binaries.pe_with_imports(),
        fake_binaries.pe_with_imports("a", magic=0x10B),
    ],
)
def test_what_imports_nothing(data):
    assert read_imports(source(data)) == ()


def test_damaged_dlls_are_refused_within_bounds():
    whole = fake_binaries.pe_with_imports("cudart64_12.dll", "c10_cuda.dll")
    chance = random.Random(5090)  # noqa: S311 - the same damage in every run
    for _ in range(2000):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 8)):
            data[chance.randrange(chance.choice((0x40, 0x1C0, len(data))))] = chance.randrange(256)
        with suppress(MalformedError):
            read_imports(source(bytes(data[: chance.choice((len(data), chance.randrange(len(data))))])))


# The search, beside that of the system's own loader


def loads(library, environ):
    """Whether this system loads the library in a fresh interpreter."""
    command = [sys.executable, "-c", "import ctypes, sys; ctypes.CDLL(sys.argv[1])", str(library)]
    return subprocess.run(command, env=environ, check=False, capture_output=True, timeout=60).returncode == 0


def in_own_folder(tmp_path):
    build(tmp_path / "libbase50.so.1", soname="libbase50.so.1")
    return build(tmp_path / "top.so", "libbase50.so.1"), {}


def by_run_path(tmp_path):
    build(tmp_path / "lib" / "libbase50.so.1", soname="libbase50.so.1")
    return build(tmp_path / "top.so", "libbase50.so.1", runpath="$ORIGIN/lib"), {}


def by_old_run_path(tmp_path):
    build(tmp_path / "lib" / "libbase50.so.1", soname="libbase50.so.1")
    return build(tmp_path / "top.so", "libbase50.so.1", rpath="${ORIGIN}/lib"), {}


def by_variable(tmp_path):
    build(tmp_path / "lib" / "libbase50.so.1", soname="libbase50.so.1")
    return build(tmp_path / "top.so", "libbase50.so.1"), {"LD_LIBRARY_PATH": f"/nowhere:{tmp_path / 'lib'}"}


def run_path_of_another_folder(tmp_path):
    build(tmp_path / "lib" / "libbase50.so.1", soname="libbase50.so.1")
    return build(tmp_path / "top.so", "libbase50.so.1", runpath="$ORIGIN/lib64"), {}


def old_run_path_is_handed_on(tmp_path):
    build(tmp_path / "deep" / "libbase50.so.1", soname="libbase50.so.1")
    build(tmp_path / "lib" / "libmiddle50.so", "libbase50.so.1", soname="libmiddle50.so")
    return build(tmp_path / "top.so", "libmiddle50.so", rpath="$ORIGIN/lib:$ORIGIN/deep"), {}


def run_path_is_not_handed_on(tmp_path):
    build(tmp_path / "deep" / "libbase50.so.1", soname="libbase50.so.1")
    build(tmp_path / "lib" / "libmiddle50.so", "libbase50.so.1", soname="libmiddle50.so")
    return build(tmp_path / "top.so", "libmiddle50.so", runpath="$ORIGIN/lib:$ORIGIN/deep"), {}


def old_run_path_is_ignored_by_who_has_a_new_one(tmp_path):
    build(tmp_path / "deep" / "libbase50.so.1", soname="libbase50.so.1")
    build(tmp_path / "lib" / "libmiddle50.so", "libbase50.so.1", soname="libmiddle50.so", runpath="$ORIGIN")
    return build(tmp_path / "top.so", "libmiddle50.so", rpath="$ORIGIN/lib:$ORIGIN/deep"), {}


def loaded_under_its_name_before(tmp_path):
    build(tmp_path / "lib" / "libbase50.so.1", soname="libbase50.so.1")
    build(tmp_path / "lib" / "libmiddle50.so", "libbase50.so.1", soname="libmiddle50.so")
    build(tmp_path / "lib" / "libfirst50.so", "libbase50.so.1", soname="libfirst50.so", runpath="$ORIGIN")
    return build(tmp_path / "top.so", "libfirst50.so", "libmiddle50.so", runpath="$ORIGIN/lib"), {}


def system_library(tmp_path):
    return build(tmp_path / "top.so", "libm.so.6"), {}


@needs_gcc
@pytest.mark.parametrize(
    "layout",
    [
        in_own_folder,
        by_run_path,
        by_old_run_path,
        by_variable,
        run_path_of_another_folder,
        old_run_path_is_handed_on,
        run_path_is_not_handed_on,
        old_run_path_is_ignored_by_who_has_a_new_one,
        loaded_under_its_name_before,
        system_library,
    ],
    ids=lambda layout: layout.__name__,
)
def test_the_search_agrees_with_the_systems_loader(tmp_path, layout):
    library, environ = layout(tmp_path)
    place = Place(Python.running(), environ)

    lacks = list(load(Loader(place), "test", library, {}))

    assert (not lacks) == loads(library, environ)


@pytest.mark.skipif(not shutil.which("ldconfig", path="/sbin:/usr/sbin"), reason="compares with ldconfig")
def test_the_cache_is_read_as_ldconfig_prints_it():
    ldconfig = shutil.which("ldconfig", path="/sbin:/usr/sbin")
    lines = subprocess.run([ldconfig, "-p"], check=True, capture_output=True, text=True, timeout=60).stdout.splitlines()
    printed = {}
    for line in lines:
        if "=>" in line and "64)" in line.replace("x86-64", "64"):
            printed.setdefault(line.split()[0], line.split(" => ")[1].strip())
    if not printed:
        pytest.skip("this system has no cache of libraries for 64 bits")

    cache = Loader(Place(Python.running(), {}))._cache

    assert {name: str(cache.get(name)) for name in printed} == printed


@pytest.mark.parametrize(
    "data", [b"", b"glibc-ld.so.cache1.1", b"glibc-ld.so.cache1.1" + b"\xff" * 100, b"ld.so-1.7.0"]
)
def test_a_damaged_cache_holds_nothing_that_exists(tmp_path, data):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "ld.so.cache").write_bytes(data)

    assert Loader(Place(Python.running(), {}, root=tmp_path)).find("libcudart.so.12") is None


def test_a_cache_behind_the_older_table_is_read(tmp_path):
    strings = b"libcudart.so.12\0/opt/libcudart.so.12\0libold.so\0/opt/libold.so\0"
    start = 48 + 2 * 24
    entries = struct.pack("<iII12x", 0x0303, start, start + 16) + struct.pack("<iII12x", 0x0003, start + 37, start + 47)
    header = struct.pack("<20sII20x", b"glibc-ld.so.cache1.1", 2, len(strings))
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "ld.so.cache").write_bytes(b"ld.so-1.7.0\0\0\0\0\0" + header + entries + strings)
    for name in ("libcudart.so.12", "libold.so"):
        (tmp_path / "opt").mkdir(exist_ok=True)
        (tmp_path / "opt" / name).touch()
    loader = Loader(Place(Python.running(), {}, root=tmp_path))

    assert loader.find("libcudart.so.12") == tmp_path / "opt" / "libcudart.so.12"
    assert loader.find("libold.so") is None  # for 32-bit x86
