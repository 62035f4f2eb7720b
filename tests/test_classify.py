"""What an error means: the category, by the text, the numbers in it and the machine."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import settings as property_settings
from hypothesis import strategies as st

from error_corpus import FORMS, OTHER_GPUS, OWN, RIGHT, ROBUST, is_for_rtx_50, judge, read_reports
from rtx50_autoload.diagnosis import classify
from rtx50_autoload.diagnosis.described import read_description
from rtx50_autoload.diagnosis.diagnosis import ABSTENTIONS, Diagnosis, FixStep
from rtx50_autoload.diagnosis.normalise import HEAD, TAIL
from rtx50_autoload.diagnosis.signatures import load_signatures
from rtx50_autoload.diagnosis.situation import Gpu, Situation

REPORTS = read_reports(OWN)
NO_IMAGE = "RuntimeError: CUDA error: no kernel image is available for execution on the device"
TOO_NEW = "requires device with capability <= (9, 0) but your GPU has capability (12, 0) (too new)"
NOT_COMPATIBLE = (
    "NVIDIA GeForce RTX 5090 with CUDA capability sm_120 is not compatible with the current PyTorch installation."
)


def category(text, **environment):
    return classify(text, read_description(environment)).category


@pytest.mark.parametrize("report", REPORTS, ids=lambda report: f"{report.category}-{report.id}")
def test_a_report_is_put_into_its_category(report):
    assert report.diagnose().category == report.category


@pytest.mark.parametrize("form", FORMS)
def test_the_form_of_a_text_changes_nothing(form):
    right = [report.diagnose(FORMS[form](report)).category == report.category for report in REPORTS]
    assert sum(right) >= ROBUST * len(REPORTS)


def test_another_gpu_or_another_error_is_given_no_fix_for_the_rtx_50_series():
    assert not [report.id for report in REPORTS if report.category in OTHER_GPUS and is_for_rtx_50(report.diagnose())]


def test_the_judge_says_what_is_below_the_thresholds():
    wrong = [report for report in REPORTS if report.category == "driver_too_old"]
    assert judge(wrong, lambda _: None) == []
    spoilt = [type(report)(report.id, "Traceback", {}, report.category) for report in wrong]
    assert len(judge(spoilt, lambda _: None)) == 1 + len(FORMS)
    assert 0 < ROBUST < RIGHT < 1


def test_the_judge_recognises_a_fix_for_the_rtx_50_series():
    def with_step(step, command):
        return Diagnosis("unrelated", 1.0, "", fix=(FixStep(step, "", (command,), "", ""),))

    assert is_for_rtx_50(with_step("Install torch", "pip install torch --index-url .../cu128"))
    assert is_for_rtx_50(with_step("Set the architecture", "export TORCH_CUDA_ARCH_LIST=12.0"))
    assert not is_for_rtx_50(with_step("Install torch", "pip install torch --index-url .../cu126"))


# One text, and the machine decides


@pytest.mark.parametrize(
    ("gpu", "expected"),
    [
        ("RTX 5090", "no_kernel_image"),
        ("RTX PRO 6000 Blackwell Workstation Edition", "no_kernel_image"),
        ("B200", "no_kernel_image"),
        ("RTX 4090", "no_kernel_image"),
        ("Quadro RTX 5000", "no_kernel_image_old_gpu"),
        ("GTX 1080 Ti", "no_kernel_image_old_gpu"),
        ("Tesla V100", "no_kernel_image_old_gpu"),
        ("AMD Radeon RX 7900 XTX", "unrelated"),
        ("Huawei Ascend NPU", "unrelated"),
    ],
)
def test_no_kernel_image_means_what_the_gpu_makes_of_it(gpu, expected):
    assert category(NO_IMAGE, gpu=gpu) == expected


@pytest.mark.parametrize(
    ("arch", "expected"),
    [
        ("compute_120", "nvcc_unsupported_arch"),
        ("compute_120a", "nvcc_unsupported_arch"),
        ("compute_121f", "nvcc_unsupported_arch"),
        ("compute_101", "nvcc_unsupported_arch"),
        ("compute_35", "nvcc_arch_removed"),
        ("compute_61", "nvcc_arch_removed"),
        ("compute_86", "unrelated"),
        ("compute_75", "unrelated"),
        ("compute_130", "arch_list_env_wrong"),
        ("compute_No CUDA devices found.", "arch_list_env_wrong"),
    ],
)
def test_the_number_decides_what_nvcc_means(arch, expected):
    assert category(f"nvcc fatal   : Unsupported gpu architecture '{arch}'") == expected


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (101376, "shared_memory_exceeded"),
        (232448, "shared_memory_exceeded"),
        (65536, "unrelated"),
        (49152, "unrelated"),
    ],
)
def test_the_limit_decides_whose_shared_memory_is_too_small(limit, expected):
    text = f"OutOfResources: out of resource: shared memory, Required: 262144, Hardware limit: {limit}. Reducing block"
    assert category(text) == expected


@pytest.mark.parametrize(
    ("archs", "device", "expected"),
    [
        ("sm_50 sm_60 sm_70 sm_75 sm_80 sm_86 sm_90", "sm_120", "torch_build_lacks_arch"),
        ("sm_37 sm_50 sm_60 sm_70 sm_75", "sm_86", "torch_build_lacks_arch"),
        ("sm_75 sm_80 sm_86 sm_90 sm_100 sm_120", "sm_61", "no_kernel_image_old_gpu"),
        ("sm_80 sm_90 sm_100 sm_120 compute_120", "sm_121", "benign_warning"),
        ("sm_80 sm_90 sm_100", "sm_121", "torch_build_lacks_arch"),
    ],
)
def test_the_list_of_architectures_decides_what_torch_means(archs, device, expected):
    text = (
        f"NVIDIA GPU with CUDA capability {device} is not compatible with the current PyTorch installation.\n"
        f"The current PyTorch install supports CUDA capabilities {archs}."
    )
    assert category(text) == expected


def test_a_capability_in_the_text_comes_before_a_name():
    text = (
        "Device 0: NVIDIA GeForce RTX 5060, compute capability 12.0, VMM: yes\nCUDA error: no kernel image is available"
    )
    assert category(text, gpu="RTX 5000") == "no_kernel_image"


def test_a_name_that_stands_for_several_gpus_decides_nothing():
    unknown = classify(NO_IMAGE, read_description({"gpu": "RTX 5000"}))
    assert unknown.confidence < classify(NO_IMAGE, read_description({"gpu": "RTX 5090"})).confidence
    assert any("compute_cap" in missing for missing in unknown.missing_evidence)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"gpu": "RTX 5090"}, "capability_gate_too_new"),
        ({"capability": "8.9"}, "capability_gate_too_new"),
        ({"gpu": "Tesla T4"}, "unrelated"),
        ({}, "other"),
    ],
)
def test_a_true_refusal_of_an_old_card_is_no_fault(environment, expected):
    assert category("RuntimeError: FlashAttention only supports Ampere GPUs or newer.", **environment) == expected


# Several errors in one text


def test_what_torch_says_of_its_build_comes_before_the_error_that_follows():
    assert category(f"{NOT_COMPATIBLE}\n...\n{NO_IMAGE}") == "torch_build_lacks_arch"
    assert category(f"{NO_IMAGE}\n...\n{NOT_COMPATIBLE}") == "torch_build_lacks_arch"


def test_the_compilers_own_message_comes_before_ninjas():
    fatal = "nvcc fatal   : Unsupported gpu architecture 'compute_120'"
    text = f"{fatal}\nninja: build stopped: subcommand failed.\nRuntimeError: Error compiling objects for extension"
    assert category(text) == "nvcc_unsupported_arch"


def test_the_last_error_ended_the_program():
    out_of_memory = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"
    assert category(f"{out_of_memory}\nretrying on the other GPU\n{NO_IMAGE}", gpu="RTX 5090") == "no_kernel_image"
    assert category(f"{NO_IMAGE}\nretrying on the other GPU\n{out_of_memory}", gpu="RTX 5090") == "unrelated"


@pytest.mark.parametrize(
    "link",
    [
        "During handling of the above exception, another exception occurred:",
        "The above exception was the direct cause of the following exception:",
    ],
)
def test_of_chained_errors_the_first_is_the_cause(link):
    missing = "ImportError: libcudart.so.12: cannot open shared object file: No such file or directory"
    assert (
        category(f"{missing}\n\n{link}\n\nTraceback (most recent call last):\n{NO_IMAGE}") == "missing_shared_library"
    )


def test_a_warning_is_no_cause_of_an_error_that_nobody_knows():
    warning = "A matching Triton is not available, some optimizations will not be enabled"
    assert category(warning) == "triton_missing"
    assert category(f"{warning}\nTraceback (most recent call last):\nKeyError: 'state_dict'") == "unrelated"


def test_a_false_alarm_does_not_hide_an_error():
    found = "Found GPU0 NVIDIA GB10 which is of cuda capability 12.1."
    alarm = f"{found}\nMinimum and Maximum cuda capability supported by this version of PyTorch is\n(8.0) - (12.0)"
    assert category(alarm) == "benign_warning"
    assert category(f"{alarm}\nRuntimeError: Unsupported GPU") == "capability_gate_too_new"


# What an answer holds


def test_the_cause_names_the_numbers():
    text = (
        "OutOfResources: out of resource: shared memory, Required: 131072, Hardware limit: 101376. Reducing block sizes"
    )
    cause = classify(text, read_description({"gpu": "RTX 5090"})).cause
    assert "131072" in cause
    assert "101376" in cause
    assert "RTX 5090 (compute capability 12.0)" in cause


@pytest.mark.parametrize("report", REPORTS, ids=lambda report: report.id)
def test_no_place_of_a_cause_is_left_open(report):
    cause = report.diagnose().cause
    assert cause
    assert not set(cause) & set("{}[]?")


def test_a_build_of_torch_that_ends_before_the_gpu_is_named():
    cause = classify(NO_IMAGE, read_description({"gpu": "RTX 5080", "torch": "2.7.0+cu126"})).cause
    assert "torch 2.7.0+cu126" in cause


def test_more_evidence_never_makes_less_certain():
    known = classify(NO_IMAGE, read_description({"gpu": "RTX 5090", "torch": "2.8.0+cu128"}))
    gpu = classify(NO_IMAGE, read_description({"gpu": "RTX 5090"}))
    nothing = classify(NO_IMAGE)
    assert known.confidence > gpu.confidence > nothing.confidence > 0
    assert known.missing_evidence == ()
    assert len(nothing.missing_evidence) == 2


def test_the_headline_is_the_line_without_its_prefixes():
    text = f"starting\n(EngineCore_DP0 pid=79) ERROR 11-22 17:41:01 [core.py:719] \x1b[31m{NO_IMAGE}\x1b[0m\ndone"
    assert classify(text).headline == NO_IMAGE


def test_the_headline_of_a_text_in_one_line_is_the_part_that_decides():
    headline = classify(
        f"{'loading the model ' * 40}{NO_IMAGE} {'CUDA kernel errors might be reported later ' * 20}"
    ).headline
    assert headline.startswith(NO_IMAGE)
    assert len(headline) < 300


def test_the_evidence_quotes_the_text_and_the_machine():
    evidence = classify(NO_IMAGE, read_description({"gpu": "RTX 5090", "driver": "570.124.06"})).evidence
    assert any(NO_IMAGE in sentence for sentence in evidence)
    assert any("RTX 5090" in sentence for sentence in evidence)
    assert any("570.124.06" in sentence for sentence in evidence)


@pytest.mark.parametrize("report", [report for report in REPORTS if report.category in ABSTENTIONS], ids=lambda r: r.id)
def test_who_abstains_blames_nobody_and_mends_nothing(report):
    diagnosis = report.diagnose()
    assert diagnosis.abstains
    assert diagnosis.culprit is None
    assert diagnosis.fix == ()


def test_an_answer_can_be_written_as_json():
    written = json.loads(json.dumps(classify(TOO_NEW).as_json()))
    assert written["category"] == "capability_gate_too_new"
    assert written["signature"] in {signature.id for signature in load_signatures()}


def test_the_same_question_has_the_same_answer():
    assert classify(NO_IMAGE) == classify(NO_IMAGE)


# Any text at all


@pytest.mark.parametrize("text", ["", " \n\t\r\n", "\x00\x1b[31m", "hello", "Traceback (most recent call last):"])
def test_a_text_without_an_error_is_unrelated(text):
    assert classify(text).category == "unrelated"


def test_a_gpu_log_that_says_only_that_it_failed_asks_for_more():
    diagnosis = classify("GPU worker failed to start, see the driver log")
    assert diagnosis.category == "other"
    assert diagnosis.missing_evidence


@given(st.text(max_size=2000))
@property_settings(deadline=None, max_examples=100)
def test_any_text_has_an_answer(text):
    diagnosis = classify(text)
    assert 0 <= diagnosis.confidence <= 1
    assert diagnosis.cause


_PIECES = sorted(
    {line for report in REPORTS for line in report.text.splitlines()} | {"", "\x1b[1m", "ERROR:", "'", '"', "(", "12.0"}
)


@given(st.lists(st.one_of(st.sampled_from(_PIECES), st.text(max_size=20)), max_size=30).map("\n".join))
@property_settings(deadline=None, max_examples=100)
def test_any_mixture_of_error_lines_has_an_answer(text):
    diagnosis = classify(text)
    assert diagnosis.category
    assert diagnosis.headline in " ".join(text.split()) or diagnosis.headline


def test_only_the_beginning_and_the_end_of_a_huge_text_are_read():
    noise = "step 1 loss 0.5\n" * ((HEAD + TAIL) // 4)
    assert classify(f"{NO_IMAGE}\n{noise}").category == "no_kernel_image"
    assert classify(f"{noise}{NO_IMAGE}\n").category == "no_kernel_image"
    assert classify(f"{noise}{NO_IMAGE}\n{noise}").category == "unrelated"


@pytest.mark.parametrize(
    "piece",
    ["a", "( ", "\x1b[", "ptxas ", "site-packages/a/", "Error: "],
)
def test_a_megabyte_of_nonsense_has_an_answer(piece):
    assert classify(piece * (1_000_000 // len(piece))).category in ABSTENTIONS


@pytest.mark.parametrize(
    "text",
    [
        "BuildError: Microsoft Visual C++ 14.0 or greater is required",
        r'OSError: [WinError 126] Error loading "C:\Users\you\fbgemm.dll" or one of its dependencies.',
    ],
)
def test_a_text_that_only_windows_prints_is_not_about_a_linux_machine(text):
    here = Situation(source="machine", gpus=(Gpu("NVIDIA H200", (9, 0), "nvidia"),), torch="2.13.0", system="linux")
    diagnosis = classify(text, here)
    assert not any("H200" in sentence for sentence in diagnosis.evidence)
    words = " ".join(word for step in diagnosis.fix for word in (step.step, *step.commands, step.changes, step.check))
    assert "Visual" in words or "Windows" in words
    assert "build-essential" not in words
