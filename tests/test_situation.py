"""What is known of a machine: from a file that somebody wrote, and from the machine itself."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_machine import Machine
from rtx50_autoload.diagnosis import this_machine
from rtx50_autoload.diagnosis.described import read_description
from rtx50_autoload.diagnosis.gpu_names import find_gpus, load_gpu_names
from rtx50_autoload.diagnosis.situation import Situation
from rtx50_autoload.errors import UsageError


def first_gpu(text):
    gpu = read_description({"gpu": text}).gpus[0]
    return gpu.capability, gpu.vendor


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("RTX 5090", ((12, 0), "nvidia")),
        ("NVIDIA GeForce RTX 5090 D", ((12, 0), "nvidia")),
        ("5060 Ti", ((12, 0), "nvidia")),
        ("RTX 5070 Laptop GPU", ((12, 0), "nvidia")),
        ("RTX 5070 (replaced a 3090)", ((12, 0), "nvidia")),
        ("RTX 50-series", ((12, 0), "nvidia")),
        ("2x RTX 5090", ((12, 0), "nvidia")),
        ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", ((12, 0), "nvidia")),
        ("sm_120", ((12, 0), "nvidia")),
        ("B200 (sm_100)", ((10, 0), "nvidia")),
        ("NVIDIA GB10", ((12, 1), "nvidia")),
        ("RTX 5000", (None, "nvidia")),
        ("Quadro RTX 5000", ((7, 5), "nvidia")),
        ("NVIDIA RTX 5000 Ada Generation", ((8, 9), "nvidia")),
        ("RTX A5000", ((8, 6), "nvidia")),
        ("3x Tesla P40 (sm_61)", ((6, 1), "nvidia")),
        ("GeForce 940M", ((5, 0), "nvidia")),
        ("H100", ((9, 0), "nvidia")),
        ("AMD RX 6600", (None, "amd")),
        ("Intel Arc A770", (None, "intel")),
        ("Apple M2", (None, "apple")),
        ("something else", (None, None)),
    ],
)
def test_a_gpu_is_known_by_its_name_where_the_name_is_clear(text, expected):
    assert first_gpu(text) == expected


def test_a_processor_is_no_gpu():
    assert find_gpus("CPU: AMD Ryzen 9 5900X, GPU: NVIDIA GeForce RTX 5080") == find_gpus("RTX 5080")[:0] + tuple(
        gpu for gpu in find_gpus("NVIDIA GeForce RTX 5080") if gpu.vendor == "nvidia"
    )


def test_a_bare_number_is_a_gpu_only_where_one_is_expected():
    assert find_gpus("listening on port 5090") == ()
    assert find_gpus("5090", bare=True)[0].capability == (12, 0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("GPU 0: NVIDIA A100-SXM4-80GB", [(8, 0)]),
        ("Found Tesla T4 with 16 GB", [(7, 5)]),
        ("bf16 is only supported on A100+ GPUs", []),
        ("layers l4 and a10, port t4", []),
    ],
)
def test_a_short_name_in_a_text_is_a_gpu_only_after_its_maker(text, expected):
    assert [gpu.capability for gpu in find_gpus(text)] == expected


def test_all_gpus_are_known_in_their_order():
    gpus = read_description({"gpu": "GTX 1080 Ti + RTX 2080 Ti"}).gpus
    assert [gpu.capability for gpu in gpus] == [(6, 1), (7, 5)]


@pytest.mark.parametrize("written", ["12.0", [12, 0], 12.0, "sm_120", "120", (12, 0)])
def test_a_capability_may_be_written_in_several_ways(written):
    assert read_description({"capability": written}).gpus[0].capability == (12, 0)


def test_a_stated_capability_comes_before_the_name():
    assert read_description({"gpu": "RTX 5000", "capability": "12.0"}).gpus[0].capability == (12, 0)


@pytest.mark.parametrize(
    ("written", "version", "variant"),
    [
        ("2.7.1+cu128", "2.7.1", "cu128"),
        ("2.7.0.dev20250310+cu124", "2.7.0.dev20250310", "cu124"),
        ("nightly cu128 (per reporter)", None, "cu128"),
        ("2.8.0 (cu126)", "2.8.0", "cu126"),
        ("2.3.1+cu121 -> 2.3.0", "2.3.0", None),
        ("2.9.0+cpu", "2.9.0", "cpu"),
        ("2.10.0+rocm7.1", "2.10.0", "rocm7.1"),
        ("CUDA 13 build", None, None),
        ("", None, None),
    ],
)
def test_torch_is_read_out_of_free_text(written, version, variant):
    situation = read_description({"torch": written})
    assert (situation.torch, situation.torch_variant) == (version, variant)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("12.8", "12.8"),
        (12.8, "12.8"),
        ("nvcc 12.8.93", "12.8"),
        ("11.7 nvcc; nvidia-smi shows 12.0", "11.7"),
        ("8.0 toolkit, driver 10.2", "8.0"),
        ("built with 12.4", None),
        ("13.x", None),
    ],
)
def test_the_toolkit_is_the_compilers_version(written, expected):
    assert read_description({"cuda": written}).cuda_toolkit == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("Windows 11", "windows"),
        ("WSL2 Ubuntu", "wsl"),
        ("Ubuntu 24.04", "linux"),
        ("Linux (docker)", "linux"),
        ("macOS 14", "macos"),
        ("Fedora 38 (gcc 13)", "linux"),
        ("", None),
    ],
)
def test_the_operating_system_is_read_out_of_free_text(written, expected):
    assert read_description({"os": written}).system == expected


def test_other_keys_are_versions_of_libraries():
    situation = read_description({"Flash_Attn": "2.8.3", "xformers": "0.0.35 wheel", "note": "none"})
    assert dict(situation.versions) == {"flash-attn": "2.8.3", "xformers": "0.0.35"}


def test_what_is_not_said_is_not_known():
    assert read_description({}) == Situation(source="file")
    assert read_description({"gpu": None, "torch": True, "os": {}}).gpus is None


@pytest.mark.parametrize("written", [None, [], "RTX 5090", 12, [("gpu", "RTX 5090")]])
def test_what_is_no_mapping_is_refused(written):
    with pytest.raises(UsageError, match="has to be an object"):
        read_description(written)


@pytest.mark.parametrize("written", ["new", [12], "12", {}, -1, "12.0.0"])
def test_a_capability_that_is_none_is_refused(written):
    with pytest.raises(UsageError, match="capability"):
        read_description({"capability": written})


_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)


@given(st.dictionaries(st.sampled_from(["gpu", "torch", "cuda", "driver", "os", "python", "x"]), _ANYTHING))
def test_any_file_can_be_read(environment):
    assert read_description(environment).source == "file"


def test_every_name_of_a_gpu_can_be_met():
    assert len(load_gpu_names()) > 20
    assert all(name.vendor in {"nvidia", "amd", "intel", "apple", "other"} for name in load_gpu_names())


# This machine


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_the_machine_is_described_from_its_files(machine):
    machine.torch("2.13.0+cu130", "13.0")
    machine.install("flash-attn", "2.8.3")
    home = machine.toolkit("12.8")
    machine.write(home / "version.json", '{"cuda" : {"name" : "CUDA SDK", "version" : "12.8.1"}}')
    situation = this_machine.look(machine.place)
    assert situation.source == "machine"
    assert (situation.torch, situation.torch_variant) == ("2.13.0", "cu130")
    assert situation.cuda_toolkit == "12.8"
    assert situation.versions["flash-attn"] == "2.8.3"
    assert situation.system == "linux"
    assert situation.python_version == "3.12.1"


@pytest.mark.parametrize(
    ("version", "cuda", "hip", "variant"),
    [
        ("2.13.0", "13.0", None, "cu130"),
        ("2.13.0+cpu", None, None, "cpu"),
        ("2.13.0", None, "7.1.4", "rocm7.1"),
        ("2.13.0", None, None, "cpu"),
    ],
)
def test_the_build_of_torch_is_known_without_its_local_version(machine, version, cuda, hip, variant):
    machine.torch(version, cuda, hip)
    assert this_machine.look(machine.place).torch_variant == variant


def test_no_compiler_is_started(machine):
    machine.toolkit("12.8")  # its nvcc would say so, and there is no version.json
    assert this_machine.look(machine.place).cuda_toolkit is None


def test_what_installs_packages_is_known_by_its_traces(machine):
    assert this_machine.look(machine.place).tool == "pip"
    machine.write(machine.python.prefix / "pyvenv.cfg", "home = /usr/bin\nuv = 0.9.1\n")
    assert this_machine.look(machine.place).tool == "uv"
    (machine.python.prefix / "conda-meta").mkdir()
    assert this_machine.look(machine.place).tool == "conda"
    machine.write(machine.python.executable.parent / "python312._pth")
    assert this_machine.look(machine.place).tool == "embedded"


def test_wsl_is_not_linux(machine):
    machine.system("/proc/sys/kernel/osrelease", "5.15.153.1-microsoft-standard-WSL2")
    assert this_machine.look(machine.place).system == "wsl"


def test_an_interpreter_in_a_folder_with_spaces_is_quoted(machine, tmp_path):
    machine.change_python(executable=tmp_path / "my programs" / "python")
    assert this_machine.look(machine.place).python_command == f"'{tmp_path}/my programs/python'"


def test_what_cannot_be_read_is_not_known(machine, monkeypatch):
    def broken(*_):
        raise RuntimeError

    monkeypatch.setattr(this_machine, "survey_devices", broken)
    monkeypatch.setattr(this_machine, "torch_build", broken)
    monkeypatch.setattr(this_machine, "find_toolkit", broken)
    situation = this_machine.look(machine.place)
    assert (situation.gpus, situation.torch, situation.cuda_toolkit) == (None, None, None)
    assert situation.system == "linux"


def test_looking_at_this_machine_starts_nothing_and_imports_no_torch():
    code = """
import json, subprocess, sys
def forbidden(*arguments, **keywords):
    raise AssertionError(arguments)
subprocess.Popen = forbidden
from rtx50_autoload.diagnosis import this_machine
situation = this_machine.look()
print(json.dumps([situation.source, situation.python_version, situation.python_command, "torch" in sys.modules]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    source, version, command, has_torch = json.loads(done.stdout)
    assert source == "machine"
    assert version == ".".join(map(str, sys.version_info[:3]))
    assert command.strip("'") == sys.executable
    assert not has_torch


@pytest.mark.parametrize("words", ["none", "No GPU", "CPU only"])
def test_a_machine_may_be_said_to_have_no_gpu(words):
    assert read_description({"gpu": words}).gpus == ()


def test_a_family_of_capabilities_is_told_by_its_first():
    [gpu] = read_description({"gpu": "compute capability 5.x"}).gpus
    assert gpu.capability == (5, 0)
