"""Every command and code block of the documents runs, or stands here with the reason why it cannot."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import record
import yaml

import pages
import rig
from rtx50_autoload.cli.main import build_parser

if TYPE_CHECKING:
    from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

#: Where the commands run: on a machine without a GPU, which shows one that is made up.
SIMULATED = {"RTX50_SIMULATE": "NVIDIA GeForce RTX 5090:12.0"}

_NO_RELEASE = "there is no release yet"
_SESSION = "a session of nox"
_ON_A_GPU = "needs a GPU and the real torch"
_ASSISTANT = "an assistant's own program, which the tests do not have; run by hand, as the page says"
_WINDOWS = "a command of Windows"
_CELL = "the cell of a notebook, with lines of IPython's own"
_NO_GPU = "there is no GPU"
_NOBODY = "nobody is there to say yes"
_STEPS = "the plan has steps"
_TUTORIAL = "tests/test_profiles_tutorial.py follows the page"

#: The commands that are not run, each with the reason. They are read by a shell, and by our own parser.
NOT_RUN = {
    "nox": "runs these tests",
    "nox -s bench": _SESSION,
    "nox -s bench -- --results benchmarks/results": _SESSION,
    "nox -s cpython": _SESSION,
    "python benchmarks/gpu_work.py eager": _ON_A_GPU,
    "python benchmarks/gpu_work.py compile": _ON_A_GPU,
    "python benchmarks/unlocks.py --help": _ON_A_GPU,
    "rtx50-autoload profiles --check src/mylib/rtx50_profiles.toml": _TUTORIAL,
    "rtx50-autoload profiles --check wrong.toml": _TUTORIAL,
    'RTX50_SIMULATE=12.0 RTX50_QUIET=1 python -c "import mylib; print(mylib.kernel())"': _TUTORIAL,
    "nox -s downstream": _SESSION,
    "nox -s reproducible": _SESSION,
    "python3 -m venv .venv && .venv/bin/pip install nox && .venv/bin/nox": "runs these tests",
    "python docs/record.py PATH_OF_A_VENV_WITH_TORCH": "needs torch, xformers and bitsandbytes",
    "conda activate myenv": "there is no conda in the tests",
    "python -m pip install 'rtx50-autoload[fleet]'": _NO_RELEASE,
    "python -m pip install 'rtx50-autoload[mcp]'": _NO_RELEASE,
    "claude mcp add rtx50 -- /path/to/venv/bin/rtx50-autoload mcp": _ASSISTANT,
    "gemini mcp add -s user rtx50 /path/to/venv/bin/rtx50-autoload mcp": _ASSISTANT,
    "codex mcp add rtx50 -- /path/to/venv/bin/rtx50-autoload mcp": _ASSISTANT,
    r"> .\python_embeded\python.exe -m pip install C:\path\to\rtx50-autoload": _WINDOWS,
    r"> .\python_embeded\python.exe -m rtx50_autoload status": _WINDOWS,
    r"> .\python_embeded\python.exe -m rtx50_autoload doctor": _WINDOWS,
    r"> .\python_embeded\python.exe -m rtx50_autoload plan": _WINDOWS,
    "docker run --gpus all -e RTX50_MODE=observe IMAGE rtx50-autoload doctor": "there is no Docker in the tests",
    "srun --ntasks-per-node=1 --label rtx50-autoload doctor": "there is no Slurm in the tests",
    "RTX50_MODE=observe torchrun --nproc-per-node 8 train.py": "needs the real torch; nox -s many runs torchrun",
    'RTX50_RESCUE=provide python -c "import flash_attn; print(flash_attn.__version__)"': (
        "needs the real torch; tests/test_rescue_providing.py runs it"
    ),
    "python -m pip download --no-deps rtx50-autoload==VERSION": _NO_RELEASE,
    "pypi-attestations verify pypi --repository https://github.com/OWNER/REPOSITORY "
    "pypi:rtx50_autoload-VERSION-py3-none-any.whl": _NO_RELEASE,
    "gh attestation verify rtx50_autoload-VERSION-py3-none-any.whl --repo OWNER/REPOSITORY": _NO_RELEASE,
    "git clone https://github.com/OWNER/REPOSITORY && cd REPOSITORY && git checkout vVERSION": _NO_RELEASE,
    "python -m pip install --force-reinstall --no-deps rtx50-autoload": _NO_RELEASE,
}
#: Run where the tests have the real torch, which is large.
WITH_TORCH = "python3 -m venv .venv && .venv/bin/pip install . torch==2.13.0 && .venv/bin/rtx50-autoload demo"

#: The commands that end with another exit code than 0 where the tests run them, and what they find.
EXITS = {
    "rtx50-autoload assistants": ({0, 1}, "an assistant is on this machine, or none"),
    "rtx50-autoload bench": ({1}, _NO_GPU),
    "rtx50-autoload bench --json > bench.json": ({1}, _NO_GPU),
    "rtx50-autoload bench --plot bench.png": ({2}, "matplotlib is not installed"),
    "rtx50-autoload bench --card-price 2000 --cloud-price 1.20 --hours-per-day 8": ({1}, _NO_GPU),
    "rtx50-autoload check-build flash-attn --device 12.0": ({1}, "flash-attn is not installed"),
    "rtx50-autoload doctor": ({1}, "torch is a build for the CPU"),
    "rtx50-autoload doctor --ray": ({2}, "Ray is not installed"),
    "rtx50-autoload explain": ({2}, "without a terminal it reads what is typed: nothing"),
    "rtx50-autoload fix --apply": ({2}, _NOBODY),
    "rtx50-autoload fix --apply --build flash-attn": ({2}, _NOBODY),
    "rtx50-autoload fix --undo": ({2}, _NOBODY),
    "rtx50-autoload fix --script mend.sh": ({1}, "the script has steps"),
    "rtx50-autoload mcp": ({2}, "the extra is not installed"),
    "rtx50-autoload plan": ({1}, _STEPS),
    "rtx50-autoload plan --run xformers --run bitsandbytes": ({1}, _STEPS),
    "rtx50-autoload plan --build flash-attn": ({1}, _STEPS),
    "rtx50-autoload plan --build xformers": ({1}, _STEPS),
    "rtx50-autoload plan --machine machine.toml": ({1}, _STEPS),
    "rtx50-autoload plan --machine tests/machines/comfyui-portable.toml": ({1}, _STEPS),
    "rtx50-autoload plan --machine tests/machines/docker-cu126-image.toml": ({1}, _STEPS),
    "rtx50-autoload plan --machine tests/machines/vllm-pins-torch.toml": ({1}, _STEPS),
    "rtx50-autoload plan --machine tests/machines/wsl-no-driver.toml": ({1}, _STEPS),
    "rtx50-autoload plan --refresh-facts versions.toml": ({2}, "those of the same day are in use"),
    "rtx50-autoload scan PATH...": ({2}, "no file has this name"),
    "rtx50-autoload scripts show 6456874d": ({2}, "no assistant has written one here"),
    "rtx50-autoload troubleshoot": ({2}, "without a terminal it reads what is typed: nothing"),
    "RTX50_CHECK_INSTALL=1 python train.py": ({1}, "the program's own"),
    "RTX50_DISABLE=1 python train.py": ({1}, "the program's own"),
}

#: What is typed where a command asks.
TYPED = {
    "python -m pip uninstall rtx50-autoload": "y\n",
    "rtx50-autoload explain -": "RuntimeError: CUDA error: no kernel image is available for execution on the device\n",
}

#: What a reader of the page would have put in the place of a word.
MEANT = {"/path/to/site-packages": '"$SITE_PACKAGES"'}

#: Blocks of text, by their page and how they begin: what they are.
SHOWN = {
    "docs/bench.md: days = card price": "a formula",
    "docs/building.md: rtx50-example 1.0": "what a command prints of a library that is made for the purpose",
    "docs/checking.md: Checking this environment": "what a call prints",
    "docs/checking.md: rtx50-autoload: RTX50_CHECK_INSTALL": "what is printed beside a program",
    "docs/design.md: cli/ ": "a map, which tests/test_architecture.py reads",
    "docs/design.md: start of Python": "a map",
    "docs/howto/jupyter.md: import sys": _CELL,
    "docs/howto/jupyter.md: %env": _CELL,
    "docs/notes.md: Traceback": "a traceback with a note",
    "docs/privacy.md: ImportError: /home/anna": "texts before and after something is taken out",
    "docs/rescue.md: rtx50-autoload: flash_attn.flash_attn_func cannot load": "what is printed beside a program",
    "docs/troubleshooter.md: It would be asked": "a question at the terminal",
}

#: What a block of Python takes for given, and the error that it ends with on purpose.
GIVEN = {
    "docs/api.md": (
        "import rtx50_autoload\ndef load():\n    raise RuntimeError('CUDA error: no kernel image is available')\n",
        "RuntimeError: CUDA error",
    ),
    "docs/notes.md": ("pipeline, prompt = print, ''\n", ""),
    # Ray is in the session `many`, with this very setting.
    "docs/processes.md": ("import types\nray = types.SimpleNamespace(init=lambda runtime_env: None)\n", ""),
}

BLOCKS = pages.blocks()
START_UP = (rig.ROOT / rig.PTH).read_text(encoding="utf-8")
#: But for the steps in the README: tests/test_recorded.py types them, and compares what is printed.
CONSOLE = [
    block for block in BLOCKS if block.language in {"console", "doscon"} and record.FIRST_STEPS[0] not in block.text
]
COMMANDS = {command for block in CONSOLE for command in pages.commands(block.text)}
PROGRAM = """
import torch
raise torch.AcceleratorError("CUDA error: no kernel image is available for execution on the device")
"""
#: Records an incident under an id of the pages.
INCIDENT = """
from rtx50_autoload.diagnosis.diagnosis import Diagnosis
from rtx50_autoload.diagnosis.incident_files import folder
from rtx50_autoload.diagnosis.incidents import record
from rtx50_autoload.diagnosis.situation import Gpu, Situation
diagnosis = Diagnosis("no_kernel_image", 0.9, "No code for this GPU.", headline="CUDA error")
record(diagnosis, "CUDA error", Situation("machine", (Gpu("NVIDIA GeForce RTX 5090", (12, 0), "nvidia"),), "2.4.1"))
(file,) = folder().glob("*.json")
document = file.read_text(encoding="utf-8").replace(file.stem, "3f2a" + file.stem[4:])
file.with_stem("3f2a" + file.stem[4:]).write_text(document, encoding="utf-8")
file.unlink()
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder such as a reader of the pages has, with files of the names that stand there."""
    folder = tmp_path / "rtx50-autoload"
    shutil.copytree(rig.ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(rig.ROOT / "tests" / "machines", folder / "tests" / "machines")
    for name in ("pyproject.toml", "README.md", "LICENSE", rig.PTH):
        shutil.copy(rig.ROOT / name, folder)
    for name in ("crash.txt", "machine.json"):
        shutil.copy(rig.ROOT / "docs" / "recorded" / name, folder)
    shutil.copy(folder / "src" / "rtx50_autoload" / "evidence" / "environment" / "versions.toml", folder)
    (folder / "train.py").write_text(PROGRAM, encoding="utf-8")
    for name in ("x.py", "your_program.py"):
        (folder / name).write_text("import torch\n", encoding="utf-8")
    # The environment of the shell is in use already.
    (folder / "venv" / "bin").mkdir(parents=True)
    (folder / "venv" / "bin" / "activate").touch()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "pyvenv.cfg").touch()
    return folder


def run_in_a_shell(commands: list[str], venv: rig.Venv, folder: Path, **variables: str) -> list[tuple[int, str]]:
    """Run commands one after the other in one shell; give the exit code of each, and what it printed."""
    lines = ["exec 2>&1"]
    for number, command in enumerate(commands):
        typed = folder / f"typed-{number}"
        typed.write_text(TYPED.get(command, ""), encoding="utf-8")
        for word, meaning in MEANT.items():
            command = command.replace(word, meaning)  # noqa: PLW2901 - it is run like that
        lines.append(f"{{ {command}\n}} < {typed}\nprintf '\\n<%s>\\n' $?")
    environment = {
        # The registry of the person who runs the tests.
        **{name: value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_"))},
        "PATH": f"{venv.script('python').parent}{os.pathsep}{os.defpath}",
        **variables,
    }
    result = venv.run("bash", "-c", "\n".join(lines), env=environment, cwd=folder, timeout=600)
    printed = re.split(r"\n<(\d+)>\n", result.stdout)
    assert len(printed) == 2 * len(commands) + 1, rig.describe(result)
    return [(int(code), text) for text, code in zip(printed[::2], printed[1::2], strict=False)]


@pytest.mark.skipif(sys.platform == "win32", reason="the pages' commands are for bash")
@pytest.mark.parametrize("page", sorted({block.page for block in CONSOLE}))
def test_the_commands_of_a_page_end_as_it_says(page, checkout, make_venv, wheel):
    own = [command for block in CONSOLE if block.page == page for command in pages.commands(block.text)]
    wanted = [
        each for each in own if each not in NOT_RUN and (each != WITH_TORCH or os.environ.get("RTX50_TEST_TORCH"))
    ]
    if not wanted:
        pytest.skip("none of its commands can be run here; test_what_is_not_run_can_be_read reads them")
    venv = make_venv(torch="fake", coverage=False)
    if any("pip" in command for command in wanted):
        rig.uv_pip("install", venv, "pip")
    shutil.copy(wheel, checkout / "rtx50_autoload-VERSION-py3-none-any.whl")
    (checkout / "dist").mkdir()
    shutil.copy(wheel, checkout / "dist")
    for block in BLOCKS:
        if (block.page, block.language) == (page, "toml"):
            (checkout / "machine.toml").write_text(block.text, encoding="utf-8")
    venv.run_code(INCIDENT)
    done = run_in_a_shell(wanted, venv, checkout, SITE_PACKAGES=str(venv.site_packages), **SIMULATED)
    wrong = [
        f"$ {command}\n{text}\nexit code {code}"
        for command, (code, text) in zip(wanted, done, strict=True)
        if code not in EXITS.get(command, ({0}, ""))[0] or "internal fault" in text
    ]
    assert not wrong, "\n\n".join(wrong)


@pytest.mark.parametrize("command", NOT_RUN)
def test_what_is_not_run_can_be_read(command):
    if NOT_RUN[command] is _SESSION:
        name = command.split()[2]
        assert re.search(rf"^def {name}\(", (rig.ROOT / "noxfile.py").read_text(encoding="utf-8"), re.MULTILINE)
    if NOT_RUN[command] is not _WINDOWS:
        subprocess.run(["bash", "-n", "-c", command], check=True)  # noqa: S607


def test_every_call_of_ours_is_one_that_our_parser_takes():
    shown = [
        (block.page, command)
        for block in BLOCKS
        if block.language in {"console", "doscon", "recorded console"}
        for command in pages.commands(block.text)
    ]
    refused = []
    for page, command in [*shown, *pages.spoken()]:
        for arguments in pages.calls_of_ours(command):
            if arguments[:1] == ["COMMAND"]:
                continue
            try:
                build_parser().parse_args(arguments)
            except SystemExit:
                refused.append((page, command))
    assert not refused


def test_no_table_here_names_what_stands_nowhere():
    texts = [f"{block.page}: {block.text}" for block in BLOCKS if block.language == "text"]
    assert {*NOT_RUN, *EXITS, *TYPED, WITH_TORCH} <= COMMANDS
    assert not [key for key in SHOWN if not any(text.startswith(key) for text in texts)]
    assert {*GIVEN} <= {block.page for block in BLOCKS if block.language == "python"}


@pytest.mark.parametrize(
    "block",
    [block for block in BLOCKS if block.language.split()[-1] not in {"console", "doscon", "python"}],
    ids=lambda block: f"{block.page}:{block.line}",
)
def test_a_block_that_is_no_program_is_what_it_says(block):
    language = block.language.removeprefix("recorded ")
    if language == "toml":
        tomllib.loads(block.text)
    elif language == "json":
        json.loads(block.text)
    elif language == "yaml":
        yaml.safe_load(block.text)
    elif language == "dockerfile":
        instructions = [line.split(" ", 1) for line in block.text.split("\n")]
        assert {name for name, _ in instructions} <= {"COPY", "ENV", "RUN"}
        for command in (rest for name, rest in instructions if name == "RUN"):
            subprocess.run(["bash", "-n", "-c", command], check=True)  # noqa: S607
    elif block.language == "text":
        named = [key for key in SHOWN if f"{block.page}: {block.text}".startswith(key)]
        assert named or block.text in START_UP, "say in SHOWN what it is"
    else:
        assert block.language == "recorded text", block


def test_the_settings_of_the_pages_are_understood(make_venv):
    (settings,) = (block for block in BLOCKS if (block.page, block.language) == ("docs/settings.md", "toml"))
    venv = make_venv()
    (venv.root / "rtx50-autoload.toml").write_text(settings.text, encoding="utf-8")
    status = json.loads(venv.run(venv.script("rtx50-autoload"), "status", "--json", check=True).stdout)
    assert status["problems"] == []
    assert status["settings"]["mode"] == {"value": "observe", "source": str(venv.root / "rtx50-autoload.toml")}


@pytest.mark.parametrize(
    "block",
    [block for block in BLOCKS if block.language.split()[-1] == "python"],
    ids=lambda block: f"{block.page}:{block.line}",
)
def test_a_block_of_python_runs(block, with_fake_torch):
    given, error = GIVEN.get(block.page, ("", ""))
    result = with_fake_torch.run_code(given + block.text, env=SIMULATED, check=False)
    assert result.returncode == (1 if error else 0), rig.describe(result)
    assert error in result.stderr
