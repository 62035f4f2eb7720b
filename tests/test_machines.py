"""Described machines and the plans that are right for them (tests/machines); the files say why."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from rtx50_autoload.installer.describe import read_goals, read_machine
from rtx50_autoload.installer.goals import DEFAULT_GOALS
from rtx50_autoload.installer.planner import make_plan

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MACHINES = sorted((Path(__file__).parent / "machines").glob("*.toml"))


def described(file):
    return tomllib.loads(file.read_text(encoding="utf-8"))


def plan_for(description):
    return make_plan(read_machine(description), read_goals(description) or DEFAULT_GOALS)


def torch_after(plan, description):
    """The torch that is imported once the steps are done."""
    changed = {change.package: change.after for step in plan.steps for change in step.changes}
    machine = read_machine(description)
    new = any(step.id == "new-environment" for step in plan.steps)
    present = None if new else machine.packages.get("torch")
    return changed.get("torch") or (str(present) if present else None)


def as_expected(plan, description):
    """What a file expects, of a plan."""
    changes = {
        change.package: f"{change.before or 'none'} -> {change.after or 'none'}"
        for step in plan.steps
        for change in step.changes
    }
    found = {
        "outcome": plan.outcome,
        "torch": torch_after(plan, description),
        "steps": [step.id for step in plan.steps],
        "changes": changes,
        "conflicts": [f"{each.package}: {each.requirement}" for each in plan.conflicts],
        "unsolved": [each.id for each in plan.unsolved],
    }
    return {name: value for name, value in found.items() if value}


@pytest.mark.parametrize("file", MACHINES, ids=lambda file: file.stem)
def test_a_described_machine_gets_the_plan_that_is_right_for_it(file):
    description = described(file)
    assert as_expected(plan_for(description), description) == description["expected"]


def test_every_file_says_why_its_plan_is_right():
    assert len(MACHINES) >= 40
    assert all(file.read_text(encoding="utf-8").startswith("# ") for file in MACHINES)


def test_the_same_version_in_another_build_is_not_taken_for_what_is_there_and_torch_is_left_alone():
    (step, _) = plan_for(described(MACHINES[0].with_name("xformers-for-another-cuda.toml"))).steps
    words = step.commands[0].arguments
    assert {"--force-reinstall", "--no-deps"} <= set(words)
    assert not any(word.startswith("torch") for word in words)


@pytest.mark.parametrize(("name", "code"), [("dgx-spark-gb10", "sm_120"), ("gtx-1080-ti-alone", "sm_60")])
def test_what_to_look_for_is_the_code_that_the_gpu_runs(name, code):
    (torch, _) = plan_for(described(MACHINES[0].with_name(f"{name}.toml"))).steps
    assert torch.check.endswith(f"prints {code} among others.")
