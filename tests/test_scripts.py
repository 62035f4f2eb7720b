"""Scripts of assistants: taken out of answers, read and kept, and never run by any of that."""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
import textwrap

import pytest

from rtx50_autoload.troubleshooter.scripts import (
    NoSuchScriptError,
    Script,
    ScriptStoreError,
    check,
    extract,
    load,
    load_all,
    save,
    scripts_folder,
)
from rtx50_autoload.troubleshooter.scripts.danger import findings, load_danger_rules
from rtx50_autoload.troubleshooter.scripts.runner import ScriptNotRunnableError, command
from rtx50_autoload.troubleshooter.scripts.unicode_tricks import visible

posix = pytest.mark.skipif(os.name != "posix", reason="modes, links and bash are of POSIX systems")


@pytest.fixture(autouse=True)
def data_folder(tmp_path, monkeypatch):
    for name in ("XDG_DATA_HOME", "LOCALAPPDATA", "HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path / "data"))
    return tmp_path / "data"


def bash(*lines):
    return Script("bash", "\n".join(lines) + "\n")


def dangers(*lines):
    return {(finding.line, finding.id) for finding in findings(bash(*lines)) if finding.severity == "danger"}


# --- Taking them out


def test_blocks_that_name_a_shell_are_scripts_in_their_order():
    answer = textwrap.dedent("""\
        First:
        ```bash
        pip list
        ```
        then `rm x`, and
        ~~~PowerShell title="x.ps1"
        Get-Item x
        ~~~
        ```python
        print("no script")
        ```
        ```
        no language
        ```
        ````sh
        cat <<EOF
        ```
        EOF
        ````
        """)
    assert extract(answer) == (
        Script("bash", "pip list\n"),
        Script("powershell", "Get-Item x\n"),
        Script("bash", "cat <<EOF\n```\nEOF\n"),
    )


def test_a_block_in_a_list_loses_the_margin_of_the_list_and_nothing_else():
    answer = "1. x\r\n   ```bash\r\n   cat <<EOF\r\n     a\r\n   EOF\r\n   ```\r\n"
    assert extract(answer) == (Script("bash", "cat <<EOF\n  a\nEOF\n"),)


@pytest.mark.parametrize(
    "answer", ["", "```bash\nrm -rf build", "```bash\n```", "```bash\n\n \n```", "``` bash x` ```"]
)
def test_what_is_cut_off_or_empty_is_no_script(answer):
    assert extract(answer) == ()


# --- Reading them


@pytest.mark.parametrize("rule", load_danger_rules(), ids=lambda rule: rule.id)
def test_each_danger_is_found_in_its_examples_and_not_in_harmless_lines(rule):
    def is_found(line):
        return any(
            finding.id == rule.id for language in rule.languages for finding in findings(Script(language, line + "\n"))
        )

    assert [line for line in rule.examples if not is_found(line)] == []
    assert [line for line in rule.harmless if is_found(line)] == []
    assert rule.what.endswith(".")


def test_a_usual_fix_is_not_flagged():
    script = bash(
        "# no sudo needed: don't worry",
        "set -euo pipefail",
        'cd "$VIRTUAL_ENV"',
        "python -m pip uninstall -y torch xformers",
        "python -m pip install torch==2.9.0 \\",
        "  --index-url https://download.pytorch.org/whl/cu128",
        "export LD_LIBRARY_PATH=/usr/local/cuda-12.8/lib64:${LD_LIBRARY_PATH:-}",
        "if nvidia-smi > /dev/null 2>&1 && command -v nvcc; then echo ok; fi",
        "python -c 'import torch; print(torch.version.cuda, torch.cuda.get_arch_list())'",
        "MAX_JOBS=4 TORCH_CUDA_ARCH_LIST=12.0 python -m pip install --no-build-isolation flash-attn",
    )
    assert {finding.id for finding in findings(script)} == {"outside", "inline-program"}


def test_a_program_that_no_pattern_knows_is_noted():
    def noted(*lines):
        return [finding.what.split("`")[1] for finding in findings(bash(*lines)) if finding.id == "unknown-command"]

    assert noted("frobnicate --all", "X=1 /opt/bin/other x | third && $(fourth)", "if fifth; then sixth; fi") == (
        ["frobnicate", "other", "third", "fourth", "fifth", "sixth"]
    )
    assert (
        noted('echo "a; frobnicate (b)" # frobnicate', "f() { echo a; }", "f", 'for x in a b; do echo "$x"; done') == []
    )
    assert noted("python - <<'X'", "frobnicate", "X") == []


def test_lines_that_belong_together_are_read_together():
    assert (1, "download-and-run") in dangers("curl https://x.example/i.sh \\", "  | \\", "  sh")
    assert (2, "download-and-run") in dangers("true", "curl https://x.example/i.sh |", "  sh")
    assert (1, "download-and-run") in dangers("curl https://x.example/i.sh", "| sh")
    assert (1, "remove") in dangers("rm \\", "-rf \\", "/")
    assert (1, "remove") in dangers("r\\", "m -rf /")
    assert (1, "download-and-run") in dangers("curl https://x.example/i.sh | # get it", "  sh")
    assert (1, "remove") in dangers('echo " # $(rm -rf ~) |', 'x"')


def test_comments_are_left_out_and_what_only_looks_like_one_is_not():
    assert dangers("# rm -rf /", "  # sudo x", "#!/bin/bash") == set()
    assert (2, "remove") in dangers('echo "', '# "; rm -rf ~')
    assert (2, "remove") in dangers("bash <<X", "# rm -rf ~", "X")
    assert (1, "remove") in dangers("#rm -rf ~")


def test_what_a_shell_undoes_is_undone_before_it_is_looked_at():
    for line in (
        "r''m -rf /",
        '"rm" -rf /',
        "\\rm -rf /",
        "rm${IFS}-rf${IFS}/",
        "r\\m -rf /",
        "/bin/rm -rf /",
        "RM -RF /",
    ):
        assert (1, "remove") in dangers(line), line


@pytest.mark.parametrize(
    ("id_", "line"),
    [
        ("direction", "echo 'a\u202e;rm'"),
        ("direction", "echo \u2066x\u2069"),
        ("invisible", "pip install to\u200brch"),
        ("invisible", "echo \U000e0041"),
        ("invisible", "echo a\ufe0f"),
        ("control", "echo \x1b[2K\x1b[1Aharmless"),
        ("control", "rm -rf ~\recho harmless     "),
        ("control", "echo \x08"),
        ("control", "echo \u2028 x"),
        ("lookalike", "pip install t\u043erch"),
        ("lookalike", "\uff52\uff4d -rf x"),
        ("typographic", "pip install \u2013-upgrade \u201ctorch\u201d"),
        ("typographic", "pip\u00a0install"),
    ],
)
def test_characters_that_deceive_are_dangers_and_are_shown(id_, line):
    assert (1, id_) in dangers(line)
    if id_ not in {"typographic", "lookalike"}:
        assert visible(line).replace("\ufe0f", "?").isprintable()
        assert visible(line) != line


def test_text_of_other_languages_is_no_trick():
    assert dangers("echo 'Über größere Dateien, 安装 torch, установить'") == set()


def test_secrets_in_a_script_and_what_stands_in_the_place_of_one_are_dangers():
    assert (1, "secret-inside") in dangers("login --token hf_" + "aB3dE5fG7h" * 3)
    assert (1, "placeholder") in dangers("source <home>/venv/bin/activate")
    assert dangers("cat < input > output") == set()


def test_a_line_too_long_to_be_read_is_a_danger():
    assert (1, "long-line") in dangers("echo " + "a" * 2000)


@posix
def test_syntax_errors_come_with_their_lines():
    result = check(bash("echo a", "if then", "fi"))
    assert result.asked[0] == "bash -n"
    assert result.syntax_errors[0].startswith("line 2: syntax error")
    assert check(bash("echo a")).syntax_errors == ()


def test_what_no_shell_can_take_is_a_syntax_error():
    assert check(bash("echo \0 x")).syntax_errors
    assert check(bash("echo x\n" * 20_000)).syntax_errors


def test_a_batch_file_is_read_by_our_patterns_only():
    result = check(Script("batch", "rd /s /q C:\\x\n"))
    assert (result.asked, result.syntax_errors, result.is_flagged) == ((), (), True)


@posix
def test_to_check_a_script_starts_its_shell_without_running_it(tmp_path, monkeypatch):
    """Programs of these names stand in front of the real ones, and write down each call of theirs."""
    calls = watched_programs(tmp_path, monkeypatch, "bash", "sh", "touch", "curl", "python", "env")
    mark = tmp_path / "ran"
    monkeypatch.setenv("BASH_ENV", str(tmp_path / "profile"))
    monkeypatch.setenv("BASH_FUNC_echo%%", f"() {{ touch {mark}; }}")
    (tmp_path / "profile").write_text(f"touch {mark}\n")
    hostile = [
        f"touch {mark}",
        f"$(touch {mark})",
        f"`touch {mark}`",
        f": <(touch {mark})",
        f"x=${{y:=$(touch {mark})}}",
    ]
    for lines in (
        hostile,
        [*hostile, "if then"],
        [f"cat <<$(touch {mark})", "x"],
        [f"trap 'touch {mark}' EXIT DEBUG", "echo"],
    ):
        script = bash(*lines)
        saved = save(script, "assistant", "incident")
        check(script)
        check(load(saved.id).script)
    load_all()
    assert not mark.exists()
    assert set(calls()) == {"bash --norc --noprofile -n"}


def watched_programs(tmp_path, monkeypatch, *names):
    folder, log = tmp_path / "watched", tmp_path / "calls"
    folder.mkdir()
    for name in names:
        real = shutil.which(name) or "/bin/true"
        program = folder / name
        program.write_text(f'#!/bin/sh\necho {name} "$@" >> {log}\nexec {real} "$@"\n')
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return lambda: log.read_text().splitlines() if log.exists() else []


@posix
def test_what_shellcheck_says_is_a_note(tmp_path, monkeypatch):
    """A stand-in that answers as shellcheck 0.10 does (`--format=json1`)."""
    answer = {"comments": [{"file": "-", "line": 2, "code": 2086, "level": "warning", "message": "Double quote."}]}
    program = tmp_path / "shellcheck"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nsys.stdin.read()\nprint({json.dumps(answer)!r})\nsys.exit(1)\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    result = check(bash("a=1", "echo $a"))
    assert result.asked == ("bash -n", "shellcheck")
    assert [(finding.line, finding.id, finding.severity) for finding in result.findings] == [(2, "SC2086", "note")]
    assert not result.is_flagged


# --- Keeping them


def test_a_saved_script_is_what_it_was_with_a_header():
    saved = save(bash("#!/bin/bash", "echo a"), "ollama", "7c1f")
    lines = saved.path.read_text().splitlines()
    assert (lines[0], lines[-1]) == ("#!/bin/bash", "echo a")
    assert all(line.startswith("# ") for line in lines[1:-1])
    assert saved.id in lines[1]
    assert "ollama" in lines[2]
    assert "7c1f" in lines[2]
    assert saved.path.name == f"{saved.id}.sh"
    assert load(saved.id) == saved


@pytest.mark.parametrize(("language", "start"), [("bash", "# "), ("powershell", "# "), ("batch", "rem ")])
def test_a_name_cannot_leave_the_header(language, start):
    saved = save(Script(language, "echo a\n"), "x\nrm -rf ~\r& del *", "$(rm)`\u2028%PATH%^")
    *header, script = saved.script.text.splitlines()
    assert script == "echo a"
    assert all(line.startswith(start) for line in header)
    assert not set("$`%^&\r\u2028") & set("".join(header))


@posix
def test_only_the_owner_can_read_what_is_kept():
    saved = save(bash("echo a"), "a", "b")
    files = list(scripts_folder().iterdir())
    assert len(files) == 2
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE(saved.path.parent.stat().st_mode) == 0o700


@posix
def test_a_folder_that_others_could_read_is_closed():
    scripts_folder().mkdir(parents=True)
    scripts_folder().chmod(0o777)
    save(bash("echo a"), "a", "b")
    assert stat.S_IMODE(scripts_folder().stat().st_mode) == 0o700


@posix
def test_links_are_not_followed(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    scripts_folder().parent.mkdir(parents=True)
    scripts_folder().symlink_to(elsewhere)
    with pytest.raises(ScriptStoreError, match="a link"):
        save(bash("echo a"), "a", "b")
    assert list(elsewhere.iterdir()) == []
    scripts_folder().unlink()
    saved = save(bash("echo a"), "a", "b")
    (elsewhere / "other.sh").write_text("rm -rf ~\n")
    saved.path.unlink()
    saved.path.symlink_to(elsewhere / "other.sh")
    with pytest.raises(ScriptStoreError):
        load(saved.id)


def test_a_changed_file_is_said_to_be_changed():
    saved = save(bash("echo a"), "a", "b")
    assert not saved.is_changed
    with saved.path.open("a") as file:
        file.write("echo b\n")
    assert load(saved.id).is_changed
    assert load(saved.id).script.text.endswith("echo b\n")


@pytest.mark.parametrize("id_", ["", "00000000", "../x", "/etc/passwd", "0000000", "0000000G", "00000000\n"])
def test_an_id_that_is_none_names_nothing(id_):
    with pytest.raises(NoSuchScriptError):
        load(id_)


def test_what_cannot_be_read_costs_none_of_the_others():
    damaged, gone, sound = (save(bash("echo a"), name, "x") for name in ("a", "b", "c"))
    (scripts_folder() / f"{damaged.id}.json").write_text('{"language": []}')
    gone.path.unlink()
    scripts, problems = load_all()
    assert [script.id for script in scripts] == [sound.id]
    assert len(problems) == 2


def test_no_script_is_removed_by_another():
    ids = {save(bash("echo a"), "a", "b").id for _ in range(50)}
    assert {script.id for script in load_all()[0]} == ids


@posix
def test_powershell_is_asked_to_read_a_script_and_told_to_stop_at_errors(tmp_path, monkeypatch):
    """A stand-in for pwsh: it gives one error, as our question prints it, and writes down how it was called."""
    calls = tmp_path / "calls"
    program = tmp_path / "pwsh"
    program.write_text(f'#!/bin/sh\necho "$@" >> {calls}\ncat > /dev/null\necho "line 2: Missing closing brace."\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    script = Script("powershell", "Get-Item x\nif (1) {\n")
    result = check(script)
    assert result.asked == ("the parser of PowerShell",)
    assert result.syntax_errors == ("line 2: Missing closing brace.",)
    assert "-NoProfile -NonInteractive" in calls.read_text()
    *options, run = command(save(script, "a", "b"))
    assert {"-NoProfile", "-NonInteractive"} <= set(options)
    assert run.startswith("$ErrorActionPreference = 'Stop'; ")


def test_without_its_shell_a_script_is_not_run(tmp_path, monkeypatch):
    saved = save(Script("powershell", "Get-Item x\n"), "a", "b")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert check(saved.script).asked == ()
    with pytest.raises(ScriptNotRunnableError, match="not installed here"):
        command(saved)


def test_the_marks_under_a_line_of_a_traceback_are_no_fence():
    answer = "It fails here:\n    result = run(1)\n             ~~~^^^\n```bash\necho mended\n```\n"
    [script] = extract(answer)
    assert script.text == "echo mended\n"
