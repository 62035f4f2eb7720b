"""What is said of a package that was built from source, by its binaries, the build's output and the variables."""

from __future__ import annotations

import json

import pytest

from fake_binaries import container, elf
from fake_distributions import install, torch_version
from rtx50_autoload.cli import main as program
from rtx50_autoload.installer.build_check import check_build

RTX_50, ADA = (12, 0), (8, 9)


@pytest.fixture
def site(tmp_path):
    folder = tmp_path / "site-packages"
    folder.mkdir()
    return folder


def built(site, *modules, name="some-kernels"):
    """Install what a build made, with one container of GPU code for each of `modules`."""
    install(site, name, "1.0", {"some_kernels/_C.so": elf([container(*module) for module in modules])})


def check(site, *capabilities, package="some-kernels", log=None, **environ):
    return check_build(package, capabilities or (RTX_50,), log, environ, [str(site)])


@pytest.mark.parametrize(
    ("modules", "capabilities", "verdicts"),
    [
        ([["sm_120"]], [RTX_50], {"12.0": "native"}),
        ([["sm_120"]], [(12, 1)], {"12.1": "native"}),
        ([["sm_89", "sm_120", "compute_120"]], [ADA, RTX_50], {"8.9": "native", "12.0": "native"}),
    ],
)
def test_a_build_with_code_for_every_gpu_has_no_problem(site, modules, capabilities, verdicts):
    built(site, *modules)
    found = check(site, *capabilities)
    assert (found.problem, found.next) == (None, None)
    assert found.verdicts == verdicts
    assert found.version == "1.0"


def test_a_package_that_is_not_there_is_said_to_be_missing(site):
    found = check(site)
    assert found.version is None
    assert "is not installed in this Python" in found.problem


def test_code_for_other_gpus_is_named_with_the_list_it_comes_from(site):
    built(site, ["sm_90"])
    found = check(site, ADA, RTX_50, TORCH_CUDA_ARCH_LIST="9.0")
    assert found.problem == (
        "some-kernels 1.0 holds code for sm_90 only, which does not load on 8.9 and 12.0. "
        "TORCH_CUDA_ARCH_LIST is '9.0'."
    )
    assert "TORCH_CUDA_ARCH_LIST=8.9;12.0+PTX" in found.next


def test_only_the_gpu_that_is_left_out_is_named(site):
    built(site, ["sm_89"])
    assert "does not load on 12.0." in check(site, ADA, RTX_50).problem


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("nvcc -gencode arch=compute_90,code=sm_90 -c a.cu", "sm_90"),
        ("nvcc -gencode=arch=compute_90,code=sm_90 -gencode=arch=compute_90,code=compute_90", "sm_90, compute_90"),
        ("nvcc '-gencode=arch=compute_90a,code=[sm_90a,compute_90a]'", "sm_90a, compute_90a"),
        ("nvcc -gencode arch=compute_80,code=sm_80 a.cu\nnvcc -gencode arch=compute_80,code=sm_80 b.cu", "sm_80"),
    ],
)
def test_what_nvcc_was_asked_for_is_read_from_the_builds_output(site, line, asked):
    built(site, ["sm_90"])
    assert f"shows that nvcc was asked for {asked}." in check(site, log=line).problem


def test_a_list_that_is_not_set_is_said_to_be_left_to_the_build(site):
    built(site, ["sm_90"])
    assert "TORCH_CUDA_ARCH_LIST is not set here" in check(site).problem


def test_ptx_of_another_gpu_is_not_what_a_build_was_for(site):
    built(site, ["sm_90", "compute_90"])
    found = check(site)
    assert found.verdicts == {"12.0": "jit"}
    assert "does not hold ready-made code for 12.0 throughout" in found.problem


def test_a_gap_in_one_part_is_told_from_code_for_other_gpus(site):
    built(site, ["sm_120"], ["sm_80", "sm_90"])
    found = check(site)
    assert found.verdicts == {"12.0": "partial"}
    assert "does not run in whole on 12.0, though it holds" in found.problem
    assert "1 module with nothing that loads on 12.0" in found.problem


def test_a_damaged_library_is_said_to_be_unreadable(site):
    install(site, "some-kernels", "1.0", {"some_kernels/_C.so": elf([container("sm_120")])[:300]})
    assert "cannot be read" in check(site).problem


@pytest.mark.parametrize("binary", [{}, {"some_kernels/_C.so": elf()}])
def test_no_gpu_code_is_a_build_without_cuda(site, binary):
    install(site, "some-kernels", "1.0", binary)
    found = check(site)
    assert found.verdicts == {"12.0": "no_gpu_code"}
    assert "it was built without CUDA. FORCE_CUDA=1 is not set" in found.problem


def test_a_torch_without_cuda_is_the_first_reason_for_no_gpu_code(site):
    install(site, "some-kernels", "1.0", {"some_kernels/_C.so": elf()})
    install(site, "torch", "2.13.0", {"torch/version.py": torch_version(None, "2.13.0+cpu")})
    found = check(site, FORCE_CUDA="1", log="g++ -c a.cpp")
    assert "torch 2.13.0+cpu here is no build for CUDA" in found.problem
    assert "FORCE_CUDA" not in found.problem


def test_an_output_without_nvcc_says_so(site):
    install(site, "some-kernels", "1.0", {"some_kernels/_C.so": elf()})
    assert "shows no call of nvcc" in check(site, FORCE_CUDA="1", log="g++ -c a.cpp").problem


def test_what_a_package_reads_is_named_for_the_next_try(site):
    install(site, "flash_attn", "2.8.3", {"flash_attn_2_cuda.so": elf([container("sm_80", "sm_90")])})
    found = check(site, package="flash-attn")
    assert "FLASH_ATTN_CUDA_ARCHS=120" in found.next
    assert "FLASH_ATTENTION_FORCE_BUILD=TRUE" in found.next


def test_a_package_that_has_no_code_for_a_gpu_cannot_be_built_again(site):
    install(site, "flash_attn", "2.8.3", {"flash_attn_2_cuda.so": elf([container("sm_80")])})
    assert check(site, (7, 5), package="flash-attn").next == "flash-attn has no code for these GPUs."


# The command


@pytest.fixture
def run(site, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(site))

    def run_(*arguments):
        code = program.main(["check-build", *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run_


def test_the_command_ends_with_0_where_every_gpu_is_served(site, run):
    built(site, ["sm_89", "sm_120"])
    code, out, _ = run("some_kernels", "--device", "12.0", "--device", "8.9")
    assert code == 0
    assert out.splitlines() == [
        "some_kernels 1.0",
        "On a GPU of compute capability 12.0: native, made for this GPU.",
        "On a GPU of compute capability 8.9: native, made for this GPU.",
        "GPU code: sm_89 sm_120",
    ]


def test_the_command_ends_with_1_and_the_next_step(site, run, tmp_path):
    built(site, ["sm_90"])
    log = tmp_path / "build.log"
    log.write_bytes(b"nvcc -gencode arch=compute_90,code=sm_90 \xff\n")
    code, out, _ = run("some-kernels", "--device", "12.0", "--log", log)
    assert code == 1
    assert "What went wrong: some-kernels 1.0 holds code for sm_90 only" in out
    assert "nvcc was asked for sm_90" in out
    assert "Next:\n1. Build it again" in out


def test_a_missing_package_is_a_finding(run):
    code, out, _ = run("nothing-like-it", "--device", "12.0")
    assert code == 1
    assert out.startswith("nothing-like-it is not installed\n")


def test_the_commands_json_is_the_check(site, run):
    built(site, ["sm_120"])
    code, out, _ = run("some-kernels", "--device", "12.0", "--json")
    assert code == 0
    assert json.loads(out) == {
        "package": "some-kernels",
        "version": "1.0",
        "verdicts": {"12.0": "native"},
        "architectures": ["sm_120"],
        "problem": None,
        "next": None,
    }


def test_without_a_device_those_here_are_meant(site, run, monkeypatch):
    monkeypatch.setenv("RTX50_SIMULATE", "NVIDIA GeForce RTX 5090:12.0")
    built(site, ["sm_90"])
    code, out, _ = run("some-kernels")
    assert code == 1
    assert "12.0: impossible" in out


def test_a_log_that_cannot_be_read_is_an_error_of_usage(run, tmp_path):
    code, _, err = run("some-kernels", "--log", tmp_path / "nowhere")
    assert code == 2
    assert "cannot be read" in err
