"""A plan as a script: it does what the plan says, in its environment and in no other."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

import rig
from rtx50_autoload.installer.environment import Environment
from rtx50_autoload.installer.plan import Command, Plan, Step
from rtx50_autoload.installer.script import language_of, quote_for_powershell, script

_ODD = ("it's", 'a "word"', "$HOME", "$(touch here)", "`touch here`", "back\\slash", "new\nline", "*", "")


def plan_of(*commands, **more):
    steps = (Step("a", "Do\nsomething `touch here`", "Because of $(touch here)", commands, **more),)
    return Plan((), "steps", "One step\nrm -rf here", "2026-11-22", steps)


def run_script(tmp_path, text):
    file = tmp_path / "script.sh"
    file.write_text(text, encoding="utf-8")
    subprocess.run(["/bin/sh", "-n", str(file)], check=True)
    return subprocess.run(["/bin/sh", str(file)], cwd=tmp_path, capture_output=True, text=True, check=False)


def test_the_script_does_what_the_plan_says(uv_bench, tmp_path):
    uv_bench.plan(uv_bench.install("six==1.16.0"), uv_bench.step(uv_bench.command("uninstall", "idna")))
    file = tmp_path / "mend.sh"
    written = uv_bench.fix("--script", str(file))
    assert written.returncode == 1, rig.describe(written)
    assert uv_bench.is_as_before()
    for shell in filter(None, map(shutil.which, ("sh", "bash", "dash"))):
        uv_bench.venv.run(shell, "-n", str(file), check=True)
    path = f"{uv_bench.venv.script('python').parent}:/usr/bin:/bin"
    result = uv_bench.venv.run(
        "/bin/sh", str(file), env={"PATH": path, "PIP_TARGET": "/nowhere"}, cwd=tmp_path, check=True
    )
    assert "Step 2" in result.stdout
    assert (uv_bench.version("six"), uv_bench.version("idna")) == ("1.16.0", None)
    (frozen,) = tmp_path.glob("freeze-before-*.txt")
    assert "six==1.15.0" in frozen.read_text(encoding="utf-8")


def test_a_script_that_is_there_is_not_written_over(uv_bench, tmp_path):
    uv_bench.plan(uv_bench.install("six==1.16.0"))
    file = tmp_path / "mend.sh"
    file.write_text("mine", encoding="utf-8")
    result = uv_bench.fix("--script", str(file))
    assert result.returncode == 2
    assert "exists" in result.stderr
    assert file.read_text(encoding="utf-8") == "mine"


def test_words_reach_the_command_as_they_are(tmp_path):
    environment = Environment.active()
    code = "import sys; print(sys.argv[1:])"
    result = run_script(
        tmp_path, script(plan_of(Command((str(environment.executable), "-c", code, *_ODD))), environment, "sh")
    )
    assert repr(list(_ODD)) in result.stdout, result.stderr
    assert not (tmp_path / "here").exists()


def test_variables_of_a_command_are_set_for_it_alone(tmp_path):
    environment = Environment.active()
    python = str(environment.executable)
    code = "import os; print('value', repr(os.environ.get('MINE')))"
    plan = plan_of(Command((python, "-c", code), {"MINE": "it's $HOME"}), Command((python, "-c", code)))
    result = run_script(tmp_path, script(plan, environment, "sh"))
    assert [line for line in result.stdout.splitlines() if line.startswith("value")] == [
        'value "it\'s $HOME"',
        "value None",
    ]


def test_the_script_stops_at_the_first_failure(tmp_path):
    environment = Environment.active()
    python = str(environment.executable)
    plan = plan_of(Command((python, "-c", "raise SystemExit(7)")), Command((python, "-c", "print('went on')")))
    result = run_script(tmp_path, script(plan, environment, "sh"))
    assert result.returncode == 7
    assert "went on" not in result.stdout


def test_the_script_refuses_another_environment(tmp_path):
    active = Environment.active()
    other = Environment(active.executable, tmp_path / "other", active.folders, active.scripts)
    result = run_script(tmp_path, script(plan_of(Command((str(active.executable), "-c", "print('ran')"))), other, "sh"))
    assert result.returncode == 2
    assert "Nothing was changed" in result.stderr
    assert "ran" not in result.stdout


def test_what_a_person_has_to_do_ends_the_script(tmp_path):
    environment = Environment.active()
    steps = (
        Step("a", "Restart", "Why", by_hand=("Restart the computer.",)),
        Step("b", "Go on", "Why", (Command((str(environment.executable), "-c", "print('went on')")),)),
    )
    result = run_script(tmp_path, script(Plan((), "steps", "Two steps.", "2026-11-22", steps), environment, "sh"))
    assert result.returncode == 3
    assert "Restart the computer." in result.stdout
    assert "went on" not in result.stdout


def test_powershell_takes_words_as_they_are():
    # Its rule: between single quotation marks nothing is replaced, and every mark that it takes for one is doubled.
    assert quote_for_powershell("it's $HOME `n") == "'it''s $HOME `n'"
    assert quote_for_powershell("\u2018\u2019\u201a\u201b") == "'\u2018\u2018\u2019\u2019\u201a\u201a\u201b\u201b'"
    text = script(plan_of(Command(("python", "a'b"), {"MINE": "x"})), Environment.active(), "powershell")
    lines = text.splitlines()
    command = lines.index("& 'python' 'a''b'")
    assert lines[command - 1] == "$env:MINE = 'x'"
    assert lines[command + 1] == "if ($LASTEXITCODE -ne 0) { exit $LASTEXITCODE }"
    assert "rm -rf here" in next(line for line in lines if line.startswith("# Written by"))


@pytest.mark.parametrize(("name", "language"), [("a.ps1", "powershell"), ("a.PS1", "powershell"), ("a.sh", "sh")])
def test_the_name_of_the_file_chooses_the_language(name, language):
    assert language_of(Path(name)) == language
