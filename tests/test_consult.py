"""One consultation at a time, and none about an incident that has its answer."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from filelock import FileLock

from rtx50_autoload.diagnosis.diagnosis import Diagnosis
from rtx50_autoload.diagnosis.situation import Situation
from rtx50_autoload.troubleshooter.consult import BusyError, Case, NobodyAnsweredError, consult, recall
from rtx50_autoload.troubleshooter.kept_answers import KeptAnswer, answers_folder, keep_answer, kept_answer

INCIDENT = "0123456789ab"
CASE = Case("text", Diagnosis("other", 0.1, "cause"), Situation(), INCIDENT)


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    folder = tmp_path / "state"
    monkeypatch.setattr("platformdirs.user_state_path", lambda *_arguments, **_options: folder)
    return folder


def keep(assistant="claude", answer="FORTY-TWO", incident=INCIDENT):
    keep_answer(KeptAnswer(incident, datetime.now(timezone.utc).isoformat(), assistant, None, answer))


def test_who_comes_second_to_a_crash_is_given_the_first_ones_answer():
    keep()
    consultation = consult(CASE, [], None, again=False)
    assert (consultation.assistant, consultation.answer, consultation.is_kept) == ("claude", "FORTY-TWO", True)
    with pytest.raises(NobodyAnsweredError):
        consult(CASE, [], None)


def test_a_no_is_no_answer():
    keep(assistant=None, answer="")
    assert recall(INCIDENT) is None
    with pytest.raises(NobodyAnsweredError):
        consult(CASE, [], None, again=False)


def test_while_another_one_asks_nobody_is_asked(state):
    state.mkdir()
    with FileLock(state / "consultation.lock"), pytest.raises(BusyError, match="another program is asking"):
        consult(CASE, [], None)


def test_where_nothing_can_be_locked_nobody_is_asked(state):
    state.write_text("a file in the place of the folder")
    with pytest.raises(BusyError, match="cannot be kept away"):
        consult(CASE, [], None)


def test_what_was_answered_before_is_told_to_the_next_one():
    assert "FORTY-TWO" not in CASE.prompt().text
    keep()
    assert "An assistant (claude) answered:\nFORTY-TWO" in CASE.prompt().text


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"incident": 1}', '{"incident": "x", "asked": "now", "scripts": []}', "[" * 100_000]
)
def test_a_damaged_file_is_no_answer(content):
    keep()
    (answers_folder() / f"{INCIDENT}.json").write_text(content)
    assert kept_answer(INCIDENT) is None


@pytest.mark.parametrize("name", ["", "last", "../../x", "0123456789AB", INCIDENT + "0"])
def test_only_ids_of_incidents_name_an_answer(name):
    keep()
    assert kept_answer(name) is None


def test_answers_do_not_grow_without_end():
    for number in range(203):
        keep(incident=f"{number:012x}")
    assert len(list(answers_folder().iterdir())) == 200
    assert kept_answer(f"{202:012x}") is not None
