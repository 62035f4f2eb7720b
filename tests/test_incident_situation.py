"""What a recorded incident says of the machine that it comes from."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from rtx50_autoload.diagnosis.incident import facts_of, situation_of
from rtx50_autoload.diagnosis.situation import Gpu, Situation

THERE = Situation(
    source="machine",
    gpus=(Gpu("NVIDIA GeForce RTX 5090", (12, 0), "nvidia"), Gpu(None, None, "amd")),
    torch="2.7.1",
    torch_variant="cu128",
    driver="580.65.06",
    system="linux",
    python_version="3.12.3",
    versions={"xformers": "0.0.31"},
    tool="uv",
    python_command="/venv/bin/python",
)
HERE = Situation(source="machine", gpus=(), torch="2.4.0", tool="conda", python_command="/here/bin/python")


def test_it_is_the_situation_that_was_recorded():
    assert situation_of(facts_of(THERE, sys.prefix), THERE) == THERE


def test_of_another_environment_its_own_python_is_named_and_the_tool_is_not_known():
    situation = situation_of(facts_of(THERE, "/home/anna/my venv"), HERE)
    assert situation == replace(THERE, tool=None, python_command="'/home/anna/my venv/bin/python'")


@pytest.mark.parametrize("facts", [{}, {"gpus": None, "torch": 3, "versions": [1]}, {"gpus": [{}]}])
def test_what_a_file_does_not_say_is_not_known(facts):
    situation = situation_of(facts, HERE)
    assert (situation.torch, situation.versions) == (None, {})
