"""`troubleshoot` as a person types it: at a terminal and without one, with stand-ins for assistants."""

from __future__ import annotations

import json
import os
import re
import stat

import pytest

from desk import ANSWER, Desk, all_have_ended, questions, wait_for

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the terminals of these tests are those of POSIX")

ERROR = "RuntimeError: CUDA error: no kernel image is available for execution on the device"
#: The four texts of the predecessor's own test.
FOUR = [
    "ImportError: libcudnn_ops_infer.so.8: cannot open shared object file",
    "RuntimeError: CUDA error: no kernel image is available",
    "OSError: CUDA_HOME environment variable is not set",
    "BuildError: Microsoft Visual C++ 14.0 or greater is required",
]


@pytest.fixture
def desk(installed, tmp_path):
    return Desk(installed, tmp_path)


@pytest.fixture
def error(tmp_path):
    file = tmp_path / "error.txt"
    file.write_text(f"Traceback (most recent call last):\n{ERROR}\n", encoding="utf-8")
    return str(file)


def test_at_a_terminal_nobody_is_asked_without_a_yes(desk, error):
    llm = desk.put("llm")
    for keys in ("\n", "n\n", "\x04", "yes please\n", "\x03"):
        with desk.command("troubleshoot", error, RTX50_ASSISTANT="llm") as terminal:
            terminal.expect("It would be asked: llm. The question leaves this machine; it goes to the maker")
            terminal.expect("Ask? [y/N/s]")
            terminal.type(keys)
            assert terminal.end() == (130 if keys == "\x03" else 0)
        assert "What to do" in terminal.screen
        assert "mended" not in terminal.screen
    assert questions(llm) == []


def test_a_yes_asks_and_the_script_is_kept_and_named_and_not_run(desk, error):
    llm = desk.put("llm", ANSWER.replace("echo mended", 'touch "$HOME/ran"'))
    with desk.command("troubleshoot", error, RTX50_ASSISTANT="llm") as terminal:
        terminal.expect("Ask? [y/N/s]")
        terminal.type("y\n")
        terminal.expect("A library has no code for this card.")
        terminal.expect("rtx50-autoload scripts show ")
        assert terminal.end() == 0
    # The diagnosis comes first, whatever comes then.
    assert terminal.screen.index("What to do") < terminal.screen.index("It would be asked")
    assert len(questions(llm)) == 1
    assert not (desk.home / "ran").exists()
    script = re.findall(r"scripts show (\w{8})", terminal.screen)[0]
    assert 'touch "$HOME/ran"' in desk.run("scripts", "show", script).stdout


def test_what_is_shown_first_is_what_is_sent_to_the_last_character(desk, error):
    llm = desk.put("llm")
    shown = desk.run("troubleshoot", error, "--show-prompt", RTX50_AI="auto", RTX50_ASSISTANT="llm")
    assert shown.returncode == 0
    assert "taken out: " in shown.stderr
    assert questions(llm) == []
    assert desk.kept() == {}
    with desk.command("troubleshoot", error, RTX50_ASSISTANT="llm") as terminal:
        terminal.expect("Ask? [y/N/s]")
        terminal.type("s\n")
        terminal.expect("----- end data ")
        terminal.expect("Ask? [y/N/s]")
        terminal.type("y\n")
        assert terminal.end() == 0
    assert questions(llm) == [shown.stdout]
    assert all(line in terminal.screen for line in shown.stdout.splitlines())


def test_the_choice_is_made_once_and_kept(desk, error):
    llm, qwen = desk.put("llm"), desk.put("qwen")
    with desk.command("troubleshoot", error) as terminal:
        terminal.expect("Which assistant may be asked?")
        terminal.expect("1. llm (llm). The question leaves this machine")
        terminal.expect("2. Qwen Code (qwen).")
        terminal.expect("0. Nobody")
        terminal.expect("Enter asks nobody now: ")
        terminal.type("7\n")
        terminal.expect("Numbers from 1 to 2, 0 or Enter: ")
        terminal.type("2\n")
        assert terminal.end() == 0
    assert (len(questions(llm)), len(questions(qwen))) == (0, 1)
    assert 'assistant = ["qwen"]' in "".join(desk.kept().values())
    desk.run("incidents", "clear", "--all")
    with desk.command("troubleshoot", error) as terminal:
        terminal.expect("It would be asked: Qwen Code.")
        terminal.expect("Ask? [y/N/s]")
        terminal.type("n\n")
        assert terminal.end() == 0


def test_nobody_is_a_choice_too(desk, error):
    llm = desk.put("llm")
    with desk.command("troubleshoot", error) as terminal:
        terminal.expect("Enter asks nobody now: ")
        terminal.type("0\n")
        assert terminal.end() == 0
    with desk.command("troubleshoot", error) as terminal:
        assert terminal.end() == 0
    assert "Nobody was asked: that was chosen." in terminal.screen
    assert questions(llm) == []
    assert desk.run("assistants").returncode == 0
    asked = desk.run("troubleshoot", error, "--assistant", "llm", RTX50_AI="auto")
    assert "A library has no code" in asked.stdout


def test_enter_chooses_nobody_this_time_only(desk, error):
    desk.put("llm")
    for _ in range(2):
        with desk.command("troubleshoot", error) as terminal:
            terminal.expect("Enter asks nobody now: ")
            terminal.type("\n")
            assert terminal.end() == 0


def test_without_a_terminal_nobody_is_asked_unless_the_setting_says_so(desk, error):
    llm = desk.put("llm")
    result = desk.run("troubleshoot", error, RTX50_ASSISTANT="llm")
    assert result.returncode == 0
    assert "What to do" in result.stdout
    assert "there is nobody at a terminal" in result.stdout
    assert questions(llm) == []
    result = desk.run("troubleshoot", error, RTX50_ASSISTANT="llm", RTX50_AI="auto")
    assert (result.returncode, len(questions(llm))) == (0, 1)
    assert "A library has no code for this card." in result.stdout
    assert "It goes to" not in result.stdout
    assert "it goes to the maker of the model" in result.stderr


def test_with_nobody_chosen_and_no_terminal_it_says_how_to_choose(desk, error):
    llm = desk.put("llm")
    result = desk.run("troubleshoot", error, RTX50_AI="auto")
    assert result.returncode == 0
    assert "none is chosen" in result.stdout
    assert "RTX50_ASSISTANT=NAME" in result.stdout
    assert questions(llm) == []


@pytest.mark.parametrize("variable", [{"RTX50_AI": "off"}, {"CLAUDECODE": "1", "RTX50_AI": "auto"}])
def test_where_it_is_off_or_another_assistant_asks_nobody_is_asked(desk, error, variable):
    llm = desk.put("llm")
    result = desk.run("troubleshoot", error, RTX50_ASSISTANT="llm", **variable)
    assert (result.returncode, questions(llm)) == (0, [])
    assert next(iter(variable)) in result.stdout


def test_one_that_fails_is_told_with_its_next_step_and_the_next_chosen_is_asked(desk, error):
    llm, qwen = desk.put("llm"), desk.put("qwen")
    (llm / "fail").write_text("Error code: 401 - invalid", encoding="utf-8")
    with desk.command("troubleshoot", error, RTX50_ASSISTANT="llm,qwen") as terminal:
        terminal.expect("It would be asked: llm.")
        terminal.expect("If there is no answer: Qwen Code. The question leaves this machine; it goes to Alibaba")
        terminal.expect("Ask? [y/N/s]")
        terminal.type("y\n")
        terminal.expect("No answer from llm: llm is not logged in")
        terminal.expect("`llm keys set openai`")
        terminal.expect("A library has no code for this card.")
        assert terminal.end() == 0
    assert (len(questions(llm)), len(questions(qwen))) == (1, 1)


def test_where_all_that_were_chosen_fail_the_plan_stands_and_nobody_else_is_asked(desk, error):
    llm, qwen = desk.put("llm"), desk.put("qwen")
    (llm / "fail").write_text("Error code: 429 - slow down", encoding="utf-8")
    result = desk.run("troubleshoot", error, RTX50_ASSISTANT="llm", RTX50_AI="auto")
    assert result.returncode == 1
    assert "What to do" in result.stdout
    assert "takes no more questions" in result.stderr
    assert questions(qwen) == []


def test_one_that_is_chosen_and_not_here_is_told(desk, error):
    result = desk.run("troubleshoot", error, RTX50_ASSISTANT="claude", RTX50_AI="auto")
    assert result.returncode == 0
    assert "claude is not on this machine" in result.stdout


def test_without_an_assistant_the_offline_plan_stands_and_it_says_how_to_get_one(desk, error):
    result = desk.run("troubleshoot", error, RTX50_AI="auto")
    assert result.returncode == 0
    assert "What to do" in result.stdout
    assert "No assistant that is known is on this machine" in result.stdout
    assert "rtx50-autoload assistants" in result.stdout


def test_a_name_that_nobody_has_is_wrong_usage(desk, error):
    result = desk.run("troubleshoot", error, "--assistant", "hal", RTX50_AI="auto")
    assert result.returncode == 2
    assert "'hal' is not an assistant that we know" in result.stderr


def test_an_answer_is_kept_for_its_owner_and_not_asked_for_twice(desk, error):
    llm = desk.put("llm")
    for _ in range(2):
        result = desk.run("troubleshoot", error, RTX50_ASSISTANT="llm", RTX50_AI="auto")
        assert "A library has no code for this card." in result.stdout
    assert len(questions(llm)) == 1
    (file,) = (desk.home / "xdg_state_home" / "rtx50-autoload" / "answers").glob("*.json")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert "answered" in desk.run("incidents", "show", "last").stdout
    # Asked again by name, it is told what was tried.
    desk.run("troubleshoot", error, "--assistant", "llm", RTX50_AI="auto")
    assert "What was tried already and did not mend it:" in questions(llm)[1]
    desk.run("incidents", "clear", "--all")
    assert not file.exists()


def test_at_a_terminal_a_kept_answer_is_shown_and_asking_again_takes_a_yes(desk, error):
    llm = desk.put("llm")
    desk.run("troubleshoot", error, RTX50_ASSISTANT="llm", RTX50_AI="auto")
    (llm / "answer-2.md").write_text("Something else.", encoding="utf-8")
    for keys, expected in (("n\n", 1), ("y\n", 2)):
        with desk.command("troubleshoot", "--last", RTX50_ASSISTANT="llm") as terminal:
            terminal.expect("A library has no code for this card.")
            terminal.expect("Ask? [y/N/s]")
            terminal.type(keys)
            assert terminal.end() == 0
        assert len(questions(llm)) == expected
    assert "Something else." in terminal.screen


def test_a_script_with_a_syntax_error_goes_back_once_with_the_error(desk, error):
    llm = desk.put("llm", ANSWER.replace("echo mended", "if true; then"))
    (llm / "answer-2.md").write_text(ANSWER, encoding="utf-8")
    result = desk.run("troubleshoot", error, RTX50_ASSISTANT="llm", RTX50_AI="auto")
    first, second = questions(llm)
    assert "syntax error" not in first
    assert "syntax error" in second
    assert "if true; then" in second
    assert "cannot be run as it is" in result.stderr
    assert "cannot be run as it is" not in result.stdout


def test_a_script_that_stays_wrong_is_kept_and_reported(desk, error):
    llm = desk.put("llm", ANSWER.replace("echo mended", "if true; then"))
    result = desk.run("troubleshoot", error, RTX50_ASSISTANT="llm", RTX50_AI="auto")
    assert len(questions(llm)) == 2
    assert result.returncode == 0
    assert "It cannot be run as it is: line" in result.stdout


def test_a_placeholder_in_a_script_goes_back_too(desk, error):
    llm = desk.put("llm", ANSWER.replace("echo mended", "<home>/venv/bin/python -m pip list"))
    (llm / "answer-2.md").write_text(ANSWER, encoding="utf-8")
    desk.run("troubleshoot", error, RTX50_ASSISTANT="llm", RTX50_AI="auto")
    assert "<home> stands in it" in questions(llm)[1]


def test_the_json_document_has_it_all(desk, error):
    desk.put("llm", ANSWER.replace("echo mended", "if true; then"))
    result = desk.run("troubleshoot", error, "--json", RTX50_ASSISTANT="claude,llm", RTX50_AI="auto")
    document = json.loads(result.stdout)
    assert document["diagnosis"]["category"] == "no_kernel_image"
    assert document["consent"] == {"answer": "yes", "reason": "RTX50_AI is auto"}
    assert (document["end"], document["assistant"], document["kept"]) == ("answered", "llm", False)
    assert document["answer"] == ANSWER.replace("echo mended", "if true; then").strip()
    (script,) = document["scripts"]
    assert script["syntax_errors"]
    assert script["incident"] == document["incident"]
    (failure,) = document["failures"]
    assert (failure["assistant"], failure["error"]) == ("claude", "NotFoundError")
    again = json.loads(desk.run("troubleshoot", "--incident", document["incident"][:6], "--json").stdout)
    assert (again["kept"], again["answer"]) == (True, document["answer"])


def test_an_answer_steers_no_terminal(desk, error):
    desk.put("llm", "\x1b]0;title\x07red \x1b[31mtext\u202e\n```bash\necho x\n```\n")
    with desk.command("troubleshoot", error, RTX50_ASSISTANT="llm", RTX50_AI="auto") as terminal:
        assert terminal.end() == 0
    assert "red text" in terminal.screen
    assert "title" not in terminal.screen
    assert not re.search("\x1b\\]|\x1b\\[31m|\x07|\u202e", terminal.coloured)


@pytest.mark.parametrize("text", FOUR)
def test_the_predecessors_errors_have_a_plan_and_with_an_assistant_help(desk, text):
    result = desk.run("troubleshoot", "-", stdin=text)
    assert result.returncode == 0
    assert "What to do" in result.stdout
    assert "     " in result.stdout.partition("What to do")[2]
    desk.put("llm")
    result = desk.run("troubleshoot", "-", stdin=text, RTX50_AI="auto", RTX50_ASSISTANT="llm")
    assert result.returncode == 0
    assert "A library has no code for this card." in result.stdout


def test_ctrl_c_ends_the_assistant_and_its_children(desk, error):
    llm = desk.put("llm")
    (llm / "hang").touch()
    with desk.command("troubleshoot", error, RTX50_ASSISTANT="llm", RTX50_AI="auto") as terminal:
        terminal.expect("Asking llm.")
        wait_for(llm / "pids")
        terminal.expect("llm has been thinking for 1 s; Ctrl+C stops it")
        terminal.type("\x03")
        assert terminal.end() == 130
    assert all_have_ended(llm)


def test_only_one_consultation_runs_at_a_time(desk, error):
    llm = desk.put("llm")
    (llm / "hang").touch()
    with desk.command("troubleshoot", error, RTX50_ASSISTANT="llm", RTX50_AI="auto") as first:
        first.expect("Asking llm.")
        wait_for(llm / "pids")
        second = desk.run("troubleshoot", error, RTX50_ASSISTANT="llm", RTX50_AI="auto")
        assert second.returncode == 0
        assert "Another program is asking an assistant" in second.stdout
    assert len(questions(llm)) == 1
    assert all_have_ended(llm)
