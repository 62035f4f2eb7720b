"""The store of incidents: what is kept, and which failures are the same."""

from __future__ import annotations

import json
import os
import stat
import sys
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtx50_autoload.diagnosis import incidents
from rtx50_autoload.diagnosis.diagnosis import Diagnosis, FixStep
from rtx50_autoload.diagnosis.incident import Incident, normalised
from rtx50_autoload.diagnosis.situation import Gpu, Situation

RTX_5090 = Gpu("NVIDIA GeForce RTX 5090", (12, 0), "nvidia")
SITUATION = Situation("machine", (RTX_5090,), "2.4.1", "cu124", driver="570.124.06", versions={"xformers": "0.0.35"})
DIAGNOSIS = Diagnosis(
    "no_kernel_image",
    0.9,
    "torch has no code for this GPU.",
    evidence=("a line",),
    culprit="torch",
    fix=(FixStep("Install another torch.", "It has that code.", ("pip install torch",), "torch", "it runs"),),
    signature="no-kernel-image",
    headline="CUDA error: no kernel image is available for execution on the device",
)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr("platformdirs.user_state_path", lambda *_arguments, **_options: tmp_path / "state")
    return tmp_path / "state" / "incidents"


def record(diagnosis=DIAGNOSIS, situation=SITUATION, exception_type="RuntimeError", text="the text", **options):
    return incidents.record(diagnosis, text, situation, exception_type=exception_type, **options)


def with_headline(headline):
    return replace(DIAGNOSIS, headline=headline)


def files(folder):
    return [path for path in folder.iterdir() if path.suffix == ".json"]


def test_the_same_failure_is_kept_once_and_counted(folder):
    ids = {record().incident_id for _ in range(3)}
    (file,) = files(folder)
    assert ids == {file.stem}
    assert incidents.latest().count == 3


def test_what_was_recorded_is_read_again(folder):
    recorded = record(text="first line\nlast line")
    incident = incidents.load(recorded.incident_id)
    assert incident.diagnosis == DIAGNOSIS
    assert (incident.exception_type, incident.text) == ("RuntimeError", "first line\nlast line")
    assert incident.environment["gpus"] == [
        {"name": "NVIDIA GeForce RTX 5090", "capability": [12, 0], "vendor": "nvidia"}
    ]
    assert incident.environment["versions"] == {"xformers": "0.0.35"}
    assert incident.environment["prefix"] == sys.prefix
    assert incident.first_seen == incident.last_seen <= datetime.now(timezone.utc)
    content = json.loads((folder / f"{recorded.incident_id}.json").read_bytes())
    assert content["schema"] == 1
    assert Incident.from_json(content) == incident


def test_of_the_command_line_only_the_programs_name_is_kept(folder, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/home/anna/secret-project/train.py", "--token", "hunter2"])
    record()
    text = files(folder)[0].read_text()
    assert incidents.latest().program == "train.py"
    assert "hunter2" not in text
    assert "secret-project" not in text


def test_an_interpreter_without_arguments_can_record(monkeypatch):
    monkeypatch.delattr(sys, "argv")
    assert record().incident_id is not None
    assert incidents.latest().program == ""


def test_of_a_long_text_the_head_and_the_tail_are_kept():
    record(text="FIRST" + "x" * 1_000_000 + "LAST")
    text = incidents.latest().text
    assert len(text) < 17_000
    assert text.startswith("FIRST")
    assert text.endswith("LAST")
    assert "characters left out" in text


def test_a_huge_line_in_the_diagnosis_is_cut():
    record(replace(DIAGNOSIS, headline="h" * 10**7, evidence=("e" * 10**7,), cause="c" * 10**7, culprit="x" * 10**7))
    assert incidents.latest().count == 1


def test_all_that_comes_from_the_failure_is_redacted_before_it_is_cut(folder):
    secret = "hf_SECRET"  # noqa: S105
    long = "x" * 7996 + secret + "y" * 20_000  # the cut goes through it
    said = f"it says {secret}"
    diagnosis = replace(
        DIAGNOSIS, headline=said, cause=said, culprit=said, evidence=(said, said), missing_evidence=(said,)
    )
    record(diagnosis, text=long, redact=lambda text: text.replace(secret, "[redacted]"))
    text = files(folder)[0].read_text()
    assert "hf_" not in text
    assert text.count("[redacted]") == 6  # that of the text was cut, after it had been redacted


def test_text_that_is_no_unicode_is_kept():
    record(text="caf\udce9 \x00 \U0001f600")
    assert incidents.latest().text == "caf\udce9 \x00 \U0001f600"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("illegal memory access at 0x7f3a1c", "illegal memory access at 0x7f99e0"),
        ("no kernel image on cuda:0", "no kernel image on cuda:7"),
        ("[rank3]: CUDA error", "[rank12]: CUDA error"),
        ("worker 1 (pid 4242) died", "worker 7 (pid 51) died"),
        ("Tried to allocate 2.50 GiB. GPU 0 has", "Tried to allocate 512 MiB. GPU 3 has"),
        ("timed out after 12.5 s", "timed out after 900 seconds"),
        ("/tmp/tmpab12/x.so: undefined symbol", "/tmp/tmp99/x.so: undefined symbol"),  # noqa: S108
        ("2025-11-22 17:41:01,123 failed", "2026-01-02T03:04:05 failed"),
    ],
)
def test_what_differs_from_run_to_run_makes_no_other_incident(one, other):
    assert record(with_headline(one)).incident_id == record(with_headline(other)).incident_id


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Unsupported gpu architecture 'compute_120'", "Unsupported gpu architecture 'compute_121'"),
        ("requires device with capability (8, 0)", "requires device with capability (9, 0)"),
        ("CUDA error 209", "CUDA error 222"),
        ("needs torch 2.7", "needs torch 2.8"),
        ("libcudart.so.12: cannot open", "libcudart.so.13: cannot open"),
    ],
)
def test_architectures_versions_and_codes_make_another_incident(one, other):
    assert normalised(one) != normalised(other)


@pytest.mark.parametrize(
    "change",
    [
        {"diagnosis": replace(DIAGNOSIS, category="arch_specific_kernel")},
        {"diagnosis": replace(DIAGNOSIS, signature="another")},
        {"diagnosis": replace(DIAGNOSIS, culprit="xformers")},
        {"diagnosis": with_headline("something else")},
        {"exception_type": "AcceleratorError"},
        {"exception_type": None},
        {"situation": replace(SITUATION, torch="2.7.1")},
        {"situation": replace(SITUATION, torch_variant="cu128")},
        {"situation": replace(SITUATION, driver="580.65.06")},
        {"situation": replace(SITUATION, gpus=(replace(RTX_5090, capability=(8, 9)),))},
        {"situation": Situation()},
    ],
)
def test_another_failure_or_environment_is_another_incident(change):
    assert record().incident_id != record(**change).incident_id
    assert len(incidents.load_all().incidents) == 2


def test_another_environment_folder_is_another_incident(monkeypatch):
    one = record().incident_id
    monkeypatch.setattr(sys, "prefix", "/another/venv")
    assert record().incident_id != one


def test_how_many_equal_devices_there_are_does_not_matter():
    two = replace(SITUATION, gpus=(RTX_5090, replace(RTX_5090, name="NVIDIA GeForce RTX 5080")))
    assert record().incident_id == record(situation=two).incident_id


def test_at_most_200_are_kept_and_the_one_seen_longest_ago_goes(folder):
    ids = [record(with_headline(f"error {chr(65 + n // 26)}{chr(65 + n % 26)}")).incident_id for n in range(200)]
    record(with_headline("error AA"))  # the first one, seen again
    for n in range(50):
        record(with_headline(f"new error {chr(65 + n // 26)}{chr(65 + n % 26)}"))
    left = {file.stem for file in files(folder)}
    assert len(left) == 200
    assert ids[0] in left
    assert not left & set(ids[1:51])


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_only_the_owner_can_read_them(folder):
    before = os.umask(0)
    try:
        record()
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.iterdir())}
    assert modes.pop("incidents") == 0o700
    assert set(modes.values()) == {0o600}


def plant(folder, name, data):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)
    return folder / name


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"\xff\xfe", b'{"schema": 99}', b"[" * 100_000, b'{"schema": 1, "id": 3}', b"nul" * 10**6],
)
def test_a_file_that_cannot_be_read_is_listed_and_moved_aside_but_not_lost(folder, data):
    name = record().incident_id + ".json"
    plant(folder, name, data)
    assert folder / name in incidents.load_all().unreadable
    assert record().count == 1
    kept = incidents.load_all()
    assert [incident.count for incident in kept.incidents] == [1]
    ((aside, reason),) = kept.unreadable.items()
    assert aside.read_bytes() == data
    assert reason


def test_a_file_that_somebody_else_put_there_stays(folder):
    mine = plant(folder, "notes.txt", b"mine")
    copy = plant(folder, "0123456789ab.json", b"")
    record()
    copy.write_bytes(files(folder)[0].read_bytes())
    assert set(incidents.load_all().unreadable) >= {mine}
    incidents.clear()
    assert mine.read_bytes() == b"mine"


def test_a_link_in_the_place_of_a_file_is_not_followed(folder, tmp_path):
    outside = tmp_path / "outside.json"
    incident_id = record().incident_id
    file = folder / f"{incident_id}.json"
    file.rename(outside)
    before = outside.read_bytes()
    file.symlink_to(outside)
    assert incidents.load_all().incidents == ()
    assert record().count == 1
    assert outside.read_bytes() == before
    assert not file.is_symlink()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes in folders")
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(folder):
    file = folder / f"{record().incident_id}.json"
    file.unlink()
    os.mkfifo(file)
    assert file in incidents.load_all().unreadable
    assert record().count == 1


def test_the_latest_is_first():
    first, second = record().incident_id, record(exception_type="OSError").incident_id
    assert [incident.id for incident in incidents.load_all().incidents] == [second, first]
    record()
    assert incidents.latest().id == first


def test_the_beginning_of_an_id_is_enough():
    incident_id = record().incident_id
    assert incidents.load(incident_id[:1]).id == incident_id
    assert incidents.load(incident_id.upper()).id == incident_id


def test_an_id_that_is_not_known_or_not_clear_says_what_to_do(folder):
    assert incidents.latest() is None
    with pytest.raises(incidents.NoSuchIncidentError, match="`rtx50-autoload incidents` lists them"):
        incidents.load("abc")
    with pytest.raises(incidents.NoSuchIncidentError):
        incidents.load("")
    incident = json.loads((folder / f"{record().incident_id}.json").read_bytes())
    for twin in ("aaaaaaaaaaaa", "aaaaaaaaaaab"):
        plant(folder, f"{twin}.json", json.dumps({**incident, "id": twin}).encode())
    with pytest.raises(incidents.NoSuchIncidentError, match="aaaaaaaaaaaa, aaaaaaaaaaab; give more"):
        incidents.load("aaaaaaaaaaa")


def test_clear_removes_those_that_are_named(folder):
    one, other = record().incident_id, record(exception_type="OSError").incident_id
    with pytest.raises(incidents.NoSuchIncidentError):
        incidents.clear([one, "xyz"])
    assert len(files(folder)) == 2
    assert incidents.clear([one[:8], one]) == [folder / f"{one}.json"]
    assert [incident.id for incident in incidents.load_all().incidents] == [other]


def test_clear_removes_all_that_was_written_here(folder):
    record()
    plant(folder, files(folder)[0].name, b"broken")
    record()
    assert len(incidents.clear()) == 2
    assert incidents.load_all() == incidents.Kept((), {})


def test_clear_where_nothing_was_ever_recorded_makes_no_folder(folder):
    assert incidents.clear() == []
    assert not folder.exists()


def test_a_folder_that_cannot_be_read_is_an_error_with_its_name(folder):
    folder.parent.mkdir()
    folder.write_text("a file")
    with pytest.raises(incidents.IncidentStoreError, match="incidents cannot be read: Not a directory"):
        incidents.load_all()


def test_the_way_back_of_the_clock_leaves_the_first_time_before_the_last(folder):
    file = folder / f"{record().incident_id}.json"
    tomorrow = (datetime.now(timezone.utc) + timedelta(days=1)).isoformat()
    file.write_text(json.dumps({**json.loads(file.read_bytes()), "first_seen": tomorrow, "last_seen": tomorrow}))
    assert record().count == 2
    assert incidents.latest().first_seen <= incidents.latest().last_seen <= datetime.now(timezone.utc)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@settings(deadline=None)
@given(data=st.data())
def test_whatever_stands_in_a_file_is_an_incident_or_a_value_error(data):
    content = incident_content()
    path = data.draw(st.lists(st.sampled_from(sorted(content) + sorted(content["diagnosis"])), max_size=3))
    for name in path:
        target = content if name in content else content["diagnosis"]
        if isinstance(target, dict):
            target[name] = data.draw(_VALUES)
    try:
        Incident.from_json(content)
    except ValueError:
        assert path


def incident_content():
    now = datetime.now(timezone.utc)
    return Incident("0" * 12, now, now, 1, None, "", DIAGNOSIS, {}, "", "0.1.0").as_json()
