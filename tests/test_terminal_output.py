"""What every command prints: narrow, without colour, in a pipe, in old encodings, and at a terminal with colours."""

from __future__ import annotations

import json
import os
import re
import shlex

import pytest

import rig
from fake_binaries import container, elf
from fake_distributions import JIT, NATIVE, OLD, install, torch_version
from rtx50_autoload.cli.main import build_parser

WIDTH = 60
#: Between angle brackets: what the fixture has made.
COMMANDS = (
    "status",
    "status --verify",
    "demo",
    "doctor",
    "doctor --device 9.9",
    "scan <libraries>",
    "check-build torch",
    "check-build flash-attn",
    "plan",
    "plan --machine <machine>",
    "profiles",
    "profiles --check <machine>",
    "fix",
    "explain <error>",
    "explain <machine>",
    "incidents",
    "incidents show last",
    "assistants",
    "scripts list",
    "scripts show <script>",
    "troubleshoot <error>",
    "enable --user",
)
#: What a command that is to be copied begins with here.
COPIED = re.compile(r"(\S*/bin/python|python|uv|pip|export|unset|docker|nvidia-smi|sudo|rtx50-autoload) ")
ERROR = """Traceback (most recent call last):
  File "/home/me/a/rather/long/path/to/a/project/with/a/program/train_the_model.py", line 12, in <module>
RuntimeError: CUDA error: no kernel image is available for execution on the device
"""
KEEP = """
import json, sys
from pathlib import Path
from rtx50_autoload.diagnosis import classify, this_machine
from rtx50_autoload.diagnosis.incidents import record
from rtx50_autoload.diagnosis.situation import Situation
from rtx50_autoload.troubleshooter.scripts import Script, save
here, text = this_machine.look(), Path(sys.argv[1]).read_text()
incident = record(classify(text, here), text, here, redact=lambda told: told).incident_id
print(save(Script("bash", "set -eu\\npip install torch\\nrm -rf ~/.cache/pip\\n"), "claude", incident).id)
"""


class Desk:
    """A person with an environment in which much is wrong."""

    def __init__(self, venv, folder):
        self.venv = venv
        site = folder / "site"
        site.mkdir()
        for name, version, images in (
            ("torch", "2.5.1", OLD),
            ("flash_attn", "2.8.3", NATIVE),
            ("a_library_with_a_rather_long_name", "2024.12.31.post1", JIT),
        ):
            file = f"{name}/lib/lib{name}_for_the_gpu.so"
            install(site, name, version, {file: elf([container(*images)]), f"{name}/version.py": torch_version()})
        error = folder / "error.txt"
        error.write_text(ERROR)
        assistant = folder / "bin" / "claude"
        assistant.parent.mkdir()
        assistant.write_text("#!/bin/sh\n")
        assistant.chmod(0o755)
        self.variables = {
            "HOME": str(folder),
            **{f"XDG_{name}_HOME": str(folder / name) for name in ("CONFIG", "CACHE", "DATA", "STATE")},
            "PATH": f"{assistant.parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(site),
            "RTX50_SIMULATE": "NVIDIA GeForce RTX 5090:12.0",
            "TORCH_CUDA_ARCH_LIST": "9.0",
            "COLUMNS": str(WIDTH),
        }
        kept = venv.run("-c", KEEP, error, env=self.variables, check=True)
        self._made = {
            "<libraries>": str(site),
            "<machine>": str(rig.ROOT / "tests" / "machines" / "desktop-5060-ti.toml"),
            "<error>": str(error),
            "<script>": kept.stdout.strip(),
        }

    def command(self, line):
        words = [self._made.get(word, word) for word in shlex.split(line)]
        return [self.venv.script("rtx50-autoload"), *words]

    def environment(self, line):
        # The torch of this environment is none that can be imported.
        return {**self.variables, "PYTHONPATH": ""} if line == "demo" else self.variables

    def run(self, line, **variables):
        return self.venv.run(*self.command(line), env={**self.environment(line), **variables})


@pytest.fixture(scope="module")
def desk(_make_session_venv, tmp_path_factory):
    if os.name == "nt":
        pytest.skip("what stands for an assistant is a shell's script")
    return Desk(_make_session_venv(coverage=False), tmp_path_factory.mktemp("desk"))


def parsers(parser):
    """Give a command's parser and those of all commands below it."""
    yield parser
    for action in parser.arguments:
        for command in (action.choices or {}).values() if isinstance(action.choices, dict) else ():
            yield from parsers(command)


PARSERS = {parser.prog.removeprefix("rtx50-autoload").strip(): parser for parser in parsers(build_parser())}
EVERY = (*COMMANDS, *(f"{words} --help".strip() for words in PARSERS))


@pytest.mark.parametrize("line", EVERY)
def test_in_a_pipe_no_line_is_too_wide_or_coloured_and_every_encoding_says_the_same(desk, line):
    plain = desk.run(line)
    assert plain.stdout
    wide = [each for each in rig.too_wide(plain.stdout, WIDTH) if not COPIED.match(each.strip())]
    assert not wide
    assert "\x1b" not in plain.stdout + plain.stderr
    assert "Traceback" not in plain.stderr
    assert desk.run(line, NO_COLOR="1").stdout == plain.stdout
    # Of what is ours, the line under a table's head alone has another form.
    expected = plain.stdout.replace("\N{BOX DRAWINGS LIGHT HORIZONTAL}", "-")
    for encoding in ("cp1252", "ascii"):
        assert desk.run(line, PYTHONIOENCODING=encoding).stdout == expected


@pytest.mark.parametrize("line", COMMANDS)
def test_at_a_terminal_the_text_is_the_same_and_no_color_takes_its_colours(desk, line):
    from terminal import at_terminal  # noqa: PLC0415 - not on Windows

    def shown(**variables):
        # Without stderr, on which the bar moves.
        command = ("/bin/sh", "-c", 'exec "$0" "$@" 2>/dev/null', *desk.command(line))
        with at_terminal(desk.venv, *command, env={**desk.environment(line), **variables}, columns=WIDTH) as terminal:
            terminal.end()
        return terminal

    coloured, colourless = shown(), shown(NO_COLOR="1")
    # The terminal folds what is longer than a line by itself; the blanks at the ends of lines mean nothing.
    text = [each.rstrip() for each in desk.run(line).stdout.splitlines()]
    for terminal in (coloured, colourless):
        assert [each.rstrip() for each in terminal.screen.splitlines()] == text
    assert not re.search(r"\x1b\[[0-9;]*[349][0-7]", colourless.coloured)


@pytest.mark.parametrize("words", PARSERS)
def test_every_help_ends_with_examples_that_can_be_typed(words):
    parser = PARSERS[words]
    assert 1 <= len(parser.examples) <= 4
    assert parser.format_help().rstrip().endswith(parser.examples[-1][1])
    for example, meaning in parser.examples:
        program, *arguments = shlex.split(example)
        assert program == "rtx50-autoload"
        assert example.startswith(parser.prog) or not words
        assert len(f"      {meaning}") <= WIDTH
        if "--help" not in arguments:
            assert build_parser().parse_args(arguments).run


def test_the_bar_is_at_a_terminal_alone_and_goes_away(desk):
    from terminal import at_terminal  # noqa: PLC0415

    scan = ("scan <libraries> --no-cache", "scan <libraries> --no-cache --json")
    for line in scan:
        with at_terminal(desk.venv, *desk.command(line), env=desk.variables, columns=WIDTH) as terminal:
            terminal.end()
        _, bar, after = terminal.coloured.rpartition("Reading")
        assert bar
        assert "\x1b[2K" in after
        # rich takes FORCE_COLOR for a terminal.
        assert desk.run(line, FORCE_COLOR="1").stderr == ""
    assert json.loads(desk.run(scan[1], FORCE_COLOR="1").stdout)


@pytest.mark.parametrize("line", ["frobnicate", "scan", "bench --card-price 3", "incidents show 00000000"])
def test_what_is_wrong_is_one_line_in_a_pipe_and_broken_between_words_at_a_terminal(desk, line):
    from terminal import at_terminal  # noqa: PLC0415

    said = desk.run(line).stderr
    complaint = said.splitlines()[-1]
    assert complaint.startswith("rtx50-autoload")
    with at_terminal(desk.venv, *desk.command(line), env=desk.variables, columns=WIDTH) as terminal:
        assert terminal.end() == 2
    assert not rig.too_wide(terminal.screen, WIDTH)
    assert complaint in terminal.screen.replace("\n", " ")
