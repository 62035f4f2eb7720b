"""The loading rules, device by device, as NVIDIA's documents state them."""

from __future__ import annotations

import itertools

import pytest

from rtx50_autoload.evidence.arch import (
    FAMILIES,
    LOADING_RULES,
    PTX_DRIVERS,
    Architecture,
    Code,
    JitSwitches,
    driver_branch,
    driver_compiles,
    loads_on,
    minimum_driver,
    parse_architecture,
)

SASS = [
    *("sm_50", "sm_70", "sm_75", "sm_80", "sm_86", "sm_87", "sm_88", "sm_89", "sm_90", "sm_90a"),
    *("sm_100", "sm_100a", "sm_100f", "sm_101", "sm_101a", "sm_103", "sm_103a", "sm_103f"),
    *("sm_110", "sm_110a", "sm_110f", "sm_120", "sm_120a", "sm_120f", "sm_121", "sm_121a", "sm_121f"),
]

LOADABLE_SASS = {
    (7, 5): "sm_70 sm_75",
    (8, 0): "sm_80",
    (8, 6): "sm_80 sm_86",
    (8, 7): "sm_80 sm_86 sm_87",
    (8, 9): "sm_80 sm_86 sm_87 sm_88 sm_89",
    (9, 0): "sm_90 sm_90a",
    (10, 0): "sm_100 sm_100a sm_100f",
    (10, 3): "sm_100 sm_100f sm_101 sm_103 sm_103a sm_103f",
    (11, 0): "sm_110 sm_110a sm_110f",
    (12, 0): "sm_120 sm_120a sm_120f",
    (12, 1): "sm_120 sm_120f sm_121 sm_121a sm_121f",
}


@pytest.mark.parametrize(("device", "loadable"), LOADABLE_SASS.items())
def test_sass_loads_on_exactly_the_devices_of_the_rules(device, loadable):
    assert [name for name in SASS if loads_on(parse_architecture(name), device)] == loadable.split()


@pytest.mark.parametrize("device", LOADABLE_SASS)
def test_plain_ptx_loads_on_its_own_and_every_later_capability(device):
    for compiled_for in LOADABLE_SASS:
        assert loads_on(Architecture(Code.PTX, compiled_for), device) is (compiled_for <= device)


@pytest.mark.parametrize("suffix", ["a", "f"])
def test_specific_ptx_loads_where_the_sass_of_that_name_does(suffix):
    for compiled_for, device in itertools.product(LOADABLE_SASS, repeat=2):
        ptx, sass = (Architecture(code, compiled_for, suffix) for code in (Code.PTX, Code.SASS))
        assert loads_on(ptx, device) is loads_on(sass, device)


def test_lto_never_loads_by_itself():
    assert not any(loads_on(parse_architecture("lto_120"), device) for device in LOADABLE_SASS)


def test_every_kind_of_code_has_a_rule_with_a_source():
    assert set(LOADING_RULES) == set(itertools.product(Code, ("", "a", "f")))
    assert all(rule.source and rule.statement for rule in LOADING_RULES.values())


def test_a_family_holds_its_own_device_and_none_before_it():
    for first, members in FAMILIES.items():
        assert min(members) == first


@pytest.mark.parametrize("name", [*SASS, "compute_52", "compute_90a", "compute_120f", "lto_90"])
def test_a_name_is_written_as_it_was_read(name):
    assert str(parse_architecture(name)) == name


@pytest.mark.parametrize("text", ["", "sm_9", "sm_1200", "sm_90b", "SM_90", "90", "compute_", "sm_90 ", "ptx_90"])
def test_a_text_that_names_no_architecture_is_refused(text):
    with pytest.raises(ValueError, match="not a GPU architecture"):
        parse_architecture(text)


@pytest.mark.parametrize(
    ("isa", "driver"),
    [((7, 8), 520), ((8, 3), 545), ((8, 5), 555), ((8, 7), 570), ((8, 8), 575), ((9, 0), 580), ((9, 3), 610)],
)
def test_ptx_needs_the_driver_of_the_release_that_brought_it(isa, driver):
    assert minimum_driver(isa) == driver
    assert driver_compiles(isa, driver)
    assert not driver_compiles(isa, driver - 1)


def test_ptx_newer_than_the_table_needs_a_driver_newer_than_the_table():
    assert minimum_driver((9, 9)) is None
    assert not driver_compiles((9, 9), 610)
    assert driver_compiles((9, 9), 650)


def test_an_unknown_driver_is_taken_to_compile_everything():
    assert driver_compiles((9, 9), None)


def test_later_ptx_never_needs_an_earlier_driver():
    assert list(PTX_DRIVERS) == sorted(PTX_DRIVERS)
    assert list(PTX_DRIVERS.values()) == sorted(PTX_DRIVERS.values())


def test_the_branch_of_a_driver_is_its_first_number():
    assert driver_branch("570.124.06") == 570
    assert driver_branch(" 580 ") == 580


@pytest.mark.parametrize("text", ["", "R570", "57", "570.x", "unknown"])
def test_a_text_that_is_no_driver_version_is_refused(text):
    with pytest.raises(ValueError, match="not an NVIDIA driver version"):
        driver_branch(text)


@pytest.mark.parametrize("name", ["CUDA_DISABLE_PTX_JIT", "CUDA_DISABLE_JIT"])
def test_the_jit_is_disabled_by_either_variable(name):
    assert JitSwitches.from_environment({name: "1"}) == JitSwitches(disabled=True)
    assert JitSwitches.from_environment({name: "0"}) == JitSwitches()


@pytest.mark.parametrize("name", ["CUDA_FORCE_PTX_JIT", "CUDA_FORCE_JIT"])
def test_the_jit_is_forced_by_either_variable(name, monkeypatch):
    monkeypatch.setenv(name, "1")
    assert JitSwitches.from_environment().forced
