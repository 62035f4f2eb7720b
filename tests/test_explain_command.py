"""`explain` as a person types it, and `rtx50_autoload.explain()`."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import pytest

import rtx50_autoload
from rtx50_autoload import explaining
from rtx50_autoload.cli.explain_console import show_diagnosis
from rtx50_autoload.cli.main import main
from rtx50_autoload.diagnosis import this_machine
from rtx50_autoload.diagnosis.categories import load_categories
from rtx50_autoload.diagnosis.diagnosis import Diagnosis, FixStep
from rtx50_autoload.diagnosis.incidents import record
from rtx50_autoload.diagnosis.situation import Situation

NO_KERNEL = "RuntimeError: CUDA error: no kernel image is available for execution on the device"
OLD_TORCH = {"gpu": "RTX 5090", "capability": "12.0", "torch": "2.4.1+cu124"}
KEYS = {"category", "confidence", "cause", "evidence", "missing_evidence", "culprit", "fix"}


@pytest.fixture(autouse=True)
def _own_store(tmp_path, monkeypatch):
    monkeypatch.setattr("platformdirs.user_state_path", lambda *_arguments, **_options: tmp_path / "state")


class Stdin(io.TextIOWrapper):
    """What a shell gives a program to read."""

    def __init__(self, data=b"", *, terminal=False):
        super().__init__(io.BytesIO(data), encoding="utf-8")
        self._terminal = terminal

    def isatty(self):
        return self._terminal


@pytest.fixture
def explain(monkeypatch, tmp_path, capsys):
    """Run the command, by default on another machine: an RTX 5090 with an old torch."""

    def run(*arguments, stdin=None, environment=OLD_TORCH):
        if environment is not None:
            file = tmp_path / "environment.json"
            file.write_text(json.dumps(environment))
            arguments = ("--environment", file, *arguments)
        monkeypatch.setattr(sys, "stdin", stdin)
        code = main(["explain", *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def crash(tmp_path):
    file = tmp_path / "crash.txt"
    file.write_text(NO_KERNEL)
    return file


def test_the_json_has_the_published_keys_and_a_plan_with_steps(explain, crash):
    code, out, err = explain(crash, "--json")
    answer = json.loads(out)
    assert (code, err) == (0, "")
    assert answer["category"] == "no_kernel_image"
    assert answer.keys() >= KEYS
    assert 0 <= answer["confidence"] <= 1
    assert all(isinstance(answer[name], list) for name in ("evidence", "missing_evidence", "fix"))
    for step in answer["fix"]:
        assert step.keys() >= {"step", "why", "commands", "check"}
        assert isinstance(step["commands"], list)


def test_what_is_not_of_this_kind_is_1(explain, tmp_path):
    (tmp_path / "other.txt").write_text("ValueError: x")
    code, out, _ = explain(tmp_path / "other.txt", "--json", environment=None)
    assert (code, json.loads(out)["category"]) == (1, "unrelated")


@pytest.mark.parametrize(
    "encode",
    [
        lambda text: text.encode(),
        lambda text: text.encode("utf-8-sig"),
        lambda text: text.encode("utf-16"),  # Windows PowerShell's `>`
        lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
        lambda text: text.encode("utf-16-le"),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: b"caf\xe9 \x93quoted\x94\n" + text.encode(),
        lambda text: "显卡错误\n".encode("gbk") + text.encode(),
        lambda text: b"\x1b[31m" + text.encode() + b"\x1b[0m",
        lambda text: b" 10%|###   | 1/10\r 20%|####  | 2/10\r" + text.encode(),
        lambda text: b"x\n" * 2_000_000 + text.encode(),
        lambda text: text.encode() + b"\n" + b"x\n" * 2_000_000,
        lambda text: ("x\n" * 2_000_000 + text).encode("utf-16"),
    ],
)
def test_the_text_may_be_written_in_any_way(explain, tmp_path, encode):
    file = tmp_path / "crash.log"
    file.write_bytes(encode(f"Traceback (most recent call last):\n{NO_KERNEL}\n"))
    code, out, _ = explain(file, "--json")
    assert (code, json.loads(out)["category"]) == (0, "no_kernel_image")


def test_of_a_huge_file_it_says_what_was_read(explain, tmp_path):
    (tmp_path / "huge.log").write_bytes(b"x\n" * 2_000_000)
    assert "huge.log is long: read were its first and last MiB" in explain(tmp_path / "huge.log")[2]


@pytest.mark.parametrize("arguments", [["-"], []])
def test_what_is_piped_is_read(explain, arguments):
    code, out, err = explain(*arguments, "--json", stdin=Stdin(NO_KERNEL.encode()))
    assert (code, json.loads(out)["category"], err) == (0, "no_kernel_image", "")


def test_at_a_terminal_a_dash_asks_for_the_text(explain):
    code, _, err = explain("-", stdin=Stdin(NO_KERNEL.encode(), terminal=True))
    assert code == 0
    assert "Paste the error, then press Ctrl+" in err


@pytest.mark.parametrize("stdin", [Stdin(terminal=True), None])
def test_without_anything_to_read_the_latest_incident_is_shown_as_it_was_diagnosed(explain, stdin):
    incident_id = record(Diagnosis("cpu_only_torch", 0.8, "The cause then."), NO_KERNEL, Situation()).incident_id
    code, out, _ = explain(stdin=stdin, environment=None)
    assert code == 0
    assert f"The latest incident, {incident_id}" in out
    assert "The cause then." in out


def test_the_latest_incident_can_be_explained_for_another_machine(explain):
    record(Diagnosis("cpu_only_torch", 0.8, "The cause then."), NO_KERNEL, Situation())
    code, out, _ = explain("--json", stdin=Stdin(terminal=True))
    assert (code, json.loads(out)["category"]) == (0, "no_kernel_image")


def test_without_an_incident_it_says_how_to_give_a_text(explain):
    code, out, err = explain(stdin=Stdin(terminal=True), environment=None)
    assert (code, out) == (2, "")
    assert "`rtx50-autoload explain -`" in err


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("nowhere.txt", None, "No such file"),
        (".", None, "directory"),
        ("empty.txt", b"", "is empty"),
        ("blank.txt", b" \r\n\t\n", "is empty"),
        ("mark.txt", b"\xff\xfe", "is empty"),
        ("library.so", b"\x7fELF\x02\x01\x01" + bytes(5000), "is not text"),
        ("picture.png", b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40, "is not text"),
    ],
)
def test_a_file_without_text_is_2_and_one_line_with_the_next_step(explain, tmp_path, name, data, says):
    if data is not None:
        (tmp_path / name).write_bytes(data)
    code, out, err = explain(tmp_path / name)
    assert (code, out) == (2, "")
    assert says in err
    assert "give a file that holds what the program printed" in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("stdin", [Stdin(b""), Stdin(b"\x00\x01\x02" * 100)])
def test_a_pipe_without_text_is_2(explain, stdin):
    code, out, err = explain("-", stdin=stdin)
    assert (code, out, len(err.splitlines())) == (2, "", 1)


@pytest.mark.parametrize(
    ("data", "says"),
    [(None, "No such file"), (b"{", "is not JSON"), (b"[]", "no JSON object"), (b"[" * 10**5, "JSON"), (b"", "empty")],
)
def test_a_description_of_a_machine_that_is_none_is_2(explain, crash, tmp_path, data, says):
    file = tmp_path / "machine.json"
    if data is not None:
        file.write_bytes(data)
    code, out, err = explain(crash, "--environment", file, environment=None)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert says in err
    assert '{"gpu": "RTX 5090"' in err


def test_a_capability_that_is_none_is_2(explain, crash):
    code, out, err = explain(crash, environment={"gpu": "RTX 5090", "capability": "newest"})
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert "12.0" in err


def test_a_description_of_a_machine_may_be_written_by_powershell(explain, crash, tmp_path):
    (tmp_path / "machine.json").write_bytes(json.dumps(OLD_TORCH).encode("utf-16"))
    assert explain(crash, "--environment", tmp_path / "machine.json", environment=None)[0] == 0


@pytest.mark.parametrize("options", [["--no-local-evidence"], []])
def test_with_a_description_or_by_the_text_alone_nothing_is_looked_at_here(explain, crash, monkeypatch, options):
    monkeypatch.setattr(this_machine, "look", lambda: pytest.fail("this machine was looked at"))
    assert explain(crash, *options, environment=None if options else OLD_TORCH)[0] in {0, 1}


def test_a_description_counts_though_local_evidence_is_refused(explain, crash):
    with_both = explain(crash, "--json", "--no-local-evidence")[1]
    assert json.loads(with_both) == json.loads(explain(crash, "--json")[1])


def test_local_evidence_is_the_default(installed, tmp_path):
    (tmp_path / "crash.txt").write_text(NO_KERNEL)
    env = {"RTX50_SIMULATE": "NVIDIA GeForce RTX 5090:12.0"}
    result = installed.run(installed.script("rtx50-autoload"), "explain", tmp_path / "crash.txt", "--json", env=env)
    assert (result.returncode, result.stderr) == (0, "")
    assert "5090" in result.stdout


# What is shown

LONG = "python -m pip install " + " ".join(f"a-package-with-a-long-name-{n}" for n in range(12))
RICH = Diagnosis(
    "no_kernel_image",
    0.97,
    "torch 2.4.1 holds no code for this GPU. " * 4,
    evidence=("The text says: no kernel image is available.", "torch was built for CUDA 12.4. " * 5),
    missing_evidence=("Which library it was: run it with CUDA_LAUNCH_BLOCKING=1.",),
    culprit="torch 2.4.1+cu124",
    fix=(
        FixStep("Install another torch. " * 4, "It has that code.", (LONG,), "torch is replaced.", "It runs."),
        FixStep("Install xformers anew.", "It belongs to one torch.", ("first", "second"), "", ""),
    ),
)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_it_fits_the_terminal_and_commands_stay_whole(monkeypatch, capsys, width):
    monkeypatch.setenv("COLUMNS", str(width))
    show_diagnosis(RICH)
    lines = capsys.readouterr().out.splitlines()
    commands = [line for line in lines if line.strip() == LONG]
    assert len(commands) == 1
    assert all(len(line) <= width for line in lines if line not in commands)
    assert not {"│", "┃", "|"} & set("".join(lines))


@pytest.mark.parametrize(("width", "own_line"), [(80, True), (200, False)])
def test_a_command_in_a_check_is_not_folded_either(monkeypatch, capsys, width, own_line):
    monkeypatch.setenv("COLUMNS", str(width))
    command = 'python -c "import torch; print(torch.__version__, torch.cuda.get_arch_list())"'
    step = FixStep("Do it.", "It helps.", (), "", f"`{command}` lists sm_120, and `nvidia-smi` shows the GPU.")
    show_diagnosis(Diagnosis("no_kernel_image", 1.0, "cause", fix=(step,)))
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert (command in lines) is own_line
    assert sum(command in line for line in lines) == 1
    assert any("`nvidia-smi` shows the GPU." in line for line in lines)


def test_it_leads_from_what_is_wrong_to_what_to_do(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    show_diagnosis(RICH)
    shown = capsys.readouterr().out
    landmarks = (
        load_categories()["no_kernel_image"].title,
        "no_kernel_image, 97% sure",
        "At fault: torch 2.4.1+cu124",
        "holds no code",
        "Known from:",
        "Not known:",
        "1. Install another torch.",
        "It has that code.",
        LONG,
        "Check: It runs.",
        "2. Install xformers",
        "first",
        "second",
        "If an error stays",
    )
    places = [shown.index(landmark) for landmark in landmarks]
    assert places == sorted(places)


def test_what_is_unrelated_says_where_to_look_and_names_no_confidence(explain, tmp_path):
    (tmp_path / "other.txt").write_text("ValueError: x")
    code, out, _ = explain(tmp_path / "other.txt", "--no-local-evidence", environment=None)
    assert code == 1
    assert load_categories()["unrelated"].title in out
    assert "Look for the cause in the program itself" in out
    assert "sure" not in out


def test_what_a_text_holds_does_not_command_the_terminal(capsys):
    hostile = "\x1b[2J\x1b]0;title\x07\u202eevil\r[bold]x[/bold]"
    step = FixStep(hostile, hostile, (hostile,), hostile, hostile)
    show_diagnosis(Diagnosis(hostile, 0.5, hostile, (hostile,), (hostile,), hostile, (step,)))
    out = capsys.readouterr().out
    assert not {"\x1b", "\x07", "\u202e", "\r"} & set(out)
    assert "[bold]x[/bold]" in "".join(out.split())


def test_a_terminal_without_these_characters_shows_escapes(installed, tmp_path):
    environment = {**installed.environment(), "PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"}
    code = (
        "import sys\n"
        "from rtx50_autoload.cli import explain, main\n"
        "from rtx50_autoload.diagnosis.diagnosis import Diagnosis\n"
        "import rtx50_autoload.diagnosis\n"
        "rtx50_autoload.diagnosis.classify = lambda *_: Diagnosis('other', 0.0, '\\u663e\\u5361')\n"
        "sys.exit(main.main(['explain', '-']))\n"
    )
    result = subprocess.run(
        [installed.python, "-c", code], env=environment, input=b"text", capture_output=True, cwd=tmp_path, check=False
    )
    assert (result.returncode, result.stderr) == (1, b"")
    assert rb"\u663e\u5361" in result.stdout


def test_every_category_has_words_for_a_person():
    assert all(one.title and not one.title.endswith(".") for one in load_categories().values())
    assert {name for name, one in load_categories().items() if not one.mended_by} == {
        "benign_warning",
        "unrelated",
        "other",
    }


# From Python


def test_a_program_can_ask_with_a_text_and_with_an_exception():
    assert rtx50_autoload.explain(NO_KERNEL, OLD_TORCH).category == "no_kernel_image"
    error = RuntimeError(NO_KERNEL.removeprefix("RuntimeError: "))
    assert rtx50_autoload.explain(error, OLD_TORCH) == rtx50_autoload.explain(NO_KERNEL, OLD_TORCH)
    assert rtx50_autoload.explain(ValueError("x"), {}).category == "unrelated"


@pytest.fixture
def text_of(monkeypatch):
    """Give the text that the classifier is asked about."""
    asked = []
    monkeypatch.setattr(explaining, "classify", lambda text, _situation: asked.append(text))

    def ask(error):
        explaining.explain(error, {})
        return asked[-1]

    return ask


def test_of_an_exception_all_that_a_traceback_shows_is_read(text_of):
    with pytest.raises(ImportError, match="the error") as caught:
        raise ImportError("the error") from OSError("the cause")
    caught.value.__notes__ = ["a note of somebody", "rtx50-autoload: what we said\nrtx50-autoload: in two lines"]
    caught.value.__cause__.__notes__ = ["a note on the cause"]
    text = text_of(caught.value)
    assert "Traceback (most recent call last)" in text
    assert "ImportError: the error" in text
    assert text.index("OSError: the cause") < text.index("direct cause") < text.index("ImportError: the error")
    assert "a note of somebody" in text
    assert "a note on the cause" in text
    assert "what we said" not in text
    assert "in two lines" not in text


def test_what_this_package_has_said_in_a_log_is_no_evidence(text_of):
    text = f"before\n  | rtx50-autoload: no kernel image\n    rtx50-autoload: again\n{NO_KERNEL}\nrtx50-autoload: end"
    assert text_of(text) == f"before\n{NO_KERNEL}\n"


def test_exceptions_that_are_linked_in_a_circle_come_to_an_end(text_of):
    one, other = ValueError("one"), ValueError("other")
    one.__context__, other.__context__ = other, one
    assert "ValueError: one" in text_of(one)


def test_an_exception_that_cannot_be_written_is_explained_all_the_same(text_of):
    class BrokenError(Exception):
        def __str__(self):
            raise RuntimeError("no text")

    assert "BrokenError" in text_of(BrokenError())
