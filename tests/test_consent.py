"""Where an assistant may be asked, and where not."""

from __future__ import annotations

import os
import pty
import sys

import pytest

from rtx50_autoload.troubleshooter import consent as room
from rtx50_autoload.troubleshooter.consent import consent, load_surroundings

NOBODY = {"PATH": os.defpath}


@pytest.fixture
def sit_down(monkeypatch):
    """Let a person sit at a terminal from the call on: pytest puts its own streams in place just before the test."""
    leader, follower = pty.openpty()
    with os.fdopen(follower, "r+b", buffering=0) as terminal:
        yield lambda: [monkeypatch.setattr(sys, name, terminal) for name in ("stdin", "stderr")]
    os.close(leader)


def test_off_is_off_even_for_a_command_at_a_terminal(sit_down):
    sit_down()
    assert consent("off", "command", NOBODY).answer == "no"


@pytest.mark.parametrize("occasion", ["crash", "command"])
def test_a_person_at_a_terminal_is_asked_first(sit_down, occasion):
    sit_down()
    assert consent("ask", occasion, NOBODY).answer == "ask"


@pytest.mark.parametrize("occasion", ["crash", "command"])
def test_without_a_terminal_nobody_is_asked_unless_the_setting_is_auto(monkeypatch, occasion):
    monkeypatch.setattr(sys, "stdin", None)
    assert consent("ask", occasion, NOBODY).answer == "no"
    assert consent("auto", occasion, NOBODY).answer == "yes"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GITHUB_ACTIONS", "true"),
        ("CI", "1"),
        ("PYTEST_CURRENT_TEST", "test_x.py::test_y (call)"),
        ("PEP517_BUILD_BACKEND", "setuptools.build_meta"),
        ("CLAUDECODE", "1"),
        ("RANK", "0"),
        ("OMPI_COMM_WORLD_RANK", "3"),
        ("RAY_RAYLET_PID", "4711"),
    ],
)
def test_a_crash_in_such_a_process_asks_nobody(sit_down, name, value):
    sit_down()
    answer = consent("auto", "crash", {**NOBODY, name: value})
    assert answer.answer == "no"
    assert answer.reason


@pytest.mark.parametrize(("name", "value"), [("CI", "false"), ("CI", "0"), ("CI", "")])
def test_a_variable_that_says_no_is_no_sign(name, value):
    assert consent("auto", "crash", {**NOBODY, name: value}).answer == "yes"


def test_what_images_of_containers_set_for_good_is_no_sign():
    answer = consent("auto", "crash", {**NOBODY, "DEBIAN_FRONTEND": "noninteractive", "PIP_NO_INPUT": "1"})
    assert answer.answer == "yes"


def test_a_command_in_ci_is_what_somebody_wrote_there():
    assert consent("auto", "command", {**NOBODY, "CI": "true"}).answer == "yes"


def test_an_assistant_never_asks_another_one_not_even_by_command(sit_down):
    sit_down()
    # Such a shell can be a real terminal.
    answer = consent("auto", "command", {**NOBODY, "QWEN_CODE": "1"})
    assert answer.answer == "no"
    assert "QWEN_CODE" in answer.reason


def test_a_slurm_script_of_one_task_is_no_job_of_many_processes():
    assert consent("auto", "crash", {**NOBODY, "SLURM_PROCID": "0", "SLURM_NTASKS": "1"}).answer == "yes"
    assert consent("auto", "crash", {**NOBODY, "SLURM_PROCID": "0", "SLURM_NTASKS": "4"}).answer == "no"


def test_a_thread_beside_the_main_one_asks_nobody(monkeypatch):
    monkeypatch.setattr(room.threading, "current_thread", object)
    assert consent("auto", "crash", NOBODY).answer == "no"


def test_each_surrounding_names_its_source_and_its_variables():
    assert len(load_surroundings()) >= 4
    for surrounding in load_surroundings():
        assert surrounding.source
        assert surrounding.variables
        for name in surrounding.variables:
            assert surrounding.sign({name: "1"}) == name
