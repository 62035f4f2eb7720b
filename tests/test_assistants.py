"""The knowledge about assistants, and finding them without starting anything."""

from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from rig import ROOT
from rtx50_autoload.errors import UsageError
from rtx50_autoload.troubleshooter import assistant_errors, programs
from rtx50_autoload.troubleshooter.answers import READERS
from rtx50_autoload.troubleshooter.assistant_errors import AssistantError, NotFoundError, UnknownAssistantError
from rtx50_autoload.troubleshooter.assistants import Found, choose, load_knowledge
from rtx50_autoload.troubleshooter.programs import find_programs, search_folders

KNOWLEDGE = load_knowledge()
BY_NAME = {program.name: program for program in KNOWLEDGE.programs}
POSIX = pytest.mark.skipif(os.name == "nt", reason="files are programs by their permissions here; Windows has its own")


def test_the_file_is_sound():
    assert {"claude", "gemini", "codex", "qwen", "opencode", "copilot", "llm"} == BY_NAME.keys()
    assert {"ollama", "lmstudio", "llamacpp"} == {server.name for server in KNOWLEDGE.servers}
    assert len(set(KNOWLEDGE.names)) == len(KNOWLEDGE.names)
    assert {"amp", "aider"} <= KNOWLEDGE.left_out.keys()
    for program in KNOWLEDGE.programs:
        assert re.compile(program.identity).groups == 1
        re.compile(program.hopeless)
        assert str(SpecifierSet(program.versions))
        assert program.answer in READERS
        assert bool(program.package) != bool(program.distribution)
        assert program.login.endswith(".")
        assert program.update.endswith(".")
    for failure in KNOWLEDGE.failures:
        assert issubclass(getattr(assistant_errors, failure.error), AssistantError)
        assert all(re.compile(text) for text in failure.texts)
        words = {"title": "T", "login": "L", "update": "U"}
        assert failure.reason.format(**words).endswith(".")
        assert failure.next.format(**words)


def test_servers_of_this_machine_come_first():
    local = [server.name for server in KNOWLEDGE.servers]
    assert list(KNOWLEDGE.names[: len(local)]) == local


#: What takes each program's tools away; without it a hostile answer was obeyed.
GUARDS = {
    "claude": ["--safe-mode", "--tools", "", "--strict-mcp-config"],
    "codex": ["--sandbox", "read-only", "--ignore-user-config", "--disable", "shell_tool"],
    "gemini": ["--policy", "{files}/deny.toml", "--admin-policy", "{files}/deny.toml"],
    "copilot": ["--available-tools=none", "--disable-builtin-mcps"],
    "qwen": ["--safe-mode", "--max-tool-calls", "0"],
    "opencode": ["--pure"],
    "llm": ["--no-log"],
}


@pytest.mark.parametrize("name", GUARDS)
def test_no_command_line_lacks_what_takes_the_tools_away(name):
    program = BY_NAME[name]
    arguments = list(program.arguments)
    for guard in GUARDS[name]:
        assert guard in arguments
        del arguments[: arguments.index(guard) + 1]
    if name == "gemini":
        assert 'decision = "deny"' in program.files["deny.toml"]
    if name == "opencode":
        assert json.loads(program.set["OPENCODE_PERMISSION"]) == {"*": "deny"}
        assert json.loads(program.set["OPENCODE_CONFIG_CONTENT"])["tools"] == {"*": False}


def test_only_our_own_folders_are_variable_in_arguments():
    for program in KNOWLEDGE.programs:
        for argument in program.arguments:
            assert re.sub(r"\{(files|answer)\}", "", argument).count("{") == 0


def test_the_page_names_all_of_them_with_their_versions():
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| (.*) \|$", (ROOT / "docs/assistants.md").read_text(), re.MULTILINE))
    versions = {server.name: "any" for server in KNOWLEDGE.servers}
    assert rows == versions | {program.name: f"`{program.versions}`" for program in KNOWLEDGE.programs}
    assert list(rows) == list(KNOWLEDGE.names)


class Machine:
    """A machine's folders for programs, and what an installer puts there."""

    def __init__(self, folder):
        self.home = folder / "home"
        self.bin = folder / "bin"
        self.lib = folder / "lib" / "node_modules"
        for each in (self.home, self.bin, self.lib):
            each.mkdir(parents=True)
        # What this very machine has is not the test's.
        places = [place for place in KNOWLEDGE.places["posix"] if place.startswith("~")]
        self.knowledge = replace(KNOWLEDGE, places={"posix": places, "windows": []})
        self.environ = {"PATH": str(self.bin), "HOME": str(self.home), "USERPROFILE": str(self.home)}

    def program(self, path, content="#!/bin/sh\necho started > started\n"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
        path.chmod(0o755)
        return path

    def npm(self, name, version, script="cli.js"):
        """Install a package of npm's, as npm does it: a link to a script in the package."""
        program = BY_NAME[name]
        target = self.program(self.lib / program.package / "bin" / script)
        package = self.lib / program.package / "package.json"
        package.write_text(json.dumps({"name": program.package, "version": version}), encoding="utf-8")
        (self.bin / program.command).symlink_to(target)

    def node(self):
        self.program(self.bin / "node")

    def find(self, **environ):
        return {found.name: found for found in find_programs(self.knowledge, {**self.environ, **environ})}


@pytest.fixture
def machine(tmp_path, monkeypatch):
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    return Machine(tmp_path)


def test_nothing_is_found_where_nothing_is(machine):
    assert machine.find() == {}


@POSIX
def test_a_program_of_npm_is_found_with_its_version_and_not_started(machine, tmp_path):
    machine.npm("claude", "2.1.330")
    machine.node()
    found = machine.find()["claude"]
    assert found.where == str(machine.bin / "claude")
    assert found.command == (str(machine.bin / "claude"),)
    assert found.version == "2.1.330"
    assert found.local is False
    assert "leaves this machine" in found.destination
    assert "Anthropic" in found.destination
    assert not list(tmp_path.rglob("started"))


@POSIX
def test_a_script_needs_node(machine):
    machine.npm("gemini", "0.61.0")
    found = machine.find()["gemini"]
    assert (found.ready, found.next) == (
        False,
        "Install Node.js, or start from a terminal in which it is found.",
    )
    assert "Node.js" in found.reason


@POSIX
@pytest.mark.parametrize(
    ("name", "version"),
    [("claude", "2.1.196"), ("claude", "1.0.55"), ("gemini", "0.30.0"), ("codex", "0.145.0"), ("qwen", "0.15.10")],
)
def test_a_version_that_cannot_be_kept_from_acting_is_refused(machine, name, version):
    machine.npm(name, version)
    machine.node()
    found = machine.find(ANTHROPIC_API_KEY="x")[name]
    assert (found.version, found.ready) == (version, False)
    assert f"{version} is not known to be kept from acting on your machine" in found.reason
    assert found.next == BY_NAME[name].update


@POSIX
@pytest.mark.parametrize("path", ["", ".", "relative", "{cwd}", "{cwd}/../project"])
def test_the_current_folder_is_never_looked_in(machine, path):
    here = Path.cwd()
    for folder in (here, here / "relative"):
        machine.program(folder / "claude")
    named = path.format(cwd=here)
    assert machine.find(PATH=os.pathsep.join([named, str(machine.bin)])) == {}
    machine.npm("claude", "2.1.330")
    assert machine.find(PATH=os.pathsep.join([named, str(machine.bin)]))["claude"].where == str(machine.bin / "claude")


@POSIX
def test_a_current_folder_that_is_gone_does_no_harm(machine):
    machine.npm("claude", "2.1.330")
    Path.cwd().rmdir()
    assert "claude" in machine.find()


@POSIX
def test_the_first_folder_of_path_counts(machine, tmp_path):
    machine.npm("claude", "2.1.330")
    other = machine.program(tmp_path / "other" / "claude")
    assert machine.find(PATH=f"{other.parent}:{machine.bin}")["claude"].where == str(other)
    assert machine.find(PATH=f"{machine.bin}:{other.parent}")["claude"].where == str(machine.bin / "claude")


@POSIX
@pytest.mark.parametrize("place", [".local/bin", ".nvm/versions/node/v22.1.0/bin"])
def test_programs_are_found_where_installers_put_them(machine, place):
    machine.program(machine.home / place / "claude")
    assert machine.find()["claude"].where == str(machine.home / place / "claude")


@POSIX
def test_what_is_no_program_is_named(machine):
    (machine.bin / "claude").mkdir()
    (machine.bin / "codex").write_text("text", encoding="utf-8")
    found = machine.find()
    assert found["claude"].ready is False
    assert "is a folder" in found["claude"].reason
    assert found["codex"].ready is False
    assert "not a program" in found["codex"].reason
    assert found["claude"].command == ()


@POSIX
def test_a_program_behind_something_that_is_none_is_found(machine, tmp_path):
    (tmp_path / "first" / "claude").mkdir(parents=True)
    machine.npm("claude", "2.1.330")
    found = machine.find(PATH=f"{tmp_path / 'first'}:{machine.bin}")["claude"]
    assert found.where == str(machine.bin / "claude")


@POSIX
@pytest.mark.parametrize("content", ["", "no json", "[]", '{"name": "something-else", "version": "9.9.9"}'])
def test_a_version_that_cannot_be_read_is_not_known(machine, content):
    machine.npm("claude", "2.1.330")
    (machine.lib / BY_NAME["claude"].package / "package.json").write_text(content, encoding="utf-8")
    assert machine.find()["claude"].version is None


@POSIX
def test_the_version_of_claudes_own_installer_stands_in_its_path(machine):
    target = machine.program(machine.home / ".local/share/claude/versions/2.1.330")
    (machine.home / ".local/bin").mkdir(parents=True)
    (machine.home / ".local/bin/claude").symlink_to(target)
    assert machine.find()["claude"].version == "2.1.330"


@POSIX
def test_the_version_of_a_python_program_is_that_of_its_distribution(machine, tmp_path):
    tool = tmp_path / "tools" / "llm"
    target = machine.program(tool / "bin" / "llm")
    for name in ("llm-0.36", "llm_ollama-9.9"):
        (tool / "lib/python3.12/site-packages" / f"{name}.dist-info").mkdir(parents=True)
    (machine.bin / "llm").symlink_to(target)
    assert machine.find()["llm"].version == "0.36"


@POSIX
def test_readiness_is_what_lies_open(machine):
    machine.npm("claude", "2.1.330", "claude.exe")
    assert machine.find()["claude"].ready is (None if sys.platform == "darwin" else False)
    assert machine.find(ANTHROPIC_API_KEY="x")["claude"].ready is True
    (machine.home / ".claude").mkdir()
    (machine.home / ".claude/settings.json").write_text("{}", encoding="utf-8")
    perhaps = machine.find()["claude"]
    assert perhaps.ready is None
    assert perhaps.reason.startswith("Not known")
    (machine.home / ".claude/.credentials.json").write_text("{}", encoding="utf-8")
    assert machine.find()["claude"].ready is True


@POSIX
def test_another_folder_for_its_files_is_looked_in(machine, tmp_path):
    machine.npm("codex", "0.169.0", "codex")
    (tmp_path / "codex").mkdir()
    (tmp_path / "codex/auth.json").write_text("{}", encoding="utf-8")
    assert machine.find(CODEX_HOME=str(tmp_path / "codex"))["codex"].ready is True
    assert machine.find(CODEX_HOME="")["codex"].ready is False


# What npm's cmd-shim 8 and pnpm write, shortened.
NPM_SHIM = r"""@ECHO off
SET dp0=%~dp0
IF EXIST "%dp0%\node.exe" (
  SET "_prog=%dp0%\node.exe"
) ELSE (
  SET "_prog=node"
)
endLocal & goto #_undefined_# 2>NUL || "%_prog%"  "%dp0%\node_modules\@google\gemini-cli\bundle\cli.js" %*
"""
NPM_NATIVE_SHIM = r"""@ECHO off
SET dp0=%~dp0
"%dp0%\node_modules\@anthropic-ai\claude-code\bin\claude.exe"   %*
"""
PNPM_SHIM = r"""@IF EXIST "%~dp0\node.exe" (
  "%~dp0\node.exe"  "%~dp0\global\5\node_modules\@google\gemini-cli\bundle\cli.js" %*
) ELSE (
  node  "%~dp0\global\5\node_modules\@google\gemini-cli\bundle\cli.js" %*
)
"""


@pytest.fixture
def windows(machine, monkeypatch):
    """Look for programs as on Windows, as far as that is a matter of names and of batch files."""
    monkeypatch.setattr(programs, "_SUFFIXES", (".exe", ".cmd"))
    monkeypatch.setattr(programs, "_WINDOWS", True)
    return machine


@pytest.mark.parametrize(
    ("name", "shim", "target"),
    [
        ("gemini", NPM_SHIM, "node_modules/@google/gemini-cli/bundle/cli.js"),
        ("gemini", PNPM_SHIM, "global/5/node_modules/@google/gemini-cli/bundle/cli.js"),
        ("claude", NPM_NATIVE_SHIM, "node_modules/@anthropic-ai/claude-code/bin/claude.exe"),
    ],
)
def test_a_batch_file_is_read_and_never_run(windows, name, shim, target):
    windows.program(windows.bin / f"{name}.cmd", shim)
    script = windows.program(windows.bin / target)
    package = {"name": BY_NAME[name].package, "version": "9.0.0"}
    (script.parents[1] / "package.json").write_text(json.dumps(package), encoding="utf-8")
    node = windows.program(windows.bin / "node.exe")
    found = windows.find()[name]
    assert found.where == str(windows.bin / f"{name}.cmd")
    assert found.command == ((str(node), str(script)) if script.suffix == ".js" else (str(script),))
    assert found.version == "9.0.0"


@pytest.mark.parametrize("shim", ["@echo off\ncalc.exe %*\n", NPM_SHIM, ""])
def test_a_batch_file_that_cannot_be_understood_is_refused(windows, shim):
    windows.program(windows.bin / "gemini.cmd", shim)
    found = windows.find()["gemini"]
    assert (found.ready, found.command) == (False, ())
    assert "batch file" in found.reason


def test_a_program_comes_before_a_batch_file(windows):
    windows.program(windows.bin / "claude.cmd", NPM_NATIVE_SHIM)
    program = windows.program(windows.bin / "claude.exe")
    assert windows.find()["claude"].command == (str(program),)


def test_folders_come_once_and_in_order(machine, tmp_path):
    path = os.pathsep.join([str(machine.bin), f'"{tmp_path}"', str(machine.bin)])
    assert search_folders(machine.knowledge, {"PATH": path}) == [str(machine.bin), str(tmp_path)]


def found(*names, models=("qwen3:4b", "org/model:1b")):
    known = {each.name: each for each in (*KNOWLEDGE.servers, *KNOWLEDGE.programs)}
    return [Found(known[name], name, models=models if name == "ollama" else ()) for name in names]


def test_a_setting_names_the_assistant_and_the_model():
    here = found("ollama", "claude")
    assert choose(here, " Claude ") == (here[1], None)
    assert choose(here, "ollama") == (here[0], None)
    assert choose(here, "ollama/org/model:1b") == (here[0], "org/model:1b")


@pytest.mark.parametrize("setting", ["gtp", "", "/", "claude code"])
def test_a_name_that_is_not_known_is_told_with_those_that_are(setting):
    with pytest.raises(UnknownAssistantError) as caught:
        choose(found("claude"), setting)
    assert isinstance(caught.value, UsageError)
    assert all(name in str(caught.value) for name in KNOWLEDGE.names)


@pytest.mark.parametrize("setting", ["amp", "aider"])
def test_one_that_is_left_out_is_told_with_the_reason(setting):
    with pytest.raises(UnknownAssistantError, match=re.escape(KNOWLEDGE.left_out[setting])):
        choose(found("claude"), setting)


def test_one_that_is_not_here_is_told_with_those_that_are():
    with pytest.raises(NotFoundError, match=r"gemini is not on this machine.* Here are: ollama, claude\."):
        choose(found("ollama", "claude"), "gemini")


@pytest.mark.parametrize("setting", ["ollama/other", "claude/opus"])
def test_a_model_that_is_not_here_is_said_so(setting):
    with pytest.raises(NotFoundError, match="has no model"):
        choose(found("ollama", "claude"), setting)
