"""Which errors are a kernel that could not be loaded, by the texts that the libraries and CUDA print."""

from __future__ import annotations

import importlib.util
from types import SimpleNamespace

import pytest

from fake_binaries import container, elf
from fake_distributions import NATIVE, OLD, install, torch_version
from rtx50_autoload.errorhooks.imports import MORE_WATCHED
from rtx50_autoload.evidence.arch import JitSwitches
from rtx50_autoload.evidence.inventory import take_inventory
from rtx50_autoload.evidence.libraries import load_facts
from rtx50_autoload.evidence.library_findings import library_findings
from rtx50_autoload.evidence.subject import Subject
from rtx50_autoload.evidence.verdict import Target
from rtx50_autoload.masquerading.adjustments import ADJUSTMENTS
from rtx50_autoload.rescue.failures import failure_of, load_failures
from rtx50_autoload.rescue.functions import load_libraries

BLACKWELL, HOPPER, TURING = (12, 0), (9, 0), (7, 5)

HEAD = """No operator found for `memory_efficient_attention_forward` with inputs:
     query       : shape=(1, 16, 2, 40) (torch.float32)
     p           : 0.0"""
TOO_NEW = "requires device with capability <= (9, 0) but your GPU has capability (12, 0) (too new)"
NOT_BUILT = "operator wasn't built - see `python -m xformers.info` for more info"
NO_CUDA = "xFormers wasn't build with CUDA support"
DTYPE = "dtype=torch.float64 (supported: {torch.float16, torch.bfloat16})"


def no_operator(*operators: tuple[str, ...], head: str = HEAD) -> NotImplementedError:
    lines = [head]
    for number, reasons in enumerate(operators):
        lines += [f"`op{number}` is not supported because:", *(f"    {reason}" for reason in reasons)]
    return NotImplementedError("\n".join(lines))


def accelerator_error(text: str, code: int) -> RuntimeError:
    error = RuntimeError(text)
    error.error_code = code
    return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (accelerator_error("CUDA error: whatever it says", 209), "no-kernel-image"),
        (RuntimeError("CUDA error: no kernel image is available for execution on the device\nCUDA"), "no-kernel-image"),
        (
            RuntimeError("Triton Error [CUDA]: no kernel image is available for execution on the device"),
            "no-kernel-image",
        ),
        (RuntimeError("CUDA error: device kernel image is invalid"), "invalid-kernel-image"),
        (accelerator_error("CUDA error", 222), "unsupported-ptx"),
        (accelerator_error("CUDA error", 221), "no-ptx-compiler"),
        (RuntimeError("CUDA error: invalid device function"), "invalid-device-function"),
        (no_operator((DTYPE,), (TOO_NEW,)), "no-operator"),
        (no_operator((NO_CUDA, NOT_BUILT), (DTYPE, NO_CUDA)), "no-operator"),
        (
            ValueError(
                f"Operator `memory_efficient_attention` does not support inputs:\n"
                f"`cutlassF-pt` is not supported because:\n    {TOO_NEW}"
            ),
            "no-operator",
        ),
        (RuntimeError("No such operator xformers::efficient_attention_forward_cutlass - did you"), "operator-missing"),
        (RuntimeError("cutlassF: no kernel found to launch!"), "no-cutlass-kernel"),
        (RuntimeError("FlashAttention only supports Ampere GPUs or newer."), "taken-for-old"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_kernel_that_cannot_be_loaded_is_known(error: Exception, kind: str):
    failure = failure_of(error, BLACKWELL)
    assert failure is not None
    assert failure.id == kind


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("CUDA error: invalid argument"),
        accelerator_error("CUDA error: out of memory", 2),
        RuntimeError("FlashAttention only support fp16 and bf16 data type"),
        RuntimeError("FlashAttention forward only supports head dimension at most 256"),
        ValueError("Query/Key/Value should all be on the same device"),
        # Refused for its inputs by every operator: no GPU would answer that.
        no_operator((DTYPE, TOO_NEW), (DTYPE,)),
        no_operator(("device=cpu (supported: {'cuda'})", NOT_BUILT)),
        no_operator(("requires device with capability >= (8, 0) but your GPU has capability (7, 5) (too old)",)),
        NotImplementedError(HEAD),
        KeyError("no kernel image is available for execution on the device"),
        TypeError("flash_attn_func() got an unexpected keyword argument"),
    ],
    ids=str,
)
def test_any_other_error_is_not(error: Exception):
    assert failure_of(error, BLACKWELL) is None


@pytest.mark.parametrize(
    ("text", "true_of"),
    [("FlashAttention only supports Ampere GPUs or newer.", TURING), ("cutlassF: no kernel found to launch!", HOPPER)],
)
def test_a_refusal_that_is_true_of_the_gpu_is_none_of_ours(text: str, true_of: tuple[int, int]):
    assert failure_of(RuntimeError(text), BLACKWELL) is not None
    assert failure_of(RuntimeError(text), true_of) is None
    assert failure_of(RuntimeError(text), None) is None


def test_only_errors_that_cuda_may_report_late_are_tried_twice():
    assert {failure.id for failure in load_failures() if failure.pending} == {
        failure.id for failure in load_failures() if failure.codes
    }


def test_every_watched_module_is_listened_to():
    assert {library.module for library in load_libraries()} <= MORE_WATCHED


def test_adjustments_and_stand_ins_that_the_data_names_exist():
    for library in load_libraries():
        assert importlib.util.find_spec(library.stand_ins) is not None
        assert library.cost
        assert {broken.unless for broken in library.broken} <= ADJUSTMENTS.keys()


def test_a_version_is_covered_unless_it_is_known_to_be_another_one():
    flash_attn = next(library for library in load_libraries() if library.name == "flash_attn")
    assert [flash_attn.covers(version) for version in ("2.8.3", "2.5.8+cu122", None, "2.0.9", "4.0.0b36")] == [
        True,
        True,
        True,
        False,
        False,
    ]


def test_an_error_whose_code_is_no_number_is_no_reason_to_fail():
    assert failure_of(accelerator_error("nothing known", SimpleNamespace()), BLACKWELL) is None  # type: ignore[arg-type]


def findings(site, torchs_code, flash_attns_code):
    site.mkdir()
    binaries = {"torch": "torch/lib/libtorch_cuda.so", "flash-attn": "flash_attn_2_cuda.so"}
    install(
        site,
        "torch",
        "2.8.0",
        {binaries["torch"]: elf([container(*torchs_code)]), "torch/version.py": torch_version()},
    )
    install(site, "flash-attn", "2.8.3", {binaries["flash-attn"]: elf([container(*flash_attns_code)])})
    gpu = Subject(Target(BLACKWELL, None, JitSwitches()), "RTX 5090", "for the test")
    return [finding.id for finding in library_findings(take_inventory((gpu,), path=[str(site)]).libraries)]


def test_the_examination_says_where_torchs_attention_answers_and_where_it_cannot(tmp_path):
    assert findings(tmp_path / "1", NATIVE, OLD) == ["flash-attn-impossible", "flash-attn-stand-in"]
    assert findings(tmp_path / "2", NATIVE, NATIVE) == []
    assert sorted(findings(tmp_path / "3", OLD, OLD)) == ["flash-attn-impossible", "torch-impossible"]


def test_the_examination_knows_the_libraries_that_are_watched():
    known = {library.distribution for library in load_libraries()}
    assert {facts.name.pattern for facts in load_facts() if facts.stand_in} == known
