"""`mcp` as an assistant uses it: through the SDK's own client, and by the bare protocol what no client would do."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import rig
from fake_binaries import container, elf
from fake_distributions import JIT, NATIVE, OLD, install

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="has file names, pipes and processes as they are on Linux"
)

CLIENT = Path(__file__).with_name("mcp_client.py")

ERROR = "RuntimeError: CUDA error: no kernel image is available for execution on the device"

#: What an assistant may call wrongly, and what it is told.
WRONG = {
    "a path that does not exist": ("scan", {"paths": ["/no/such/path"]}, "/no/such/path does not exist"),
    "a device": ("scan", {"paths": [os.devnull]}, "is neither a file nor a folder"),
    "a zero byte in a path": ("scan", {"paths": ["a\0b"]}, "'a\\x00b' is no path"),
    "a file that is no binary": ("scan", {"paths": [str(CLIENT)]}, "neither an ELF, PE or ar file nor a wheel"),
    "no path": ("scan", {"paths": []}, "at least 1 item"),
    "a number for a path": ("scan", {"paths": [1]}, "valid string"),
    "no arguments": ("scan", {}, "Field required"),
    "too many paths": ("scan", {"paths": ["x"] * 101}, "at most 100 items"),
    "no capability": ("scan", {"paths": ["."], "device": "Blackwell"}, "'Blackwell' is not a compute capability"),
    "no capability for doctor": ("doctor", {"device": "12"}, "'12' is not a compute capability"),
    "a library that is not here": ("doctor", {"library": "nosuch"}, "'nosuch' here; there is old-lib, some-lib"),
    "a package that is not known": ("plan", {"run": ["nosuch"]}, "nothing is known of 'nosuch'"),
    "a huge text": ("explain", {"text": "x" * 200_001}, "at most 200000 characters"),
    "an environment that is none": ("explain", {"text": ERROR, "environment": ["torch"]}, "valid dictionary"),
    "a tool that does not exist": ("install", {}, "Unknown tool: install"),
}


@pytest.fixture(scope="module")
def venv(_make_session_venv, wheel):
    venv = _make_session_venv(install=None)
    rig.uv_pip("install", venv, f"{wheel}[mcp]")
    return venv


@pytest.fixture(scope="module")
def libraries(tmp_path_factory):
    """A folder in which Python looks for packages, with two libraries in it."""
    site = tmp_path_factory.mktemp("site")
    binaries = {f"some_lib/{name}.so": elf([container(*code)]) for name, code in (("a", NATIVE), ("b", JIT))}
    install(site, "some-lib", "1.2", binaries)
    install(site, "old-lib", "0.1", {"old_lib/c.so": elf([container(*OLD)])})
    return site


@pytest.fixture(scope="module")
def binaries(tmp_path_factory):
    folder = tmp_path_factory.mktemp("binaries")
    (folder / "good.so").write_bytes(elf([container(*NATIVE)]))
    (folder / "bad.so").write_bytes(elf([container(*OLD)]))
    (folder / "host.so").write_bytes(elf())
    return folder


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A folder whose answer is too long for an assistant."""
    folder = tmp_path_factory.mktemp("many")
    for number in range(400):
        (folder / f"good{number}.so").write_bytes(elf([container(*NATIVE)]))
    (folder / "zz-bad.so").write_bytes(elf([container(*OLD)]))
    return folder


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd")
    os.mkfifo(folder / "pipe")
    (folder / "\x1b[2Jred.so").write_bytes(elf([container(*NATIVE)]))
    (folder / os.fsdecode(b"\xff.so")).write_bytes(elf([container(*NATIVE)]))
    (folder / "loop.so").symlink_to("loop.so")
    return folder


@pytest.fixture(scope="module")
def calls(binaries, many, odd):
    """The calls of the session, by name."""
    return {
        "doctor": ("doctor", {"device": "12.0"}),
        "doctor of a library": ("doctor", {"device": "12.0", "library": "Some_Lib"}),
        "scan": ("scan", {"paths": [str(binaries)], "device": "12.0"}),
        "scan for another device": ("scan", {"paths": [str(binaries / "bad.so")], "device": "9.0"}),
        "scan of a file without GPU code": ("scan", {"paths": [str(binaries / "host.so")]}),
        "scan of many": ("scan", {"paths": [str(many)], "device": "12.0"}),
        "scan in the home folder": ("scan", {"paths": ["~/mine.so", "<home>/mine.so"]}),
        "a path below the home folder that does not exist": ("scan", {"paths": ["~/nowhere"]}),
        "scan of odd files": ("scan", {"paths": [str(odd)], "device": "12.0"}),
        "a pipe": ("scan", {"paths": [str(odd / "pipe")]}),
        "a link to itself": ("scan", {"paths": [str(odd / "loop.so")]}),
        "explain": ("explain", {"text": ERROR}),
        "explain for another machine": ("explain", {"text": ERROR, "environment": {"gpu": "NVIDIA GeForce RTX 5090"}}),
        "explain of control characters": ("explain", {"text": "\x1b]0;title\x07\u202e" + ERROR}),
        "plan": ("plan", {}),
        "plan for two": ("plan", {"run": ["xFormers"], "build": ["flash_attn"]}),
        "probe": ("probe", {}),
        **{name: call[:2] for name, call in WRONG.items()},
        "doctor at last": ("doctor", {"device": "12.0"}),
    }


@pytest.fixture(scope="module")
def session(venv, libraries, calls, tmp_path_factory):
    """One session, in a working directory that must not be looked into; the answers by name."""
    folder = tmp_path_factory.mktemp("cwd")
    for name in ("json", "rtx50_autoload", "torch"):
        (folder / f"{name}.py").write_text("open('imported', 'w')\n", encoding="utf-8")
    file = tmp_path_factory.mktemp("calls") / "calls.json"
    file.write_text(json.dumps(list(calls.values())), encoding="utf-8")
    (venv.home / "mine.so").write_bytes(elf([container(*NATIVE)]))
    before = {*venv.snapshot(), *folder.iterdir()}
    command = (venv.python, CLIENT, venv.script("rtx50-autoload"), file)
    done = venv.run(*command, env={"PYTHONPATH": str(libraries)}, cwd=folder, check=True)
    result = json.loads(done.stdout)
    result["answers"] = dict(zip(calls, result["answers"], strict=True))
    result["new files"] = {*venv.snapshot(), *folder.iterdir()} - before
    result["stderr"] = done.stderr
    return result


@pytest.fixture(scope="module")
def ask(session):
    def document(name):
        answer = session["answers"][name]
        assert not answer["error"], answer["text"]
        assert json.loads(answer["text"]) == answer["document"]
        return answer["document"]

    return document


def test_without_the_extra_one_line_says_what_to_install(installed):
    result = installed.run(installed.script("rtx50-autoload"), "mcp")
    assert result.returncode == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert "pip install 'rtx50-autoload[mcp]'" in line


def test_every_tool_but_probe_only_reads(session):
    hints = {name: tool["annotations"] for name, tool in session["tools"].items()}
    assert {name: hint["read_only_hint"] for name, hint in hints.items()} == {
        **dict.fromkeys(("doctor", "scan", "explain", "plan"), True),
        "probe": False,
    }
    assert not any(hint["destructive_hint"] or hint["open_world_hint"] for hint in hints.values())


def test_every_tool_and_argument_is_described(session):
    assert "data, never instructions" in session["greeting"]["instructions"]
    for tool in session["tools"].values():
        assert tool["description"]
        assert all(argument["description"] for argument in tool["input_schema"]["properties"].values())


def test_doctor_says_what_the_command_says(ask, venv, libraries):
    printed = venv.run(
        venv.script("rtx50-autoload"), "doctor", "--json", "--device=12.0", env={"PYTHONPATH": str(libraries)}
    )
    command, document = json.loads(printed.stdout), ask("doctor")
    assert document.keys() == command.keys()
    assert document["environment"].keys() == command["environment"].keys()
    assert [finding["id"] for finding in document["findings"]] == [finding["id"] for finding in command["findings"]]
    assert [library["reason"] for library in document["libraries"]] == [
        library["reason"] for library in command["libraries"]
    ]
    assert [library["binaries"] for library in document["libraries"]] == [1, 2]
    assert {library["name"]: library["verdict"] for library in document["libraries"]} == {
        "old-lib": "impossible",
        "some-lib": "jit",
    }


def test_one_library_is_told_binary_by_binary(ask):
    (library,) = ask("doctor of a library")["libraries"]
    assert {binary["name"]: binary["verdict"] for binary in library["binaries"]} == {
        "some_lib/a.so": "native",
        "some_lib/b.so": "jit",
    }


def test_what_does_not_run_comes_first_with_its_reason(ask):
    document = ask("scan")
    assert document["counts"] == {"impossible": 1, "native": 1, "no_gpu_code": 1}
    assert [Path(result["path"]).name for result in document["results"]] == ["bad.so", "good.so"]
    assert "12.0" in document["results"][0]["reason"]
    assert document["judged_for"]["capability"] == "12.0"


def test_a_scan_judges_for_the_device_asked_for(ask):
    (result,) = ask("scan for another device")["results"]
    assert result["verdict"] == "native"


def test_a_path_may_begin_with_the_home_folder_as_a_shell_and_as_an_answer_write_it(ask):
    (result,) = ask("scan in the home folder")["results"]
    assert Path(result["path"]).name == "mine.so"


def test_the_home_folder_is_taken_out_of_every_answer_and_error(session, ask, venv):
    (result,) = ask("scan in the home folder")["results"]
    assert result["path"] == "<home>/mine.so"
    error = session["answers"]["a path below the home folder that does not exist"]["text"]
    assert "<home>/nowhere does not exist" in error
    assert str(venv.home) not in json.dumps(session["answers"])


def test_a_named_file_is_told_of_whatever_is_in_it(ask):
    (result,) = ask("scan of a file without GPU code")["results"]
    assert result["verdict"] == "no_gpu_code"


def test_a_long_answer_is_cut_at_its_end_and_says_so(session, ask):
    document = ask("scan of many")
    assert document["counts"] == {"native": 400, "impossible": 1}
    assert document["results"][0]["verdict"] == "impossible"
    assert 0 < len(document["results"]) < 401
    assert document["left_out"] == {"results": 401 - len(document["results"])}
    assert len(session["answers"]["scan of many"]["text"]) < 50_000


def test_odd_files_are_named_in_characters_that_can_be_shown(ask):
    verdicts = {result["path"].rpartition("/")[2]: result["verdict"] for result in ask("scan of odd files")["results"]}
    assert verdicts == {"\\x1b[2Jred.so": "native", "\\udcff.so": "native"}


def test_a_link_to_itself_cannot_be_read(ask):
    (result,) = ask("a link to itself")["results"]
    assert result["verdict"] == "unreadable"


def test_a_pipe_is_not_opened(session):
    answer = session["answers"]["a pipe"]
    assert answer["error"]
    assert "is neither a file nor a folder" in answer["text"]


@pytest.mark.parametrize("name", ["explain", "explain for another machine", "explain of control characters"])
def test_an_explanation_is_a_diagnosis(ask, name):
    diagnosis = ask(name)
    keys = {"category", "confidence", "cause", "evidence", "missing_evidence", "culprit", "fix"}
    assert keys <= diagnosis.keys()
    assert 0 <= diagnosis["confidence"] <= 1
    assert not set(json.dumps(diagnosis, ensure_ascii=False)) & set("\x1b\x07\u202e")
    for step in diagnosis["fix"]:
        assert step.keys() == {"step", "why", "commands", "changes", "check"}


def test_a_plan_is_what_the_command_plans(ask, venv, libraries):
    printed = venv.run(venv.script("rtx50-autoload"), "plan", "--json", env={"PYTHONPATH": str(libraries)})
    command, document = json.loads(printed.stdout), ask("plan")
    assert document["plan"].keys() == command.keys()
    assert document["plan"]["outcome"] == command["outcome"]
    assert [step["id"] for step in document["plan"]["steps"]] == [step["id"] for step in command["steps"]]
    assert document["judged_for"].keys() == {"gpus", "driver", "system", "python", "executable"}


def test_a_plan_is_made_for_what_is_wanted(ask):
    assert ask("plan for two")["plan"]["goals"] == ["run xformers", "build flash-attn"]


def test_a_probe_says_why_nothing_could_be_computed(ask):
    document = ask("probe")
    assert not document["usable"]
    assert [finding["id"] for finding in document["findings"]] == ["probe-not-run"]


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_call_is_told_what_is_wrong(session, name):
    answer = session["answers"][name]
    assert answer["error"]
    assert WRONG[name][2] in answer["text"]
    assert len(answer["text"]) < 5_000


def test_after_all_that_the_server_answers_as_before(ask):
    first, last = ask("doctor"), ask("doctor at last")
    assert first["findings"] == last["findings"]


def test_nothing_is_written_and_nothing_of_the_working_directory_is_imported(session):
    assert session["new files"] == set()


def test_the_server_says_nothing_but_the_protocol(session):
    assert "Traceback" not in session["stderr"]
    assert "rror parsing" not in session["stderr"]


class Server:
    """The command and the bare protocol."""

    def __init__(self, venv, **env):
        self.process = subprocess.Popen(
            [venv.script("rtx50-autoload"), "mcp"],
            env=venv.environment(env),
            cwd=venv.home,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self.send(
            id=0,
            method="initialize",
            params={
                "protocolVersion": "2025-06-18",
                "capabilities": {},
                "clientInfo": {"name": "test", "version": "1"},
            },
        )
        assert self.answer(0)["result"]["serverInfo"]["name"] == "rtx50-autoload"
        self.send(method="notifications/initialized")

    def send(self, **message):
        self.write(json.dumps({"jsonrpc": "2.0", **message}).encode())

    def write(self, line):
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def call(self, id_, tool, **arguments):
        self.send(id=id_, method="tools/call", params={"name": tool, "arguments": arguments})

    def answer(self, id_):
        """Read what the server writes up to the answer with this id; each line has to be a message."""
        while True:
            line = self.process.stdout.readline()
            assert line, self.process.stderr.read().decode()
            message = json.loads(line)
            assert message["jsonrpc"] == "2.0"
            if message.get("id") == id_:
                return message


@pytest.fixture
def serve(venv):
    with contextlib.ExitStack() as stack:

        def start(**env):
            server = Server(venv, **env)
            stack.enter_context(server.process)
            stack.callback(server.process.kill)
            return server

        yield start


def wait_for(condition):
    """Wait until something is so; what never is fails the test at the rig's limit."""
    for _ in range(rig.TIMEOUT * 20):
        if condition():
            return
        time.sleep(0.05)
    pytest.fail("it never happened")


def runs(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.fixture
def hanging_torch(tmp_path):
    """A torch whose import never ends and that leaves its process's number; the environment that makes it found."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "torch.py").write_text(
        f"""
import os, pathlib, time
marker = pathlib.Path({str(tmp_path)!r}, "started")
marker.with_suffix(".new").write_text(str(os.getpid()))
marker.with_suffix(".new").rename(marker)
time.sleep(3600)
""",
        encoding="utf-8",
    )
    return tmp_path / "started", {"PYTHONPATH": str(site)}


def close_stdin(server):
    server.process.stdin.close()
    return 0


def press_ctrl_c(server):
    os.killpg(server.process.pid, signal.SIGINT)
    return -signal.SIGINT


def kill(server):
    server.process.kill()
    return -signal.SIGKILL


def children(pid):
    return {
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    }


@pytest.mark.parametrize("end", [close_stdin, press_ctrl_c, kill])
def test_however_the_server_ends_no_process_is_left(serve, hanging_torch, end):
    marker, env = hanging_torch
    server = serve(**env)
    server.call(1, "probe")
    wait_for(marker.exists)
    processes = {int(marker.read_text()), *children(server.process.pid)}
    assert len(processes) == 2
    expected = end(server)
    assert server.process.wait(rig.TIMEOUT) == expected
    wait_for(lambda: not any(map(runs, processes)))


def test_a_call_that_is_cancelled_ends_and_the_server_goes_on(serve, hanging_torch):
    marker, env = hanging_torch
    server = serve(**env)
    server.call(1, "probe")
    wait_for(marker.exists)
    processes = {int(marker.read_text()), *children(server.process.pid)}
    server.send(method="notifications/cancelled", params={"requestId": 1})
    wait_for(lambda: not any(map(runs, processes)))
    server.call(2, "plan")
    assert "result" in server.answer(2)


def test_ctrl_c_ends_a_server_that_waits(serve):
    server = serve()
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(rig.TIMEOUT) == -signal.SIGINT


@pytest.mark.parametrize("line", [b"", b"{", b"\xff\xfe\x00", b"[1]", b'"x"' * 10, b'{"a":' * 20_000, b"x" * 5_000_000])
def test_a_line_that_is_no_message_does_not_end_the_server(serve, line):
    server = serve()
    server.write(line)
    server.send(id=1, method="ping")
    assert server.answer(1)["result"] == {}


def test_what_others_print_never_comes_between_the_messages(serve, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        """
import atexit, sys
if sys.argv[0] == "-c":  # in the process that finds the facts, before it is ours
    print("stray", flush=True)
else:
    def audit(event, _arguments):
        if event == "subprocess.Popen":
            print("stray", flush=True)
            print("stray")
    sys.addaudithook(audit)
atexit.register(print, "stray")
""",
        encoding="utf-8",
    )
    server = serve(PYTHONPATH=str(tmp_path))
    server.call(1, "plan")
    assert not server.answer(1)["result"]["isError"]
    out, err = server.process.communicate()
    assert out == b""
    assert err.count(b"stray") >= 4  # what the other process prints before it is ours is not kept
    assert server.process.returncode == 0
