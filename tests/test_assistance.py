"""The calls of the predecessor: `AIAssistant` and `get_ai_help_for_error`."""

from __future__ import annotations

import json
import os

import pytest

import rtx50_autoload
from desk import Desk, questions
from rtx50_autoload import AIAssistant

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the stand-ins for assistants are programs of POSIX")

SENTENCE = "No AI assistants found. Install claude or gemini CLI."
#: The four texts of the predecessor's own test.
FOUR = [
    "ImportError: libcudnn_ops_infer.so.8: cannot open shared object file",
    "RuntimeError: CUDA error: no kernel image is available",
    "OSError: CUDA_HOME environment variable is not set",
    "BuildError: Microsoft Visual C++ 14.0 or greater is required",
]
HELP = "import json, sys, rtx50_autoload\nprint(rtx50_autoload.get_ai_help_for_error(sys.argv[1]))"
ASK = "import json, sys, rtx50_autoload\nprint(json.dumps(rtx50_autoload.AIAssistant.get_ai_help(*sys.argv[1:])))"
FIND = "import json, rtx50_autoload\nprint(json.dumps(rtx50_autoload.AIAssistant.detect_assistants()))"


@pytest.fixture
def desk(installed, tmp_path):
    return Desk(installed, tmp_path)


def said(desk, code, *arguments, **variables):
    result = desk.run_python("-c", code, *arguments, **variables)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_the_names_are_loaded_when_they_are_used():
    assert {"AIAssistant", "get_ai_help_for_error"} <= set(dir(rtx50_autoload))


def test_those_that_are_here_are_found_each_with_true(desk):
    assert json.loads(said(desk, FIND)) == {}
    desk.put("llm")
    desk.put("qwen")
    assert json.loads(said(desk, FIND)) == {"llm": True, "qwen": True}


@pytest.mark.parametrize("text", FOUR)
def test_without_an_assistant_it_is_the_sentence_of_the_predecessor(desk, text):
    assert said(desk, HELP, text) == SENTENCE


@pytest.mark.parametrize("text", FOUR)
def test_the_predecessors_errors_get_a_plan_and_with_a_chosen_assistant_help(desk, text):
    llm = desk.put("llm")
    help_ = said(desk, HELP, text, RTX50_AI="auto")
    assert "What to do:\n1. " in help_
    assert "WHY: " in help_
    assert "RTX50_ASSISTANT=NAME" in help_
    assert questions(llm) == []
    help_ = said(desk, HELP, text, RTX50_AI="auto", RTX50_ASSISTANT="llm")
    assert "A library has no code for this card." in help_
    assert text in questions(llm)[0]


@pytest.mark.parametrize("variables", [{"RTX50_AI": "off"}, {}, {"CLAUDECODE": "1", "RTX50_AI": "auto"}], ids=str)
def test_without_consent_nobody_is_asked_and_the_plan_is_the_help(desk, variables):
    llm = desk.put("llm")
    assert json.loads(said(desk, ASK, "Why?", "llm", **variables)) is None
    help_ = said(desk, HELP, FOUR[1], RTX50_ASSISTANT="llm", **variables)
    assert "What to do:" in help_
    assert "No assistant was asked, because" in help_
    assert questions(llm) == []


def test_one_assistant_is_asked_what_the_program_has_written_without_what_is_private(desk):
    llm = desk.put("llm", "FORTY-TWO")
    assert json.loads(said(desk, ASK, "Why is PASSWORD=hunter2 wrong?", "llm", RTX50_AI="auto")) == "FORTY-TWO"
    assert questions(llm) == ["Why is PASSWORD=<secret> wrong?"]


@pytest.mark.parametrize("choice", ["nobody", "qwen", "qwen,ollama/qwen3:4b"])
def test_a_program_cannot_ask_one_that_the_person_has_not_chosen(desk, choice):
    llm = desk.put("llm")
    assert json.loads(said(desk, ASK, "Why?", "llm", RTX50_AI="auto", RTX50_ASSISTANT=choice)) is None
    assert questions(llm) == []


@pytest.mark.parametrize("assistant", ["claude", "hal", "llm"])
def test_one_that_is_not_here_or_fails_gives_none(desk, assistant):
    llm = desk.put("llm")
    (llm / "fail").write_text("Error code: 401", encoding="utf-8")
    assert json.loads(said(desk, ASK, "Why?", assistant, RTX50_AI="auto")) is None


def test_at_a_terminal_the_person_is_asked_first(desk):
    llm = desk.put("llm", "FORTY-TWO")
    for keys, answer in (("n\n", "null"), ("y\n", '"FORTY-TWO"')):
        with desk.sit_down("-c", ASK, "Why?", "llm") as terminal:
            terminal.expect("It would be asked: llm. The question leaves this machine")
            terminal.expect("Ask? [y/N/s]")
            terminal.type(keys)
            terminal.expect(answer)
            assert terminal.end() == 0
    assert len(questions(llm)) == 1


def test_a_prompt_holds_the_error_and_what_the_program_knows():
    prompt = AIAssistant.create_troubleshooting_prompt(
        FOUR[1], {"gpu": "RTX 5090", "torch": "2.4.1+cu124", "step": "x"}
    )
    assert len(prompt) > 200
    for text in (FOUR[1], "RTX 5090 (12.0)", "2.4.1, built for cu124", "step: x"):
        assert text in prompt


@pytest.mark.parametrize("write", [json.dumps, dict, str], ids=["JSON", "mapping", "text"])
def test_a_context_may_be_json_a_mapping_or_text_and_never_carries_an_environment(write):
    context = {"python": "3.12.3", "env": {"MY_API_TOKEN": "correcthorsebattery", "CUDA_VISIBLE_DEVICES": "1"}}
    prompt = AIAssistant.create_troubleshooting_prompt(FOUR[1], write(context))
    assert "correcthorsebattery" not in prompt
    assert "3.12.3" in prompt
    assert "CUDA_VISIBLE_DEVICES" in prompt
