"""The predecessor's check of an installation: `SmartInstaller` and `check_install`."""

from __future__ import annotations

import json
import os
import textwrap
from pathlib import Path

import pytest

import rtx50_autoload
from desk import Desk, all_have_ended, questions
from fake_binaries import container, elf
from fake_distributions import OLD, install
from rtx50_autoload.evidence import environment
from rtx50_autoload.installer.check_text import plan_text, typed
from rtx50_autoload.installer.check_words import besides, issues, left_open, load_relations, summary
from rtx50_autoload.installer.plan import Change, Command, Conflict, Goal, Plan, Step, Unsolved
from rtx50_autoload.knowledge import read_tables

posix = pytest.mark.skipif(os.name == "nt", reason="the stand-ins for assistants are programs of POSIX")
RTX_5090 = {"RTX50_SIMULATE": "NVIDIA GeForce RTX 5090:12.0"}
OFFLINE = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9")
PIP = ("/venv/bin/python", "-m", "pip", "install", "torch==2.11.0", "--index-url", "https://example.org/whl/cu128")
STEP = Step(
    "install-torch",
    "Install torch 2.11.0, built for CUDA 12.8.",
    "It holds code for the GPU, compute capability 12.0.",
    (Command(PIP, {"PIP_NO_INPUT": "1"}),),
    changes=(Change("torch", "2.5.1+cu124", "2.11.0+cu128"),),
    back="The version that was there is installed again.",
    check="`python -c 'import torch'` prints nothing.",
)
LEFT = Unsolved("flash-attn-no-wheel", "No wheel of flash-attn fits.", "None was built for it.", "Build it.")
FOUND = {"id": "torch-impossible", "severity": "error", "what": "torch 2.5.1 cannot run on it.", "why": "W", "next": ""}
BESIDES = {
    "id": "cuda-jit-disabled",
    "severity": "warning",
    "what": "CUDA_DISABLE_PTX_JIT is set.",
    "why": "The driver compiles nothing.",
    "next": "unset CUDA_DISABLE_PTX_JIT",
}


def plan(outcome="steps", text="One step makes torch run.", **parts):
    return Plan((Goal("run", "torch"),), outcome, text, "2026-11-22", **parts)


def document(made=None, findings=(), system="linux"):
    made = made or plan(steps=(STEP,), unsolved=(LEFT,))
    return {"system": system, "findings": list(findings), "plan": made.as_json()}


FINE = document(plan("nothing", "torch 2.11.0 runs on NVIDIA GeForce RTX 5090."))
ALL = document(findings=[FOUND, BESIDES])


# What the words say


def test_issues_are_the_findings_then_what_the_plan_changes_and_cannot_mend():
    missing = Change("xformers", None, "0.0.35")
    made = Plan(
        (Goal("run", "torch"), Goal("run", "xformers")),
        "steps",
        "Two steps make them run.",
        "2026-11-22",
        steps=(STEP, Step("install-xformers", "Install it.", "Why.", changes=(missing,))),
        unsolved=(LEFT,),
        conflicts=(Conflict("vllm", "torch==2.10.0", "torch 2.11.0"),),
    )
    assert issues(document(made, [FOUND, BESIDES])) == [
        "torch 2.5.1 cannot run on it.",
        "CUDA_DISABLE_PTX_JIT is set.",
        "xformers is not installed.",
        "vllm requires torch==2.10.0, but torch 2.11.0 would be installed.",
        "No wheel of flash-attn fits.",
    ]


def test_what_is_changed_for_the_sake_of_another_package_is_no_issue():
    companions = Step(
        "install", "Install.", "Why.", changes=(*STEP.changes, Change("nvidia-cublas-cu12", None, "12.8.4.1"))
    )
    assert issues(document(plan(steps=(companions,)))) == ["torch 2.5.1+cu124 has to become 2.11.0+cu128."]


def test_a_change_is_an_issue_where_no_finding_speaks_of_the_package():
    assert issues(document()) == ["torch 2.5.1+cu124 has to become 2.11.0+cu128.", "No wheel of flash-attn fits."]
    gone = plan(steps=(Step("remove", "Remove it.", "Why.", changes=(Change("torch", "1.0", None),)),))
    assert issues(document(gone)) == ["torch 1.0 is in the way."]


def test_a_finding_and_the_step_that_mends_it_are_one_issue():
    finding = BESIDES | {"id": "container-without-gpu", "what": "No GPU was handed into this container."}
    step = Step("give-container-gpu", "Start it with the GPU.", "Why.", by_hand=("docker run --gpus all IMAGE",))
    found = document(plan(steps=(step,)), [finding])
    assert issues(found) == ["No GPU was handed into this container."]
    assert left_open(found) == []


def test_a_finding_says_what_the_plan_leaves_with_more_detail():
    finding = BESIDES | {"id": "gpu-not-found", "what": "No GPU is on the bus."}
    unsolved = Unsolved("no-gpu", "No GPU was found.", "Why.", "Next.")
    found = document(plan("impossible", "No.", unsolved=(unsolved,)), [finding])
    assert issues(found) == ["No GPU is on the bus."]
    assert besides(found) == [finding]


def test_the_table_of_relations_names_findings_steps_and_what_is_left_as_they_are_called():
    texts = read_tables("rtx50_autoload.installer", "steps.toml")
    relations = load_relations()
    assert relations.keys() == {"mends", "same"}
    assert relations["mends"].keys() <= texts["step"].keys()
    assert relations["same"].keys() <= texts["unsolved"].keys()
    sources = "".join(
        file.read_text(encoding="utf-8") for file in Path(environment.__file__).parent.glob("*") if file.is_file()
    )
    ids = {id_ for table in relations.values() for row in table.values() for id_ in row}
    assert [id_ for id_ in ids if f'"{id_}"' not in sources] == []


@pytest.mark.parametrize("outcome", ["steps", "impossible"])
def test_where_nothing_else_is_said_the_plans_sentence_is_the_issue(outcome):
    assert issues(document(plan(outcome, "The driver is too old."))) == ["The driver is too old."]


def test_there_is_no_issue_where_nothing_has_to_be_done():
    assert issues(FINE) == []
    assert summary(FINE) == ["RTX50_CHECK_INSTALL: nothing wrong was found in this environment."]


def test_what_the_steps_change_is_mended_and_the_rest_is_left():
    assert left_open(ALL) == ["CUDA_DISABLE_PTX_JIT is set.", "No wheel of flash-attn fits."]
    assert [each["next"] for each in besides(ALL)] == ["Build it.", "unset CUDA_DISABLE_PTX_JIT"]


def test_a_finding_that_the_plan_cannot_mend_either_is_told_once():
    same = Unsolved("cuda-jit-disabled", "It is set.", "It says so.", "Unset it.")
    told = document(plan("impossible", "No.", unsolved=(same,)), [BESIDES])
    assert issues(told) == ["CUDA_DISABLE_PTX_JIT is set."]
    assert [each["next"] for each in besides(told)] == ["unset CUDA_DISABLE_PTX_JIT"]


def test_a_summary_names_the_gravest_and_the_first_step():
    many = [BESIDES | {"id": str(number), "what": f"Fault\n{number}."} for number in range(5)]
    assert summary(document(findings=many)) == [
        "RTX50_CHECK_INSTALL: 7 issues found in this environment.",
        "- Fault 0.",
        "- Fault 1.",
        "- Fault 2.",
        "- 4 more",
        "First step: Install torch 2.11.0, built for CUDA 12.8.",
        "All of it: rtx50-autoload plan",
    ]


def test_a_summary_without_a_step_says_what_comes_next():
    assert summary(document(plan("nothing", "It runs."), [BESIDES])) == [
        "RTX50_CHECK_INSTALL: 1 issue found in this environment.",
        "- CUDA_DISABLE_PTX_JIT is set.",
        "Next: unset CUDA_DISABLE_PTX_JIT",
        "All of it: rtx50-autoload doctor",
    ]


def test_a_command_is_written_for_the_shell_that_reads_it():
    command = Command((r"C:\my venv\python.exe", "-m", "pip", "install", "torch>=2.7"), {"MAX_JOBS": "2"}).as_json()
    assert typed(command, "windows") == [
        "set MAX_JOBS=2",
        r'"C:\my venv\python.exe" -m pip install "torch>=2.7"',
    ]
    command["arguments"][0] = "/my venv/python"
    assert typed(command, "linux") == ["MAX_JOBS=2 '/my venv/python' -m pip install 'torch>=2.7'"]


def test_only_commands_are_longer_than_a_narrow_terminal():
    words = "many words " * 8
    by_hand = Step("by-hand", words, words, by_hand=(f"{words}.", f"{words}: {words}", words), back=f"{words}: {words}")
    lines = list(plan_text(document(plan(steps=(STEP, by_hand))), 60))
    assert [line.strip() for line in lines if len(line) > 60] == [
        f"PIP_NO_INPUT=1 {' '.join(PIP)}",
        words.strip(),
        words.strip(),
        words.strip(),
    ]
    assert lines[0] == "1. Install torch 2.11.0, built for CUDA 12.8."


# In an environment


def test_the_names_are_loaded_when_they_are_used():
    assert {"SmartInstaller", "check_install"} <= set(dir(rtx50_autoload))


# The flow of the predecessor's own test, word for word but for the name of the package.
FLOW = """
from rtx50_autoload import AIAssistant, SmartInstaller

# Test SmartInstaller flow
print("\\n=== Smart Installation ===")
installer = SmartInstaller()
installer.install_with_ai_help()
"""


@pytest.mark.parametrize("code", [FLOW, "import rtx50_autoload; rtx50_autoload.check_install()"], ids=["flow", "call"])
def test_in_an_environment_with_nothing_but_us_it_says_what_is_missing_and_the_command(installed, code):
    result = installed.run_code(code, env=RTX_5090 | OFFLINE)
    assert result.stderr == ""
    assert "- torch is not installed" in result.stdout
    assert any("install" in line and str(installed.python) in line for line in result.stdout.splitlines())
    assert "  rtx50-autoload fix --apply" in result.stdout.splitlines()


@posix
def test_in_an_environment_that_uv_made_the_command_is_uvs_for_there_is_no_pip(make_venv):
    venv = make_venv()
    with (venv.root / "pyvenv.cfg").open("a", encoding="utf-8") as file:
        file.write("uv = 0.9.0\n")
    code = "import rtx50_autoload; rtx50_autoload.check_install()"
    for simulated in ({}, RTX_5090):
        lines = venv.run_code(code, env={"PATH": "/usr/bin:/bin", **simulated}).stdout.splitlines()
        assert any(f"uv pip install --python {venv.python} torch==" in line for line in lines)
        assert not any("-m pip" in line for line in lines)


def test_what_the_predecessor_got_wrong_is_not_said_again(installed):
    result = installed.run_code(FLOW + "print(installer.get_manual_instructions())", env=RTX_5090)
    for text in ("9.0+PTX", "cu121", "needs building", "TORCH_CUDA_ARCH_LIST not set"):
        assert text not in result.stdout


def test_the_users_process_stays_as_it_is(installed, tmp_path):
    install(tmp_path, "torch", "2.5.1", {"torch/lib/libtorch_cuda.so": elf([container(*OLD)])})
    code = """
        import json, os, sys
        before = list(sys.meta_path), dict(os.environ)
        import rtx50_autoload
        installer = rtx50_autoload.SmartInstaller()
        issues = installer.check_environment()
        helped = installer.auto_fix_issues(issues)
        assert (list(sys.meta_path), dict(os.environ)) == before
        assert not {"torch", "importlib_metadata"} & sys.modules.keys()
        assert helped
        print(json.dumps(issues))
    """
    result = installed.run_code(code, env=RTX_5090 | {"PYTHONPATH": str(tmp_path)})
    found = json.loads(result.stdout.splitlines()[-1])
    assert any("torch 2.5.1" in issue for issue in found)
    assert all(isinstance(issue, str) for issue in found)


def test_the_programs_own_folder_and_its_settings_of_python_are_nothing_to_the_check(installed, tmp_path):
    (tmp_path / "importlib_metadata.py").write_text("raise SystemExit('the program has one of its own')")
    code = "import rtx50_autoload; assert not rtx50_autoload.check_install()"
    result = installed.run_code(code, cwd=tmp_path, env={"PYTHONWARNINGS": "error", "PYTHONINSPECT": "1"})
    assert "torch is not installed" in result.stdout


@pytest.mark.parametrize("trouble", ["'/nothing/python'", "None", "''", "os.devnull"])
def test_a_check_that_cannot_run_is_one_sentence_and_no_traceback(installed, trouble):
    code = f"""
        import os, sys
        from rtx50_autoload import SmartInstaller
        sys.executable = {trouble}
        installer = SmartInstaller()
        [issue] = installer.check_environment()
        assert issue.startswith("This environment could not be checked"), issue
        assert installer.install_with_ai_help() is False
        assert installer.auto_fix_issues([issue]) is False
        assert issue in installer.get_manual_instructions().replace("\\n", " ")
    """
    result = installed.run_code(code)
    assert "This tells more: rtx50-autoload doctor" in result.stdout
    assert result.stderr == ""


# With a plan that is given: what the calls do with it


def given(found, code):
    """Write a program that has an installer whose check finds something."""
    return (
        "import json\n"
        "from rtx50_autoload import SmartInstaller, check_install\n"
        "from rtx50_autoload.installer import check\n"
        f"check.check = lambda: json.loads({json.dumps(found)!r})\n"
        f"installer = SmartInstaller()\n{textwrap.dedent(code)}"
    )


@pytest.fixture
def desk(installed, tmp_path):
    return Desk(installed, tmp_path)


def said(desk, found, code, **variables):
    result = desk.run_python("-c", given(found, code), **variables)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_where_nothing_is_wrong_it_says_so_and_gives_true(desk):
    code = "print(installer.check_environment(), check_install(), installer.auto_fix_issues(None))"
    assert said(desk, FINE, code).splitlines()[2:] == [
        "Nothing wrong was found.",
        "torch 2.11.0 runs on NVIDIA GeForce RTX 5090.",
        "[] True True",
    ]


@pytest.mark.parametrize(("call", "answer"), [("install_with_ai_help()", False), ("auto_fix_issues(None)", True)])
def test_the_plan_and_what_it_leaves_are_told_with_reasons_and_commands(desk, call, answer):
    text = said(desk, ALL, f"print(installer.{call})", COLUMNS="60")
    for line in (
        "The plan: One step makes torch run.",
        "1. Install torch 2.11.0, built for CUDA 12.8.",
        "   Why: It holds code for the GPU, compute capability 12.0.",
        f"     PIP_NO_INPUT=1 {' '.join(PIP)}",
        "   Way back: The version that was there is installed again.",
        "These steps do not mend:",
        "- CUDA_DISABLE_PTX_JIT is set. The driver compiles nothing.",
        "  Next: unset CUDA_DISABLE_PTX_JIT",
        "  rtx50-autoload fix --apply",
        str(answer),
    ):
        assert line in text.splitlines()


def test_conflicts_keep_the_steps_from_being_offered(desk):
    conflict = Conflict("vllm", "torch==2.10.0", "torch 2.11.0")
    text = said(desk, document(plan(steps=(STEP,), conflicts=(conflict,))), "installer.auto_fix_issues(None)")
    flat = " ".join(text.split())
    assert "- vllm requires torch==2.10.0, but torch 2.11.0 would be installed. The steps would break it." in flat
    assert "fix --apply" not in text


STRANGE = """
    class Rude:
        def __str__(self):
            raise ValueError
        __getattr__ = __iter__ = __str__
    def generator():
        yield "torch 2.5.1 cannot run on it."
        raise ValueError
    finding = json.loads({finding!r})
"""


@pytest.mark.parametrize(
    ("issues", "helped"),
    [
        ("None", True),
        ("[]", True),
        ("''", True),
        ("[None, 5]", True),
        ("5", True),
        ("Rude()", True),
        ("[Rude(), 'x']", True),
        ("generator()", True),
        ("(finding,)", True),
        ("finding", True),
        ("'torch 2.5.1 cannot run on it.'", True),
        ("b'\\xff'", True),
        ("RuntimeError('CUDA error: no kernel image is available for execution on the device')", True),
    ],
)
def test_whatever_is_called_issues_raises_nothing(desk, issues, helped):
    code = textwrap.dedent(STRANGE.format(finding=json.dumps(FOUND)))
    result = desk.run_python("-c", given(ALL, f"{code}print(installer.auto_fix_issues({issues}))"))
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines()[-1] == str(helped)


def test_without_steps_and_without_an_answer_there_was_no_help(desk):
    nothing = document(plan("impossible", "No torch runs there.", unsolved=(LEFT,)))
    text = said(desk, nothing, "print(installer.auto_fix_issues(None))")
    assert text.splitlines()[-1] == "False"
    assert "What can be done:" in text


def test_an_error_of_the_programs_own_is_explained_without_asking_anybody(desk):
    error = "RuntimeError: CUDA error: no kernel image is available for execution on the device"
    text = said(desk, document(plan("impossible", "No.")), f"print(installer.auto_fix_issues([{error!r}]))")
    assert "A compiled library holds no code for the GPU" in text
    assert text.splitlines()[-1] == "True"


AUTO = {"RTX50_AI": "auto", "RTX50_ASSISTANT": "llm"}


@posix
def test_the_plan_stands_first_and_an_assistant_is_asked_about_the_rest(desk):
    llm = desk.put("llm", "It can be built with \x1b[31mcare\u202e.")
    own = "PASSWORD=hunter2 does not work"
    text = said(desk, ALL, f"print(installer.auto_fix_issues([*installer.check_environment(), {own!r}]))", **AUTO)
    assert text.index("1. Install torch") < text.index("llm says") < text.index("It can be built with")
    assert "\x1b" not in text
    assert "\u202e" not in text
    [question] = questions(llm)
    assert "No wheel of flash-attn fits. None was built for it." in question
    assert "CUDA_DISABLE_PTX_JIT is set." in question
    assert "torch 2.5.1 cannot run on it." not in question
    assert "Install torch 2.11.0, built for CUDA 12.8." in question
    assert "PASSWORD=<secret> does not work" in question
    assert "hunter2" not in question


@posix
def test_nobody_is_asked_where_the_plan_mends_all(desk):
    llm = desk.put("llm")
    text = said(desk, document(plan(steps=(STEP,))), "installer.install_with_ai_help()", **AUTO)
    assert "assistant" not in text
    assert questions(llm) == []


@posix
@pytest.mark.parametrize(
    "variables", [{}, {"RTX50_AI": "off"}, {"RTX50_AI": "auto"}, AUTO | {"CLAUDECODE": "1"}], ids=str
)
def test_without_consent_or_a_choice_one_line_says_so(desk, variables):
    llm = desk.put("llm")
    text = said(desk, ALL, "print(installer.auto_fix_issues(installer.check_environment()))", **variables)
    assert text.count("No assistant was asked") == 1
    assert "What stands above holds without one." in text
    assert text.splitlines()[-1] == "True"
    assert questions(llm) == []


@posix
def test_the_assistants_are_those_that_are_here(desk):
    desk.put("llm")
    assert said(desk, FINE, "print(installer.assistants)") == "{'llm': True}\n"


@posix
def test_an_assistant_that_hangs_is_ended(desk):
    llm = desk.put("llm")
    (llm / "hang").touch()
    code = """
        import functools
        from rtx50_autoload.troubleshooter import conversation
        conversation.consult = functools.partial(conversation.consult, time_limit=2)
        print(installer.auto_fix_issues(["My own trouble."]))
    """
    text = said(desk, FINE, code, **AUTO)
    assert "None of the chosen assistants answered." in text
    assert text.splitlines()[-1] == "False"
    assert all_have_ended(llm)


@posix
@pytest.mark.parametrize("key", ["y", "n", "\x04", "\x03"], ids=["yes", "no", "end", "Ctrl-C"])
def test_at_a_terminal_the_steps_are_offered(desk, tmp_path, key):
    log = tmp_path / "log"
    fix = tmp_path / "python"
    fix.write_text(f'#!/bin/sh\nread answer\necho "$@" "$answer" > {log}\n')
    fix.chmod(0o755)
    found = document(plan(steps=(STEP,)))
    code = f"import sys; sys.executable = {str(fix)!r}\nprint('helped', installer.auto_fix_issues(None))"
    with desk.sit_down("-c", given(found, code)) as terminal:
        terminal.expect("Start it now? It asks before it changes anything. [y/N]")
        terminal.type(f"{key}\n" if key.isalpha() else key)
        if key == "y":
            terminal.type("typed to it\n")
        terminal.expect("helped True")
        assert terminal.end() == 0
    ran = log.read_text() if log.exists() else ""
    assert ran.endswith("fix --apply typed to it\n") if key == "y" else not ran


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_a_name_that_the_terminal_cannot_show_is_escaped(desk, encoding):
    strange = document(plan("impossible", "Der Treiber f\xfcr \u65e5\u672c \x1b[31m ist zu alt."))
    text = said(desk, strange, "installer.install_with_ai_help()", PYTHONIOENCODING=f"{encoding}:surrogateescape")
    assert "\\x1b[31m ist zu alt." in text


def test_a_notebooks_stream_gets_the_same_text(desk):
    code = """
        import contextlib, io
        with contextlib.redirect_stdout(io.StringIO()) as stream:
            installer.install_with_ai_help()
        print(stream.getvalue(), end="")
    """
    assert said(desk, ALL, code) == said(desk, ALL, "installer.install_with_ai_help()")


@pytest.mark.parametrize("trouble", ["sys.stdout = None", "sys.stdout.close()", "os.close(1)"])
def test_where_nothing_can_be_printed_the_answer_is_given_all_the_same(desk, trouble):
    code = f"import os, sys\n{trouble}\nassert installer.install_with_ai_help() is False\nos._exit(0)"
    assert said(desk, ALL, code) == ""
