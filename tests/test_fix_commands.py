"""Which commands of a plan are run, and which are refused because they lead out of the environment."""

from __future__ import annotations

import sys

import pytest

from rtx50_autoload.installer.environment import Environment, child_environ
from rtx50_autoload.installer.errors import NotAllowedError
from rtx50_autoload.installer.installer_commands import read_command
from rtx50_autoload.installer.plan import Command

PYTHON = sys.executable
PIP = (PYTHON, "-m", "pip")


@pytest.mark.parametrize(
    "words",
    [
        (*PIP, "install", "torch", "--pre", "--index-url", "https://download.pytorch.org/whl/cu130"),
        (*PIP, "install", "--force-reinstall", "--no-deps", "--prefer-binary", "torch==2.11.0"),
        (*PIP, "uninstall", "-y", "torch"),
        (*PIP, "cache", "purge"),
        (PYTHON, "-c", "print(1)"),
        (PYTHON, "-m", "rtx50_autoload", "check-build", "flash-attn", "--device", "12.0"),
    ],
)
def test_commands_for_this_environment_are_run_as_they_are(words):
    program, *arguments = words
    # Isolated: what lies in the working directory is no module.
    run = (program, "-I", "-u", "-X", "utf8", *arguments)
    assert tuple(read_command(Command(words), Environment.active()).line(PYTHON)) == run


@pytest.mark.parametrize(
    "words",
    [
        (*PIP, "install", "--target", "/tmp/x", "torch"),  # noqa: S108
        (*PIP, "install", "--target=/tmp/x", "torch"),
        (*PIP, "install", "--targ", "/tmp/x", "torch"),  # noqa: S108
        (*PIP, "install", "-t", "/tmp/x", "torch"),  # noqa: S108
        (*PIP, "install", "-t/tmp/x", "torch"),
        (*PIP, "install", "--user", "torch"),
        (*PIP, "install", "--prefix", "/usr", "torch"),
        (*PIP, "install", "--root", "/", "torch"),
        (*PIP, "install", "--break-system-packages", "torch"),
        (*PIP, "download", "torch"),
        ("/usr/bin/python3", "-m", "pip", "install", "torch"),
        ("/usr/bin/python3", "-c", "print(1)"),
        (PYTHON, "setup.py", "install"),
        ("pip", "install", "torch"),
        ("rm", "-rf", "/"),
        ("sudo", "apt", "install", "nvidia-driver-580-open"),
    ],
)
def test_commands_that_lead_elsewhere_are_refused(words):
    with pytest.raises(NotAllowedError):
        read_command(Command(words), Environment.active())


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--system",),
        ("--python", "/usr/bin/python3"),
        ("--python", PYTHON, "--target", "x"),
        ("--python", PYTHON, "-tx"),
    ],
)
def test_uv_has_to_be_told_this_python(options, monkeypatch):
    monkeypatch.setattr("rtx50_autoload.installer.installer_commands.find_uv", lambda: "/bin/uv")
    with pytest.raises(NotAllowedError):
        read_command(Command(("uv", "pip", "install", *options, "torch")), Environment.active())


def test_uv_is_told_another_python_for_the_trial(monkeypatch):
    monkeypatch.setattr("rtx50_autoload.installer.installer_commands.find_uv", lambda: "/bin/uv")
    words = ("uv", "pip", "install", "--python", PYTHON, "torch")
    command = read_command(Command(words), Environment.active())
    assert command.line("/shadow/python", "--dry-run") == [
        "/bin/uv", "pip", "install", "--python", "/shadow/python", "torch", "--dry-run",
    ]  # fmt: skip


def test_a_child_gets_nothing_that_leads_it_elsewhere(monkeypatch):
    for name in (
        "PIP_TARGET",
        "PIP_PREFIX",
        "PIP_BREAK_SYSTEM_PACKAGES",
        "UV_SYSTEM_PYTHON",
        "PYTHONPATH",
        "PYTHONHOME",
    ):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("PIP_INDEX_URL", "https://registry.example/simple")
    variables = child_environ({"UV_TARGET": "x", "MAX_JOBS": "4"})
    assert (
        not {"PIP_TARGET", "PIP_PREFIX", "PIP_BREAK_SYSTEM_PACKAGES", "UV_SYSTEM_PYTHON", "UV_TARGET"}
        & variables.keys()
    )
    assert not {"PYTHONPATH", "PYTHONHOME"} & variables.keys()
    assert variables["PIP_USER"] == "0"
    assert (variables["PIP_INDEX_URL"], variables["MAX_JOBS"]) == ("https://registry.example/simple", "4")
