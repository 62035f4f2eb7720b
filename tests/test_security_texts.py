"""Texts of others - errors, names of files, metadata, answers - can neither steer a terminal nor break a page."""

from __future__ import annotations

import ast
import json
import os
import time
import unicodedata
import zipfile
from html.parser import HTMLParser
from pathlib import Path

import pytest

import fake_binaries
import rig
import rtx50_autoload
from rtx50_autoload import voice
from rtx50_autoload.diagnosis.classifier import classify
from rtx50_autoload.printable import printable
from rtx50_autoload.report.page import page
from rtx50_autoload.safe_console import SafeConsole
from rtx50_autoload.troubleshooter.answers import clean
from rtx50_autoload.troubleshooter.redaction import redact

SOURCE = Path(rtx50_autoload.__file__).parent
#: By what each would do at a terminal that gets it as it is.
HOSTILE = {
    "clears the screen": "\x1b[2J\x1b[H",
    "writes to the clipboard": "\x1b]52;c;Y3VybCBldmls\x07",
    "makes a link that lies": "\x1b]8;;https://evil.example\x1b\\trusted\x1b]8;;\x1b\\",
    "sets the title": "\x9d0;title\x9c",
    "overwrites the line": "all is well\rfailed",
    "takes back": "failed\x08\x08\x08\x08\x08\x08",
    "answers for the person": "\x1b[6n\x1bP$q q\x1b\\",
    "turns the direction": "safe\u202eexe.elif\u2066",
    "hides letters": "pay\u200bload\U000e0041\u2060",
    "ends the line": "one\u2028two\x85three\x0bfour\x0c",
    "is no text": "\x00\udc80\udfff\ufffe",
    "is markup of rich": "[link=https://evil.example]trusted[/link][blink]x[/]:skull:",
}
BINARY = fake_binaries.elf([fake_binaries.container("sm_80")])


def steers(text):
    """Give the characters of a text that a terminal does not just show."""
    plain = {"\n", "\t"}
    return {
        character
        for character in text
        if character not in plain
        and (unicodedata.category(character) in {"Cc", "Cs", "Cf", "Cn", "Zl", "Zp"} or character == "\ufffe")
    }


def in_a_name(text):
    return text.replace("/", "_").replace("\x00", "").replace("\n", "")


@pytest.mark.parametrize("what", HOSTILE)
def test_no_way_to_a_terminal_lets_it_through(what, capsys, monkeypatch):
    text = HOSTILE[what]
    assert not steers(printable(text))
    monkeypatch.setattr(voice, "_said", set())
    monkeypatch.setattr(voice, "quiet", False)
    voice.say(text, speaks=True)
    SafeConsole().print(text, soft_wrap=True)
    SafeConsole(stderr=True).print(text, soft_wrap=True)
    out, err = capsys.readouterr()
    assert out
    assert not steers(out + err)
    if "[link=" in text:
        assert text in out, "brackets are no markup"
    # What is left of an answer is written out when it is shown.
    assert not steers(clean(text)) - {"\ufffe", "\u2028"}
    assert not steers(printable(clean(text)))


def test_colours_of_ours_still_reach_a_terminal(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    SafeConsole().print("\x1b[31mtheirs", style="green")
    assert capsys.readouterr().out == "\x1b[32m\\x1b[31mtheirs\x1b[0m\n"


def test_every_console_is_the_safe_one():
    # Of a bar that nobody sees, only what it imports is of interest.
    own = {"safe_console.py", "cli/fix_progress.py"}
    found = set()
    for file in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Console":
                found.add(file.relative_to(SOURCE).as_posix())
    assert found <= own


@pytest.fixture
def hostile_site(tmp_path):
    site = tmp_path / "site"
    site.mkdir()
    names = [in_a_name(text) for text in HOSTILE.values() if text.encode("utf-8", "replace").decode() == text]
    for number, name in enumerate(names):
        (site / f"{number}{name}.so").write_bytes(BINARY)
    with zipfile.ZipFile(site / f"{in_a_name(HOSTILE['clears the screen'])}-1.0-py3-none-any.whl", "w") as wheel:
        for name in (*names, "../../../outside", "/etc/absolute"):
            wheel.writestr(f"{name}.so", BINARY)
    return site


@pytest.mark.skipif(os.name == "nt", reason="Windows takes no such names")
def test_a_scan_of_files_and_wheels_with_such_names_shows_them_written_out(installed, hostile_site, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    result = installed.run(installed.script("rtx50-autoload"), "scan", hostile_site, cwd=tmp_path)
    assert result.returncode == 1
    assert "\\x1b]52;c;" in result.stdout
    assert not steers(result.stdout + result.stderr)
    assert sorted(tmp_path.rglob("*")) == before, "nothing is unpacked"


@pytest.mark.parametrize("what", HOSTILE)
def test_an_error_text_is_explained_and_kept_without_it(installed, tmp_path, what):
    text = HOSTILE[what]
    error = tmp_path / "error.txt"
    error.write_bytes(
        f"ImportError: {text}/libtorch_cuda.so: undefined symbol: {text}\nRuntimeError: {text} CUDA error: no kernel "
        f"image is available for execution on the device {text}\n".encode("utf-8", "surrogatepass")
    )
    program = installed.script("rtx50-autoload")
    result = installed.run(program, "explain", error)
    assert "no kernel image" in result.stdout or result.stdout
    assert "Traceback" not in result.stderr
    assert not steers(result.stdout + result.stderr)


def test_hostile_names_reach_status_doctor_and_incidents_written_out(with_fake_torch, tmp_path):
    text = "".join(value for value in HOSTILE.values() if value.isprintable() or value.isascii()).replace("\x00", "")
    env = {
        "RTX50_SIMULATE": f"{text.replace(',', '').replace(':', '')}:12.0",
        "RTX50_MODE": text,
        "TORCH_CUDA_ARCH_LIST": text,
        "CUDA_VISIBLE_DEVICES": text,
        "LD_PRELOAD": "",
        "XDG_STATE_HOME": str(tmp_path / in_a_name(text)),
    }
    crash = tmp_path / "crash.py"
    crash.write_text(f"import torch\nraise RuntimeError({'CUDA error: no kernel image is available ' + text!r})\n")
    crashed = with_fake_torch.run(with_fake_torch.python, crash, env=env)
    ours = [line for line in crashed.stderr.splitlines() if line.startswith("rtx50-autoload")]
    assert ours
    assert not steers("\n".join(ours))
    for words in (["status"], ["doctor"], ["incidents"], ["plan"], ["troubleshoot", "--last", "--show-prompt"]):
        result = with_fake_torch.run(with_fake_torch.script("rtx50-autoload"), *words, env=env)
        assert "internal fault" not in result.stderr, rig.describe(result)
        assert not steers(result.stdout + result.stderr), words


class Tags(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, [name for name, _ in attrs]))


def test_a_page_holds_no_element_of_anybody_else(installed):
    document = json.loads(installed.run(installed.script("rtx50-autoload"), "doctor", "--json").stdout)
    evil = (
        "</style></script><script>alert(1)</script><img src=x onerror=alert(1)>\"'><svg/onload=alert(1)>&#x1b;\x1b[2J"
    )

    def poisoned(value):
        if isinstance(value, dict):
            return {key: poisoned(each) for key, each in value.items()}
        if isinstance(value, list):
            return [poisoned(each) for each in value]
        # Words that are looked up stay as they are.
        return f"{value}{evil}" if isinstance(value, str) and (" " in value or "/" in value) else value

    def tags(shown):
        parser = Tags()
        parser.feed(page(shown))
        # What ends as a command is marked as one, without an attribute; by that a text can say nothing.
        return [found for found in parser.found if found != ("code", [])]

    assert poisoned(document) != document
    assert tags(poisoned(document)) == tags(document)
    assert not any(name.startswith("on") for _, names in tags(document) for name in names)
    assert "\x1b" not in page(poisoned(document))


#: What patterns with a choice of ways go back over again and again.
REPEATED = (
    " ",
    "a",
    "0",
    ".",
    "/",
    "_",
    "(",
    "'",
    ":",
    "\n",
    "\\",
    "a ",
    "a.",
    "0.",
    "sm_",
    "a_1",
    "\udc80",
    "undefined symbol: _ZN",
)


def test_no_text_takes_more_than_its_length_to_understand_and_to_redact():
    slow = {}
    spent = 0.0
    for piece in REPEATED:
        for read in (classify, redact):
            times = []
            for length in (4_000, 16_000):
                text = (piece * length)[:length]
                start = time.process_time()
                read(text)
                times.append(time.process_time() - start)
            spent += sum(times)
            # Four times the length takes four times as long; the square of it would take sixteen times.
            if times[1] > 9 * times[0] + 0.1:
                slow[piece, read.__name__] = times
    assert not slow
    print(f"hostile texts: {len(REPEATED)} x 2 x 2, {spent:.1f} s of CPU time")  # noqa: T201


def test_a_huge_error_is_read_at_its_ends_alone():
    text = "RuntimeError: CUDA error: no kernel image is available\n" + "x" * 50_000_000
    start = time.process_time()
    assert classify(text).category == classify(text[:100]).category
    assert time.process_time() - start < 60, "seconds of CPU; all of it would take minutes"
