"""The fix plans: what holds for every plan on every machine, and what single ones say."""

from __future__ import annotations

import itertools
import random
import re
import shlex
import shutil
import subprocess
from functools import cache

import pytest

from rtx50_autoload.diagnosis.case import KINDS, Case
from rtx50_autoload.diagnosis.plans import plan
from rtx50_autoload.diagnosis.recipes import load_builds, load_plans, load_recipes
from rtx50_autoload.diagnosis.situation import Gpu, Situation
from rtx50_autoload.diagnosis.words import words_of

CATEGORIES = sorted(set(load_plans()) - {"*"})
ABSTAINING = ("unrelated", "other", "benign_warning")

GPUS = {
    "not known": None,
    "none": (),
    "without a number": (Gpu("NVIDIA Graphics Device", None, "nvidia"),),
    "Kepler": (Gpu("NVIDIA GeForce GTX TITAN Black", (3, 5), "nvidia"),),
    "Maxwell": (Gpu("NVIDIA GeForce 940M", (5, 0), "nvidia"),),
    "Pascal": (Gpu("NVIDIA GeForce GTX 1080", (6, 1), "nvidia"),),
    "Volta": (Gpu("Tesla V100-SXM2-16GB", (7, 0), "nvidia"),),
    "Turing": (Gpu("NVIDIA GeForce RTX 2080 Ti", (7, 5), "nvidia"),),
    "Ampere": (Gpu("NVIDIA GeForce RTX 3090", (8, 6), "nvidia"),),
    "Ada": (Gpu("NVIDIA GeForce RTX 4090", (8, 9), "nvidia"),),
    "Hopper": (Gpu("NVIDIA H100", (9, 0), "nvidia"),),
    "B200": (Gpu("NVIDIA B200", (10, 0), "nvidia"),),
    "RTX 5090": (Gpu("NVIDIA GeForce RTX 5090", (12, 0), "nvidia"),),
    "GB10": (Gpu("NVIDIA GB10", (12, 1), "nvidia"),),
    "AMD": (Gpu("AMD Radeon RX 7900 XTX", None, "amd"),),
    "Intel": (Gpu("Intel Arc B580", None, "intel"),),
    "Apple": (Gpu("Apple M3", None, "apple"),),
}
RTX_50 = ("RTX 5090", "GB10")
OLD = ("Kepler", "Maxwell", "Pascal", "Volta")
CURRENT = ("Turing", "Ampere", "Ada", "Hopper")
WITHOUT_CUDA = ("none", "AMD", "Intel", "Apple")

SYSTEMS = ("linux", "wsl", "windows", "macos", None)
TOOLS = ("pip", "uv", "conda", "embedded", None)
#: torch, its variant, the driver.
INSTALLED = (
    (None, None, None),
    ("2.6.0", "cu124", "550.54.14"),
    ("2.7.1", "cu118", "470.57.02"),
    ("2.8.0", "cu128", "572.61"),
    ("2.13.0", "cu130", "580.95.05"),
    ("2.13.0", "cu130", "550.54.14"),
    ("2.9.1", "cpu", None),
    ("2.8.0", "rocm6.4", None),
)
#: What a signature may have taken from the text, and what is at fault.
FOUND = (
    ({}, None),
    ({"library": "sageattention", "arch": "120", "limit": "12"}, None),
    ({"library": "torch"}, None),
    ({"library": "xformers", "required": "163842", "limit": "101376"}, "xformers/_C.so"),
    ({"package": "some-extension", "module": "some_extension._C"}, "some-extension"),
    ({"library": "ggml", "file": "libcudart.so.12"}, None),
    ({"library": "triton", "file": "libcuda.so"}, None),
    ({"library": "nvcc", "arch": "120"}, None),
    ({"library": "vllm"}, None),
    ({"file": "libcudnn_ops_infer.so.8"}, "libcudnn_ops_infer.so.8"),
    ({"file": "libc10_cuda.so"}, "libc10_cuda.so"),
    ({"library": "jaxlib"}, None),
    ({"module": "flash_attn_2_cuda"}, "flash_attn_2_cuda.cpython-311-x86_64-linux-gnu.so"),
    ({"library": "bitsandbytes", "file": "/opt/kernels.so"}, None),
)

POSIX_ONLY = re.compile(r"^(export|unset|sudo|source)\b|/usr/|apt|\brm -rf\b|\$\{?[A-Z]")
CMD_ONLY = re.compile(r"^set [A-Z_]+=|C:\\|\\python_embeded|%[A-Z]+%|\bcl\b|\.exe\b")


def situations(gpus=GPUS, systems=SYSTEMS, installed=INSTALLED):
    """Every machine with one tool each, drawn so that all tools meet all machines, but not each other machine alike."""
    draw = random.Random(50)  # noqa: S311 - nothing secret is drawn
    for name, system, (torch, variant, driver) in itertools.product(gpus, systems, installed):
        yield (
            name,
            Situation(
                source="file",
                gpus=GPUS[name],
                torch=torch,
                torch_variant=variant,
                driver=driver,
                system=system,
                tool=draw.choice(TOOLS),
                cuda_toolkit=draw.choice((None, "12.4", "13.0")),
                python_version="3.12.3" if torch else None,
            ),
        )


@cache
def all_plans(category):
    draw = random.Random(120)  # noqa: S311 - nothing secret is drawn
    made = []
    for name, situation in situations():
        for values, culprit in draw.sample(FOUND, 2):
            made.append((name, situation, "arch" in values, plan(category, situation, values, culprit)))
    return made


def plans(category, gpus=GPUS, systems=SYSTEMS, *, naming=True):
    """Those of some machines; without `naming` only where the text does not name a compute capability."""
    for name, situation, names_gpu, steps in all_plans(category):
        if name in gpus and situation.system in systems and (naming or not names_gpu):
            yield situation, steps


def all_text(steps):
    return "\n".join(line for step in steps for line in (step.step, step.why, *step.commands, step.changes, step.check))


def commands(steps):
    return [command for step in steps for command in step.commands]


# What holds for all


@pytest.mark.parametrize("category", CATEGORIES)
def test_every_plan_is_complete_and_short(category):
    for situation, steps in plans(category):
        assert 1 <= len(steps) <= 6, (situation, [step.step for step in steps])
        for step in steps:
            texts = (step.step, step.why, step.changes, step.check)
            assert all(texts), step
            assert all(text.endswith((".", ")")) for text in texts), step
            assert step.step[0].isupper(), step
            assert "{" not in re.sub(r"\$\{", "", all_text([step])), step
            assert "None" not in all_text([step]), step
        assert len({step.step for step in steps}) == len(steps)


@pytest.mark.parametrize("category", CATEGORIES)
def test_nothing_is_suggested_that_reports_show_to_fail(category):
    for situation, steps in plans(category):
        text = all_text(steps)
        assert "--extra-index-url" not in text
        assert not re.search(r"nightly/|--pre\b", text), situation
        assert not re.search(r"(^|[\s`])pip3? (install|uninstall)", re.sub(r"(-m|uv) pip", "", text)), situation
        lists = [command for command in commands(steps) if "ARCH" in command]
        assert not any("9.0" in command or "=90" in command for command in lists) or situation.gpus == GPUS["Hopper"]
        for command in commands(steps):
            if re.search(r"\binstall\b.*\btorch\b", command) and "index-url" in command:
                assert command.count("--index-url") == 1


@pytest.mark.parametrize("category", CATEGORIES)
def test_a_driver_alone_is_never_the_fix(category):
    for situation, steps in plans(category):
        others = [step for step in steps if not re.search(r"(Update|install it|install) .*driver", step.step)]
        assert others, (situation, [step.step for step in steps])


@pytest.mark.parametrize("category", CATEGORIES)
def test_an_rtx_50_gets_builds_that_hold_its_code(category):
    for situation, steps in plans(category, gpus=RTX_50):
        text = all_text(steps)
        assert not re.search(r"whl/cu1(1\d|2[0-6])\b", text), (situation, text)
        capability = ".".join(map(str, situation.gpus[0].capability))
        for value in re.findall(r"TORCH_CUDA_ARCH_LIST=(\S*)", "\n".join(commands(steps))):
            # Empty is how cmd takes a variable away.
            assert value in ("", capability, f"{capability}a"), (situation, value)


@pytest.mark.parametrize("category", CATEGORIES)
def test_other_gpus_never_get_the_plan_of_an_rtx_50(category):
    forbidden = re.compile(r"RTX ?50|Blackwell|sm_?1[02]\d|compute_1[02]\d|\b12\.[01]\b(?! Toolkit)|=1[02]0\b")
    for situation, steps in plans(category, gpus=(*OLD, *CURRENT, *WITHOUT_CUDA)):
        text = all_text(steps)
        assert not forbidden.search(text), (situation, forbidden.search(text), text)


@pytest.mark.parametrize("category", CATEGORIES)
def test_old_gpus_never_get_builds_that_dropped_them(category):
    for situation, steps in plans(category, gpus=OLD):
        # Where torch is there in such a variant, it is named, but not installed.
        text = all_text(steps)
        assert not re.search(r"whl/cu1(2[89]|3\d)|CUDA 12\.[89]\b(?!.*last)|CUDA 13\.\d", text), (situation, text)


@pytest.mark.parametrize("category", CATEGORIES)
def test_without_an_nvidia_gpu_nothing_of_cuda_is_installed(category):
    for situation, steps in plans(category, gpus=WITHOUT_CUDA):
        for command in commands(steps):
            assert not re.search(r"whl/cu\d|nvidia-smi|CUDA_HOME|CUDA_ARCH|CUDAARCHS|-cu1\d|cuda12|cuda13", command), (
                situation,
                command,
            )


@pytest.mark.parametrize("category", CATEGORIES)
def test_an_unknown_gpu_is_found_out_first_and_all_else_is_conditional(category):
    for situation, steps in plans(category, gpus=("not known", "without a number"), naming=False):
        # What is there already may come again from where it came.
        kept = f"whl/{situation.torch_variant}"
        for step in steps:
            text = "\n".join(step.commands).replace(kept, "")
            if re.search(r"whl/cu|ARCH_LIST=\d|FLASH_ATTN_CUDA_ARCHS=", text):
                assert step.step.startswith("If the number"), (situation, step)
                assert "nvidia-smi" in steps[0].commands[0], situation


@pytest.mark.parametrize("category", CATEGORIES)
def test_commands_are_those_of_the_system(category):
    for situation, steps in plans(category, systems=("linux", "wsl", "macos")):
        for command in commands(steps):
            assert not CMD_ONLY.search(command), (situation, command)
            assert shlex.split(command), command
    for situation, steps in plans(category, systems=("windows",)):
        for command in commands(steps):
            assert not POSIX_ONLY.search(command), (situation, command)
            assert command.count('"') % 2 == 0, command
            # Outside of quotation marks they would write files, join commands or start a new one.
            assert not re.search(r"[<>|&^]", re.sub(r'"[^"]*"', "", command)), command
        assert not re.search(r"\bsudo\b|\bapt\b|/usr/", all_text(steps)), situation


@pytest.mark.parametrize("category", CATEGORIES)
def test_no_driver_is_installed_inside_wsl(category):
    for situation, steps in plans(category, systems=("wsl",), gpus=("not known", "Ada", "RTX 5090")):
        for step in steps:
            if re.search(r"(Update|install) .*driver", step.step):
                assert "never inside WSL" in step.step, (situation, step)


@pytest.mark.parametrize("category", CATEGORIES)
def test_packages_are_installed_with_the_tool_in_use(category):
    for situation, steps in plans(category, systems=("linux", "windows"), gpus=("Ada", "RTX 5090")):
        for command in commands(steps):
            # vLLM goes into an environment of its own.
            if not re.search(r"\bpip\b", command) or "--python vllm-env" in command:
                continue
            if situation.tool == "uv":
                assert command.startswith("uv pip "), command
            elif situation.tool == "embedded" and situation.system == "windows":
                assert command.startswith(r".\python_embeded\python.exe -s -m pip ")
            else:
                assert command.startswith(("python -m pip ", "python -s -m pip "))


def test_bash_reads_every_command():
    every = set()
    for category in CATEGORIES:
        for _, steps in plans(category, systems=("linux", "wsl", "macos", None)):
            every.update(commands(steps))
    script = "\n".join(sorted(command for command in every if not CMD_ONLY.search(command)))
    bash = shutil.which("bash")
    assert bash, "the commands for Linux are checked with bash"
    done = subprocess.run([bash, "-n"], input=script, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


# The tables


def test_where_nothing_can_be_said_or_done_there_is_no_plan():
    for category in (*ABSTAINING, "no such category", "*"):
        for _, situation in situations(("RTX 5090", "not known")):
            assert plan(category, situation, {}) == ()


def entries():
    """Every entry of every list of steps."""
    tables = (*load_plans().values(), *(build.steps for build in load_builds()))
    lists = [steps for table in tables for steps in table.values()] + [build.fit for build in load_builds()]
    return set(itertools.chain.from_iterable(lists))


def test_the_tables_name_steps_and_kinds_that_exist():
    for table in (*load_plans().values(), *(build.steps for build in load_builds())):
        assert set(table) <= {*KINDS, "nvidia", "any"}
    assert {entry.partition("?")[0] for entry in entries()} - {"@library", "@fit"} == set(load_recipes())


def test_every_fact_has_a_source():
    assert all(recipe.source for recipe in load_recipes().values())
    assert all(build.source for build in load_builds())


def test_conditions_name_facts_that_can_hold():
    known = {f"is-{build.package}" for build in load_builds()}
    for _, situation in situations():
        for values, culprit in FOUND:
            case = Case("no_kernel_image", situation, values, culprit)
            known |= case.facts | {f"knows-{name}" for name in words_of(case)}

    for recipe in load_recipes().values():
        assert recipe.needs | recipe.unless | set(recipe.where) <= known, recipe.id
    for entry in entries():
        assert {part.lstrip("!") for part in entry.partition("?")[2].split("&")} - {""} <= known, entry
