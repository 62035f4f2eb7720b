"""How commands are typed."""

from __future__ import annotations

import shlex
import subprocess
import sys

import pytest

from rtx50_autoload.commands import Typist, split_step

WORDS = ["plain", "triton>=3.3", "a b", "", "C:\\a b\\", "x&y", "it's", 'say "x"', "$HOME", "cupy[ctk]", "3.4.*", "(x)"]


@pytest.mark.parametrize("shell", ["posix", "any"])
def test_a_posix_shell_reads_the_words_as_they_were_meant(shell):
    line = Typist(shell, "python").line("python", *WORDS)

    assert shlex.split(line) == ["python", *WORDS]


@pytest.mark.skipif(sys.platform == "win32", reason="sh is the shell that is asked")
def test_sh_reads_them_so_too():
    line = Typist("posix", "").line("printf", "%s\n", *WORDS)

    assert (
        subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, check=True).stdout.split("\n")[:-1]
        == WORDS
    )


def test_cmd_is_kept_from_writing_files_and_joining_commands():
    typist = Typist("cmd", "python")

    assert typist.line("triton>=3.3", "x&y", "(x)", "a b", "plain") == '"triton>=3.3" "x&y" "(x)" "a b" plain'


def test_pip_is_that_of_the_python_in_question():
    assert Typist("posix", "python").pip("install", "x") == "python -m pip install x"
    assert Typist("posix", "python").pip("uninstall", "x") == "python -m pip uninstall -y x"
    assert Typist("posix", "python", uses_uv=True).pip("uninstall", "x") == "uv pip uninstall --python python x"
    assert Typist("posix", "python", uses_uv=True).pip("check") == "uv pip check --python python"
    assert Typist("posix", "python", uses_uv=True).pip("cache", "purge") == "uv cache clean"


def test_variables_are_set_in_the_way_of_the_shell():
    posix, cmd = Typist("posix", ""), Typist("cmd", "")

    assert posix.set_variable("A", "8.9;12.0") == "export A='8.9;12.0'"
    assert cmd.set_variable("A", "C:\\a b") == "set A=C:\\a b"
    assert (posix.unset_variable("A"), cmd.unset_variable("A")) == ("unset A", "set A=")
    assert posix.prepend("PATH", "/a b") == "export PATH='/a b'\"${PATH:+:$PATH}\""
    assert cmd.prepend("PATH", "C:\\a b") == "set PATH=C:\\a b;%PATH%"


@pytest.mark.parametrize(
    ("step", "parts"),
    [
        ("Update the driver.", ("Update the driver.", "")),
        ("python -m pip install x", ("", "python -m pip install x")),
        (r"C:\x\python.exe -m pip install x", ("", r"C:\x\python.exe -m pip install x")),
        ("Ask again: rtx50-autoload plan", ("Ask again:", "rtx50-autoload plan")),
        ("Start the container with -e A=b", ("Start the container with -e A=b", "")),
    ],
)
def test_a_step_is_told_from_its_command(step, parts):
    assert split_step(step) == parts
