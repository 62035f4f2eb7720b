"""A disk that fails costs the record and nothing else: no error, no half file, and somebody still speaks."""

from __future__ import annotations

import errno
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest
from filelock import FileLock

from rtx50_autoload.diagnosis import incident_files, incidents
from rtx50_autoload.diagnosis.diagnosis import Diagnosis
from rtx50_autoload.diagnosis.situation import Situation


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr("platformdirs.user_state_path", lambda *_arguments, **_options: tmp_path / "state")
    return tmp_path / "state" / "incidents"


def record():
    return incidents.record(Diagnosis("no_kernel_image", 0.9, "cause"), "text", Situation())


def fails_with(number):
    def fail(*_arguments, **_options):
        raise OSError(number, os.strerror(number))

    return fail


#: What a broken disk does to each operation.
FAULTS = {
    "the folder cannot be made": ("pathlib.Path.mkdir", errno.EROFS),
    "the lock cannot be opened": ("filelock.FileLock.acquire", errno.EACCES),
    "the old file cannot be read": ("rtx50_autoload.diagnosis.incident_files.read_private", errno.EIO),
    "no file can be made": ("tempfile.mkstemp", errno.EMFILE),
    "the disk is full": ("json.dumps", errno.ENOSPC),
    "the file cannot be renamed": ("pathlib.Path.replace", errno.ENOSPC),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(("rank", "speaks"), [("0", True), ("5", False)])
def test_a_fault_costs_the_record_and_the_first_rank_speaks(folder, monkeypatch, fault, rank, speaks):
    assert record().count == 1
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    monkeypatch.setenv("RANK", rank)
    target, number = FAULTS[fault]
    with monkeypatch.context() as patch:
        patch.setattr(target, fails_with(number))
        recorded = record()
    assert recorded == incidents.Recorded(None, 0, speaks, recorded.problem)
    assert os.strerror(number) in recorded.problem
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert record().count == 2


def test_a_fault_in_making_room_costs_nothing(folder, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("os.listdir", fails_with(errno.EIO))
        assert record().incident_id is not None
    assert len(list(folder.glob("*.json"))) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_a_disk_that_takes_no_more_bytes_leaves_the_file_as_it_was(installed, tmp_path):
    # The limit on the size of files makes the system itself refuse a write in its middle, as a full disk does.
    code = """
import resource, sys
from rtx50_autoload.diagnosis.diagnosis import Diagnosis
from rtx50_autoload.diagnosis.incidents import latest, record
from rtx50_autoload.diagnosis.situation import Situation
failure = Diagnosis("no_kernel_image", 0.9, "cause"), "text" * 4000, Situation()
print(record(*failure).count)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
recorded = record(*failure)
print(recorded.incident_id, recorded.speaks, recorded.problem)
print(latest().count)
"""
    result = installed.run_code(code, env={"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path)})
    assert result.stdout.splitlines() == ["1", f"None True [Errno {errno.EFBIG}] {os.strerror(errno.EFBIG)}", "1"]
    assert not list(tmp_path.rglob("*.draft"))


@pytest.mark.skipif(sys.platform != "linux", reason="where nothing can be made even by root: /proc")
@pytest.mark.parametrize("place", ["/proc/nowhere", "/dev/null"])
def test_a_home_that_takes_no_files(installed, place):
    result = installed.run_code(RECORDS, env={"HOME": place, "XDG_STATE_HOME": f"{place}/state"})
    assert result.stdout.startswith("None True ")
    assert result.stderr == ""


#: Prints what it could do.
RECORDS = """
from rtx50_autoload.diagnosis.diagnosis import Diagnosis
from rtx50_autoload.diagnosis.incidents import record
from rtx50_autoload.diagnosis.situation import Situation
recorded = record(Diagnosis("no_kernel_image", 0.9, "cause"), "text", Situation())
print(recorded.incident_id, recorded.speaks, recorded.problem)
"""


def no_home(*_arguments, **_options):
    raise RuntimeError("could not determine the home directory")


@pytest.mark.parametrize("answer", [lambda *_arguments, **_options: Path("~/.local/state"), no_home])
def test_a_user_without_a_home_makes_no_folder_where_the_program_runs(monkeypatch, tmp_path, answer):
    # A container's user without an entry in the system's list, as older and newer versions of platformdirs take it.
    monkeypatch.setattr("platformdirs.user_state_path", answer)
    monkeypatch.chdir(tmp_path)
    recorded = record()
    assert recorded.incident_id is None
    assert "set HOME" in recorded.problem
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(incidents.IncidentStoreError, match="set HOME"):
        incidents.load_all()


def test_a_file_where_the_folder_should_be_stays(folder):
    folder.parent.mkdir()
    folder.write_text("mine")
    assert record().incident_id is None
    assert folder.read_text() == "mine"


def test_a_lock_that_is_never_given_back_is_not_waited_for_for_ever(folder, monkeypatch):
    record()
    monkeypatch.setattr(incident_files, "_LONGEST_WAIT", 0.1)
    with FileLock(folder / ".lock"):
        recorded = record()
    assert recorded.incident_id is None
    assert ".lock" in recorded.problem
    assert record().count == 2


def test_a_folder_that_is_removed_meanwhile_is_made_again(folder, monkeypatch):
    mkstemp = tempfile.mkstemp
    removed = []

    def remove_once(**options):
        if not removed:
            removed.append(folder)
            shutil.rmtree(folder)
        return mkstemp(**options)

    monkeypatch.setattr("tempfile.mkstemp", remove_once)
    assert record().count == 1
    assert removed
    assert len(list(folder.glob("*.json"))) == 1


def test_a_file_that_somebody_has_open_on_windows_is_tried_again(monkeypatch):
    replace = Path.replace
    refusals = iter([True] * 3)

    def refuse(self, target):
        if next(refusals, False):
            raise PermissionError(errno.EACCES, "The process cannot access the file because it is being used")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", refuse)
    assert record().incident_id is not None


def test_what_a_killed_writer_has_left_goes_after_a_while(folder):
    record()
    old, new = folder / ".0123456789ab.x.draft", folder / ".0123456789ab.y.draft"
    for draft in (old, new):
        draft.write_text("{")
    os.utime(old, (0, 0))
    incidents.record(Diagnosis("other", 0.0, "another"), "text", Situation())
    assert (old.exists(), new.exists()) == (False, True)
    assert incidents.load_all().unreadable == {}


def test_a_fault_of_our_own_costs_the_record_only(monkeypatch, capsys):
    monkeypatch.setattr(incidents, "identity", lambda *_arguments: 1 // 0)
    assert record() == incidents.Recorded(None, 0, speaks=True, problem="integer division or modulo by zero")
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("RTX50_DEBUG", "1")
    record()
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_what_cannot_be_removed_is_an_error_with_the_reason(monkeypatch):
    record()
    monkeypatch.setattr(Path, "unlink", fails_with(errno.EROFS))
    with pytest.raises(incidents.IncidentStoreError, match="cannot be cleared: Read-only file system"):
        incidents.clear()
