"""`doctor --ray`, against a stand-in for Ray (tests/fakes/cluster): real clusters are for tests/fleet/check_ray.py."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

import rig
from rtx50_autoload.fleet.nodes import Node, State, result, told_apart
from rtx50_autoload.fleet.on_node import NOT_INSTALLED, run_doctor

ONE = Node("1" * 56, "gpu-1", "10.0.0.1")


def document(name="torch", verdict="native", *, findings=(), version="0.1.0", devices=("12.0",)):
    """Make what `doctor --json` prints, as far as it is looked at."""
    return {
        "rtx50_autoload": version,
        "devices": [{"index": 0}],
        "device_reason": "",
        "judged_for": [{"name": f"A GPU of {device}", "capability": device} for device in devices],
        "libraries": [{"name": name, "version": "2.8.0", "verdicts": dict.fromkeys(devices, verdict)}],
        "findings": list(findings),
        "ok": not findings,
    }


def answer(content, **others):
    return {
        "code": 0,
        "stdout": json.dumps(content),
        "stderr": "",
        "python": "/venv/bin/python",
        "orphaned": False,
        **others,
    }


def finding(what="torch 2.8.0 cannot run.", severity="error", next_="Install another torch."):
    return {"id": "x", "severity": severity, "what": what, "why": "It is too old.", "next": next_}


@pytest.fixture
def doctor(installed):
    def run(*arguments, nodes=(), columns=200, **variables):
        env = {
            "PYTHONPATH": str(rig.FAKES / "cluster"),
            "FAKE_RAY_NODES": json.dumps(list(nodes)),
            "COLUMNS": str(columns),
            **variables,
        }
        return installed.run("-m", "rtx50_autoload", "doctor", *arguments, env=env)

    return run


FLEET = (
    {"name": "gpu-1", "answer": answer(document(verdict="impossible", findings=[finding()]))},
    {"name": "gpu-2", "answer": answer(document())},
    {"name": "gpu-3", "answer": answer(document(verdict="impossible", findings=[finding()], devices=("8.9", "12.0")))},
    {"name": "gpu-4", "error": "NodeDiedError", "gone": True},
    {"name": "gpu-5"},
    {"name": "gpu-6", "answer": answer(None, code=NOT_INSTALLED)},
    {"name": "gpu-7", "error": "RuntimeEnvSetupError"},
    {"name": "gpu-8", "left": True},
)


def test_every_node_has_its_state_and_its_own_document(doctor):
    result = doctor("--ray", "--json", "--node-timeout", "1", nodes=FLEET)
    fleet = json.loads(result.stdout)
    assert (result.returncode, result.stderr) == (1, "")
    assert {node["name"]: node["state"] for node in fleet["nodes"]} == {
        "gpu-1": "examined",
        "gpu-2": "examined",
        "gpu-3": "examined",
        "gpu-4": "died",
        "gpu-5": "no answer",
        "gpu-6": "not installed",
        "gpu-7": "failed",
    }
    assert [node["name"] for node in fleet["left_before"]] == ["gpu-8"]
    assert fleet["nodes"][0]["document"] == document(verdict="impossible", findings=[finding()])
    assert fleet["nodes"][3]["document"] is None
    assert (fleet["ray"], fleet["node_timeout"], fleet["ok"]) == ("99.0", 1, False)


@pytest.mark.parametrize("width", [60, 200])
def test_the_table_fits_the_terminal_and_names_every_node(doctor, width):
    shown = doctor("--ray", "10.0.0.1:6379", "--node-timeout", "1", nodes=FLEET, columns=width).stdout
    assert max(map(len, shown.splitlines())) <= width
    for number in range(1, 9):
        assert f"gpu-{number}" in shown
    words = " ".join(shown.split())
    assert "impossible on 8.9 impossible on 12.0" in words.replace("A GPU of 12.0 (12.0) ", "")
    assert "error on gpu-1, gpu-3: torch 2.8.0 cannot run." in words
    assert "gpu-1, gpu-3: Install another torch." in words
    assert "3 of 7 nodes examined. 5 errors found." in words


def test_a_fleet_with_nothing_wrong_is_0(doctor):
    nodes = [{"name": name, "answer": answer(document())} for name in ("a", "b")]
    result = doctor("--ray", nodes=nodes)
    assert (result.returncode, result.stderr) == (0, "")
    assert "2 of 2 nodes examined. Nothing wrong found." in result.stdout
    assert "Next" not in result.stdout


def test_versions_that_differ_are_shown_and_wrong_by_themselves_are_not(doctor):
    nodes = [{"name": name, "answer": answer(document(version=name))} for name in ("0.1", "0.2")]
    result = doctor("--ray", nodes=nodes)
    assert result.returncode == 0
    assert "0.1 on 0.1; 0.2 on 0.2." in result.stdout


def test_a_connection_that_ends_names_the_nodes_without_an_answer(doctor):
    nodes = [{"name": "a", "answer": answer(document())}, {"name": "b", "ends": True}]
    fleet = json.loads(doctor("--ray", "--json", nodes=nodes).stdout)
    states = {node["name"]: node["state"] for node in fleet["nodes"]}
    assert states["b"] == "failed"
    assert "The head node is gone" in fleet["nodes"][-1]["finding"]["why"]


def test_without_ray_the_command_that_installs_it_is_named(installed):
    result = installed.run("-m", "rtx50_autoload", "doctor", "--ray")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.splitlines()[0].endswith("pip install 'rtx50-autoload[fleet]'")


def test_no_cluster_is_2_with_the_next_step_and_without_a_traceback(doctor):
    result = doctor("--ray", "10.0.0.1:6379", FAKE_RAY="refuses")
    assert (result.returncode, result.stdout) == (2, "")
    assert "at 10.0.0.1:6379. ConnectionError: nobody is there" in result.stderr
    assert "Next: " in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--ray", "local"],
        ["--ray", "--html", "page.html"],
        ["--node-timeout", "5"],
        ["--ray", "--node-timeout", "0"],
        ["--ray", "--node-timeout", "soon"],
    ],
)
def test_what_makes_no_sense_is_2(doctor, arguments):
    assert doctor(*arguments).returncode == 2


def test_no_cluster_is_started_where_the_variable_says_local(doctor):
    result = doctor("--ray", RAY_ADDRESS="local")
    assert result.returncode == 2
    assert "would start a cluster" in result.stderr


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signal for one process")
def test_ctrl_c_ends_it_at_once_and_silently(installed, tmp_path):
    started = tmp_path / "started"
    env = {"PYTHONPATH": str(rig.FAKES / "cluster"), "FAKE_RAY": "hangs", "FAKE_RAY_STARTED": str(started)}
    process = subprocess.Popen(
        [installed.python, "-m", "rtx50_autoload", "doctor", "--ray"],
        env=installed.environment(env),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not started.exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 130


@pytest.mark.parametrize("broken", ["", "null", "[]", "{}", "[" * 100_000, "Traceback"])
def test_an_answer_that_is_no_document_is_a_failure_with_the_last_words(broken):
    told = {"event": "answer", "answer": {**answer(None, code=1), "stdout": broken, "stderr": "a\nKeyError: 'x'\n"}}
    examined = result(ONE, told, 5)
    assert (examined.state, examined.finding.why) == (State.FAILED, "KeyError: 'x'.")
    assert "/venv/bin/python -m rtx50_autoload doctor" in examined.finding.next


def test_a_doctor_that_its_own_node_has_ended_gave_no_answer():
    examined = result(ONE, {"event": "answer", "answer": answer(None, code=None)}, 5)
    assert (examined.state, examined.ok) == (State.SILENT, False)
    assert "--node-timeout 10" in examined.finding.next


def test_an_answer_from_a_node_without_its_ray_says_that_the_node_died():
    examined = result(ONE, {"event": "answer", "answer": answer(None, code=None, orphaned=True)}, 5)
    assert (examined.state, examined.finding.id) == (State.DIED, "node-died")


def test_nodes_of_one_name_are_told_apart():
    nodes = [ONE, Node("2" * 56, "gpu-1", "10.0.0.1"), Node("3" * 56, "gpu-2", "10.0.0.2")]
    assert [node.name for node in told_apart(nodes)] == ["gpu-1 111111", "gpu-1 222222", "gpu-2"]


def test_what_runs_on_a_node_gives_what_doctor_prints(monkeypatch):
    monkeypatch.setenv("RTX50_SIMULATE", "NVIDIA GeForce RTX 5090:12.0")
    given = run_doctor(["--json"], 60)
    assert json.loads(given["stdout"])["devices"][0]["capability"] == [12, 0]
    assert given["python"] == sys.executable


def test_what_runs_on_a_node_ends_at_its_limit():
    assert run_doctor(["--json"], 0.01)["code"] is None
