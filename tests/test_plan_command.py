"""`plan` as a person types it: what it prints, its JSON, its exit codes, and what it says of bad input."""

from __future__ import annotations

import json
import re
import sys
from datetime import date, timedelta
from pathlib import Path

import pytest

from rtx50_autoload.errors import UsageError
from rtx50_autoload.installer.describe import read_goals, read_machine

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MACHINES = Path(__file__).parent / "machines"

WIDTH = 60


@pytest.fixture
def plan(installed):
    def run(*arguments, **variables):
        env = {"COLUMNS": str(WIDTH), **variables}
        return installed.run(installed.script("rtx50-autoload"), "plan", *arguments, env=env)

    return run


@pytest.fixture
def described(plan):
    def run(name, *arguments, **variables):
        return plan("--machine", MACHINES / f"{name}.toml", *arguments, **variables)

    return run


def read(description):
    return read_machine(description), read_goals(description)


@pytest.mark.parametrize(
    ("name", "code", "begins"),
    [
        ("sound-5090", 0, "Nothing to do: torch 2.9.1+cu128 has code for"),
        ("desktop-5070", 1, "2 steps to have torch run on"),
        ("amd-card", 1, "Nothing can be done here:"),
    ],
)
def test_the_exit_code_says_whether_there_is_something_to_do(described, name, code, begins):
    result = described(name)
    assert result.returncode == code
    assert f"\n\n{begins}" in result.stdout
    assert not result.stderr


def test_what_is_read_fits_60_columns_and_commands_are_whole(described):
    out = described("laptop-5070-ti-windows-cpu-wheel").stdout
    command = (
        r"C:\Users\me\project\.venv\Scripts\python.exe -m pip install torch==2.8.0+cu128 torchvision==0.23.0+cu128 "
        "--index-url https://download.pytorch.org/whl/cu128"
    )
    assert command in [line.strip() for line in out.splitlines()]
    long = [line for line in out.splitlines() if len(line.rstrip()) > WIDTH]
    assert all("python.exe" in line for line in long), long
    assert out.index("2 steps to have torch run") < out.index("1. Install torch 2.8.0") < out.index("2. Look whether")
    assert "Changes: torch 2.8.0+cpu -> 2.8.0+cu128" in out
    assert "Way back: Install what was there:" in out
    assert "--index-url https://download.pytorch.org/whl/cpu" in out


def test_a_terminal_of_old_windows_can_show_it(described):
    result = described("flash-attn-for-another-torch", PYTHONIOENCODING="cp1252", NO_COLOR="1")
    assert result.stdout.isascii()
    assert "\x1b" not in result.stdout


def test_a_variable_is_for_the_one_command_alone(described):
    out = described("build-flash-attn-without-memory").stdout
    (build,) = (line.strip() for line in out.splitlines() if "--no-build-isolation" in line and "pip" in line)
    assert re.match(r"(\w+=\S* )+python -m pip install ", build)
    assert "MAX_JOBS=" in build


def test_what_would_break_is_said_before_anything_is_done(described):
    result = described("pinned-by-another-package")
    words = " ".join(result.stdout.split())
    assert "But they break what other packages need." in words
    assert "audiocraft needs torch==2.1.0; the plan has torch 2.15.0+cu130" in words


def test_of_a_long_list_the_first_are_named(plan, tmp_path):
    file = tmp_path / "machine.toml"
    apps = "\n".join(f'app-{number:02} = {{ version = "1", requires = ["torch==2.6.0"] }}' for number in range(20))
    text = (MACHINES / "full-disk.toml").read_text(encoding="utf-8").partition("[expected]")[0]
    file.write_text(f"{text}\n{apps}\n", encoding="utf-8")
    out = plan("--machine", file).stdout
    assert "app-11 needs torch==2.6.0" in out
    assert "app-12" not in out
    assert "and 8 more; --json lists all" in out
    assert len(json.loads(plan("--machine", file, "--json").stdout)["conflicts"]) == 20


def test_a_plan_is_json_on_stdout(described):
    result = described("linux-driver-550", "--json")
    document = json.loads(result.stdout)
    assert result.returncode == 1
    assert document.keys() == {
        "goals",
        "outcome",
        "summary",
        "facts_of",
        "steps",
        "conflicts",
        "unsolved",
    }
    driver, torch, check = document["steps"]
    assert (driver["id"], torch["id"], check["id"]) == ("update-driver", "install-torch", "check")
    assert driver["by_hand"]
    assert not driver["commands"]
    (command,) = torch["commands"]
    assert command["arguments"][:4] == ["python", "-m", "pip", "install"]
    assert "--extra-index-url" not in command["arguments"]
    assert torch["changes"] == [{"package": "torch", "before": "2.5.1+cu124", "after": "2.15.0+cu130"}]
    assert all(step["why"] and step["check"] for step in document["steps"])


def test_what_is_wanted_on_the_command_line_comes_before_what_a_file_wants(described):
    goals = json.loads(described("xformers-for-another-torch", "--json").stdout)["goals"]
    assert goals == ["run xformers"]
    arguments = ("--run", "torch", "--run", "bitsandbytes", "--build", "Flash_Attn", "--json")
    goals = json.loads(described("xformers-for-another-torch", *arguments).stdout)["goals"]
    assert goals == ["run torch", "run bitsandbytes", "build flash-attn"]


def test_the_plan_for_this_machine_names_its_own_python(plan, installed):
    env = {"RTX50_SIMULATE": "NVIDIA GeForce RTX 5090:12.0"}
    document = json.loads(plan("--json", **env).stdout)
    step = next(step for step in document["steps"] if step["id"] == "install-torch")
    assert str(installed.python) in step["commands"][0]["arguments"]
    assert step["changes"][0]["before"] is None


def test_a_plan_changes_nothing_and_starts_no_installer(installed):
    code = """
    import runpy, sys
    def watch(event, arguments):
        if event == "subprocess.Popen":
            assert not {"pip", "uv"} & set(map(str, arguments[1])), arguments
        assert not event.startswith("socket.connect"), arguments
    sys.addaudithook(watch)
    sys.argv = ["rtx50-autoload", "plan"]
    runpy.run_module("rtx50_autoload", run_name="__main__")
    """
    before = installed.snapshot()
    result = installed.run_code(code, env={"RTX50_SIMULATE": "NVIDIA GeForce RTX 5090:12.0"}, check=False)
    assert "Install torch" in result.stdout, result.stderr
    assert installed.snapshot() == before


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty; give a file that holds a machine in TOML"),
        ("driver = ", "is not TOML"),
        ("gpus = 1", '"gpus" is not known here; there is compiler, container'),
    ],
)
def test_a_file_that_describes_no_machine_is_wrong_usage(plan, tmp_path, text, says):
    file = tmp_path / "machine.toml"
    file.write_text(text, encoding="utf-8")
    result = plan("--machine", file)
    assert result.returncode == 2
    assert not result.stdout
    (line,) = result.stderr.splitlines()
    assert says in line
    assert str(file) in line


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("gpus = 1", '"gpus" is not known here; there is compiler, container'),
        ('system = "beos"', "\"system\" has to be one of linux, wsl, windows, macos; not 'beos'"),
        ("driver = 580", '"driver" has to be a text such as "570.124.06"; not 580'),
        ('[[gpu]]\ncapability = "12.0"', '"gpu.name" has to be what the driver calls it'),
        ('[[gpu]]\nname = "RTX 5090"\ncapability = "12"', "'12' is not a compute capability such as 12.0"),
        ('[packages]\ntorch = "newest"', '"packages.torch" has to be a version such as "2.9.1+cu128"'),
        ('[packages]\nvllm = { version = "1", requires = ["torch=2"] }', '"packages.vllm.requires" lists requirements'),
        ('goals = ["torch"]', '"goals" lists texts such as "run torch"'),
        ("memory_gib = -1", '"memory_gib" has to be a number above 0'),
    ],
)
def test_what_cannot_be_understood_of_a_machine_is_said_with_what_could_be(text, says):
    with pytest.raises(UsageError, match=re.escape(says)):
        read(tomllib.loads(text))


def test_a_file_that_is_not_there_is_wrong_usage(plan, tmp_path):
    result = plan("--machine", tmp_path / "none.toml")
    assert result.returncode == 2
    assert "cannot be read" in result.stderr


def test_a_package_that_nothing_is_known_of_is_wrong_usage(plan):
    result = plan("--run", "nosuch")
    assert result.returncode == 2
    assert "nothing is known of 'nosuch' here; what can be wanted: bitsandbytes, flash-attn, " in result.stderr


def test_newer_facts_are_taken_from_a_file_and_kept(make_venv, tmp_path):
    venv = make_venv()
    package = venv.site_packages / "rtx50_autoload" / "evidence" / "environment" / "versions.toml"
    text = package.read_text(encoding="utf-8")
    old = re.search(r'^dated = "(\S+)"', text, re.MULTILINE)[1]
    # The facts of the day after are the same.
    newer = str(date.fromisoformat(old) + timedelta(days=1))
    file = tmp_path / "versions.toml"
    file.write_text(text.replace(f'dated = "{old}"', f'dated = "{newer}"'), encoding="utf-8")
    command = (venv.script("rtx50-autoload"), "plan", "--json", "--machine", MACHINES / "sound-5090.toml")
    first = venv.run(*command, "--refresh-facts", file)
    assert first.returncode == 0, first.stderr
    assert f"the facts of {newer} are used from now on, those of {old} no longer" in first.stderr
    second = venv.run(*command)
    assert json.loads(first.stdout)["facts_of"] == json.loads(second.stdout)["facts_of"] == newer
    assert not second.stderr
    again = venv.run(*command, "--refresh-facts", file)
    assert again.returncode == 2
    assert "not newer" in again.stderr


@pytest.mark.parametrize("value", [None, [], "machine", 1])
def test_a_description_that_is_no_table_is_refused(value):
    with pytest.raises(UsageError, match="has to be a table"):
        read_machine(value)
