"""What stands beside the code agrees with it: pins, workflows, issue templates."""

from __future__ import annotations

import re

import pytest
import yaml

import rig

WORKFLOWS = sorted((rig.ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = [path for path in (rig.ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml"]

pytestmark = pytest.mark.skipif(
    not WORKFLOWS, reason="the source archive has none of what runs at the repository's host"
)


def read(path):
    return path.read_text(encoding="utf-8")


def test_ruff_is_the_same_before_a_commit_and_in_nox():
    pins = {*re.findall(r"ruff==[0-9.]+", read(rig.ROOT / ".pre-commit-config.yaml") + read(rig.ROOT / "noxfile.py"))}
    assert len(pins) == 1


def test_every_action_is_pinned_by_a_commit_and_everywhere_by_the_same():
    pins = {}
    for path in WORKFLOWS:
        for action, commit in re.findall(r"uses: (\S+)@(.*)", read(path)):
            assert re.fullmatch(r"[0-9a-f]{40} # v[0-9.]+", commit)
            assert pins.setdefault(action, commit) == commit


def test_the_workflow_tests_every_python_that_the_package_says_it_is_for():
    matrix = yaml.safe_load(read(rig.ROOT / ".github" / "workflows" / "tests.yml"))["jobs"]["tests"]["strategy"][
        "matrix"
    ]
    named = re.findall(r"Python :: (3\.\d+)", read(rig.ROOT / "pyproject.toml"))
    assert {*named} <= {*matrix["python"]}
    assert {system.split("-")[0] for system in matrix["system"]} == {"ubuntu", "windows", "macos"}


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_an_issue_form_asks_for_what_can_be_worked_with(path):
    form = yaml.safe_load(read(path))
    asked = {item["id"]: item for item in form["body"] if item["type"] != "markdown"}
    assert re.fullmatch(r"rtx50-autoload doctor( --probe)? --json", asked["doctor"]["attributes"]["label"])
    assert asked["doctor"]["validations"]["required"]
    # What is pasted there may name people: they are told so first.
    assert "before you send them" in form["body"][0]["attributes"]["value"]


def test_one_form_at_least_asks_what_explain_says():
    assert any("rtx50-autoload explain" in read(path) for path in FORMS)
