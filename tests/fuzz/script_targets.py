"""Answers of assistants: how they are read, and the scripts in them."""

from __future__ import annotations

import json
import re
from unittest import mock

from target import Chooser, Target, scratch, text_of

from rtx50_autoload.printable import printable
from rtx50_autoload.troubleshooter import local_servers
from rtx50_autoload.troubleshooter.answers import clean
from rtx50_autoload.troubleshooter.assistant_errors import AssistantError
from rtx50_autoload.troubleshooter.assistants import Found, load_knowledge
from rtx50_autoload.troubleshooter.child import Outcome
from rtx50_autoload.troubleshooter.scripts import LANGUAGES, Script, extract, store
from rtx50_autoload.troubleshooter.scripts.danger import findings, load_danger_rules
from rtx50_autoload.troubleshooter.scripts.unicode_tricks import tricks, visible
from rtx50_autoload.troubleshooter.understanding import understand

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def check_extract(data):
    """Scripts are lines of the answer, in their order, and are kept, shown and judged whatever is in them."""
    answer = text_of(data)
    scripts = extract(answer)
    lines = re.split(r"\r\n|\n", answer)
    for script in scripts:
        assert script.language in LANGUAGES
        assert script.text.endswith("\n")
        taken = script.text[:-1].split("\n")
        margins = {len(line) - len(found) for line in lines for found in taken if found and line.endswith(found)}
        assert margins or not any(taken)
        rest = iter(lines)
        assert all(any(line == found or line.endswith(found) for line in rest) for found in taken)
        found = findings(script)
        assert all(1 <= each.line <= len(taken) + 1 for each in found)
        shown = visible(script.text)
        assert not _CONTROL.search(shown), shown
        flagged = {each.line for each in found if each.severity == "danger"}
        for number, line in enumerate(taken, start=1):
            if tricks(line):
                assert number in flagged, line
            if visible(line) != line:
                assert number in flagged, line
    assert extract("\r\n".join(lines)) == scripts
    if scripts:
        folder = scratch() / "scripts"
        with mock.patch.object(store, "scripts_folder", lambda: folder):
            saved = store.save(scripts[0], "an\nassistant", "0" * 12)
            loaded = store.load(saved.id)
            for file in folder.iterdir():
                file.unlink()
        assert not loaded.is_changed
        assert scripts[0].text.encode("utf-8", "replace").decode().endswith(loaded.script.text[-len(scripts[0].text) :])


def _answers():
    yield b"Try this:\n```bash\npip install torch\nrm -rf ~/.cache\n```\nand\n~~~powershell\nGet-Item x\n~~~\n"
    yield b"1. x\n   ```sh\n   cat <<EOF\n   a\n   EOF\n   ```\n> ```cmd\n> rd /s /q x\n> ```\n"
    yield b"````bash\n```\necho \\\n  a | sh\n````\n"
    yield "```bash\necho \u202ea\u200b \u0430pt p\u0456p\n```\n".encode()


_FENCES = (
    *(b"```bash\n", b"\n```\n", b"~~~", b"````", b"powershell", b"batch", b"\r\n", b"\\\n", b"`\n", b"^\n", b"<<EOF\n"),
    *(
        b"rm -rf ",
        b"curl x | sh",
        b"eval ",
        b"$(",
        b"'",
        b'"',
        b"# ",
        b"\xe2\x80\xae",
        b"\xe2\x80\x8b",
        b"\x1b[2J",
        b"&&\n",
    ),
    *(b"rem ", b"${IFS}", b"function f() {", b"sudo ", b"\xe2\x80\xa8", b"\xc2\x85", b"\x0c", b"<home>"),
)

#: Lines that have to be flagged however they are written; those with quotation marks in them mean something else
#: when more are put in.
_DANGEROUS = tuple(
    example
    for rule in load_danger_rules()
    if rule.severity == "danger" and "bash" in rule.languages
    for example in rule.examples
    if not re.search(r"[\"'`\\#\n<>]|\$|@", example)
)
_WORD_LETTER = re.compile(r"(?<=[a-z])(?=[a-z])")


def check_obfuscated(data):
    """A dangerous line is found though quotation marks, escapes, blanks and continued lines stand in it."""
    choose = Chooser(data)
    line = choose.one_of(_DANGEROUS)
    written = []
    for place, letter in enumerate(line):
        follows = line[place + 1 : place + 2]
        inside = letter.isalpha() and follows.isalpha()
        if letter == " ":
            written.append(
                choose.one_of((" ", "  ", "\t", " \\\n", " \\\n  ", "${IFS}", "$IFS ")) if place > 0 else letter
            )
            continue
        written.append(letter)
        if inside:
            written.append(choose.one_of(("", "", "", "''", '""', "\\\n", "\\" if follows not in "nrtu" else "")))
    written = "".join(written)
    around = choose.one_of(
        (
            "{}",
            "  {}",
            "\t{}",
            "{} ",
            "true; {}",
            "true && {}",
            "if true; then {}; fi",
            "({})",
            "{{ {}; }}",
            "x=1 {}",
            "! {}",
        )
    )
    script = Script("bash", f"echo begin\n{around.format(written)}\necho end\n")
    found = [each for each in findings(script) if each.severity == "danger"]
    assert found, script.text


def _lines():
    for number in range(0, len(_DANGEROUS), 3):
        yield bytes((number, 0, 1, 3, 5, 4, 2))


_OUTCOMES = ("itself", "itself", "itself", "time", "output", "hopeless")


def check_understand(data):
    """Whatever a program puts out is an answer that steers no terminal, or an error with words."""
    choose = Chooser(data)
    program = choose.one_of(load_knowledge().programs)
    end, code = choose.one_of(_OUTCOMES), choose.one_of((0, 0, 0, 1, -9, -15))
    stdout, _, others = choose.rest().partition(b"\xff\xff")
    stderr, _, file = others.partition(b"\xff\xff")
    path = scratch() / "answer"
    path.write_bytes(file)
    outcome = Outcome(end, code, stdout.decode("utf-8", "replace"), stderr.decode("utf-8", "replace"), 1.0)
    try:
        text = understand(program, outcome, path, "What is wrong?", 30.0)
    except AssistantError as error:
        assert str(error)
        assert all(clean(each) == each for each in (str(error), getattr(error, "details", "")))
        return
    assert text.strip()
    assert clean(text) == text
    assert printable(text) == text


def _outputs():
    yield b"\0\0\0" + json.dumps({"result": "Do this.", "is_error": False, "subtype": "success"}).encode()
    yield b"\1\0\0" + json.dumps({"response": "Do this."}).encode()
    yield b'\1\0\3\xff\xffAttempt 1 failed\n{"error": {"message": "429", "code": 429}}'
    yield b"\2\0\0\xff\xfferror: stream\xff\xffDo this."
    yield b"\3\0\0" + b'{"type": "text", "part": {"text": "Do"}}\n{"type": "error", "error": {"name": "x"}}\n'
    for number in range(8):
        yield bytes((number, 0, 0)) + b"Do \x1b[31mthis\x1b[0m\r\n"


_JSON = (
    *(
        b'{"',
        b'": "',
        b'"}',
        b"null",
        b"true",
        b"false",
        b"[[[[[[[[",
        b'{"a":' * 8,
        b"1e999",
        b"NaN",
        b"\\ud800",
        b"-0",
    ),
    *(
        b'"result"',
        b'"is_error"',
        b'"response"',
        b'"error"',
        b'"message"',
        b'"content"',
        b'"choices"',
        b'"part"',
        b'"text"',
    ),
    *(b'"type"', b'"models"', b'"name"', b'"id"', b'"data"', b'"version"', b"\x1b]0;", b"\x9b", b"\xff\xff", b"9" * 40),
)


def check_server(data):
    """Whatever a server answers is an answer or an error with words; what it says of itself makes it one or not."""
    choose = Chooser(data)
    server = choose.one_of(load_knowledge().servers)
    status = choose.one_of((200, 200, 200, 400, 404, 500, 302))
    host = choose.number(2)
    raw = choose.rest()
    found = Found(server, "http://127.0.0.1:1", ready=True, models=("m",), loaded=0)
    with mock.patch.object(local_servers.Exchange, "run", lambda *_: (status, raw)):
        try:
            text = local_servers.ask_server(found, "What?", "m", time_limit=1, on_progress=None)
            assert isinstance(text, str)
            assert clean(text).strip()
        except AssistantError as error:
            assert clean(str(error)) == str(error)
    environ = {"OLLAMA_HOST": text_of(raw)} if host else {}
    with (
        mock.patch.object(local_servers.socket, "create_connection", _connect),
        mock.patch.object(local_servers, "_get", lambda *_: json.loads(raw)),
    ):
        introduced = local_servers._find(server, environ)
    if introduced is not None:
        assert clean(introduced.reason) == introduced.reason
        assert all(isinstance(model, str) for model in introduced.models)


class _Connection:
    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None


def _connect(address, *_):
    host = address[0]
    assert host in {"127.0.0.1", "::1"} or host.startswith("127."), host
    return _Connection()


def _replies():
    yield (b'\0\0\0{"message": {"content": "Do this."}, "models": [{"name": "a", "remote_host": ""}], "version": "1"}')
    yield b"\1\0\0" + b'{"choices": [{"message": {"content": "Do this."}}], "data": [{"id": "a"}]}'
    yield b"\0\5\0" + b'{"error": {"message": "no"}}'
    yield b"\0\5\1" + b"http://localhost:11434"
    yield b"\0\5\1" + b"[::1]:11434"


TARGETS = (
    Target("extract", check_extract, _answers, _FENCES, 1024),
    Target("obfuscated", check_obfuscated, _lines, (), 64),
    Target("understand", check_understand, _outputs, _JSON, 1024),
    Target("server", check_server, _replies, (*_JSON, b"http://", b"localhost", b"[::1]", b"0.0.0.0"), 1024),
)
