"""The signatures as data: every entry can be used, is explained, and is met by a report."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest

from error_corpus import OWN, read_reports
from rtx50_autoload.diagnosis.conditions import SUBJECTS, parse_condition
from rtx50_autoload.diagnosis.signatures import EVIDENCE, load_signatures
from rtx50_autoload.knowledge import read_tables

ENTRIES = read_tables("rtx50_autoload.diagnosis", "signatures.toml")["signature"]
PAGE = Path(__file__).parents[1] / "docs" / "categories.md"
CATEGORIES = set(re.findall(r"^## `(\w+)`", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
#: What a cause may name although no pattern takes it out of the text.
ALWAYS_KNOWN = {"gpu", "built"}


def groups(entry):
    return {name for pattern in entry["patterns"] for name in re.compile(pattern).groupindex}


def of_each(entries=ENTRIES):
    return pytest.mark.parametrize("entry", entries, ids=lambda entry: entry["id"])


def test_the_file_is_read_as_it_is_written():
    assert [signature.id for signature in load_signatures()] == [entry["id"] for entry in ENTRIES]


def test_no_two_signatures_have_one_name():
    names = [entry["id"] for entry in ENTRIES]
    assert len(names) == len(set(names))


@of_each()
def test_a_signature_says_where_its_wording_stands(entry):
    assert entry["sources"]
    assert all(entry["sources"])


@of_each()
def test_every_category_is_described_in_the_documentation(entry):
    assert {outcome["category"] for outcome in entry["outcome"]} <= CATEGORIES


@of_each()
def test_a_cause_names_only_what_every_pattern_takes_out_of_the_text(entry):
    always = set.intersection(*(set(re.compile(pattern).groupindex) for pattern in entry["patterns"]))
    for outcome in entry["outcome"]:
        certain = re.sub(r"\[[^\]]*\]", "", outcome["cause"])
        assert set(re.findall(r"\{(\w+)\}", certain)) <= always | ALWAYS_KNOWN
        assert set(re.findall(r"\{(\w+)\}", outcome["cause"])) <= groups(entry) | ALWAYS_KNOWN


@of_each()
def test_a_pattern_is_written_in_lower_case(entry):
    for pattern in (*entry["patterns"], *entry.get("unless", ())):
        # Escapes such as \S, and names of groups, are not compared with the text; Cyrillic is not made small.
        plain = re.sub(r"\\.|\(\?P<\w+>", "", pattern)
        assert not re.search("[A-Z]", plain), pattern


@of_each()
def test_every_repetition_in_a_pattern_is_bounded(entry):
    for pattern in (*entry["patterns"], *entry.get("unless", ())):
        without_classes = re.sub(r"\[(?:\\.|[^\]\\])+\]", "C", pattern)
        assert not re.search("[*+]|,}", re.sub(r"\\.", "E", without_classes)), pattern


@of_each()
def test_a_confidence_is_a_share(entry):
    assert all(0 < outcome["confidence"] <= 1 for outcome in entry["outcome"])


@of_each()
def test_what_is_asked_for_can_be_told(entry):
    asked = {ask for outcome in entry["outcome"] for ask in outcome.get("asks", ())}
    assert asked <= set(EVIDENCE)


@of_each([entry for entry in ENTRIES if any("when" in outcome for outcome in entry["outcome"])])
def test_a_number_that_a_condition_compares_is_taken_out_of_the_text(entry):
    machine = {"device", "vendor", "system", "torch", "variant", "toolkit", "python"}
    for outcome in entry["outcome"]:
        for text in outcome.get("when", ()):
            subject = parse_condition(text).subject.partition(".")[0]
            assert subject in SUBJECTS
            group = {"printed": {"device"}, "low": {"low", "family"}}.get(subject, {subject})
            assert subject in machine or group & groups(entry), text


def test_every_signature_is_met_by_a_report_of_the_tests():
    met = {report.diagnose().signature for report in read_reports(OWN)}
    assert {entry["id"] for entry in ENTRIES} <= met


def test_every_category_is_met_by_a_report_of_the_tests():
    assert {report.category for report in read_reports(OWN)} == CATEGORIES


def test_the_file_explains_its_keys():
    head = files("rtx50_autoload.diagnosis").joinpath("signatures.toml").read_text(encoding="utf-8")[:4000]
    keys = {key for entry in ENTRIES for key in entry} | {key for e in ENTRIES for o in e["outcome"] for key in o}
    assert all(re.search(rf"^# \[*(?:\[signature\.)?{key}\b|^# {key}\b", head, re.MULTILINE) for key in keys)


@pytest.mark.parametrize("text", ["device", "device ~ 12.0", "nobody >= 1", "device is old", ""])
def test_a_condition_that_is_none_is_refused(text):
    with pytest.raises(ValueError, match=re.escape(text) if text else "condition"):
        parse_condition(text)
