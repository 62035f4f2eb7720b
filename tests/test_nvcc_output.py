"""The readers on what NVIDIA's compiler really writes; nothing is run."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from rtx50_autoload.evidence.arch import Code
from rtx50_autoload.evidence.fatbin import Role
from rtx50_autoload.evidence.gpucode import read_gpu_code
from rtx50_autoload.evidence.positioned import open_source
from rtx50_autoload.evidence.verdict import Target, judge

NVCC = shutil.which("nvcc")
pytestmark = pytest.mark.skipif(NVCC is None, reason="nvcc is not installed (NVIDIA CUDA toolkit 12.9 or newer)")

KERNEL = """
__device__ float twice(float);
__global__ void kernel(float *x) {
    float sum = x[threadIdx.x];
    for (int i = 0; i < threadIdx.x; i++) sum = sum * 1.01f + sinf(sum) * x[i];
    x[threadIdx.x] = USED(sum);
}
extern "C" void launch(float *x) { kernel<<<1, 32>>>(x); }
"""
WHOLE = "#define USED(x) (x)\n" + KERNEL
CALLING = "#define USED(x) twice(x)\n" + KERNEL
CALLED = "__device__ float twice(float x) { return x * 2.0f; }\n"
HOST_ONLY = 'extern "C" int one() { return 1; }\n'


@pytest.fixture
def compiled(tmp_path):
    def compile_(options, *sources, output="lib.so"):
        files = []
        for index, text in enumerate(sources or [WHOLE]):
            file = tmp_path / f"source{index}.cu"
            file.write_text(text)
            files.append(str(file))
        path = tmp_path / output
        subprocess.run([NVCC, "-Xcompiler", "-fPIC", *options.split(), *files, "-o", str(path)], check=True)
        return path

    return compile_


def read(path):
    with open_source(path) as source:
        code = read_gpu_code(source)
    assert code.problem is None
    return code


def in_modules(code):
    """The images of what is registered by itself: beside it lies what the device linker leaves, even of nothing."""
    return sorted(
        str(image.architecture)
        for container in code.containers
        if container.role is Role.MODULE
        for image in container.images
    )


def verdict(code, device):
    return judge(code, Target(device)).verdict.value


def verdicts(code):
    return {device: verdict(code, device) for device in [(8, 9), (9, 0), (10, 0), (12, 0), (12, 1)]}


def test_sass_and_ptx_of_several_architectures(compiled):
    code = read(
        compiled(
            "-shared -gencode arch=compute_80,code=sm_80 -gencode arch=compute_90a,code=sm_90a "
            "-gencode arch=compute_120,code=[sm_120,compute_120]"
        )
    )
    assert in_modules(code) == ["compute_120", "sm_120", "sm_80", "sm_90a"]
    assert code.newest_ptx >= (8, 7)
    assert verdicts(code) == {
        (8, 9): "native",
        (9, 0): "native",
        (10, 0): "impossible",
        (12, 0): "native",
        (12, 1): "native",
    }


@pytest.mark.parametrize(
    ("options", "name", "native"),
    [
        ("arch=compute_120f,code=sm_120f", "sm_120f", [(12, 0), (12, 1)]),
        ("arch=compute_120a,code=sm_120a", "sm_120a", [(12, 0)]),
        ("arch=compute_121,code=sm_121", "sm_121", [(12, 1)]),
        ("arch=compute_100f,code=sm_100f", "sm_100f", [(10, 0)]),
    ],
)
def test_specific_sass_keeps_its_suffix(compiled, options, name, native):
    code = read(compiled(f"-shared -gencode {options}"))
    assert in_modules(code) == [name]
    assert [device for device, word in verdicts(code).items() if word == "native"] == native


@pytest.mark.parametrize(
    ("target", "jit"),
    [
        ("compute_80", [(8, 9), (9, 0), (10, 0), (12, 0), (12, 1)]),
        ("compute_90a", [(9, 0)]),
        ("compute_120f", [(12, 0), (12, 1)]),
        ("compute_121a", [(12, 1)]),
    ],
)
def test_ptx_alone(compiled, target, jit):
    code = read(compiled(f"-shared -gencode arch={target},code={target}"))
    assert in_modules(code) == [target]
    assert [device for device, word in verdicts(code).items() if word == "jit"] == jit


@pytest.mark.parametrize("mode", ["none", "speed", "balance", "size"])
def test_compression_hides_nothing(compiled, mode):
    code = read(compiled(f"-shared --compress-mode={mode} -gencode arch=compute_120,code=[sm_120,compute_120]"))
    assert in_modules(code) == ["compute_120", "sm_120"]
    assert [container.empty for container in code.containers if container.role is Role.MODULE] == [False]


def test_relocatable_code_with_ptx_is_linked_anew_for_a_later_device(compiled):
    code = read(compiled("-shared -rdc=true -gencode arch=compute_90,code=[sm_90,compute_90]", CALLING, CALLED))
    assert {container.role for container in code.containers} == {Role.LINKED, Role.RELOCATABLE}
    assert (verdict(code, (9, 0)), verdict(code, (12, 0)), verdict(code, (8, 9))) == ("native", "jit", "impossible")


def test_relocatable_code_without_ptx_is_not(compiled):
    code = read(compiled("-shared -rdc=true -gencode arch=compute_90,code=sm_90", CALLING, CALLED))
    assert (verdict(code, (9, 0)), verdict(code, (12, 0))) == ("native", "impossible")


def test_an_object_file_and_a_static_library_hold_what_the_linker_may_take(compiled):
    options = "-gencode arch=compute_120,code=[sm_120,compute_120]"
    for path in (
        compiled(f"-c {options}", output="whole.o"),
        compiled(f"-c -rdc=true {options}", CALLED, output="relocatable.o"),
        compiled(f"-lib {options}", WHOLE, WHOLE.replace("kernel", "other").replace("launch", "start"), output="lib.a"),
    ):
        code = read(path)
        assert code.images(Code.SASS)["sm_120"] == code.images(Code.PTX)["compute_120"] == 1 + (path.suffix == ".a")
        assert verdict(code, (12, 0)) in {"native", "unknown"}


def test_code_for_link_time_optimisation_does_not_load_by_itself(compiled):
    code = read(compiled("-c -rdc=true -gencode arch=compute_120,code=lto_120", CALLED, output="lto.o"))
    assert code.images(Code.LTO) == {"lto_120": 1}
    assert not code.images(Code.SASS)


def test_a_library_without_device_code_has_no_module_that_could_be_missed(compiled):
    assert verdict(read(compiled("-shared -arch=sm_80", HOST_ONLY)), (12, 0)) in {"unknown", "no_gpu_code"}


def test_debug_information_makes_headers_longer_and_changes_nothing(compiled):
    code = read(compiled("-shared -G -gencode arch=compute_120,code=sm_120"))
    assert in_modules(code) == ["sm_120"]
    assert verdict(code, (12, 0)) == "native"
