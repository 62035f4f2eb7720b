"""Judging modules and whole binaries against a device."""

from __future__ import annotations

import io

import pytest

from fake_binaries import container, elf, image
from rtx50_autoload.evidence.arch import JitSwitches
from rtx50_autoload.evidence.gpucode import GpuCode, read_gpu_code
from rtx50_autoload.evidence.positioned import source_of
from rtx50_autoload.evidence.verdict import Target, Verdict, judge

RTX_5090 = Target((12, 0))
DISABLED = JitSwitches(disabled=True)
FORCED = JitSwitches(forced=True)


def judged(*code, target=RTX_5090, name="libx.so", **layout):
    data = elf([container(*names.split()) if isinstance(names, str) else names for names in code], **layout)
    return judge(read_gpu_code(source_of(io.BytesIO(data), len(data))), target, name)


def modules(judgement):
    return {outcome.value: count for outcome, count in judgement.modules.items() if count}


@pytest.mark.parametrize(
    ("code", "verdict", "counts"),
    [
        (["sm_90 sm_120"] * 2, "native", {"native": 2}),
        (["sm_80 compute_90"], "jit", {"jit": 1}),
        (["sm_120", "sm_80 compute_90"], "jit", {"native": 1, "jit": 1}),
        (["sm_80 sm_90"] * 3, "impossible", {"missing": 3}),
        (["sm_80 sm_90", "sm_80 sm_90 sm_120"], "partial", {"native": 1, "missing": 1}),
        (["sm_80 sm_90", "compute_80"], "partial", {"jit": 1, "missing": 1}),
        (["sm_90a", "sm_100f"], "impossible", {"other_gpu": 2}),
        (["sm_80 sm_86"], "impossible", {"other_gpu": 1}),
        (["sm_90a", "sm_80 sm_86", "sm_120"], "native", {"native": 1, "other_gpu": 2}),
        (["compute_90a"], "impossible", {"other_gpu": 1}),
        (["compute_121"], "impossible", {"missing": 1}),
        (["lto_120"], "impossible", {"missing": 1}),
    ],
)
def test_a_binary_is_judged_module_by_module(code, verdict, counts):
    judgement = judged(*code)
    assert judgement.verdict.value == verdict
    assert modules(judgement) == counts


def test_one_stray_module_with_ptx_does_not_make_the_others_loadable():
    judgement = judged("compute_52", *["sm_80 sm_90"] * 31)
    assert judgement.verdict is Verdict.PARTIAL
    assert modules(judgement) == {"jit": 1, "missing": 31}


def test_a_12_1_device_takes_what_a_12_0_device_takes_but_for_120a():
    assert judged("sm_80 sm_120", target=Target((12, 1))).verdict is Verdict.NATIVE
    assert judged("sm_80 sm_120a", target=Target((12, 1))).verdict is Verdict.IMPOSSIBLE


def test_code_that_nobody_registers_is_unknown_and_never_impossible():
    assert judged("sm_52", unregistered=[0]).verdict is Verdict.UNKNOWN


def test_modules_without_a_kernel_do_not_count():
    stub = container(image("sm_75", size=1040), image("sm_90", size=688))
    assert modules(judged(stub, "sm_120")) == {"native": 1}
    assert judged(stub).verdict is Verdict.UNKNOWN


def test_a_binary_without_containers_has_no_gpu_code():
    assert judged().verdict is Verdict.NO_GPU_CODE


def test_a_problem_is_unreadable_with_the_reason():
    judgement = judge(GpuCode("elf", 1, problem="cut short"), RTX_5090)
    assert (judgement.verdict, judgement.reason) == (Verdict.UNREADABLE, "cut short")


class TestLinkedCode:
    def test_a_link_of_nothing_is_left_out(self):
        assert judged("sm_75", "sm_120", linked=[0]).verdict is Verdict.NATIVE
        assert judged("sm_75", linked=[0]).verdict is Verdict.UNKNOWN

    def test_the_relocatable_containers_are_no_modules(self):
        judgement = judged("sm_80 sm_120", linked=[0], relocatable=[container("sm_80", "sm_90")] * 3)
        assert modules(judgement) == {"native": 1}

    def test_it_is_linked_anew_if_every_object_has_code_for_the_device(self):
        objects = [container("sm_80", "compute_80"), container("sm_120")]
        judgement = judged("sm_80 sm_90", linked=[0], relocatable=objects)
        assert modules(judgement) == {"jit": 1}
        assert judgement.driver_min == 570

    def test_it_cannot_be_linked_anew_if_one_object_has_none(self):
        objects = [container("sm_80", "compute_80"), container("sm_80", "sm_90")]
        judgement = judged("sm_80 sm_90", linked=[0], relocatable=objects)
        assert modules(judgement) == {"missing": 1}

    def test_it_is_not_linked_anew_where_the_jit_is_disabled(self):
        judgement = judged(
            "sm_80 sm_90", linked=[0], relocatable=[container("compute_80")], target=Target((12, 0), None, DISABLED)
        )
        assert modules(judgement) == {"missing": 1}


class TestSwitches:
    def test_a_disabled_jit_leaves_ptx_unused(self):
        judgement = judged("sm_90a compute_80", target=Target((12, 0), switches=DISABLED))
        assert judgement.verdict is Verdict.IMPOSSIBLE
        assert modules(judgement) == {"missing": 1}
        assert "CUDA_DISABLE_PTX_JIT" in judgement.reason

    @pytest.mark.parametrize("sass", ["sm_120", "sm_120a", "sm_90 sm_120"])
    def test_a_forced_jit_leaves_sass_unused(self, sass):
        judgement = judged(sass, target=Target((12, 0), switches=FORCED))
        assert judgement.verdict is Verdict.IMPOSSIBLE
        assert modules(judgement) == {"missing": 1}
        assert "CUDA_FORCE_PTX_JIT" in judgement.reason

    def test_a_forced_jit_compiles_what_has_ptx(self):
        assert judged("sm_120 compute_80", target=Target((12, 0), switches=FORCED)).verdict is Verdict.JIT

    def test_a_forced_jit_wants_ptx_of_every_object_too(self):
        forced = Target((12, 0), switches=FORCED)
        objects = [container("sm_120"), container("sm_120", "compute_120")]
        assert modules(judged("sm_120", linked=[0], relocatable=objects, target=forced)) == {"missing": 1}
        assert modules(judged("sm_120", linked=[0], relocatable=objects[1:], target=forced)) == {"jit": 1}


class TestDriver:
    def test_the_driver_needed_is_that_of_the_newest_ptx_among_the_modules(self):
        old, new = image("compute_80", isa=(8, 0)), image("compute_80", isa=(9, 0))
        assert judged(container(old), container(new)).driver_min == 580

    def test_of_one_module_the_oldest_ptx_counts(self):
        old, new = image("compute_80", isa=(8, 0)), image("compute_90", isa=(9, 0))
        assert judged(container(old, new)).driver_min == 525

    def test_sass_needs_none(self):
        assert judged("sm_120 compute_120").driver_min is None

    def test_a_driver_too_old_for_the_ptx_cannot_load_it(self):
        ptx = container(image("compute_80", isa=(9, 0)))
        judgement = judged(ptx, target=Target((12, 0), driver=570))
        assert judgement.verdict is Verdict.IMPOSSIBLE
        assert judgement.driver_min == 580
        assert "580" in judgement.reason
        assert "570" in judgement.reason
        assert judged(ptx, target=Target((12, 0), driver=580)).verdict is Verdict.JIT

    def test_ptx_newer_than_the_table_is_said_to_be(self):
        judgement = judged(container(image("compute_80", isa=(12, 0))))
        assert judgement.verdict is Verdict.JIT
        assert judgement.driver_min is None
        assert "newer than any known" in judgement.reason


@pytest.mark.parametrize("name", ["libcublasLt.so.12", "cublasLt64_12.dll", "libcudnn_engines_precompiled.so.9"])
def test_a_library_that_picks_its_modules_has_no_gap_beside_native_ones(name):
    code = ["sm_80 sm_120", "sm_80 sm_90"]
    assert judged(*code, name=name).verdict is Verdict.NATIVE
    assert modules(judged(*code, name=name)) == {"native": 1, "missing": 1}
    assert judged(*code, name="libx.so").verdict is Verdict.PARTIAL


def test_a_library_that_picks_its_modules_has_a_gap_where_none_is_native():
    assert judged("sm_80 compute_80", "sm_80 sm_90", name="libcublas.so.12").verdict is Verdict.PARTIAL
