"""Which CUDA libraries are missed, by libraries that were linked for it."""

from __future__ import annotations

import os
import shutil
import sys
from types import SimpleNamespace

import pytest

import fake_binaries
import rig
from fake_machine import Machine
from rtx50_autoload.evidence.environment import host
from rtx50_autoload.evidence.environment.cuda_libraries import cuda_library
from test_linkage import build, needs_gcc

GIB = 2**30


@pytest.fixture
def machine(tmp_path, monkeypatch):
    monkeypatch.setattr(host.shutil, "disk_usage", lambda _: SimpleNamespace(free=100 * GIB))
    machine = Machine(tmp_path)
    for mark in ("ninja", "g++", "nvcc"):
        machine.program(mark, "release 13.0" if mark == "nvcc" else "g++ 12.2.0")
    return machine


def nvidia(machine, folder, *names):
    for name in names:
        build(machine.site / "nvidia" / folder / "lib" / name, soname=name)


def cuda_torch(machine):
    """torch 2.13.0's build for CUDA 13, in small."""
    run_path = "$ORIGIN/../../nvidia/cu13/lib:$ORIGIN/../../nvidia/cudnn/lib:$ORIGIN"
    lib = machine.site / "torch" / "lib"
    build(lib / "libc10_cuda.so", "libcudart.so.13", soname="libc10_cuda.so", rpath=run_path)
    build(
        lib / "libtorch_cuda.so",
        "libc10_cuda.so",
        "libcublas.so.13",
        "libcudnn.so.9",
        soname="libtorch_cuda.so",
        rpath=run_path,
    )
    build(lib / "libtorch_python.so", "libtorch_cuda.so", soname="libtorch_python.so", rpath=run_path)
    build(machine.site / "torch" / "_C.cpython-312.so", "libtorch_python.so", rpath=f"{run_path}:$ORIGIN/lib")
    nvidia(machine, "cu13", "libcudart.so.13", "libcublas.so.13", "libcublasLt.so.13", "libnvrtc.so.13")
    nvidia(machine, "cudnn", "libcudnn.so.9")


def xformers(machine):
    machine.install("xformers", "0.0.35", "torch>=2.10")
    build(machine.site / "xformers" / "_C.so", "libcudart.so.12", "libc10_cuda.so", "libtorch_cuda.so")


@needs_gcc
def test_a_complete_cuda_torch_misses_nothing(machine):
    cuda_torch(machine)

    assert machine.findings() == {}
    loaded = machine.examine().facts["runtime_libraries"]["loaded"]
    assert loaded["libcudart.so.13"] == str(machine.site / "nvidia" / "cu13" / "lib" / "libcudart.so.13")


@needs_gcc
def test_what_torch_misses_is_named_with_the_packages_for_its_own_cuda(machine):
    cuda_torch(machine)
    shutil.rmtree(machine.site / "nvidia")

    findings = machine.findings()

    assert set(findings) == {"runtime-library-missing"}
    finding = findings["runtime-library-missing"]
    assert "libcublas.so.13, libcudnn.so.9 and libcudart.so.13" in finding.what
    assert finding.next.endswith("-m pip install nvidia-cublas nvidia-cudnn-cu13 nvidia-cuda-runtime")


@needs_gcc
def test_xformers_for_cuda_12_beside_torch_for_cuda_13(machine):
    cuda_torch(machine)
    xformers(machine)

    findings = machine.findings()

    assert set(findings) == {"runtime-library-missing"}
    finding = findings["runtime-library-missing"]
    assert finding.what == "xformers 0.0.35 needs libcudart.so.12, which is not on this computer."
    assert "torch 2.13.0+cu130 loads those of CUDA 13.0" in finding.why
    assert finding.next.endswith("-m pip install nvidia-cuda-runtime-cu12")


@needs_gcc
def test_the_package_that_torch_loads_from_is_enough(machine):
    cuda_torch(machine)
    xformers(machine)
    nvidia(machine, "cuda_runtime", "libcudart.so.12")

    assert machine.findings() == {}


@needs_gcc
def test_torch_stops_loading_at_the_first_package_that_it_does_not_find(machine):
    cuda_torch(machine)
    xformers(machine)
    nvidia(machine, "cuda_runtime", "libcudart.so.12")
    (machine.site / "nvidia" / "cu13" / "lib" / "libcublasLt.so.13").unlink()

    findings = machine.findings()

    assert set(findings) == {"runtime-library-unreachable"}
    folder = machine.site / "nvidia" / "cuda_runtime" / "lib"
    assert (
        findings["runtime-library-unreachable"].next
        == f'export LD_LIBRARY_PATH={folder}"${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}"'
    )

    machine.environ["LD_LIBRARY_PATH"] = str(folder)
    assert machine.findings() == {}


@needs_gcc
def test_a_torch_for_the_cpu_has_not_what_an_extension_for_the_gpu_needs(machine):
    machine.torch("2.13.0+cpu", None)
    xformers(machine)

    findings = machine.findings()

    assert set(findings) == {"torch-cpu-only", "extension-needs-cuda-torch", "runtime-library-missing"}
    assert "libc10_cuda.so and libtorch_cuda.so" in findings["extension-needs-cuda-torch"].why
    assert "nvidia-cuda-runtime-cu12" in findings["runtime-library-missing"].why


@needs_gcc
def test_of_bitsandbytes_only_the_library_counts_that_is_loaded(machine):
    cuda_torch(machine)
    machine.install("bitsandbytes", "0.50.2", "torch")
    folder = machine.site / "bitsandbytes"
    build(folder / "libbitsandbytes_cuda128.so", "libcudart.so.12", "libcublas.so.12")
    build(folder / "libbitsandbytes_cuda130.so", "libcudart.so.13", "libcublas.so.13")
    assert machine.findings() == {}

    machine.environ["BNB_CUDA_VERSION"] = "128"
    finding = machine.findings()["runtime-library-missing"]
    assert "nvidia-cuda-runtime-cu12 and nvidia-cublas-cu12" in finding.why


@needs_gcc
def test_what_has_a_build_for_each_variant_of_torch_is_replaced_by_it(machine):
    cuda_torch(machine)
    machine.install("torchaudio", "2.11.0")
    build(machine.site / "torchaudio" / "lib" / "libtorchaudio.so", "libcudart.so.12")

    step = machine.findings()["runtime-library-missing"].next
    assert "--force-reinstall --no-deps torchaudio==2.11.0 --index-url" in step
    assert step.endswith("/cu130")


@needs_gcc
def test_libraries_that_are_not_cudas_are_not_talked_about(machine):
    cuda_torch(machine)
    machine.install("torchaudio", "2.11.0", built="2.11.0+cu130")
    build(machine.site / "torchaudio" / "lib" / "libtorchaudio.so", "libsox.so")

    assert machine.findings() == {}


@needs_gcc
def test_a_file_that_cannot_be_read_needs_nothing(machine):
    cuda_torch(machine)
    machine.install("xformers", "0.0.35")
    machine.write(machine.site / "xformers" / "_C.so", "no library")
    machine.install("torchvision", "0.28.0", "torch==2.13.0", built="0.28.0+cu130")
    (machine.site / "torchvision").mkdir(exist_ok=True)
    (machine.site / "torchvision" / "_C.so").symlink_to("nowhere")

    assert machine.findings() == {}


@pytest.mark.parametrize(
    ("name", "cuda", "package"),
    [
        ("libcudart.so.12", None, "nvidia-cuda-runtime-cu12"),
        ("libcudart.so.13", None, "nvidia-cuda-runtime"),
        ("libcusparse.so.12", 12, "nvidia-cusparse-cu12"),
        ("libcusparse.so.12", 13, "nvidia-cusparse"),
        ("libcufft.so.11", None, "nvidia-cufft-cu12"),
        ("libcudnn.so.9", 12, "nvidia-cudnn-cu12"),
        ("CUBLAS64_13.DLL", None, "nvidia-cublas"),
        ("nvrtc64_120_0.dll", None, "nvidia-cuda-nvrtc-cu12"),
        ("cudart64_110.dll", None, "nvidia-cuda-runtime-cu11"),
    ],
)
def test_a_library_is_known_by_its_file_name(name, cuda, package):
    assert cuda_library(name).package(cuda) == package


@pytest.mark.parametrize("name", ["libc.so.6", "libtorch_cuda.so", "libcudart.so.99", "kernel32.dll", "libhiprtc.so.6"])
def test_other_libraries_are_not(name):
    assert cuda_library(name) is None


@pytest.mark.skipif(sys.platform == "win32", reason="the fake machine has shell scripts for programs")
def test_dlls_are_looked_for_where_torch_and_python_have_theirs(machine):
    machine.platform = "win32"
    machine.program("cl.exe", "Version 19.44")
    machine.program("ninja.exe", "1")
    machine.program("nvcc.exe", "release 13.0")
    machine.install("xformers", "0.0.35", "torch")
    (machine.site / "xformers").mkdir(exist_ok=True)
    imports = fake_binaries.pe_with_imports("cudart64_12.dll", "c10_cuda.dll", "KERNEL32.dll")
    (machine.site / "xformers" / "_C.pyd").write_bytes(imports)
    machine.write(machine.site / "torch" / "lib" / "c10_cuda.dll")
    machine.write(machine.site / "torch" / "lib" / "cudart64_13.dll")

    findings = machine.findings()

    assert set(findings) == {"runtime-library-missing"}
    finding = findings["runtime-library-missing"]
    assert "cudart64_12.dll" in finding.what
    assert (
        finding.next
        == "Install the build of xformers made for CUDA 13.0, or the torch that your xformers was built for."
    )

    machine.write(machine.venv / "Library" / "bin" / "cudart64_12.dll")
    assert machine.findings() == {}


@pytest.fixture(scope="session")
def real_libraries(torch_venv, tmp_path_factory):
    """The real torch, as the session was told, beside the real xformers and bitsandbytes."""
    folder = tmp_path_factory.mktemp("libraries") / "venv"
    venv = rig.create_venv(folder)
    rig.copy_site_packages(torch_venv, venv)
    rig.uv_pip("install", venv, "--no-deps", "xformers==0.0.35", "bitsandbytes==0.50.2", rig.ROOT)
    rig.uv_pip("install", venv, "importlib-metadata", "packaging", "platformdirs", "rich", "tomli")
    return venv


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the wheels for Linux")
@pytest.mark.skipif("RTX50_TEST_TORCH" not in os.environ, reason="RTX50_TEST_TORCH names no torch")
def test_real_xformers_beside_a_real_torch_misses_the_runtime_of_cuda_12(real_libraries):
    code = """
        import sys
        from rtx50_autoload.evidence.environment import examination
        from rtx50_autoload.evidence.devices import Device, Survey
        survey = Survey((Device(0, "NVIDIA GeForce RTX 5090", (12, 0), "simulated", None),), None, "Simulated.")
        for finding in examination.findings(survey):
            print(finding.id, finding.what, finding.why, sep=" | ")
        assert "torch" not in sys.modules
    """
    printed = real_libraries.run_code(code).stdout.splitlines()

    (line,) = [line for line in printed if line.startswith("runtime-library-")]
    assert "xformers 0.0.35 needs libcudart.so.12" in line
    assert "nvidia-cuda-runtime-cu12" in line or "lies in" in line
