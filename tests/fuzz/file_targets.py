"""Files that people, other programs or earlier versions write: settings, facts, machines, our own state."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import sys
from unittest import mock

from target import TESTS, Chooser, Target, scratch, text_of

import profile_files
from rtx50_autoload.cli import fix_console, incidents_console
from rtx50_autoload.cli.plan import _described
from rtx50_autoload.diagnosis import incident_files
from rtx50_autoload.diagnosis.diagnosis import Diagnosis, FixStep
from rtx50_autoload.diagnosis.incident import Incident, situation_of
from rtx50_autoload.diagnosis.situation import Situation
from rtx50_autoload.errors import SettingsFileError, UsageError
from rtx50_autoload.evidence.environment import versions_file
from rtx50_autoload.evidence.environment.versions_schema import FactsFileError
from rtx50_autoload.installer import journal, saved_state
from rtx50_autoload.installer.errors import FixError
from rtx50_autoload.installer.planner import make_plan
from rtx50_autoload.masquerading.adjustments import ADJUSTMENTS
from rtx50_autoload.masquerading.known_profiles import read_file
from rtx50_autoload.masquerading.profile_schema import PROFILE_KEYS, RULE_KEYS
from rtx50_autoload.settings import ENVIRONMENT_FILE, FIELDS, as_dict, load
from rtx50_autoload.settings_file import read_values, remove_value, set_value
from rtx50_autoload.troubleshooter import kept_answers
from rtx50_autoload.troubleshooter.scripts import store

_ID = "0123456789ab"
_BARE = tuple(field.name for field in FIELDS)
_VALUES = (True, False, 7, "12.0:9.0", "", 'a"b\\c\n', "\x7f\u2028#", ["a", "b=9.0"], [])


def check_settings(data):
    """Bad values are named and the default holds; what is read can be written and read again."""
    choose = Chooser(data)
    key, value = choose.one_of(_BARE), choose.one_of(_VALUES)
    parts = choose.rest().split(b"\xff")
    folder = scratch() / "settings"
    folder.mkdir(exist_ok=True)
    file, user = folder / ENVIRONMENT_FILE, folder / "config.toml"
    file.write_bytes(parts[0])
    user.write_bytes(parts[1] if len(parts) > 1 else b"")
    texts = [text_of(part).replace("\0", "") for part in parts[2:]]
    environ = {field.variable: text for field, text in zip(FIELDS, texts, strict=False) if text}
    settings = load(environ, folder, user)
    document = as_dict(settings)
    json.dumps(document)
    for field in FIELDS:
        named = [problem for problem in settings.problems if field.variable in problem or repr(field.name) in problem]
        if settings.sources[field.name] == "default":
            assert getattr(settings, field.name) == field.parse(field.default)
            assert field.variable not in environ or named
        else:
            assert settings.sources[field.name] in {"environment", str(file), str(user)}
    _written_and_read(settings, folder)
    _edited(file, key, value)


def _written_and_read(settings, folder):
    """What `as_dict` says is written into a file, key by key, and means the same there."""
    clean = folder / "clean"
    clean.mkdir(exist_ok=True)
    written = clean / ENVIRONMENT_FILE
    written.unlink(missing_ok=True)
    for name, entry in as_dict(settings).items():
        try:
            set_value(written, name, entry["value"])
        except SettingsFileError as error:
            assert "UTF-8" in error.reason
            return
    again = load({}, clean, clean / "none")
    assert not again.problems
    for field in FIELDS:
        assert getattr(again, field.name) == getattr(settings, field.name), field.name


def _edited(file, key, value):
    try:
        before = read_values(file)
        set_value(file, key, value)
        after = read_values(file)
        assert after == {**before, key: value} or after != after  # noqa: PLR0124 - not a number is like nothing
        remove_value(file, key)
        before.pop(key, None)
        assert str(read_values(file)) == str(before)
    except SettingsFileError as error:
        assert error.reason


def _settings():
    example = b'mode = "masquerade"  # why\nmasquerade = ["12.0:9.0"]\nquiet = true\nsimulate = "GPU:12.0"\n'
    yield b"\1\3" + example + b"\xffdisable = 0\n\xff1\xffobserve"
    yield b"\5\6" + b"[table]\nx = 1\n"
    yield b"\4\7" + b'callers = [\n  "a=9.0", # c\n]\r\nai = """\nask"""\n'
    yield b"\0\0\xff\xff" + b"\xff".join((b"no", b"auto", b"12.*:9.0", b"a.b=true", b"12.0,x:9.0", b"provide", b"off"))


_TOML = (
    *(
        b"\xff",
        b'"""',
        b"'''",
        b"[[",
        b"]]",
        b" = ",
        b"0x",
        b"1e400",
        b"nan",
        b"inf",
        b"1979-05-27",
        b"{",
        b"}",
        b"\r\n",
    ),
    *(field.name.encode() for field in FIELDS),
    *(b"12.0:9.0", b"12.*:9.0", b"true", b"9" * 60, b"f" * 120, b"\\u00e9", b"#", b"[", b"\xef\xbb\xbf"),
)


def check_facts(data):
    """Facts are as their schema says, or are refused with a sentence; so is a file that holds them."""
    file = scratch() / "versions.toml"
    file.write_bytes(data)
    try:
        tables = versions_file.parse(versions_file.read_text(file))
    except FactsFileError as error:
        assert str(error).isascii() or str(error).isprintable()
        return
    assert versions_file.parse(data.decode("ascii")) == tables
    versions_file.dated(tables)


def _facts():
    text = (TESTS.parent / "src/rtx50_autoload/evidence/environment/versions.toml").read_text("utf-8")
    if text.isascii():
        yield text.encode()
    yield b'dated = "2026-11-22"\n[[minimum]]\ncapability = 12\ndriver = 570\ncuda = "12.8"\ntriton = "3.3"\n'


def check_machine(data):
    """A described machine gets a plan, or the description is refused with a sentence."""
    file = scratch() / "machine.toml"
    file.write_bytes(data)
    try:
        machine, goals = _described(file)
        plan = make_plan(machine, goals or ())
    except UsageError as error:
        assert str(error)
        return
    json.dumps(plan.as_json())
    for step in plan.steps:
        for command in step.commands:
            # Only code of ours has more than one line.
            before = ("", *command.arguments)
            assert all(
                word.isprintable() or last == "-c" for last, word in zip(before, command.arguments, strict=False)
            )


def _machines():
    for number, file in enumerate(sorted((TESTS / "machines").glob("*.toml"))):
        text = file.read_text("utf-8")
        if number % 3 == 0:
            yield text.partition("[expected]")[0].encode()


_MACHINE = (
    *(
        b"[[gpu]]\n",
        b"[packages]\n",
        b"[hidden]\n",
        b'name = "',
        b'capability = "',
        b'vendor = "',
        b'driver = "',
        b'torch = "',
    ),
    *(
        b'system = "windows"',
        b"memory_gib = ",
        b"cores = ",
        b'compiler = "gcc 13"',
        b'requires = ["',
        b'goals = ["run ',
        b"!",
    ),
    *(
        b'version = "',
        b'variant = "cu128"',
        b"1e308",
        b"inf",
        b"nan",
        b"9" * 60,
        b"0x" + b"f" * 60,
        b"1!2.0",
        b"+cu128",
    ),
)


def check_state(data):
    """Our own files, damaged: each reader gives what can be used, or says that it cannot be read."""
    choose = Chooser(data)
    reader = choose.one_of(_READERS)
    content = choose.rest()
    folder = scratch() / "state"
    folder.mkdir(exist_ok=True)
    reader(folder, content)


def _read_journal(folder, content):
    file = folder / "journal.json"
    file.write_bytes(content)
    try:
        story = journal._read(file)
    except FixError as error:
        assert "journal.json" in str(error)
        return
    json.dumps(story.as_json())
    assert story.last_moment is not None
    assert story.is_half_done in {True, False}
    assert story.stopped_in is None or story.stopped_in[1] in story.steps
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        for works in (True, False):
            fix_console.show_last_fix(story, works=works, on_stderr=False)


def _read_kept_state(folder, content):
    kept, _, listing = content.partition(b"\xff")
    (folder / "kept.json").write_bytes(kept)
    (folder / "freeze.txt").write_bytes(b"torch==2.9.1\n")
    (folder / "listing.txt").write_bytes(listing)
    try:
        state = saved_state.load(folder)
    except FixError as error:
        assert str(folder) in str(error)
        return
    for each in state.kept:
        assert isinstance(each.name, str)
        for file in each.files or ():
            assert isinstance(file.path, str)
            assert state.was_there(file.path) in {True, False}
            _ = state.files / file.path, file.size + 1, file.changed + 1
    assert all(isinstance(name, str) for name in state.touched)
    assert all(isinstance(one, str) for each in state.installed.values() for one in each)


def _read_incident(folder, content):
    place = folder / "incidents"
    place.mkdir(exist_ok=True)
    file = incident_files.file_of(place, _ID)
    file.write_bytes(content)
    kept = incident_files.read_all(place)
    assert len(kept.incidents) + len(kept.unreadable) == 1
    with contextlib.redirect_stdout(io.StringIO()):
        incidents_console.show_list(kept)
    for incident in kept.incidents:
        assert Incident.from_json(json.loads(json.dumps(incident.as_json()))) == incident
        situation_of(incident.environment, Situation())
        with (
            contextlib.redirect_stdout(io.StringIO()),
            mock.patch.object(incidents_console, "kept_answer", lambda _: None),
        ):
            incidents_console.show_incident(incident)
    taken = incident_files.take_up(place, _ID)
    assert (taken is None) == bool(kept.unreadable)
    shutil.rmtree(place)


def _read_answer(folder, content):
    (folder / f"{_ID}.json").write_bytes(content)
    with mock.patch.object(kept_answers, "answers_folder", lambda: folder):
        answer = kept_answers.kept_answer(_ID)
    if answer is not None:
        # As a consultation shows it.
        f"{kept_answers.datetime.fromisoformat(answer.asked).astimezone():%Y-%m-%d %H:%M}"
        assert isinstance(answer.answer, str)
        assert answer.assistant is None or isinstance(answer.assistant, str)
        assert answer.model is None or isinstance(answer.model, str)


def _read_script(folder, content):
    record, _, text = content.partition(b"\xff")
    place = folder / "scripts"
    place.mkdir(exist_ok=True)
    (place / "01234567.json").write_bytes(record)
    (place / "89abcdef.json").write_bytes(_SCRIPT)
    for name in ("01234567.sh", "01234567.ps1", "01234567.cmd", "89abcdef.sh"):
        (place / name).write_bytes(text)
    with mock.patch.object(store, "scripts_folder", lambda: place):
        scripts, problems = store.load_all()
    assert len(scripts) + len(problems) == 2
    for each in scripts:
        json.dumps(each.as_json())


_SCRIPT = (
    b'{"id": "01234567", "language": "bash", "path": "x", "assistant": "ollama", "incident": "0123456789ab", '
    b'"saved": "2026-11-22T18:27:09+00:00", "changed": false, "sha256": ""}'
)
_READERS = (_read_journal, _read_kept_state, _read_incident, _read_answer, _read_script)


def _states():
    command = {"arguments": ["pip"], "status": "done", "pid": 1, "started": "2026-11-22T18:27:09+00:00", "ended": None}
    steps = [
        {"id": "install-torch", "what": "Install.", "commands": [command, {**command, "status": "failed", "code": 1}]}
    ]
    story = {
        "prefix": "/venv",
        "pid": 7,
        "started": "2026-11-22T18:27:09+00:00",
        "status": "failed",
        "goals": ["run torch"],
    }
    yield (
        b"\0"
        + json.dumps({**story, "steps": steps, "expected": {"torch": [None]}, "added": [], "program": "0"}).encode()
    )
    file = {"path": "lib/x.py", "size": 1, "changed": 2, "link": None}
    kept = {"name": "torch", "version": "2", "info": "lib/torch.dist-info", "files": [file]}
    document = {"way": "links", "installed": {"torch": ["2"]}, "touched": ["torch"], "kept": [kept]}
    yield b"\1" + json.dumps(document).encode() + b'\xff"lib/x.py"\n"lib/y"'
    environment = {
        "gpus": [{"name": "RTX 5090", "capability": [12, 0], "vendor": "nvidia"}],
        **dict.fromkeys(("torch", "torch_variant", "cuda_toolkit", "driver", "system", "python")),
        "versions": {"torch": "2"},
        "prefix": sys.prefix,
    }
    step = FixStep("Install.", "why", ("pip install torch",), "torch", "it runs")
    diagnosis = Diagnosis("no_kernel_image", 0.9, "cause", evidence=("e",), fix=(step,), signature="x", headline="h")
    moment = kept_answers.datetime.fromisoformat("2026-11-22T18:27:09+00:00")
    incident = Incident(_ID, moment, moment, 2, "RuntimeError", "text", diagnosis, environment, "train.py", "0")
    yield b"\2" + json.dumps(incident.as_json()).encode()
    answer = {"incident": _ID, "asked": "2026-11-22T18:27:09+00:00", "assistant": "a", "model": None, "answer": "b"}
    yield b"\3" + json.dumps({**answer, "scripts": ["01234567"]}).encode()
    yield b"\4" + _SCRIPT + b"\xffecho\n"


_JSON = (
    *(
        b'{"',
        b'": "',
        b'"}',
        b"null",
        b"true",
        b"[]",
        b"{}",
        b"[[[[[[[[",
        b"1e999",
        b"NaN",
        b"-1",
        b"9" * 40,
        b"\\ud800",
    ),
    *(
        b"0001-01-01T00:00:00+00:00",
        b"9999-12-31T23:59:59-23:59",
        b"2026-11-22T18:27:09",
        b"2026-11-22",
        b'""',
        b"\\u001b[",
    ),
    *(
        b'"status"',
        b'"steps"',
        b'"started"',
        b'"commands"',
        b'"undoing"',
        b'"left"',
        b'"saving"',
        b'"files"',
        b'"saved"',
    ),
)


def check_profiles(data):
    """Each profile of a file is whole, and answers for every version; what is wrong is said in a sentence."""
    file = scratch() / "profiles.toml"
    file.write_bytes(data)
    result = read_file(file)
    for problem in map(str, result.problems):
        assert problem.startswith(f"{file}")
        assert problem.endswith(".")
    for profile in result.listed:
        for version in (None, "1.0", "2.5.dev1+local", "none"):
            assert profile.rule(version).report in {"target", "truth"}
        for rule in profile.rules:
            assert rule.reason.strip()
            assert rule.source.strip()
        for module in profile.modules:
            assert result.of(f"{module}.below") is profile


def _profiles():
    sound = profile_files.profile("a.b", distribution="'x'")
    yield sound.encode()
    rule = "[[profile.rule]]\nreport = 'truth'\nreason = 'r'\nsource = 's'\n"
    yield (sound + "versions = '>=1,<2'\nunversioned = true\n" + rule).encode()
    yield (profile_files.profile("xformers") + "adjust = ['xformers-fa3-off']\n" + sound + sound).encode()
    yield b"profile = [{library = 1, rule = [{}, 3]}]\nmode = 'auto'\n"


_PROFILE = (
    *(name.encode() for name in (*PROFILE_KEYS, *RULE_KEYS, *ADJUSTMENTS)),
    *(b"[[profile]]", b"[[profile.rule]]", b"'target'", b"'truth'", b"true", b"'>=1'", b"['", b"']", b"0xffff", b"\n"),
)


TARGETS = (
    Target("profiles", check_profiles, _profiles, _PROFILE, 1024),
    Target("settings", check_settings, _settings, _TOML, 512),
    Target("facts", check_facts, _facts, _TOML, 40_000),
    Target("machine", check_machine, _machines, _MACHINE, 1024),
    Target("state", check_state, _states, _JSON, 2048),
)
