"""Shells complete our commands: real ones, at a pseudo-terminal, by the scripts that `completion` prints."""

from __future__ import annotations

import os
import shutil

import pytest

import rig

#: How each shell is started without a person's own files, how it is told to read the script, and its prompt.
SHELL_COMMANDS = {
    "bash": (("bash", "--norc", "--noprofile", "-i"), "PS1='ready> '; source {script}"),
    "zsh": (("zsh", "-f", "-i"), "PS1='ready> '; fpath=({folder} $fpath); autoload -Uz compinit; compinit -D -u"),
    "fish": (("fish", "--no-config", "-i"), "function fish_prompt; echo -n 'ready> '; end; source {script}"),
}
#: What is typed, with Tab, and the arguments that the program gets then.
TYPED = {
    "doc\t": ["doctor"],
    "incid\tsh\tlast": ["incidents", "show", "last"],
    "fix --und\t": ["fix", "--undo"],
    "doctor --ht\trepo\t": ["doctor", "--html", "report of mine.html"],
    "scan repo\t": ["scan", "report of mine.html"],
    "troubleshoot --la\t": ["troubleshoot", "--last"],
    "plan --ru\ttor\t": ["plan", "--run", "tor"],
    "completion fi\t": ["completion", "fish"],
}


@pytest.fixture(scope="module")
def with_shtab(wheel, tmp_path_factory):
    venv = rig.create_venv(tmp_path_factory.mktemp("completion") / "v")
    rig.uv_pip("install", venv, f"{wheel}[completion]")
    (venv.home / "report of mine.html").touch()
    return venv


@pytest.fixture
def shell(with_shtab, tmp_path):
    if os.name == "nt":
        pytest.skip("the terminals of these tests are those of POSIX")
    from terminal import at_terminal  # noqa: PLC0415

    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "rtx50-autoload"
    program.write_text("#!/bin/sh\nprintf 'got'; printf '<%s>' \"$@\"; echo '<end>'\n")
    program.chmod(0o755)

    def start(name):
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed here")
        # The name by which zsh finds it.
        script = tmp_path / "_rtx50-autoload"
        printed = with_shtab.run(with_shtab.script("rtx50-autoload"), "completion", name, check=True)
        script.write_text(printed.stdout)
        command, begin = SHELL_COMMANDS[name]
        env = {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
        return at_terminal(with_shtab, shutil.which(command[0]), *command[1:], env=env), begin.format(
            script=script, folder=tmp_path
        )

    return start


@pytest.mark.parametrize("name", SHELL_COMMANDS)
def test_a_shell_completes_what_is_typed(shell, name):
    session, begin = shell(name)
    with session as terminal:
        terminal.type(f"{begin}\n")
        terminal.expect("ready> ")
        for typed, arguments in TYPED.items():
            terminal.type(f"rtx50-autoload {typed}\n")
            terminal.expect("got" + "".join(f"<{argument}>" for argument in arguments) + "<end>")
        terminal.type("exit\n")
        terminal.end()


def test_a_script_for_powershell_is_printed(with_shtab):
    result = with_shtab.run(with_shtab.script("rtx50-autoload"), "completion", "powershell", check=True)
    for word in ("Register-ArgumentCompleter", "'doctor'", "'--no-cache'", "'show'"):
        assert word in result.stdout


def test_a_shell_that_is_not_known_is_wrong_usage(installed):
    result = installed.run(installed.script("rtx50-autoload"), "completion", "tcsh")
    assert result.returncode == 2
    assert "powershell" in result.stderr


def test_without_the_extra_the_command_that_installs_it_is_named(installed):
    result = installed.run(installed.script("rtx50-autoload"), "completion", "bash")
    assert (result.returncode, result.stdout) == (2, "")
    assert "pip install 'rtx50-autoload[completion]'" in result.stderr
