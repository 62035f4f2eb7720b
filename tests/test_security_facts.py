"""Descriptions of machines and files of facts from anywhere: what they say never becomes an option or a command."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from rtx50_autoload.evidence.environment import versions_file
from rtx50_autoload.evidence.environment.versions_schema import FactsFileError
from rtx50_autoload.installer.describe import MachineError, read_goals, read_machine
from rtx50_autoload.installer.environment import Environment
from rtx50_autoload.installer.plan import Command, Plan, Step
from rtx50_autoload.installer.script import quote_for_powershell, script

FACTS = Path(versions_file.__file__).with_name("versions.toml").read_text(encoding="utf-8")
#: What would be another thing than a name or a version to pip, uv or a shell.
EVIL = (
    "--index-url=https://evil.example/simple", "-e .", "-r /tmp/x", "torch; rm -rf ~", "$(touch x)", "`touch x`",
    "torch @ https://evil.example/t.whl", "../../evil.whl", "./evil", "a b", "a\nb", "a\x00b", "'", '"', "a|b", "a&b",
    "git+https://evil.example/x", "torch[evil]", "C:\\evil.whl", "\u202etorch",
)  # fmt: skip


@pytest.mark.parametrize("evil", EVIL)
@pytest.mark.parametrize(
    "line",
    [
        'package = "xformers"',
        'version = "2.9.1"',
        'variant = "cu128"',
        'url = "https://download.pytorch.org/whl/cu128"',
        'torchvision = "0.24.1"',
    ],
)
def test_a_file_of_facts_with_anything_but_names_and_versions_is_refused(line, evil):
    assert line in FACTS
    key = line.partition(" ")[0]
    quoted = "".join(f"\\u{ord(each):04x}" if each in '"\\' or not each.isprintable() else each for each in evil)
    with pytest.raises(FactsFileError):
        versions_file.parse(FACTS.replace(line, f'{key} = "{quoted}"', 1))


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/whl/cu128",
        "https://download.pytorch.org.evil.example/whl/cu128",
        "https://download.pytorch.org@evil.example/whl/cu128",
        "https://download.pytorch.org:8443/whl/cu128",
        "https://downloadxpytorch.org/whl/cu128",
        "http://download.pytorch.org/whl/cu128",
        "file:///tmp/whl",
    ],
)
def test_a_file_of_facts_cannot_name_another_index(url):
    with pytest.raises(FactsFileError, match="an address of PyTorch's own"):
        versions_file.parse(FACTS.replace("https://download.pytorch.org/whl/cu128", url))


@pytest.mark.parametrize("evil", EVIL)
def test_a_described_machine_names_packages_and_nothing_else(evil):
    for description in (
        {"packages": {"torch": evil}},
        {"packages": {"torch": {"version": evil}}},
        {"packages": {evil: "1.0"}},
        {"python": evil},
        {"driver": evil},
        {"goals": [f"build {evil}"]},
    ):
        try:
            machine, goals = read_machine(description), read_goals(description)
        except MachineError:
            continue
        names = [*machine.packages, *(goal.package for goal in goals)]
        assert not names, (description, names)


HOSTILE_PATHS = (
    "/opt/my env/bin/python", "/opt/it's/bin/python", '/opt/"q"/bin/python', "/opt/$(touch pwned)/bin/python",
    "/opt/`touch pwned`/python", "/opt/a;touch pwned;/python", "/opt/a\ntouch pwned\n/python", "/opt/\\/python",
    "/opt/-rf/python", "/opt/$HOME/${IFS}/python", "/opt/\u2018x\u2019/python", "/opt/%PATH%/!x!/python",
)  # fmt: skip


def plan_of(*commands, what="Do it."):
    step = Step("a-step", what, "Why.", tuple(commands))
    return Plan((), "steps", "Some steps.", "2026-11-22", (step,))


@pytest.mark.parametrize("path", HOSTILE_PATHS)
def test_a_script_takes_every_path_for_one_word(path, tmp_path):
    environment = replace(Environment.active(), executable=Path(path), prefix=Path(path).parent)
    command = Command((path, "-m", "pip", "install", "torch"), {"CUDA_HOME": path})
    text = script(plan_of(command, what=f"Do {path}."), environment, "sh")
    file = tmp_path / "fix.sh"
    file.write_text(text, encoding="utf-8")
    shell = shutil.which("sh")
    if shell is None:
        pytest.skip("needs a POSIX shell: sh is not on the PATH")
    assert subprocess.run([shell, "-n", file], check=False).returncode == 0
    # The shell itself says what it makes of the word.
    quoted = shlex.quote(path)
    assert quoted in text
    said = subprocess.run(
        [shell, "-c", f"printf %s {quoted}"], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert said.stdout == path
    subprocess.run([shell, file], capture_output=True, check=False, cwd=tmp_path, timeout=60)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("path", HOSTILE_PATHS)
def test_powershell_takes_every_path_for_one_word(path):
    quoted = quote_for_powershell(path)
    assert (quoted[0], quoted[-1]) == ("'", "'")
    inside = quoted[1:-1]
    for mark in "'\u2018\u2019\u201a\u201b":
        assert inside.count(mark) == 2 * path.count(mark)
