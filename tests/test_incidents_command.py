"""`incidents` as a person types it."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

import rig
from rtx50_autoload.cli.main import main
from rtx50_autoload.diagnosis.diagnosis import Diagnosis
from rtx50_autoload.diagnosis.incidents import load_all, record
from rtx50_autoload.diagnosis.situation import Gpu, Situation

SITUATION = Situation("machine", (Gpu("NVIDIA GeForce RTX 5090", (12, 0), "nvidia"),) * 2, "2.4.1")
DIAGNOSIS = Diagnosis("no_kernel_image", 0.9, "No code for this GPU.", culprit="torch 2.4.1", headline="CUDA error")
TEXT = "\n".join(f"line {number}" for number in range(1, 31))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr("platformdirs.user_state_path", lambda *_arguments, **_options: tmp_path / "state")
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path / "state" / "incidents"


@pytest.fixture
def run(capsys):
    def run(*arguments):
        code = main(["incidents", *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def two():
    """Two incidents, the second one seen twice and last."""
    one = record(DIAGNOSIS, TEXT, SITUATION, exception_type="RuntimeError").incident_id
    other = replace(DIAGNOSIS, category="cpu_only_torch", culprit=None)
    return one, *{record(other, TEXT, SITUATION).incident_id for _ in range(2)}


@pytest.mark.parametrize("arguments", [[], ["list"]])
def test_they_are_listed_the_latest_first(run, two, arguments):
    code, out, err = run(*arguments)
    assert (code, err) == (0, "")
    assert out.index(two[1]) < out.index(two[0])
    assert "A compiled library has no code for this GPU (torch 2.4.1)" in out
    assert "incidents show ID" in out


def test_an_empty_list_says_so(run):
    assert run() == (0, "No incident has been recorded.\n", "")


@pytest.mark.parametrize("arguments", [["--json"], ["list", "--json"], ["--json", "list"]])
def test_the_list_as_json(run, two, folder, arguments):
    code, out, _ = run(*arguments)
    document = json.loads(out)
    assert (code, document["folder"], document["unreadable"]) == (0, str(folder), [])
    latest, first = document["incidents"]
    assert (latest["id"], latest["count"]) == (two[1], 2)
    assert first.keys() == {
        *("id", "first_seen", "last_seen", "count", "exception_type", "program", "category", "culprit", "headline")
    }


def test_a_file_that_is_no_incident_is_a_finding(run, two, folder):
    (folder / "notes.txt").write_text("mine")
    code, out, _ = run()
    assert code == 1
    assert "left as it is" in out
    assert "notes.txt" in out
    assert two[0] in out
    code, out, _ = run("--json")
    assert (code, [Path(entry["file"]).name for entry in json.loads(out)["unreadable"]]) == (1, ["notes.txt"])


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_list_and_an_incident_fit_the_terminal(run, two, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    long = replace(DIAGNOSIS, culprit="/very/long/path/without/any/space/" * 8, headline="h" * 300)
    record(long, "a word " * 200 + "x" * 300, SITUATION)
    for arguments in ([], ["show", "last"]):
        assert not rig.too_wide(run(*arguments)[1], width)
    assert two[0] in run()[1]


def test_one_is_shown_by_the_beginning_of_its_id(run, two):
    code, out, _ = run("show", two[0][:6])
    assert code == 0
    for shown in (two[0], "NVIDIA GeForce RTX 5090", "2.4.1", "line 30", "(18 lines before", "No code for this GPU."):
        assert shown in out
    assert out.count("RTX 5090") == 1
    assert "line 18\n" not in out


def test_the_latest_is_called_last(run, two):
    assert json.loads(run("show", "last", "--json")[1])["id"] == two[1]


def test_an_incident_as_json_is_its_file(run, two, folder):
    code, out, _ = run("show", two[0], "--json")
    assert code == 0
    assert json.loads(out) == json.loads((folder / f"{two[0]}.json").read_bytes())


@pytest.mark.parametrize("name", ["xyz", "last"])
@pytest.mark.parametrize("action", ["show", "clear"])
def test_one_that_is_not_there_is_2(run, action, name):
    code, out, err = run(action, name)
    assert (code, out, len(err.splitlines())) == (2, "", 1)


def test_clear_wants_to_be_told_what(run, two):
    for arguments in (["clear"], ["clear", "--all", two[0]]):
        code, out, err = run(*arguments)
        assert (code, out) == (2, "")
        assert "--all" in err
    assert len(load_all().incidents) == 2


def test_clear_removes_what_is_named_and_says_so(run, two, folder):
    assert run("clear", two[0][:8]) == (0, f"Removed {folder / two[0]}.json\n", "")
    assert [incident.id for incident in load_all().incidents] == [two[1]]


def test_clear_removes_all_but_what_others_have_put_there(run, two, folder):
    (folder / "notes.txt").write_text("mine")
    (folder / f"{two[0]}.json").write_text("broken")
    code, out, _ = run("clear", "--all")
    assert (code, out.count("Removed ")) == (0, 2)
    assert f"not written here: {folder / 'notes.txt'}" in out
    assert (folder / "notes.txt").read_text() == "mine"
    assert run("clear", "--all") == (0, f"Left as it is, for it was not written here: {folder / 'notes.txt'}\n", "")


def test_what_cannot_be_removed_is_1(run, two, monkeypatch):
    def refuse(_path):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "unlink", refuse)
    code, out, err = run("clear", two[0])
    assert (code, out) == (1, "")
    assert "Read-only file system" in err


def test_what_was_recorded_does_not_command_the_terminal(run):
    hostile = "\x1b[2J\x1b]0;title\x07\u202eevil\r"
    record(Diagnosis("other", 0.0, hostile, culprit=hostile, headline=hostile), hostile, Situation())
    for arguments in ([], ["show", "last"]):
        assert not {"\x1b", "\x07", "\u202e", "\r"} & set(run(*arguments)[1])


def test_a_word_that_is_no_action_is_2(capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["incidents", "frobnicate"])
    assert exit_.value.code == 2
    assert "usage" in capsys.readouterr().err
