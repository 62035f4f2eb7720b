"""A small CUDA extension, built from its source distribution by a plan's commands and variables; nothing is run."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

import rig
from rtx50_autoload.installer.builds import build_steps
from rtx50_autoload.installer.machine import Machine

NVCC = shutil.which("nvcc")
pytestmark = pytest.mark.skipif(NVCC is None, reason="nvcc is not installed (NVIDIA CUDA toolkit 12.8 or newer)")

TORCH_FOR = {12: "cu128", 13: "cu130"}


class Workshop(NamedTuple):
    """An environment, and the folder that its installer finds the source distribution in."""

    venv: rig.Venv
    sdists: Path
    steps: tuple


def asked(*options):
    result = subprocess.run([NVCC, *options], check=True, capture_output=True, text=True)
    return result.stdout + result.stderr


@pytest.fixture(scope="module")
def workshop(_make_session_venv, tmp_path_factory):
    venv = _make_session_venv(torch="real", coverage=False)
    sdists = tmp_path_factory.mktemp("sdists")
    source = shutil.copytree(Path(__file__).parent / "cuda_extension", tmp_path_factory.mktemp("source") / "extension")
    rig.uv("build", "--sdist", "--out-dir", sdists, source)
    release = re.search(r"release (\d+)\.(\d+)", asked("--version"))
    # nvcc itself may be a script that calls the one in the toolkit's folder.
    top = re.search(r"^#\$ TOP=(.+)$", asked("--dryrun", "nothing.cu"), re.MULTILINE)[1]
    machine = Machine(
        executable=str(venv.python),
        installer="uv",
        cores=2,
        toolkit=f"{release[1]}.{release[2]}",
        toolkit_home=os.path.normpath(top),
        compiler=("gcc", None),
        ninja=True,
    )
    # The torch here is a build for the CPU; this extension links nothing of it.
    steps = build_steps(machine, "rtx50-example", ("2.13.0", TORCH_FOR[int(release[1])]))
    workshop = Workshop(venv, sdists, steps)
    assert [step.id for step in steps] == ["install-build-tools", "build-rtx50-example"]
    run(workshop, steps[0].commands[0])
    return workshop


def run(workshop, command, **environ):
    """Run a command of the plan in surroundings where an installer finds the source distribution."""
    from uv import find_uv_bin  # noqa: PLC0415 - only those who install need it

    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "RTX50_", "COV"))}
    env |= {"UV_FIND_LINKS": str(workshop.sdists), **command.environ, **environ}
    env["PATH"] = os.pathsep.join([str(Path(find_uv_bin()).parent), env["PATH"]])
    result = subprocess.run(command.arguments, check=False, capture_output=True, text=True, env=env)
    assert result.returncode == 0, rig.describe(result)
    return result.stdout + result.stderr


def check(workshop, log, *devices, **environ):
    file = workshop.sdists / "build.log"
    file.write_text(log, encoding="utf-8")
    options = [word for device in devices for word in ("--device", device)]
    result = workshop.venv.run(
        "-m", "rtx50_autoload", "check-build", "rtx50-example", "--log", file, "--json", *options, env=environ
    )
    return result.returncode, json.loads(result.stdout)


def test_the_plans_build_holds_code_for_an_rtx_50(workshop):
    build, check_ = workshop.steps[-1].commands
    log = run(workshop, build)
    assert "arch=compute_120,code=sm_120" in log
    shown = run(workshop, check_)  # ends with 0
    assert "12.0: native" in shown
    assert "GPU code: sm_120 compute_120" in shown
    scanned = workshop.venv.run("-m", "rtx50_autoload", "scan", "--json", workshop.venv.site_packages / "rtx50_example")
    (library,) = json.loads(scanned.stdout)
    assert set(library["sass"]) == {"sm_120"}
    assert set(library["ptx"]) == {"compute_120"}


def test_a_build_with_the_predecessors_list_runs_by_ptx_only(workshop):
    log = run(workshop, workshop.steps[-1].commands[0], TORCH_CUDA_ARCH_LIST="9.0+PTX")
    code, found = check(workshop, log, "12.0", TORCH_CUDA_ARCH_LIST="9.0+PTX")
    assert (code, found["verdicts"]) == (1, {"12.0": "jit"})
    assert found["problem"].startswith(
        "rtx50-example 1.0 does not hold ready-made code for 12.0 throughout: there is sm_90, compute_90."
    )
    assert "TORCH_CUDA_ARCH_LIST=12.0+PTX" in found["next"]
    assert "nvcc was asked for compute_90, sm_90. TORCH_CUDA_ARCH_LIST is '9.0+PTX'." in found["problem"]


def test_a_build_without_cuda_is_told_apart(workshop):
    log = run(workshop, workshop.steps[-1].commands[0], FORCE_CUDA="0")
    code, found = check(workshop, log, "12.0")
    assert code == 1
    assert found["verdicts"] == {"12.0": "no_gpu_code"}
    assert "it was built without CUDA" in found["problem"]
    assert "FORCE_CUDA=1 is not set" in found["problem"]


def test_a_build_for_another_torch_is_told_apart(workshop):
    log = run(workshop, workshop.steps[-1].commands[0], NVCC_APPEND_FLAGS="-DOTHER_TORCH")
    code, found = check(workshop, log, "12.0")
    assert (code, found["verdicts"]) == (1, {"12.0": "native"})
    assert "the loader does not find of_another_torch" in found["problem"]
