"""What a plan is told of the machine and of the environment that run the command."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import rig
from fake_distributions import install
from fake_machine import Machine, survey
from rtx50_autoload.installer import here

#: Prints what is found, the modules that came with it, and the programs that were started for it.
LOOK = """
import json, sys
started = []
sys.addaudithook(lambda event, arguments: started.append(str(arguments[0])) if event == "subprocess.Popen" else None)
from rtx50_autoload.installer.here import machine_here
machine = machine_here()
packages = {name: [str(each), list(each.requires), each.origin] for name, each in machine.packages.items()}
print(json.dumps({
    "gpus": [[gpu.name, gpu.capability] for gpu in machine.gpus],
    "executable": machine.executable,
    "kind": machine.kind,
    "installer": machine.installer,
    "python": machine.python,
    "system": machine.system,
    "externally_managed": machine.externally_managed,
    "packages": packages,
    "cores": machine.cores,
    "free_disk": machine.free_disk,
    "modules": sorted({name.partition(".")[0] for name in sys.modules}),
    "started": started,
}))
"""


def look(venv, python=None, **variables):
    """Look with an interpreter that finds the package of an environment."""
    result = venv.run(python or venv.python, "-c", LOOK, env=variables)
    assert result.returncode == 0, rig.describe(result)
    return json.loads(result.stdout)


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def found(machine, **changes):
    place = machine.place
    return here.machine_here(replace(place, python=replace(place.python, **changes)), machine.survey)


def test_a_virtual_environment_is_looked_at_by_its_own_python(installed):
    seen = look(installed, RTX50_SIMULATE="NVIDIA GeForce RTX 5090:12.0")
    assert seen["gpus"] == [["NVIDIA GeForce RTX 5090", [12, 0]]]
    assert seen["kind"] == "venv"
    assert seen["executable"] == str(installed.python)
    assert seen["python"] == f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert not seen["externally_managed"]
    assert "packaging>=23.2" in seen["packages"]["rtx50-autoload"][1]
    assert 1 <= seen["cores"] <= os.cpu_count()
    assert seen["free_disk"] > 0


def test_torch_is_neither_imported_nor_asked(with_fake_torch):
    seen = look(with_fake_torch)
    assert seen["packages"]["torch"][0].startswith("2.13.0+")
    assert "torch" not in seen["modules"]
    assert "ctypes" in seen["modules"]


def test_no_program_is_started_but_compilers_for_their_version(installed):
    assert {Path(program).stem for program in look(installed)["started"]} <= {"nvcc", "g++", "c++", "gcc", "clang++"}


def test_an_environment_of_uv_is_served_by_uv(installed, tmp_path):
    rig.uv("venv", "--quiet", "--python", installed.python, tmp_path / "by-uv")
    python = tmp_path / "by-uv" / "bin" / "python"
    seen = look(installed, python, PYTHONPATH=str(installed.site_packages), PATH="/usr/bin:/bin")
    assert (seen["kind"], seen["installer"], seen["executable"]) == ("venv", "uv", str(python))


def test_an_environment_of_uv_with_a_pip_in_it_is_served_by_that_where_no_uv_is_found(installed, tmp_path):
    rig.uv("venv", "--quiet", "--seed", "--python", installed.python, tmp_path / "seeded")
    python = tmp_path / "seeded" / "bin" / "python"
    seen = look(installed, python, PYTHONPATH=str(installed.site_packages), PATH="/usr/bin:/bin")
    assert seen["installer"] == "pip"


def test_uv_is_used_where_it_is_there(machine):
    assert found(machine, base_prefix=Path("/usr")).installer == "pip"
    machine.program("uv", "uv 0.9.0")
    assert found(machine, base_prefix=Path("/usr")).installer == "uv"


def test_conda_and_portable_programs_are_served_by_their_own_pip(machine):
    machine.program("uv", "uv 0.9.0")
    (machine.venv / "conda-meta").mkdir()
    assert (found(machine).kind, found(machine).installer) == ("conda", "pip")
    (machine.venv / "bin" / "python312._pth").touch()
    assert (found(machine).kind, found(machine).installer) == ("embedded", "pip")


def test_an_environment_made_from_condas_python_is_its_own(machine):
    (machine.venv / "conda-meta").mkdir()
    assert found(machine, base_prefix=machine.root).kind == "venv"


def test_a_python_that_its_distribution_owns_is_recognised(machine, tmp_path, monkeypatch):
    monkeypatch.setattr(here.sysconfig, "get_path", lambda name: str(tmp_path / name))
    assert not found(machine).externally_managed
    (tmp_path / "stdlib").mkdir()
    (tmp_path / "stdlib" / "EXTERNALLY-MANAGED").touch()
    assert found(machine).externally_managed
    # An environment made from it is its user's own.
    assert not found(machine, base_prefix=Path("/usr")).externally_managed


def test_packages_come_with_what_they_require_and_where_they_are_from(machine):
    machine.install("vllm", "0.11.0", "torch==2.8.0", "regex")
    machine.install("flash-attn", "2.8.3", url="https://example.org/flash.whl")
    editable = {"url": "file:///src/some", "dir_info": {"editable": True}}
    install(machine.site, "Some_Lib", "1.0", direct_url=editable)
    packages = found(machine).packages
    assert packages["vllm"].requires == ("torch==2.8.0", "regex")
    assert packages["some-lib"].origin == "editable file:///src/some"
    assert packages["flash-attn"].origin == "https://example.org/flash.whl"


def test_what_an_interrupted_uninstallation_leaves_is_passed_over(machine):
    (machine.site / "~orch-2.8.0.dist-info").mkdir()
    (machine.site / "broken-1.0.dist-info").mkdir()
    (machine.site / "broken-1.0.dist-info" / "METADATA").write_bytes(b"\xff\xfe\x00")
    machine.install("sound", "1.0")
    assert str(found(machine).packages["sound"]) == "1.0"


def test_of_two_torches_the_one_that_is_imported_comes_first(machine, tmp_path):
    user = tmp_path / "user-site"
    machine.torch("2.5.1+cu121", "12.1", site=user)
    machine.torch("2.9.1+cu128", "12.8")
    machine.paths.insert(0, user)
    seen = found(machine)
    assert str(seen.packages["torch"]) == "2.5.1+cu121"
    assert str(seen.hidden["torch"]) == "2.9.1+cu128"


@pytest.mark.parametrize(("text", "built"), [('{"version": {"cuda": 1208}}', "0.0.35+cu128"), ("{}", "0.0.35")])
def test_xformers_says_beside_its_library_what_it_was_built_for(machine, text, built):
    machine.install("xformers", "0.0.35")
    machine.write(machine.site / "xformers" / "cpp_lib.json", text)
    assert str(found(machine).packages["xformers"]) == built


def test_a_containers_limit_of_memory_counts(machine):
    machine.system("/proc/meminfo", "MemTotal:       65536000 kB\n")
    machine.system("/sys/fs/cgroup/memory.max", "8589934592\n")
    assert found(machine).memory == 8 * 2**30


def test_a_gpu_without_a_driver_is_seen_on_the_bus(machine):
    machine.survey = survey(driver=None, reason="NVML is not there.")
    machine.system("/sys/bus/pci/devices/0000:01:00.0/vendor", "0x10de\n")
    machine.system("/sys/bus/pci/devices/0000:01:00.0/class", "0x030000\n")
    (gpu,) = found(machine).gpus
    assert (gpu.name, gpu.capability, gpu.vendor) == (None, None, "nvidia")
