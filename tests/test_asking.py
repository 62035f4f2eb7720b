"""One question to one program, by stand-ins that misbehave in every way that real ones do."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest

from rig import FAKES
from rtx50_autoload.troubleshooter import asking, assistant_errors
from rtx50_autoload.troubleshooter.answers import clean
from rtx50_autoload.troubleshooter.asking import LONGEST_PROMPT, ask
from rtx50_autoload.troubleshooter.assistant_errors import (
    AssistantError,
    CrashedError,
    EmptyAnswerError,
    GarbledAnswerError,
    NotFoundError,
    NotLoggedInError,
    PromptTooLongError,
    RateLimitedError,
    TimedOutError,
    TooOldError,
    UnreachableError,
)
from rtx50_autoload.troubleshooter.assistants import Found, load_knowledge

LLM = next(program for program in load_knowledge().programs if program.name == "llm")
PROMPT = "Why is there no kernel image?\nIt says: 401 429 ENOTFOUND unknown option"


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The folder in which folders for temporary files are made; each test looks whether it is left empty."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def fake(tmp_path, temporary):
    """Give the stand-in in one of its modes, as if it had been found."""

    def fake(mode, version="0.36", program=LLM):
        script = tmp_path / "assistant.py"
        shutil.copyfile(FAKES / "assistant.py", script)
        return Found(program, str(script), (sys.executable, "-X", "utf8", str(script), mode), version)

    yield fake
    assert list(temporary.iterdir()) == []


def has_ended(pid, patience=10.0):
    """Wait until a process is gone, or only waits for its parent to notice."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            if not Path("/proc").is_dir():
                try:
                    os.kill(pid, 0)
                except ProcessLookupError:
                    return True
                continue
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def all_have_ended(folder):
    return all(has_ended(int(pid)) for pid in (folder / "pids").read_text().split())


def test_the_question_goes_through_stdin_and_nowhere_else(fake):
    answer = ask(fake("echo"), PROMPT, time_limit=30, environ=os.environ)
    known = json.loads(answer.text)
    assert known["prompt"] == PROMPT
    assert known["arguments"] == list(LLM.arguments)
    assert PROMPT not in json.dumps(known["environment"])
    assert known["tty"] is False
    assert (answer.assistant, answer.version, answer.model) == ("llm", "0.36", None)


def test_it_runs_in_an_empty_folder_of_its_own(fake, temporary):
    known = json.loads(ask(fake("echo"), PROMPT, time_limit=30).text)
    assert known["files"] == []
    assert Path(known["cwd"]).is_relative_to(temporary.resolve())
    assert Path(known["environment"]["TMPDIR"]).parent == Path(known["cwd"]).parent


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps a user's temporary folder from others by itself")
def test_the_folder_is_for_the_user_alone(fake, monkeypatch):
    modes = []
    run_child = asking.run_child

    def look(command, **options):
        modes.append(stat_mode(options["folder"].parent))
        return run_child(command, **options)

    monkeypatch.setattr(asking, "run_child", look)
    ask(fake("answer"), PROMPT, time_limit=30)
    assert modes == [0o700]


def stat_mode(path):
    return path.stat().st_mode & 0o777


def test_only_what_it_needs_of_the_environment_is_passed_on(fake):
    environ = {
        **{name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ},
        "HOME": "/home/me",
        "OPENAI_API_KEY": "its own",
        "HTTPS_PROXY": "http://proxy:1",
        "ANTHROPIC_AUTH_TOKEN": "of another one",
        "GITHUB_TOKEN": "of another one",
        "AWS_SECRET_ACCESS_KEY": "x",
        "RTX50_MODE": "observe",
        "PYTHONPATH": "/x",
        "NODE_OPTIONS": "--require=/x.js",
        "LD_PRELOAD": "",
        "CUDA_VISIBLE_DEVICES": "0",
        "CLAUDECODE": "1",
        "MY_SECRET": "x",
    }
    child = json.loads(ask(fake("echo"), PROMPT, time_limit=30, environ=environ).text)["environment"]
    passed_on = {name: value for name, value in child.items() if environ.get(name) == value}
    assert passed_on.keys() - {"PATH", "SYSTEMROOT"} == {"HOME", "OPENAI_API_KEY", "HTTPS_PROXY"}
    assert not {name for name in environ if name in child} - passed_on.keys() - {"PATH"}
    assert (child["RTX50_DISABLE"], child["TERM"], child["NO_COLOR"]) == ("1", "dumb", "1")


def test_what_lies_beside_the_program_is_found_by_it(fake, tmp_path):
    child = json.loads(ask(fake("echo"), PROMPT, time_limit=30, environ={"PATH": "/usr/bin"}).text)["environment"]
    assert child["PATH"].split(os.pathsep) == ["/usr/bin", str(tmp_path), str(Path(sys.executable).parent)]


def test_more_variables_are_passed_on_only_beside_the_one_that_asks_for_them(fake):
    claude = next(program for program in load_knowledge().programs if program.name == "claude")
    found = fake("echo", program=replace(claude, answer="text", versions=""))
    for asked_for, expected in (({}, None), ({"CLAUDE_CODE_USE_BEDROCK": "1"}, "eu")):
        environ = {"PATH": os.environ["PATH"], "AWS_REGION": "eu", **asked_for}
        known = json.loads(ask(found, PROMPT, time_limit=30, environ=environ).text)
        assert known["environment"].get("AWS_REGION") == expected


def test_a_program_that_does_not_read_the_question_may_answer(fake):
    assert ask(fake("without_reading"), "x" * LONGEST_PROMPT, time_limit=30).text == "FORTY-TWO"


def test_the_answer_steers_no_terminal(fake):
    assert ask(fake("steering"), PROMPT, time_limit=30).text == "red ok bold\n\tend"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("\x1b[1;31mred\x1b[m", "red"),
        ("a\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\b", "alinkb"),
        ("a\x1b]0;no end", "a"),
        ("a\x1bPq#0;2\x1b\\b", "ab"),
        ("\x9b31mx\x9d0;t\x9cy", "xy"),
        ("\x1b(Bplain\x1b7\x1b", "plain"),
        ("line\r\nover\rwrite\b", "line\noverwrite"),
        ("\u202eevil\u2066\u200b\ufeff\u00ad\U000e0041", "evil"),
        ("grüße, 你好 🎉 — tab\there", "grüße, 你好 🎉 — tab\there"),
    ],
)
def test_what_steers_a_terminal_or_cannot_be_seen_is_left_out(text, left):
    assert clean(text) == left


def test_bytes_that_are_no_utf8_do_not_stop_the_answer(fake):
    assert ask(fake("not_utf8"), PROMPT, time_limit=30).text == "caf\ufffd \ufffd ok"


def test_an_answer_of_100_kb_comes_whole(fake):
    assert ask(fake("large"), PROMPT, time_limit=30).text == "x" * 100_000


def test_an_answer_without_an_end_is_ended(fake):
    with pytest.raises(GarbledAnswerError, match="has no end"):
        ask(fake("endless"), PROMPT, time_limit=60)


def test_much_noise_on_stderr_does_not_stop_the_answer(fake):
    assert ask(fake("noisy"), PROMPT, time_limit=30).text == "FORTY-TWO"


@pytest.mark.parametrize("mode", ["hang", "hang_deaf"])
def test_the_time_limit_ends_it_with_all_that_it_started(fake, tmp_path, mode):
    with pytest.raises(TimedOutError) as caught:
        ask(fake(mode), PROMPT, time_limit=1.5)
    assert isinstance(caught.value, TimeoutError)
    assert "within 1.5 seconds" in str(caught.value)
    assert all_have_ended(tmp_path)


def test_what_an_answered_question_leaves_running_is_ended_too(fake, tmp_path):
    assert ask(fake("leave_a_child"), PROMPT, time_limit=30).text == "FORTY-TWO"
    assert all_have_ended(tmp_path)


class Stopped(BaseException):
    """As Ctrl+C raises it: not an Exception."""


def test_ctrl_c_ends_it_with_all_that_it_started(fake, tmp_path):
    def press(_seconds):
        if (tmp_path / "pids").exists() and (tmp_path / "pids").read_text():
            raise Stopped

    with pytest.raises(Stopped):
        ask(fake("hang_deaf"), PROMPT, time_limit=60, on_progress=press)
    assert all_have_ended(tmp_path)


@pytest.mark.skipif(
    os.name == "nt", reason="on Windows nobody watches over the one who asks; the documentation says so"
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGKILL", None)])
def test_nothing_is_left_where_the_one_who_asks_is_ended(tmp_path, number):
    script = tmp_path / "assistant.py"
    shutil.copyfile(FAKES / "assistant.py", script)
    code = (
        "import sys\n"
        "from rtx50_autoload.troubleshooter.asking import ask\n"
        "from rtx50_autoload.troubleshooter.assistants import Found, load_knowledge\n"
        "llm = next(each for each in load_knowledge().programs if each.name == 'llm')\n"
        "found = Found(llm, sys.argv[1], (sys.executable, sys.argv[1], 'hang_deaf'), '0.36')\n"
        "ask(found, 'why?', time_limit=600)\n"
    )
    asker = subprocess.Popen(
        [sys.executable, "-c", code, str(script)],
        env={**os.environ, "TMPDIR": str(tmp_path), "RTX50_DISABLE": "1"},
        stderr=subprocess.DEVNULL,
    )
    try:
        pids = tmp_path / "pids"
        deadline = time.monotonic() + 60
        while not (pids.exists() and pids.read_text()) and time.monotonic() < deadline:
            time.sleep(0.02)
        asker.send_signal(number)
        asker.wait(30)
    finally:
        asker.kill()
        asker.wait()
    assert all_have_ended(tmp_path)


def test_the_one_who_waits_is_told_of_it(fake):
    seconds = []
    with pytest.raises(TimedOutError):
        ask(fake("hang"), PROMPT, time_limit=1, on_progress=seconds.append)
    assert len(seconds) > 1
    assert seconds == sorted(seconds)


def test_waiting_ends_where_it_is_of_no_use(fake):
    found = fake("hopeless", program=replace(LLM, hopeless="Attempt 2 failed"))
    with pytest.raises(UnreachableError):
        ask(found, PROMPT, time_limit=600)


def test_a_crash_is_told_with_how_it_ended(fake):
    with pytest.raises(CrashedError) as caught:
        ask(fake("crash"), PROMPT, time_limit=30)
    expected = "exit code" if os.name == "nt" else f"signal {signal.SIGABRT.value}"
    assert expected in caught.value.reason
    assert "`llm`" in caught.value.next


@pytest.mark.parametrize(
    ("complaint", "error"),
    [
        ("Error: No key found - add one using 'llm keys set openai'", NotLoggedInError),
        ("Error code: 401 - invalid", NotLoggedInError),
        ("Not logged in · Please run /login", NotLoggedInError),
        ("Error code: 429 - slow down", RateLimitedError),
        ("getaddrinfo ENOTFOUND api.example.com", UnreachableError),
        ("Error: Connection error.", UnreachableError),
        ("API Error: 529 overloaded", UnreachableError),
        ("Unexpected token '<', \"<html>\" is not valid JSON", UnreachableError),
        ("Error: No such option: --no-log", TooOldError),
        ("error: unknown option '--safe-mode'", TooOldError),
        ("Prompt is too long", PromptTooLongError),
        ("TypeError: undefined is not a function", CrashedError),
        ("ModuleNotFoundError: No module named 'httpx'", CrashedError),
        ("Model stream ended with empty response text.", EmptyAnswerError),
    ],
)
def test_what_the_assistant_complains_about_is_understood(fake, tmp_path, complaint, error):
    (tmp_path / "complaint").write_text(complaint, encoding="utf-8")
    with pytest.raises(AssistantError) as caught:
        ask(fake("complain"), PROMPT, time_limit=30)
    # The question, which it repeats, names every failure there is.
    assert type(caught.value) is error
    assert caught.value.details == complaint
    assert caught.value.reason.endswith(".")
    assert caught.value.next.endswith(".")


def test_an_empty_answer_is_none(fake):
    with pytest.raises(EmptyAnswerError):
        ask(fake("empty"), PROMPT, time_limit=30)


@pytest.mark.parametrize("program", load_knowledge().programs, ids=lambda program: program.name)
def test_an_answer_in_another_form_is_none(fake, program):
    found = fake("answer", program=replace(program, versions=""))
    if program.answer == "text":
        assert ask(found, PROMPT, time_limit=30).text == "FORTY-TWO"
    else:
        with pytest.raises((GarbledAnswerError, EmptyAnswerError)):
            ask(found, PROMPT, time_limit=30)


def test_what_it_writes_is_told_and_removed(fake):
    answer = ask(fake("write_files"), PROMPT, time_limit=30)
    made, log = answer.left
    assert made.endswith(("made.py (9 bytes)", "made.py (8 bytes)"))
    assert log == "tmp/notes/log.txt (1 bytes)"


def test_its_own_record_of_the_question_is_removed(fake, tmp_path):
    home = tmp_path / "home"
    found = fake("echo", program=replace(LLM, traces=("~/.kept/{folder}",)))
    kept = home / ".kept" / "another"
    kept.mkdir(parents=True)
    run_child = asking.run_child
    traces = []

    def leave_a_trace(command, **options):
        trace = home / ".kept" / options["folder"].name
        trace.mkdir()
        traces.append(trace)
        return run_child(command, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asking, "run_child", leave_a_trace)
        ask(found, PROMPT, time_limit=30, environ={**os.environ, "HOME": str(home), "USERPROFILE": str(home)})
    assert [trace.exists() for trace in traces] == [False]
    assert kept.exists()


def test_a_version_that_is_not_known_is_looked_at_first(fake, tmp_path):
    (tmp_path / "version").write_text("llm, version 0.40", encoding="utf-8")
    assert ask(fake("version", version=None), PROMPT, time_limit=30).version == "0.40"


def test_a_version_that_is_too_old_is_not_asked(fake, tmp_path):
    (tmp_path / "version").write_text("llm, version 0.12", encoding="utf-8")
    with pytest.raises(TooOldError, match="not known to be kept from acting"):
        ask(fake("version", version=None), PROMPT, time_limit=30)
    with pytest.raises(TooOldError, match="not known to be kept from acting"):
        ask(fake("answer", version="0.12"), PROMPT, time_limit=30)


def test_another_program_of_the_same_name_is_not_asked(fake, tmp_path):
    (tmp_path / "version").write_text("copilot-cli v1.34.0 (AWS Copilot)", encoding="utf-8")
    with pytest.raises(NotFoundError, match="does not say that it is llm"):
        ask(fake("version", version=None), PROMPT, time_limit=30)


@pytest.mark.parametrize("what", ["gone", "folder", "text"])
def test_what_cannot_be_started_is_said_so(tmp_path, what):
    path = tmp_path / "llm"
    if what == "folder":
        path.mkdir()
    elif what == "text":
        path.write_text("no program", encoding="utf-8")
        path.chmod(0o755)
    with pytest.raises(CrashedError, match="cannot be started"):
        ask(Found(LLM, str(path), (str(path),), "0.36"), PROMPT, time_limit=30)


def test_a_question_that_is_too_long_starts_nothing(fake, tmp_path):
    with pytest.raises(PromptTooLongError):
        ask(fake("hang"), "ü" * (LONGEST_PROMPT // 2 + 1), time_limit=30)
    assert not (tmp_path / "pids").exists()


def test_every_error_has_a_sentence_and_the_next_step():
    error = NotLoggedInError("Nobody is logged in.", "Log in.", "401")
    assert str(error) == "Nobody is logged in. Log in."
    assert (error.reason, error.next, error.details) == ("Nobody is logged in.", "Log in.", "401")
    classes = {getattr(assistant_errors, name) for name in assistant_errors.__all__}
    assert all(str(each("A.", "B.")) == "A. B." for each in classes)
