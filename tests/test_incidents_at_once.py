"""Many processes record at once: each is counted, one speaks; and a later run is heard again."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from datetime import datetime, timedelta, timezone

import pytest

from rtx50_autoload.diagnosis import incidents
from rtx50_autoload.diagnosis.diagnosis import Diagnosis
from rtx50_autoload.diagnosis.incident import Incident, Spoken
from rtx50_autoload.diagnosis.incident_files import write
from rtx50_autoload.diagnosis.process_start import started_at
from rtx50_autoload.diagnosis.situation import Situation

#: A program that fails: it records, and prints what it was told. It waits for a line first, so that all have been
#: started before the first one fails; a real program takes seconds to import torch.
FAILS = """
import json, sys
from rtx50_autoload.diagnosis.diagnosis import Diagnosis
from rtx50_autoload.diagnosis.incidents import record
from rtx50_autoload.diagnosis.situation import Situation
print("ready", flush=True)
sys.stdin.readline()
rank = sys.argv[1]
recorded = record(
    Diagnosis("no_kernel_image", 0.9, "cause", headline=f"no kernel image on cuda:{rank}"),
    f"the text of {rank}", Situation("machine"), exception_type="RuntimeError",
)
print(json.dumps([recorded.incident_id, recorded.count, recorded.speaks, recorded.problem]), flush=True)
"""


@pytest.fixture
def venv(installed, tmp_path):
    """An environment of the package, and variables that give each test a store of its own."""
    folders = {name: str(tmp_path / "state") for name in ("HOME", "XDG_STATE_HOME", "LOCALAPPDATA", "USERPROFILE")}
    return installed, installed.environment(folders)


def start(venv, rank, **variables):
    installed, environment = venv
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen([installed.python, "-c", FAILS, str(rank)], env={**environment, **variables}, **pipes)


def fail(children):
    """Let all fail at once, and give what each was told."""
    assert [child.stdout.readline() for child in children] == ["ready\n"] * len(children)
    for child in children:
        child.stdin.write("\n")
        child.stdin.flush()
    return [json.loads(child.communicate(timeout=120)[0]) for child in children]


def kept(tmp_path):
    return [path for path in (tmp_path / "state").rglob("*.json") if "incidents" in path.parts]


@pytest.mark.parametrize("processes", [8, 32])
def test_processes_that_fail_at_once_are_one_incident_and_one_of_them_speaks(venv, tmp_path, processes):
    told = fail([start(venv, rank) for rank in range(processes)])
    assert {problem for _, _, _, problem in told} == {None}
    assert sorted(count for _, count, _, _ in told) == list(range(1, processes + 1))
    assert sum(speaks for _, _, speaks, _ in told) == 1
    (file,) = kept(tmp_path)
    assert Incident.from_json(json.loads(file.read_bytes())).count == processes
    assert [path.name for path in file.parent.iterdir() if path not in (file, file.parent / ".lock")] == []

    again = fail([start(venv, rank) for rank in range(processes)])
    assert sum(speaks for _, _, speaks, _ in again) == 1
    assert Incident.from_json(json.loads(file.read_bytes())).count == 2 * processes


@pytest.mark.parametrize("variable", ["RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK"])
def test_in_a_job_the_rank_that_fails_speaks_though_it_is_not_the_first(venv, variable):
    told = fail([start(venv, rank, **{variable: str(rank)}) for rank in (3, 5, 7)])
    assert sum(speaks for _, _, speaks, _ in told) == 1


def test_a_program_that_is_run_again_is_heard_each_time(venv):
    told = [fail([start(venv, 0)])[0] for _ in range(3)]
    assert [(count, speaks) for _, count, speaks, _ in told] == [(1, True), (2, True), (3, True)]


def test_different_failures_at_once_are_all_told(venv, tmp_path):
    children = [start(venv, rank) for rank in ("0", "x", "y", "z")]  # cuda:x is no index
    assert [speaks for _, _, speaks, _ in fail(children)] == [True] * 4
    assert len(kept(tmp_path)) == 4


#: Records for ever, until it is killed.
WRITES = """
from rtx50_autoload.diagnosis.diagnosis import Diagnosis
from rtx50_autoload.diagnosis.incidents import record
from rtx50_autoload.diagnosis.situation import Situation
while True:
    recorded = record(Diagnosis("other", 0.0, "c" * 100_000), "text" * 4000, Situation())
    assert recorded.problem is None, recorded
    print(recorded.count, flush=True)
"""


def test_a_process_that_is_killed_while_it_writes_leaves_a_whole_file_and_no_lock(venv, tmp_path):
    installed, environment = venv
    last = 0
    for _ in range(12):
        child = subprocess.Popen([installed.python, "-c", WRITES], env=environment, stdout=subprocess.PIPE, text=True)
        first = int(child.stdout.readline())
        assert first in {last + 1, last + 2}  # the one that was killed may not have come to print its last
        time.sleep(random.uniform(0, 0.05))  # noqa: S311 - somewhere in the middle
        child.kill()
        last = int([str(first), *child.communicate()[0].split()][-1])
        (file,) = kept(tmp_path)
        assert Incident.from_json(json.loads(file.read_bytes())).count >= last


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr("platformdirs.user_state_path", lambda *_arguments, **_options: tmp_path)
    return tmp_path / "incidents"


def record():
    return incidents.record(Diagnosis("no_kernel_image", 0.9, "cause"), "text", Situation())


def test_threads_of_one_process_are_all_counted(folder):
    del folder
    threads = [threading.Thread(target=record) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert incidents.latest().count == 16


def test_the_process_that_has_spoken_may_speak_again(folder):
    del folder
    assert [record().speaks for _ in range(3)] == [True] * 3


@pytest.mark.parametrize(
    ("minutes_ago", "speaks"),
    [
        (0, False),
        (4, False),
        (6, True),  # not at once: a notebook that was started before a program failed elsewhere
        (-0.5, False),  # the clock of another machine of the job
        (-60, True),  # written before the clock was set back
    ],
)
def test_whether_another_process_has_just_spoken_decides(folder, monkeypatch, minutes_ago, speaks):
    monkeypatch.setattr(incidents, "started_at", lambda: time.time() - 3600)
    record()
    say(folder, minutes_ago)
    assert record().speaks is speaks


def test_what_was_said_before_this_process_was_started_does_not_count(folder, monkeypatch):
    record()
    say(folder, 1)
    monkeypatch.setattr(incidents, "started_at", lambda: time.time() - 30)
    assert record().speaks


def say(folder, minutes_ago):
    """Let another process have spoken of the latest incident."""
    at = datetime.now(timezone.utc) - timedelta(minutes=minutes_ago)
    latest = incidents.latest()
    write(folder, Incident.from_json({**latest.as_json(), "spoken": {"process": "other", "at": at.isoformat()}}))
    assert incidents.latest().spoken == Spoken("other", at)


@pytest.mark.parametrize(("rank", "speaks"), [("0", True), ("1", False)])
def test_where_the_start_of_a_process_is_not_known_the_first_rank_speaks(folder, monkeypatch, rank, speaks):
    del folder
    monkeypatch.setattr(incidents, "started_at", lambda: None)
    monkeypatch.setenv("RANK", rank)
    assert (record().speaks, record().count) == (speaks, 2)


@pytest.mark.skipif(sys.platform not in {"linux", "win32"}, reason="other systems are not asked")
def test_the_start_of_a_process_lies_between_its_launch_and_its_first_line(installed):
    before = time.time()
    result = installed.run_code(
        "import time; now = time.time()\n"
        "from rtx50_autoload.diagnosis.process_start import started_at\n"
        "print(started_at(), now)"
    )
    started, first_line = map(float, result.stdout.split())
    assert before <= started + 0.01
    assert started <= first_line + 0.01
    assert started_at() <= before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_is_another_process(venv):
    installed, environment = venv
    code = """
import os, time
from rtx50_autoload.diagnosis.diagnosis import Diagnosis
from rtx50_autoload.diagnosis.incidents import record
from rtx50_autoload.diagnosis.situation import Situation
failure = Diagnosis("no_kernel_image", 0.9, "cause"), "text", Situation()
assert record(*failure).speaks
reading, writing = os.pipe()
if os.fork() == 0:
    os.read(reading, 1)
    os._exit(int(record(*failure).speaks))
time.sleep(0.05)  # more than the tick in which the system counts the starts of processes
assert record(*failure).speaks
os.write(writing, b"x")
print(os.waitstatus_to_exitcode(os.wait()[1]), record(*failure).count)
"""
    assert installed.run_code(code, env=environment).stdout.split() == ["0", "4"]
