"""Whose fault it is: by the text, and by the installed binaries."""

from __future__ import annotations

import pytest

from fake_binaries import container, elf
from fake_distributions import NATIVE, OLD, install, torch_version
from rtx50_autoload.diagnosis import classify
from rtx50_autoload.diagnosis.confirmed import confirmed
from rtx50_autoload.diagnosis.culprit import confirm
from rtx50_autoload.diagnosis.described import read_description
from rtx50_autoload.diagnosis.situation import Gpu, Situation

RTX_5090 = Situation(source="machine", gpus=(Gpu("NVIDIA GeForce RTX 5090", (12, 0), "nvidia"),), driver="580.65.06")
NO_IMAGE = "RuntimeError: CUDA error: no kernel image is available for execution on the device"


def frame(package, folder="/venv/lib/python3.12/site-packages"):
    return f'  File "{folder}/{package}/core.py", line 7, in run\n'


@pytest.mark.parametrize(
    ("text", "culprit"),
    [
        (f"{frame('torch')}{frame('sageattention')}{frame('torch')}{NO_IMAGE}", "sageattention"),
        (f"{frame('transformers')}{frame('torch')}{NO_IMAGE}", "torch"),
        (frame("xformers", "C:\\venv\\Lib\\site-packages").replace("/", "\\") + NO_IMAGE, "xformers"),
        (
            "CUDA error (/src/flash-attention/csrc/flash_fwd_launch_template.h:188): no kernel image is available",
            "flash_attn",
        ),
        (
            "CUDA error (/src/flash-attention/hopper/flash_fwd_launch_template.h:188): no kernel image is available",
            "flash_attn_3",
        ),
        (f"{NO_IMAGE} (209) /tmp/flashinfer-0.1.1/include/flashinfer/sampling.cuh: line 544", "flashinfer"),
        ("RuntimeError: /src/own/kernel.cu:77 in function run: CUDA Error: no kernel image is available", "kernel.cu"),
        ("Error named symbol not found at line 528 in file /src/csrc/ops.cu", "bitsandbytes"),
        (
            "CUDA error: no kernel image is available\n in function ggml_cuda_op at /build/ggml-cuda.cu:2366",
            "ggml",
        ),
        (
            "ImportError: /venv/flash_attn_2_cuda.cpython-312-x86_64-linux-gnu.so: undefined symbol: _ZN3c105ErrorC2E",
            "/venv/flash_attn_2_cuda.cpython-312-x86_64-linux-gnu.so",
        ),
        ("ImportError: libcudart.so.12: cannot open shared object file: No such file or directory", "libcudart.so.12"),
        ("ImportError: DLL load failed while importing flash_attn_2_cuda: 找不到指定的模块。", "flash_attn_2_cuda"),
        (
            'OSError: [WinError 126] Error loading "C:\\my venv\\torch\\lib\\c10.dll" or one of its dependencies.',
            "C:\\my venv\\torch\\lib\\c10.dll",
        ),
        (NO_IMAGE, None),
    ],
)
def test_the_text_names_who_is_at_fault(text, culprit):
    assert classify(text).culprit == culprit


@pytest.mark.parametrize(
    ("text", "culprit"),
    [
        ("RTX 5090 with CUDA capability sm_120 is not compatible with the current PyTorch installation.", "torch"),
        ("RuntimeError: operator torchvision::nms does not exist", "torchvision"),
        ("The NVIDIA driver on your system is too old (found version 12040).", None),
        ("OSError: CUDA_HOME environment variable is not set. Please set it to your CUDA install root.", None),
    ],
)
def test_a_frame_of_torch_blames_torch_only_where_torch_is_at_fault(text, culprit):
    assert classify(f"{frame('torch')}{text}").culprit == culprit


@pytest.fixture
def site(tmp_path):
    install(tmp_path, "torch", "2.8.0", {"torch/version.py": torch_version()})
    return tmp_path


@pytest.mark.parametrize("name", ["sageattention", "SageAttention", "/x/_qattn_sm89.abi3.so", "_qattn_sm89"])
def test_the_binaries_confirm_who_cannot_run_here(site, name):
    install(site, "sageattention", "2.2.0", {"sageattention/_qattn_sm89.abi3.so": elf([container(*OLD)])})
    confirmation = confirm(name, RTX_5090, [str(site)])
    assert confirmation.confirmed is True
    assert confirmation.culprit == "sageattention/_qattn_sm89.abi3.so"
    assert "sageattention 2.2.0" in confirmation.sentence
    assert "RTX 5090" in confirmation.sentence


def test_the_binaries_clear_who_can_run_here(site):
    install(site, "sageattention", "2.2.0", {"sageattention/_qattn_sm89.abi3.so": elf([container(*NATIVE)])})
    assert confirm("sageattention", RTX_5090, [str(site)]).confirmed is False


def test_what_is_not_installed_cannot_be_confirmed(site):
    install(site, "plain", "1.0", {"plain/__init__.py": ""})
    assert confirm("sageattention", RTX_5090, [str(site)]) is None
    assert confirm("plain", RTX_5090, [str(site)]) is None


def test_another_machine_cannot_be_confirmed(site):
    install(site, "sageattention", "2.2.0", {"sageattention/_qattn_sm89.abi3.so": elf([container(*OLD)])})
    assert confirm("sageattention", read_description({"gpu": "RTX 5090"}), [str(site)]) is None


def diagnosed(site):
    return confirmed(classify(frame("sageattention") + NO_IMAGE, RTX_5090), RTX_5090, [str(site)])


def test_a_diagnosis_names_the_binary_that_cannot_run(site):
    install(site, "sageattention", "2.2.0", {"sageattention/_qattn_sm89.abi3.so": elf([container(*OLD)])})
    diagnosis = diagnosed(site)
    assert diagnosis.culprit == "sageattention/_qattn_sm89.abi3.so"
    assert diagnosis.confidence > classify(frame("sageattention") + NO_IMAGE, RTX_5090).confidence
    assert "sageattention 2.2.0" in diagnosis.evidence[-1]


def test_a_package_whose_binaries_can_run_is_not_blamed(site):
    install(site, "sageattention", "2.2.0", {"sageattention/_qattn_sm89.abi3.so": elf([container(*NATIVE)])})
    diagnosis = diagnosed(site)
    assert diagnosis.culprit is None
    assert diagnosis.confidence <= 0.5
    assert diagnosis.category == "no_kernel_image"


def test_errors_that_no_binary_is_to_blame_for_are_left_as_they_are(site):
    diagnosis = classify("OSError: libcudart.so.12: cannot open shared object file", RTX_5090)
    assert confirmed(diagnosis, RTX_5090, [str(site)]) is diagnosis
