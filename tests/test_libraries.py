"""The data about libraries, and how it is looked up."""

from __future__ import annotations

import pytest
from packaging.specifiers import SpecifierSet

from rtx50_autoload.evidence.libraries import facts_about, load_facts


@pytest.mark.parametrize("facts", load_facts(), ids=lambda facts: facts.name.pattern)
def test_every_entry_is_complete(facts):
    assert facts.source
    assert facts.next is None or (facts.next[0].isupper() and facts.next.endswith("."))
    assert not facts.cuda or "cuda" in facts.name.groupindex
    for row in (*facts.choice, *facts.unused, *facts.known_bad):
        SpecifierSet(row.versions)
        assert row.source
    for choice in facts.choice:
        assert {"major", "minor"} <= choice.binaries.groupindex.keys()
        assert choice.otherwise in {"nearest", "none"}
        assert choice.variable.isupper()
    for fact in (*facts.unused, *facts.known_bad):
        assert fact.reason
        assert not fact.reason.endswith(".")


def test_an_entry_speaks_for_whole_names():
    assert facts_about("Torch").needs_gpu_code
    assert not facts_about("torchmetrics").needs_gpu_code
    assert facts_about("flash_attn_3") is facts_about("flash-attn3")
    assert facts_about("flash_attn_3") is not facts_about("flash-attn")


def test_of_an_unknown_library_nothing_is_known():
    facts = facts_about("something-else")
    assert (facts.next, facts.choice_of("1"), facts.cuda_major("something-else-cu12")) == (None, None, None)


def test_nvidias_wheels_name_their_cuda_version():
    for name, major in {"nvidia_cublas_cu12": 12, "nvidia-cusparselt-cu13": 13, "nvidia-cusparselt": None}.items():
        assert facts_about(name).cuda_major(name) == major


@pytest.mark.parametrize(
    ("version", "binary", "device", "holds"),
    [
        ("0.0.32.post2", "xformers/flash_attn_3/_C.so", (12, 0), True),
        ("0.0.32.post2+cu128", "xformers/flash_attn_3/_C.pyd", (12, 1), True),
        ("0.0.32.post2", "xformers/flash_attn_3/_C.so", (9, 0), False),
        ("0.0.35", "xformers/flash_attn_3/_C.so", (12, 0), False),
        ("0.0.32.post2", "xformers/_C.so", (12, 0), False),
        ("0.0.30", "xformers/_C_flashattention3.so", (12, 0), True),
        ("0.0.28", "xformers/_C_flashattention3.so", (12, 0), False),
        (None, "xformers/flash_attn_3/_C.so", (12, 0), False),
        ("unknown", "xformers/flash_attn_3/_C.so", (12, 0), False),
    ],
)
def test_flash_attention_3_in_xformers_is_known_bad_on_12_x(version, binary, device, holds):
    assert any(fact.holds(version, binary, device) for fact in facts_about("xformers").known_bad) is holds


AVAILABLE = [(11, 8), (12, 1), (12, 6), (12, 8), (13, 0)]


@pytest.mark.parametrize(
    ("version", "wanted", "picked"),
    [
        ("0.50.2", (12, 6), (12, 6)),
        ("0.50.2", (12, 9), (12, 8)),
        ("0.50.2", (12, 4), (12, 1)),
        ("0.50.2", (12, 0), (12, 1)),
        ("0.50.2", (14, 0), None),
        ("0.49.1", (12, 6), (12, 6)),
        ("0.49.1", (12, 9), None),
    ],
)
def test_bitsandbytes_picks_the_library_for_torchs_cuda(version, wanted, picked):
    assert facts_about("bitsandbytes").choice_of(version).picks(AVAILABLE, wanted) == picked


def test_how_an_old_bitsandbytes_picks_is_not_known():
    assert facts_about("bitsandbytes").choice_of("0.42.0") is None


def test_the_next_step_is_for_the_devices_that_it_is_about():
    assert "12.8" in facts_about("torch").next_step((12, 0))
    assert facts_about("torch").next_step((7, 0)) is None
