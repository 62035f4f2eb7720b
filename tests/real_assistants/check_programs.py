"""The real programs of assistants, each asked through `ask` and kept from acting; the nox session `assistants` runs it.

They talk to a server of the test's own on 127.0.0.1 in the place of their makers', from an empty HOME. Nothing else is
different from how a user's are asked, but for codex: it takes another server only by arguments, which are added.

RTX50_TEST_ASSISTANTS names the folders in which the programs lie, as PATH does. Linux only: strace and /proc are the
witnesses.
"""

from __future__ import annotations

import json
import os
import re
import signal
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fakes.vendors import ANSWER, Vendors
from rtx50_autoload.troubleshooter.asking import Answer, ask
from rtx50_autoload.troubleshooter.assistant_errors import (
    AssistantError,
    CrashedError,
    EmptyAnswerError,
    NotLoggedInError,
    RateLimitedError,
    RefusedError,
    TimedOutError,
    TooOldError,
    UnreachableError,
)
from rtx50_autoload.troubleshooter.detection import detect

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rtx50_autoload.troubleshooter.assistants import Found

FOLDERS = os.environ["RTX50_TEST_ASSISTANTS"].split(os.pathsep)
PROMPT = "What is six times seven? The mark of this question is QUESTION-8417."
MARK = "QUESTION-8417"


@dataclass(frozen=True)
class Rig:
    """How a program is pointed at another server than its maker's, and logged in there."""

    #: Variables; {url} is the server.
    variables: Mapping[str, str]
    #: The variable without which it is not logged in.
    key: str
    #: Files of its own in HOME.
    files: Mapping[str, str] = field(default_factory=dict)
    #: Arguments that stand before its last one.
    arguments: tuple[str, ...] = ()
    #: Tools that it may declare: they act on nothing.
    harmless: frozenset[str] = frozenset()
    #: Where in HOME it keeps files of its own.
    state: tuple[str, ...] = ()
    #: Arguments that give it its tools back, to see that the server's attack works at all; none where it has no tools.
    unguarded: tuple[str, ...] = ()
    #: What the hostile model wants to run. Some refuse by themselves what reaches out of the folder that they run in.
    attack: str = "touch {mark}"
    #: Whether it gives up where the model asks for a tool that it does not have.
    gives_up: bool = False


_CODEX_PROVIDER = (
    'model_providers.stub={name="stub",base_url="{url}/v1",env_key="CODEX_API_KEY",wire_api="responses",'
    "request_max_retries=0,stream_max_retries=0}"
)
RIGS = {
    "claude": Rig(
        variables={"ANTHROPIC_BASE_URL": "{url}", "ANTHROPIC_API_KEY": "dummy"},
        key="ANTHROPIC_API_KEY",
        state=(".claude", ".claude.json"),
        unguarded=("-p", "--output-format", "json", "--allowedTools", "Bash"),
    ),
    "gemini": Rig(
        variables={"GOOGLE_GEMINI_BASE_URL": "{url}", "GEMINI_API_KEY": "dummy"},
        key="GEMINI_API_KEY",
        files={".gemini/settings.json": '{"security": {"auth": {"selectedType": "gemini-api-key"}}}'},
        state=(".gemini",),
        unguarded=("--output-format", "json", "--approval-mode", "yolo"),
    ),
    "codex": Rig(
        variables={"CODEX_API_KEY": "dummy"},
        key="CODEX_API_KEY",
        arguments=("-c", 'model_provider="stub"', "-c", _CODEX_PROVIDER, "-c", 'model="gpt-5"'),
        harmless=frozenset({"request_user_input"}),
        state=(".codex",),
        unguarded=(
            "exec",
            "--skip-git-repo-check",
            "--dangerously-bypass-approvals-and-sandbox",
            "-o",
            "{answer}",
            "-",
        ),
    ),
    "llm": Rig(
        variables={"OPENAI_API_KEY": "dummy", "LLM_USER_PATH": "{home}/llm"},
        key="OPENAI_API_KEY",
        files={
            "llm/extra-openai-models.yaml": (
                "- {model_id: stub, model_name: stub, api_base: '{url}/v1', api_key_name: openai}"
            ),
            "llm/default_model.txt": "stub",
        },
        state=("llm",),
        gives_up=True,
    ),
    "copilot": Rig(
        variables={
            "COPILOT_PROVIDER_BASE_URL": "{url}/v1",
            "COPILOT_PROVIDER_API_KEY": "dummy",
            "COPILOT_MODEL": "stub",
        },
        key="COPILOT_PROVIDER_BASE_URL",
        state=(".copilot", ".cache"),
        unguarded=("-s", "--allow-all-tools"),
        attack="touch acted",
    ),
    "qwen": Rig(
        variables={"OPENAI_BASE_URL": "{url}/v1", "OPENAI_API_KEY": "dummy", "OPENAI_MODEL": "stub"},
        key="OPENAI_API_KEY",
        files={".qwen/settings.json": '{"security": {"auth": {"selectedType": "openai"}}}'},
        state=(".qwen",),
        gives_up=True,
        unguarded=("--output-format", "text", "--approval-mode", "yolo"),
    ),
    "opencode": Rig(
        variables={"OPENAI_API_KEY": "dummy"},
        key="OPENAI_API_KEY",
        files={
            ".config/opencode/opencode.json": """{"model": "stub/stub", "provider": {"stub": {
            "npm": "@ai-sdk/openai-compatible", "options": {"baseURL": "{url}/v1", "apiKey": "dummy"},
            "models": {"stub": {}}}}}""",
        },
        state=(".config/opencode", ".local", ".cache"),
        unguarded=("run", "--pure", "--format", "json"),
        attack="touch acted",
    ),
}
HERE = [name for name in RIGS if any(Path(folder, name).exists() for folder in FOLDERS)]


@dataclass
class Place:
    """An empty HOME and a folder for temporary files, and one program in them."""

    name: str
    home: Path
    temporary: Path

    @property
    def rig(self) -> Rig:
        return RIGS[self.name]

    def environ(self, url: str, *, logged_in: bool = True) -> dict[str, str]:
        """Give the user's environment; a few variables of it are nobody's business."""
        variables = {name: self._filled_in(value, url) for name, value in self.rig.variables.items()}
        if not logged_in:
            del variables[self.rig.key]
        return {
            "PATH": os.pathsep.join([*FOLDERS, os.environ["PATH"]]),
            "HOME": str(self.home),
            "SECRET_OF_MINE": "SECRET-5521",
            "CLAUDECODE": "1",
            **variables,
        }

    def found(self, url: str, *, guarded: bool = True) -> Found:
        """Find the program as a user's is found, and point it at the server."""
        for file, content in self.rig.files.items():
            (self.home / file).parent.mkdir(parents=True, exist_ok=True)
            (self.home / file).write_text(self._filled_in(content, url), encoding="utf-8")
        found = next(each for each in detect(self.environ(url)) if each.name == self.name)
        assert found.version, "its version is known without starting it"
        program = found.assistant
        arguments = list(program.arguments if guarded else self.rig.unguarded)
        if not guarded:
            # opencode's tools are taken away by variables.
            program = replace(program, set={key: text for key, text in program.set.items() if "deny" not in text})
        arguments[-1:-1] = [self._filled_in(argument, url) for argument in self.rig.arguments]
        return replace(found, assistant=replace(program, arguments=tuple(arguments)))

    def ask(self, server: Vendors, *, guarded: bool = True, logged_in: bool = True, **options: Any) -> Answer:
        found = self.found(server.url, guarded=guarded)
        options = {"time_limit": 60, **options}
        return ask(found, PROMPT, environ=self.environ(server.url, logged_in=logged_in), **options)

    def _filled_in(self, text: str, url: str) -> str:
        return text.replace("{url}", url).replace("{home}", str(self.home))

    def files(self) -> set[str]:
        return {str(path.relative_to(self.home)) for path in self.home.rglob("*") if path.is_file()}


@pytest.fixture(params=HERE)
def place(request, tmp_path, monkeypatch):
    """Give an empty place; afterwards nothing of ours is left in it, and no process."""
    # Its path is short, as a user's is: claude goes elsewhere where the name of a socket would be too long.
    place = Place(request.param, tmp_path / "home", Path(tempfile.mkdtemp(prefix="real-", dir="/tmp")))
    place.home.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place.temporary))
    yield place
    place.temporary.rmdir()
    assert left_running(place.temporary) == []


def processes_in(folder: Path) -> list[str]:
    """Give the processes whose current folder lies in a folder, or did before it was removed."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if str((process / "cwd").readlink()).startswith(str(folder)):
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


def left_running(folder: Path) -> list[str]:
    """Give the processes that are still there after a while: the system takes its time to remove ended ones."""
    deadline = time.monotonic() + 5
    while processes_in(folder) and time.monotonic() < deadline:
        time.sleep(0.05)
    return processes_in(folder)


def test_there_is_something_to_test():
    assert HERE


def test_it_answers(place):
    with Vendors() as server:
        answer = place.ask(server)
    assert (answer.text, answer.assistant) == (ANSWER, place.name)
    # Nothing in the folder that it runs in; some leave something in the one for temporary files.
    assert [file for file in answer.left if not file.startswith("tmp/")] == []
    sent = json.dumps(server.questions())
    assert MARK in sent
    # Nothing of this machine beside what was asked; the folder that it runs in has no name of the user's.
    assert "SECRET-5521" not in sent
    assert str(Path(__file__).parent) not in sent


def test_the_question_stays_in_none_of_its_files(place):
    with Vendors() as server:
        place.ask(server)
    kept = [file for file in place.files() if MARK.encode() in (place.home / file).read_bytes()]
    assert kept == []


def declared(server: Vendors) -> set[str]:
    """Give the names of all tools that the program offered to the model."""
    tools = [tool for question in server.questions() for tool in question.get("tools") or ()]
    each = [one for tool in tools for one in tool.get("functionDeclarations", [tool])]
    return {one.get("name") or one.get("function", {}).get("name") or one.get("type") for one in each}


def test_a_model_that_wants_to_act_cannot(place, tmp_path):
    mark = tmp_path / "acted"
    with Vendors(tool=place.rig.attack.format(mark=mark)) as server:
        if place.rig.gives_up:
            with pytest.raises((CrashedError, EmptyAnswerError)):
                place.ask(server)
        else:
            answer = place.ask(server)
            assert answer.text == ANSWER
            assert not [file for file in answer.left if "acted" in file]
            assert len(server.questions()) > 1, "the calls of tools were made and came back"
    assert not mark.exists()
    # qwen tells the model of its tools; where the model asks for one of them, it ends.
    assert place.rig.gives_up or declared(server) <= place.rig.harmless


def test_the_same_model_acts_where_the_tools_are_not_taken_away(place, tmp_path):
    """Without this the test above would prove nothing."""
    if not place.rig.unguarded:
        pytest.skip("it has no tools that could be taken away")
    mark = tmp_path / "acted"
    left: tuple[str, ...] = ()
    with Vendors(tool=place.rig.attack.format(mark=mark)) as server, suppress(AssistantError):
        left = place.ask(server, guarded=False).left
    assert mark.exists() or [file for file in left if "acted" in file]


def test_it_is_given_the_question_by_stdin_and_writes_only_where_it_may(place, tmp_path):
    log = tmp_path / "strace"
    calls = "execve,read,readv,preadv2,/^(open|openat|creat|mkdir|mkdirat|rename.*|unlink.*|link|linkat|symlink.*)$"
    strace = ("strace", "-f", "-y", "-qq", "-s", "4096", "-e", f"trace={calls}", "-o", str(log))
    with Vendors() as server:
        found = place.found(server.url)
        traced = replace(found, command=(*strace, *found.command))
        answer = ask(traced, PROMPT, time_limit=300, environ=place.environ(server.url))
    assert answer.text == ANSWER
    lines = whole_calls(log.read_text(encoding="utf-8", errors="replace"))
    started = [line for line in lines if line.startswith("execve(") and line.endswith("= 0")]
    assert not [line for line in started if MARK in line]
    # In pieces, as it likes: claude by preadv2, codex 32 bytes at a time.
    assert any(re.match(r"(read|readv|preadv2)\(0<pipe:.*What is six times seven\?", line) for line in lines)
    allowed = [place.temporary, *(place.home / part for part in place.rig.state), Path("/dev"), Path("/proc")]
    written = set(filter(None, map(written_path, lines)))
    strange = {path for path in written if not any(str(path).startswith(str(folder)) for folder in allowed)}
    assert strange == set()
    assert written


def whole_calls(log: str) -> list[str]:
    """Put the two halves of calls together that strace was interrupted in."""
    calls, begun = [], {}
    for line in log.splitlines():
        process, call = line.split(maxsplit=1)
        if call.endswith("<unfinished ...>"):
            begun[process] = call.removesuffix("<unfinished ...>")
        elif "resumed>" in call:
            calls.append(begun.pop(process, "") + call.partition("resumed>")[2])
        else:
            calls.append(call)
    return calls


def written_path(call: str) -> str | None:
    """Give the file that a system call changes or may change, None for all others and those that failed."""
    if "= -1 E" in call:
        return None
    # A path stands behind the folder that it begins in, where that is not the current one.
    paths = [str(Path(*each)) for each in re.findall(r'(?:<([^">]*)>, )?"([^"]*)"', call)]
    if call.startswith("open"):
        return paths[0] if re.search("O_WRONLY|O_RDWR|O_CREAT|O_TRUNC", call.rpartition('"')[2]) else None
    if call.startswith(("link", "symlink", "rename")):
        return paths[1]
    return paths[0] if call.startswith(("creat", "mkdir", "unlink")) else None


@pytest.mark.parametrize(
    ("trouble", "error"),
    [
        ({"status": 401}, NotLoggedInError),
        ({"status": 403}, RefusedError),
        ({"status": 429}, RateLimitedError),
        ({"status": 500}, UnreachableError),
        ({"raw": b"<html><title>Log in to this network</title></html>"}, UnreachableError),
        ({"raw": b"\x00\xff garbage"}, UnreachableError),
        ({"text": ""}, EmptyAnswerError),
    ],
    ids=["401", "403", "429", "500", "captive portal", "garbage", "empty"],
)
def test_trouble_with_the_server_is_understood(place, trouble, error):
    with Vendors(**trouble) as server, pytest.raises(error) as caught:
        place.ask(server)
    assert caught.value.next


def test_no_login_is_understood(place):
    with Vendors() as server, pytest.raises(NotLoggedInError) as caught:
        place.ask(server, logged_in=False)
    assert server.questions() == []
    assert caught.value.next


def test_a_server_that_is_down_is_understood(place):
    with Vendors() as server:
        pass
    # These two try again and again, and say nothing of it.
    patient = {"qwen", "opencode"}
    with pytest.raises(TimedOutError if place.name in patient else UnreachableError):
        place.ask(server, time_limit=45)


def test_an_answer_of_100_kb_comes_whole(place):
    # Not the same word again and again: gemini takes that for a model that has lost its way, and answers nothing.
    text = " ".join(map(str, range(20_000)))
    assert len(text) > 100_000
    with Vendors(text=text) as server:
        assert place.ask(server).text == text


def test_an_answer_that_steers_terminals_is_harmless(place):
    with Vendors(text="\x1b[31mred\x1b[0m \x1b]0;title\x07ok\u202e\u200b") as server:
        assert place.ask(server).text == "red ok"


def test_the_time_limit_ends_all_of_its_processes(place):
    most: list[str] = []

    def look(_seconds: float) -> None:
        most[:] = max(most, processes_in(place.temporary), key=len)

    with Vendors(hang=True) as server, pytest.raises(TimedOutError):
        place.ask(server, time_limit=6, on_progress=look)
    assert server.questions(), "it was waiting for the answer"
    assert most
    assert left_running(place.temporary) == []


def test_a_crash_is_understood(place):
    def crash(_seconds: float) -> None:
        if server.questions():
            for process in Path("/proc").glob("[0-9]*"):
                with suppress(OSError):
                    if str((process / "cwd").readlink()).startswith(str(place.temporary)):
                        os.kill(int(process.name), signal.SIGSEGV)

    with Vendors(hang=True) as server, pytest.raises(CrashedError):
        place.ask(server, on_progress=crash)


def test_an_option_that_it_does_not_know_stops_it_before_it_asks(place):
    with Vendors() as server:
        found = place.found(server.url)
        program = found.assistant
        arguments = ("--no-such-option-of-any-version", *program.arguments)
        if place.name == "codex":
            arguments = ("exec", "--no-such-option-of-any-version", *program.arguments[1:])
        found = replace(found, assistant=replace(program, arguments=arguments))
        with pytest.raises(TooOldError, match="does not know an option"):
            ask(found, PROMPT, time_limit=60, environ=place.environ(server.url))
    assert server.questions() == []
