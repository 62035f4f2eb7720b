"""`assistants` as a person types it: nothing is started, and it is said whether a question leaves the machine."""

from __future__ import annotations

import json
import os

import pytest

import rig
from fakes.vendors import Vendors
from rtx50_autoload.troubleshooter.assistants import load_knowledge

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the stand-ins for programs are found by their permissions")


@pytest.fixture
def folder(tmp_path):
    """Where programs of the test's own lie; none of this machine's are looked at."""
    folder = tmp_path / "bin"
    folder.mkdir()
    return folder


#: The command without the places in which this very machine may have assistants.
WITHOUT_THIS_MACHINES = """
import dataclasses, sys
from rtx50_autoload.cli.main import main
from rtx50_autoload.troubleshooter import assistants
known = assistants.load_knowledge()
port = int(sys.argv.pop(1))
servers = tuple(dataclasses.replace(each, port=port) for each in known.servers if each.name == "ollama")
known = dataclasses.replace(known, places={"posix": [], "windows": []}, servers=servers)
assistants.load_knowledge = lambda: known
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def assistants(installed, folder):
    def run(*arguments, port=9, **variables):
        env = {"PATH": str(folder), "COLUMNS": "200", **variables}
        return installed.run("-c", WITHOUT_THIS_MACHINES, str(port), "assistants", *arguments, env=env)

    return run


def install(folder, name, version):
    """Put a package of npm's in place, whose program would leave a mark where it was started."""
    program = next(each for each in load_knowledge().programs if each.name == name)
    package = folder.parent / "lib" / program.package
    package.mkdir(parents=True)
    (package / "package.json").write_text(json.dumps({"name": program.package, "version": version}), encoding="utf-8")
    script = package / "program"
    script.write_text(f"#!/bin/sh\n: > {folder.parent}/started\n", encoding="utf-8")
    script.chmod(0o755)
    (folder / program.command).symlink_to(script)


def test_nobody_there_is_a_finding(assistants):
    result = assistants()
    assert result.returncode == 1
    assert "No assistant that we know is on this machine." in result.stdout
    assert "Known and not found here: ollama" in result.stdout


def test_what_is_here_is_shown_with_where_a_question_goes(assistants, folder):
    install(folder, "claude", "2.1.330")
    install(folder, "codex", "0.100.0")
    with Vendors() as server:
        result = assistants(port=server.port, ANTHROPIC_API_KEY="x")
    assert result.returncode == 0
    rows = {line.split()[0]: line.split()[1:] for line in result.stdout.splitlines() if line[:1].isalpha()}
    assert rows["ollama"][:4] == ["0.17.4", "stays", "here", "ready"]
    assert rows["claude"][:3] == ["2.1.330", "leaves", "ready"]
    assert rows["codex"][:4] == ["0.100.0", "leaves", "not", "ready"]
    assert "0.100.0 is not known to be kept from acting on your machine" in result.stdout
    assert "Next: Update it: `npm install -g @openai/codex@latest`." in result.stdout
    assert "it goes to Anthropic" in result.stdout
    assert "stays on this machine" in result.stdout
    assert not (folder.parent / "started").exists()
    assert not server.questions()


def test_the_json_has_the_published_keys(assistants, folder):
    install(folder, "gemini", "0.61.0")
    result = assistants("--json", RTX50_ASSISTANT="gemini")
    document = json.loads(result.stdout)
    assert document.keys() == {"chosen", "assistants", "not_found", "left_out"}
    (gemini,) = document["assistants"]
    assert gemini == {
        "name": "gemini",
        "title": "Gemini CLI",
        "where": str(folder / "gemini"),
        "version": "0.61.0",
        "local": False,
        "destination": gemini["destination"],
        "ready": False,
        "reason": "Gemini CLI is not logged in.",
        "next": "Run `gemini` in a terminal and choose a way to log in with `/auth`.",
        "models": [],
    }
    assert document["chosen"] == ["gemini"]
    assert set(document["left_out"]) >= {"amp", "aider"}
    assert "claude" in document["not_found"]
    assert result.returncode == 1


def test_one_that_is_not_chosen_does_not_count(assistants, folder):
    install(folder, "claude", "2.1.330")
    install(folder, "opencode", "1.18.33")
    both = {"ANTHROPIC_AUTH_TOKEN": "x"}
    assert assistants(**both).returncode == 0
    assert assistants(**both, RTX50_ASSISTANT="claude").returncode == 0
    assert assistants(**both, RTX50_ASSISTANT="opencode").returncode == 1


@pytest.mark.parametrize(
    ("setting", "code", "text"),
    [
        ("gtp", 2, "'gtp' is not an assistant that we know. Known are ollama"),
        ("amp", 2, "amp is left out on purpose: it has no option"),
        ("gemini", 1, "gemini is not on this machine"),
    ],
)
def test_a_setting_that_names_nobody_here_is_said_so(assistants, setting, code, text):
    result = assistants(RTX50_ASSISTANT=setting)
    assert result.returncode == code
    assert text in result.stderr


@pytest.mark.parametrize("width", [60, 80, 200])
def test_it_fits_the_terminal(assistants, folder, width):
    install(folder, "claude", "2.1.330")
    install(folder, "opencode", "1.18.33")
    result = assistants(COLUMNS=str(width))
    assert not rig.too_wide(result.stdout, width)


def test_names_of_files_do_not_steer_the_terminal(assistants, folder):
    evil = folder / "\x1b[31mevil"
    evil.mkdir()
    install(evil, "claude", "2.1.330")
    result = assistants(PATH=str(evil))
    assert "claude" in result.stdout
    assert "\x1b" not in result.stdout
