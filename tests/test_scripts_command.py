"""`scripts list`, `show` and `run` as a person types them, at a real pseudo-terminal and elsewhere."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import sys
import time
from pathlib import Path

import pytest

if os.name != "posix":
    pytest.skip("pseudo-terminals and bash are of POSIX systems", allow_module_level=True)

from terminal import at_terminal
from test_redaction import SECRETS

SAVE = """
import json, sys
from rtx50_autoload.troubleshooter.scripts import Script, save
for language, text in json.loads(sys.argv[1]):
    print(save(Script(language, text), "claude", "a1b2c3d4").id)
"""

QUESTION = r"Run it\? \[y/N\]"

#: Stands before the real programs, writes down its own call, and becomes the real one.
WATCHER = '#!/bin/sh\necho "{name} $*" >> "{log}"\nexec {real} "$@"\n'


class Desk:
    """One user's scripts and the command, with every program that a script or we might start watched."""

    def __init__(self, venv, folder):
        self.venv = venv
        self.home = folder / "home"
        self.home.mkdir()
        self._calls = folder / "calls"
        watched = folder / "bin"
        watched.mkdir()
        for name in ("bash", "sh", "touch", "curl", "rm", "sleep", "pip", "sudo", "shellcheck", "env", "cat"):
            real = shutil.which(name)
            if real:
                (watched / name).write_text(WATCHER.format(name=name, log=self._calls, real=real))
                (watched / name).chmod(0o755)
        self.env = {
            "HOME": str(self.home),
            "XDG_DATA_HOME": str(self.home / "data"),
            "PATH": f"{watched}{os.pathsep}{os.environ['PATH']}",
            "COLUMNS": "100",
            "USER": "zbeeblebrox",
        }
        self.folder = self.home / "data" / "rtx50-autoload" / "scripts"
        self.mark = self.home / "ran"

    def save(self, *texts, language="bash"):
        result = self.venv.run("-c", SAVE, json.dumps([[language, text] for text in texts]), env=self.env, check=True)
        return result.stdout.split()

    def run(self, *arguments, **env):
        return self.venv.run(self.venv.script("rtx50-autoload"), "scripts", *arguments, env={**self.env, **env})

    def at_terminal(self, *arguments, **env):
        command = self.venv.script("rtx50-autoload")
        return at_terminal(self.venv, command, "scripts", *arguments, env={**self.env, **env})

    def calls(self):
        """What was started, without what we ask to read a script."""
        lines = self._calls.read_text().splitlines() if self._calls.exists() else []
        return [line for line in lines if line != "bash --norc --noprofile -n" and not line.startswith("shellcheck ")]

    def logs(self):
        return sorted(self.folder.glob("*.log"))


@pytest.fixture
def desk(installed, tmp_path):
    return Desk(installed, tmp_path)


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def eventually(condition):
    deadline = time.monotonic() + 30
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


# --- list and show


def test_to_list_and_to_show_scripts_runs_nothing(desk):
    hostile = (
        f"touch {desk.mark}\n$(touch {desk.mark})\n`touch {desk.mark}`\ntrap 'touch {desk.mark}' EXIT\n"
        f"cat <<$(touch {desk.mark})\n"
    )
    (script,) = desk.save(hostile)
    for arguments in (("list",), ("list", "--json"), ("show", script), ("show", script, "--json")):
        assert desk.run(*arguments).returncode == 0
        with desk.at_terminal(*arguments) as terminal:
            assert terminal.end() == 0
    assert desk.calls() == []
    assert not desk.mark.exists()
    assert desk.logs() == []


def test_without_scripts_the_list_says_so(desk):
    result = desk.run("list")
    assert (result.returncode, result.stdout) == (0, "No script is kept here.\n")
    assert not desk.folder.exists()


def test_the_list_names_each_script_and_what_is_known_of_it(desk):
    sound, flagged, broken = desk.save("pip list\n", "sudo reboot\n", "if then\n")
    lines = {line.split()[0]: line for line in desk.run("list").stdout.splitlines() if line}
    assert "claude" in lines[sound]
    assert "a1b2c3d4" in lines[sound]
    assert "no danger known" in lines[sound]
    assert "dangerous" in lines[flagged]
    assert "syntax errors" in lines[broken]


def test_the_json_says_the_same(desk):
    (script,) = desk.save("sudo x\n")
    (listed,) = json.loads(desk.run("list", "--json").stdout)["scripts"]
    shown = json.loads(desk.run("show", script, "--json").stdout)
    assert shown.pop("text").endswith("sudo x\n")
    assert shown == listed
    assert (listed["id"], listed["flagged"], listed["changed"]) == (script, True, False)
    assert {finding["id"] for finding in listed["findings"]} == {"root"}


def test_a_script_is_shown_with_colours_at_a_terminal_only(desk):
    (script,) = desk.save("export A='b'\n")
    with desk.at_terminal("show", script) as terminal:
        terminal.end()
    assert "\x1b[" in terminal.coloured
    with desk.at_terminal("show", script, NO_COLOR="1") as terminal:
        terminal.end()
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", terminal.coloured)
    assert "\x1b" not in desk.run("show", script).stdout


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_every_character_can_be_shown_and_none_acts(desk, encoding):
    (script,) = desk.save("echo '\x1b[2J\u202e\u0430\u0431 安\u200b\x07'\n")
    result = desk.run("show", script, COLUMNS="60", PYTHONIOENCODING=encoding)
    assert result.returncode == 0
    assert not set("\x1b\u202e\u200b\x07") & set(result.stdout)
    assert r"\x1b[2J\u202e" in result.stdout
    # A path is not cut, so that it can be copied.
    assert max(len(line) for line in result.stdout.splitlines() if str(desk.folder) not in line) <= 60


@pytest.mark.parametrize("arguments", [("show", "00000000"), ("run", "00000000"), ("show", "../x"), (), ("show",)])
def test_what_names_no_script_is_wrong_usage(desk, arguments):
    assert desk.run(*arguments).returncode == 2


# --- run


def test_without_a_terminal_nothing_runs(desk):
    (script,) = desk.save(f"touch {desk.mark}\n")
    result = desk.run("run", script)
    assert result.returncode == 2
    assert f"scripts show {script}" in result.stderr
    assert not desk.mark.exists()
    assert desk.calls() == []


@pytest.mark.parametrize("answer", ["n\n", "\n", "no\n", "x\n", "\x04", "yikes\n"])
def test_anything_but_yes_runs_nothing(desk, answer):
    (script,) = desk.save(f"touch {desk.mark}\n")
    with desk.at_terminal("run", script) as terminal:
        terminal.wait_for(QUESTION)
        terminal.type(answer)
        assert terminal.end() == 0
    assert "Nothing was run." in terminal.screen
    assert desk.calls() == []
    assert not desk.mark.exists()


def test_ctrl_c_at_the_question_runs_nothing(desk):
    (script,) = desk.save(f"touch {desk.mark}\n")
    with desk.at_terminal("run", script) as terminal:
        terminal.wait_for(QUESTION)
        terminal.type("\x03")
        assert terminal.end() == 130
    assert desk.calls() == []


def test_what_was_typed_before_the_question_is_no_answer(desk):
    (script,) = desk.save(f"touch {desk.mark}\n")
    with desk.at_terminal("run", script) as terminal:
        terminal.type("y\n")
        terminal.wait_for(QUESTION)
        terminal.type("n\n")
        terminal.end()
    assert not desk.mark.exists()


def test_after_a_yes_it_runs_and_the_environment_is_examined_again(desk):
    (script,) = desk.save(f'echo "in $(command -v python)"\ntouch {desk.mark}\n')
    with desk.at_terminal("run", script) as terminal:
        terminal.wait_for(QUESTION)
        assert not desk.mark.exists()
        terminal.type("y\n")
        code = terminal.end()
    assert desk.mark.exists()
    said, examined = terminal.screen.split("It ended without an error.")
    assert f"in {desk.venv.python}" in said
    doctor = desk.venv.run(desk.venv.script("rtx50-autoload"), "doctor", env=desk.env)
    assert doctor.stdout.split("\n")[0] in examined
    assert code == doctor.returncode
    (log,) = desk.logs()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert "exit code 0" in log.read_text()


def test_it_stops_at_the_first_error(desk):
    for text in ("false\n", "false | cat\n", "echo $undefined\n", "(exit 3)\n"):
        (script,) = desk.save(f"{text}touch {desk.mark}\n")
        with desk.at_terminal("run", script) as terminal:
            terminal.wait_for(QUESTION)
            terminal.type("yes\n")
            assert terminal.end() == 1
        assert "It stopped with exit code" in terminal.screen
        assert not desk.mark.exists()


def test_a_flagged_script_takes_its_id_to_run(desk):
    (script,) = desk.save(f"touch {desk.mark}\ntrue sudo\n")
    for answer, runs in (("y\n", False), ("yes\n", False), (f"{script}x\n", False), (f"{script}\n", True)):
        with desk.at_terminal("run", script) as terminal:
            terminal.wait_for("to run it, anything else to leave it")
            terminal.type(answer)
            terminal.end()
        assert desk.mark.exists() is runs, answer
        assert "administrator" in terminal.screen


def test_a_script_that_was_changed_takes_its_id_too(desk):
    (script,) = desk.save("true\n")
    with (desk.folder / f"{script}.sh").open("a") as file:
        file.write(f"touch {desk.mark}\n")
    with desk.at_terminal("run", script) as terminal:
        terminal.wait_for(f"Type {script} to run it")
        terminal.type("y\n")
        terminal.end()
    assert "changed after it was saved" in terminal.screen
    # A long path is wrapped at the terminal's edge.
    assert f"touch{desk.mark}" in "".join(terminal.screen.split())
    assert not desk.mark.exists()


def test_what_was_shown_runs_and_not_what_the_file_has_become_since(desk):
    (script,) = desk.save(f"echo shown > {desk.mark}\n")
    with desk.at_terminal("run", script) as terminal:
        terminal.wait_for(QUESTION)
        (desk.folder / f"{script}.sh").write_text(f"echo other > {desk.mark}\n")
        terminal.type("y\n")
        terminal.end()
    assert desk.mark.read_text() == "shown\n"


def test_what_its_shell_cannot_read_is_not_run(desk):
    (script,) = desk.save(f"touch {desk.mark}\nif then\n")
    with desk.at_terminal("run", script) as terminal:
        assert terminal.end() == 1
    assert "syntax error" in terminal.screen
    assert not desk.mark.exists()


def test_a_batch_file_is_not_run(desk):
    (script,) = desk.save("echo x\n", language="batch")
    with desk.at_terminal("run", script) as terminal:
        assert terminal.end() == 2
    assert "batch files are not run" in terminal.screen


def test_ctrl_c_ends_the_script_and_all_that_it_has_started(desk):
    (script,) = desk.save("sleep 300 | sleep 301 &\necho pids $$ $! here\nwait\n")
    with desk.at_terminal("run", script) as terminal:
        terminal.wait_for(f"Type {script} to run it")
        terminal.type(f"{script}\n")
        pids = [int(pid) for pid in terminal.wait_for(r"pids (\d+) (\d+) here").groups()]
        assert all(map(is_running, pids))
        terminal.type("\x03")
        assert terminal.end() == 130
    assert "It was interrupted" in terminal.screen
    assert eventually(lambda: not any(map(is_running, pids)))
    assert "interrupted" in desk.logs()[0].read_text()


def test_the_end_of_the_terminal_ends_the_script(desk):
    (script,) = desk.save("echo pid $$ here\nsleep 300\n")
    with desk.at_terminal("run", script) as terminal:
        terminal.wait_for(QUESTION)
        terminal.type("y\n")
        pid = int(terminal.wait_for(r"pid (\d+) here")[1])
        assert is_running(pid)
        terminal.process.terminate()
        assert terminal.end() == 130
    assert eventually(lambda: not is_running(pid))


def test_what_a_script_leaves_running_is_ended(desk):
    (script,) = desk.save("sleep 300 &\necho pid $! here\n")
    with desk.at_terminal("run", script) as terminal:
        terminal.wait_for(f"Type {script} to run it")
        terminal.type(f"{script}\n")
        terminal.end()
    pid = int(re.search(r"pid (\d+) here", terminal.screen)[1])
    assert eventually(lambda: not is_running(pid))
    assert "It ended without an error." in terminal.screen


def test_a_script_gets_no_input(desk):
    (script,) = desk.save("if read -r line; then exit 4; fi\necho none\n")
    with desk.at_terminal("run", script) as terminal:
        terminal.wait_for(QUESTION)
        terminal.type("y\nmore\n")
        terminal.end()
    assert "It ended without an error." in terminal.screen


def test_the_log_is_redacted_and_the_screen_shows_no_control_characters(desk):
    key = "-----BEGIN PRIVATE KEY-----\\nMIIEabcdef0123456789\\n-----END PRIVATE KEY-----"
    (script,) = desk.save(
        f"printf '%b\\n' '{key}'\n"
        "printf '\\033[2Jtoken %s/x\\n' /home/anna\n"
        "printf 'zbeeblebrox hf_%s\\n' abcdefghij0123456789ABCD\n"
    )
    with desk.at_terminal("run", script) as terminal:
        terminal.wait_for(f"Type {script} to run it")
        terminal.type(f"{script}\n")
        terminal.end()
    log = desk.logs()[0].read_text()
    assert "<private key>" in log
    assert "<home>/x" in log
    assert "<Hugging Face token>" in log
    for secret in ("MIIEabcdef", "anna", "abcdefghij0123456789ABCD", "zbeeblebrox"):
        assert secret not in log
    assert "\x1b[2J" not in terminal.coloured
    assert sys.platform != "linux" or terminal.screen.count("It ended without an error.") == 1


def test_no_seeded_secret_is_in_the_log_of_a_script_that_prints_them_all(desk):
    # All but the one that is known by the home of the person alone: this one's is another.
    seeds = [(secret, template) for kind, secret, template in SECRETS if kind != "home"]
    texts = [template.format(secret) if "{}" in template else template for secret, template in seeds]
    (desk.home / "seeds").write_text("\n".join(texts) + "\n", encoding="utf-8")
    (script,) = desk.save(f"cat {desk.home}/seeds\n")
    with desk.at_terminal("run", script, USER="amueller", HOSTNAME="blackwell-box") as terminal:
        terminal.wait_for(QUESTION)
        terminal.type("y\n")
        terminal.end()
    log = desk.logs()[0].read_text(encoding="utf-8")
    assert "exit code 0" in log
    assert [secret for secret, _ in seeds if secret in log] == []
