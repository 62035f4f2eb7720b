"""The data of the profiles, and the policy over them without torch."""

from __future__ import annotations

import pytest
from packaging.specifiers import SpecifierSet

from rtx50_autoload.masquerading.adjustments import ADJUSTMENTS
from rtx50_autoload.masquerading.policy import Policy
from rtx50_autoload.masquerading.profiles import Profiles, belongs, load_profiles
from rtx50_autoload.settings import load

TRUE, HOPPER = (12, 0), (9, 0)
#: Without those of whoever runs the tests.
BUILT_IN = Profiles(load_profiles())


def policy(versions=None, **environment):
    settings = load(
        {f"RTX50_{name.upper()}": value for name, value in environment.items()}, "/proc/nowhere", "/proc/nowhere"
    )
    assert settings.problems == ()
    return Policy(settings, (versions or {}).get, lambda: BUILT_IN)


@pytest.mark.parametrize("profile", load_profiles(), ids=lambda profile: profile.library)
def test_every_profile_is_complete(profile):
    *versioned, last = profile.rules
    assert last.versions == ""
    assert all(rule.versions for rule in versioned)
    assert profile.distribution is not None or not versioned
    assert profile.masquerade in {"target", "truth"}
    for rule in profile.rules:
        SpecifierSet(rule.versions)
        assert rule.report in {"target", "truth"}
        assert rule.reason
        assert rule.source
        assert not rule.reason.endswith(".")
        assert set(rule.adjust) <= ADJUSTMENTS.keys()
    # One rule at most speaks for a library whose version is not known; the last one does where none is marked.
    assert sum(rule.unversioned for rule in profile.rules) <= 1


def test_no_module_belongs_to_two_profiles():
    modules = [module for profile in load_profiles() for module in profile.modules]
    assert len(modules) == len(set(modules))


def test_every_adjustment_is_called_for_and_every_profile_is_found_by_its_modules():
    called_for = {name for profile in load_profiles() for rule in profile.rules for name in rule.adjust}
    assert called_for == ADJUSTMENTS.keys()
    for profile in load_profiles():
        assert all(BUILT_IN.of(module) is profile for module in profile.modules)


@pytest.mark.parametrize(
    ("module", "package", "expected"),
    [
        ("torch", "torch", True),
        ("torch.nn", "torch", True),
        ("torchvision", "torch", False),
        ("xtorch", "torch", False),
        ("my.torch", "torch", False),
        ("flash_attn.cute", "flash_attn.cute", True),
        ("flash_attn.cutery", "flash_attn.cute", False),
    ],
)
def test_a_module_belongs_to_a_package_by_whole_names(module, package, expected):
    assert belongs(module, package) is expected


@pytest.mark.parametrize(
    ("version", "reported", "adjusted"),
    [
        ("0.0.20", None, False),
        ("0.0.28.post3", None, False),
        ("0.0.29.post3", None, True),
        ("0.0.30", None, True),
        ("0.0.32.post2", None, True),
        ("0.0.33", HOPPER, True),
        ("0.0.33.post2", HOPPER, True),
        ("0.0.34", HOPPER, True),
        ("0.0.35", HOPPER, True),
        ("0.0.35+5146f2a.d20260101", HOPPER, True),
        ("0.0.36.dev1", None, True),
        ("0.0.36+abcdef", None, True),
        ("1.0", None, True),
        (None, HOPPER, True),
        ("not a version", HOPPER, True),
    ],
)
def test_xformers_is_told_by_its_version(version, reported, adjusted):
    chosen = policy({"xformers": version})
    assert chosen.decide("xformers.ops.fmha.common", TRUE).reported == reported
    assert ("xformers-fa3-off" in chosen.adjustments()) is adjusted
    assert ("xformers-cutlass-limit-lifted" in chosen.adjustments()) is (reported == HOPPER)


@pytest.mark.parametrize(
    ("version", "reported"), [("2.8.3", HOPPER), ("2.5.8", HOPPER), ("3.0.0", None), (None, HOPPER)]
)
def test_flash_attn_is_told_by_its_version(version, reported):
    assert policy({"flash-attn": version}).decide("flash_attn.modules.mha", TRUE).reported == reported


CALLERS = [
    "__main__",
    "xformers",
    "flash_attn.cute",
    "torch.nn",
    "torch.cuda",
    "rtx50_autoload.state",
    "mylib",
    "",
    None,
]


@pytest.mark.parametrize("mode", ["auto", "masquerade", "observe"])
@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("capability", [(8, 9), (9, 0), (10, 0), (12, 0), (12, 1)])
def test_no_decision_is_without_a_reason_and_none_changes_an_unmapped_device(mode, caller, capability):
    decision = policy(mode=mode).decide(caller, capability)
    assert decision.reason
    assert decision.reported in {None, HOPPER}
    if capability[0] != 12 or mode == "observe":
        assert decision.reported is None


def test_our_own_code_is_told_the_truth_even_where_the_user_names_it():
    assert policy(callers="rtx50_autoload=9.0").decide("rtx50_autoload.evidence", TRUE).reported is None


def test_observe_adjusts_nothing():
    assert policy({"xformers": "0.0.34"}, mode="observe").adjustments() == {}


def test_the_mapping_decides_what_is_reported():
    chosen = policy(masquerade="12.0:8.9,12.1:9.0")
    assert chosen.decide("xformers", (12, 0)).reported == (8, 9)
    assert chosen.decide("xformers", (12, 1)).reported == (9, 0)
    assert policy(masquerade="12.0:9.0").decide("xformers", (12, 1)).reported is None
