"""The fuzzer's targets hold for what it begins with, so that a run finds faults of the package and not of its own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).with_name("fuzz")))
from targets import TARGETS


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_what_must_hold_holds_for_the_seeds(target):
    seeds = list(target.seeds())
    assert seeds
    for seed in seeds:
        target.check(seed)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_what_must_hold_holds_for_nothing_and_for_noise(target):
    for data in (b"", b"\0", b"\xff" * 40, bytes(range(256)) * 2):
        target.check(data)
