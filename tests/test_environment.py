"""Each finding about the environment: what calls it forth, and that nothing else is said then."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest

from fake_machine import RTX_4090, RTX_5090, Machine, survey
from rtx50_autoload.evidence.environment import examination, host, topic
from rtx50_autoload.evidence.environment.place import Place
from rtx50_autoload.evidence.finding import Severity
from rtx50_autoload.evidence.gpu import Gpu
from rtx50_autoload.evidence.visibility import view

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the fake machine has shell scripts for programs")

GIB = 2**30


@pytest.fixture
def machine(tmp_path, monkeypatch):
    monkeypatch.setattr(host.shutil, "disk_usage", lambda _: SimpleNamespace(free=100 * GIB))
    monkeypatch.setattr(host, "processors", lambda: 4)
    return Machine(tmp_path)


def test_a_machine_that_lacks_nothing_is_not_talked_about(machine):
    assert machine.findings() == {}


def test_facts_are_what_json_can_hold_and_name_what_was_found(machine):
    machine.install("triton", "3.7.1")

    facts = machine.examine().facts

    assert json.loads(json.dumps(facts)) == facts
    assert set(facts) == set(examination.TOPICS)
    assert facts["versions"]["torch"] == {
        "version": "2.13.0+cu130",
        "cuda": "13.0",
        "rocm": None,
        "folder": str(machine.site / "torch"),
    }
    assert facts["versions"]["packages"] == {"triton": "3.7.1"}
    assert facts["toolkit"]["nvcc"][0]["version"] == "13.0"
    assert facts["compiler"]["compiler"]["version"] == 12
    assert facts["driver"]["version"] == "580.159.04"


# The driver


def without_devices(machine, reason, driver=None):
    machine.survey = survey(driver=driver, reason=reason)


def nvidia_gpu_on_bus(machine):
    machine.system("/sys/bus/pci/devices/0000:01:00.0/vendor", "0x10de\n")
    machine.system("/sys/bus/pci/devices/0000:01:00.0/class", "0x030000\n")
    machine.system("/sys/bus/pci/devices/0000:01:00.1/vendor", "0x10de\n")
    machine.system("/sys/bus/pci/devices/0000:01:00.1/class", "0x040300\n")


def driver_missing(machine):
    nvidia_gpu_on_bus(machine)
    without_devices(machine, "No NVIDIA driver is installed here (…).")


def no_gpu(machine):
    without_devices(machine, "No NVIDIA driver is installed here (…).")


def updated_without_restart(machine):
    without_devices(machine, "They differ in version (NVML_ERROR_LIB_RM_VERSION_MISMATCH: …).")


def no_permission(machine):
    without_devices(machine, "This user has no permission (NVML_ERROR_NO_PERMISSION: …).")


def gpu_lost(machine):
    without_devices(machine, "The GPU is lost (NVML_ERROR_GPU_IS_LOST: …).", driver="580.1.2")
    machine.survey = survey(reason=machine.survey.reason, driver=None)


def proprietary_kernel_module(machine):
    nvidia_gpu_on_bus(machine)
    machine.system("/proc/driver/nvidia/version", "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06\n")
    without_devices(machine, "The NVIDIA driver finds no GPU.", driver="580.65.06")


def driver_of_the_rtx_40_days(machine):
    machine.torch("2.8.0+cu128", "12.8")
    machine.toolkit("12.8")
    machine.survey = survey(RTX_5090, driver="565.57.01")


def driver_before_cuda_13(machine):
    machine.survey = survey(RTX_5090, driver="570.124.06")


def stub_on_the_loader_path(machine):
    stub = machine.system("/usr/local/cuda/lib64/stubs/libcuda.so.1")
    machine.environ["LD_LIBRARY_PATH"] = str(stub.parent)


def compat_on_the_loader_path(machine):
    compat = machine.system("/usr/local/cuda/compat/libcuda.so.1")
    machine.environ["LD_LIBRARY_PATH"] = str(compat.parent)


def libcuda_missing(machine):
    (machine.root / "lib64" / "libcuda.so.1").unlink()


# Containers and WSL


def docker_without_gpus(machine):
    machine.system("/.dockerenv")
    without_devices(machine, "No driver.")


def docker_with_graphics_only(machine):
    machine.system("/.dockerenv")
    machine.system("/dev/nvidia0")
    machine.system("/lib64/libnvidia-ptxjitcompiler.so.1")
    machine.environ["NVIDIA_DRIVER_CAPABILITIES"] = "graphics,utility"


def docker_without_jit_compiler(machine):
    machine.system("/.dockerenv")
    machine.system("/dev/nvidia0")


def docker_without_driver(machine):
    docker_with_graphics_only(machine)
    del machine.environ["NVIDIA_DRIVER_CAPABILITIES"]
    without_devices(machine, "No driver.")


def wsl_where_nothing_answers(machine):
    libcuda_missing(machine)
    linux_driver_in_wsl(machine)
    without_devices(machine, "No driver.")


def wsl_1(machine):
    machine.system("/proc/sys/kernel/osrelease", "4.4.0-19041-Microsoft\n")
    without_devices(machine, "No driver.")


def wsl_without_driver(machine):
    machine.system("/proc/sys/kernel/osrelease", "5.15.153.1-microsoft-standard-WSL2\n")
    without_devices(machine, "No driver.")


def linux_driver_in_wsl(machine):
    machine.system("/proc/sys/kernel/osrelease", "5.15.153.1-microsoft-standard-WSL2\n")
    machine.system("/usr/lib/wsl/lib/libcuda.so.1")
    machine.system("/dev/dxg")


# Variables


def jit_forced(machine):
    machine.environ["CUDA_FORCE_PTX_JIT"] = "1"


def jit_disabled(machine):
    machine.environ["CUDA_DISABLE_JIT"] = "1"


def jit_cache_disabled(machine):
    machine.environ["CUDA_CACHE_DISABLE"] = "1"


def eager(machine):
    machine.environ["CUDA_MODULE_LOADING"] = "EAGER"


def hidden_by(name, value):
    def apply(machine):
        machine.environ[name] = value
        gpu = Gpu(0, RTX_5090.name, RTX_5090.capability, "GPU-0", "0000:01:00.0", None)
        notes = view([gpu], machine.environ).notes
        without_devices(machine, f"{'; '.join(['NVML names 1 GPU', *notes])}.", driver="580.159.04")

    apply.__name__ = f"{name}={value}"
    return apply


# Architectures


def arch_list(value, variable="TORCH_CUDA_ARCH_LIST"):
    def apply(machine):
        machine.environ[variable] = value

    apply.__name__ = f"{variable}={value}"
    return apply


# Toolkit and compiler


def no_toolkit(machine):
    shutil.rmtree(machine.root / "usr" / "local" / "cuda")


def cuda_home_wrong(machine):
    machine.environ["CUDA_HOME"] = str(machine.root / "usr" / "local" / "cuda-11.8")


def old_toolkit(machine):
    machine.torch("2.8.0+cu128", "12.8")
    machine.toolkit("12.4")


def toolkit_of_another_major(machine):
    machine.toolkit("12.9")


def two_toolkits(machine):
    machine.environ["CUDA_HOME"] = str(machine.toolkit("13.0", "opt/cuda"))
    machine.environ["PATH"] += f":{machine.toolkit('13.1', 'usr') / 'bin'}"


def no_compiler(machine):
    (machine.bin / "g++").unlink()


def no_compiler_for_triton(machine):
    no_compiler(machine)
    machine.install("triton", "3.7.1")


def compiler_too_new(machine):
    machine.program("g++", "g++ (GCC) 16.1.0")


def clang_too_new(machine):
    machine.program("clang", "clang version 21.0.1")
    machine.environ["CUDAHOSTCXX"] = "clang"


def no_ninja(machine):
    (machine.bin / "ninja").unlink()


# Versions


def torch_for_the_cpu(machine):
    machine.torch("2.13.0+cpu", None)


def torch_for_amd(machine):
    machine.torch("2.13.0+rocm7.0", None, hip="7.0")


def torch_with_cuda_12_4(machine):
    machine.torch("2.7.0+cu124", "12.4")
    machine.toolkit("12.8")


def old_triton(machine):
    machine.install("triton", "3.2.0")


def old_triton_on_windows(machine):
    machine.install("triton-windows", "3.2.0.post13")


def torchvision_for_another_torch(machine):
    machine.install("torchvision", "0.26.0", "torch (==2.11.0)", built="0.26.0+cu130")


def torchvision_for_the_cpu(machine):
    machine.install("torchvision", "0.28.0", "torch==2.13.0", built="0.28.0+cpu")


def torchaudio_of_another_variant(machine):
    machine.install("torchaudio", "2.11.0", built="2.11.0+cu126")


def torchvision_of_another_release(machine):
    machine.install("torchvision", "0.26.0a0")


def triton_replaced(machine):
    machine.install("torch", "2.13.0", 'triton==3.7.1; platform_system == "Linux"')
    machine.install("triton", "3.6.0")


def nvidia_package_replaced(machine):
    machine.install("torch", "2.13.0", "nvidia-cudnn-cu13==9.20.0.48")
    machine.install("nvidia-cudnn-cu13", "9.10.0.1")


def numpy_missing(machine):
    machine.install("bitsandbytes", "0.50.2", "numpy>=1.17", "torch<3,>=2.4")
    machine.write(machine.site / "bitsandbytes" / "libbitsandbytes_cuda130.so")


def xformers_for_another_torch(machine):
    machine.install("xformers", "0.0.33", "torch>=2.9")
    text = json.dumps({"version": {"cuda": 1208, "torch": "2.9.0+cu128"}})
    machine.write(machine.site / "xformers" / "cpp_lib.json", text)


def flash_attn_for_another_torch(machine):
    wheel = "flash_attn-2.8.3%2Bcu12torch2.8cxx11abiTRUE-cp312-cp312-linux_x86_64.whl"
    machine.install("flash-attn", "2.8.3", "torch", url=f"file:///wheels/{wheel}")


def bitsandbytes_without_cuda_13(machine):
    machine.install("bitsandbytes", "0.45.0", "torch")
    machine.write(machine.site / "bitsandbytes" / "libbitsandbytes_cuda128.so")


# Python and the host


def the_predecessor(machine):
    machine.install("rtx50-compat", "3.0.2")


def python_32_bit(machine):
    machine.change_python(bits=32)


def python_unknown(machine):
    shutil.rmtree(machine.site / "torch")
    machine.change_python(version=(3, 19, 0))


def torch_not_installed(machine):
    shutil.rmtree(machine.site / "torch")
    shutil.rmtree(next(machine.site.glob("torch-*.dist-info")), ignore_errors=True)


def python_no_longer_served(machine):
    shutil.rmtree(machine.site / "torch", ignore_errors=True)
    machine.change_python(version=(3, 13, 1), free_threaded=True)


def no_headers(machine):
    (machine.venv / "include" / "Python.h").unlink()


def two_torches(machine):
    other = machine.venv / "other"
    machine.torch(site=other)
    machine.paths.append(other)


def torch_shadowed(machine):
    user_site = machine.root / "home" / "user-site"
    machine.torch("2.13.0+cu130", site=user_site)
    machine.paths.insert(0, user_site)
    machine.change_python(user_site=user_site)


ERROR, WARNING, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO


@pytest.mark.parametrize(
    ("fault", "identifier", "severity", "next_step"),
    [
        (driver_missing, "driver-missing", ERROR, "open kernel modules"),
        (no_gpu, "gpu-not-found", WARNING, "export RTX50_SIMULATE=12.0"),
        (updated_without_restart, "driver-version-mismatch", ERROR, "Restart the computer."),
        (no_permission, "driver-no-permission", ERROR, "usermod"),
        (gpu_lost, "gpu-lost", ERROR, "Shut the computer down"),
        (proprietary_kernel_module, "driver-ignores-gpu", ERROR, "open kernel modules"),
        (driver_of_the_rtx_40_days, "driver-too-old-for-device", ERROR, "580"),
        (driver_before_cuda_13, "driver-too-old-for-torch", ERROR, "/whl/cu128"),
        (stub_on_the_loader_path, "libcuda-stub", ERROR, "LD_LIBRARY_PATH"),
        (compat_on_the_loader_path, "libcuda-forward-compatibility", WARNING, "LD_LIBRARY_PATH"),
        (libcuda_missing, "libcuda-missing", ERROR, "580"),
        (docker_without_gpus, "container-without-gpu", ERROR, "--gpus all"),
        (docker_with_graphics_only, "container-without-compute", ERROR, "compute,utility"),
        (docker_without_jit_compiler, "container-without-jit-compiler", WARNING, "--gpus all"),
        (wsl_1, "wsl-1", ERROR, "--set-version"),
        (wsl_without_driver, "wsl-without-driver", ERROR, "wsl --update"),
        (linux_driver_in_wsl, "wsl-linux-driver", WARNING, "sudo apt purge"),
        (jit_forced, "ptx-jit-forced", ERROR, "unset CUDA_FORCE_PTX_JIT"),
        (jit_disabled, "ptx-jit-disabled", WARNING, "unset CUDA_DISABLE_JIT"),
        (jit_cache_disabled, "jit-cache-disabled", INFO, "unset CUDA_CACHE_DISABLE"),
        (eager, "module-loading-eager", INFO, "unset CUDA_MODULE_LOADING"),
        (hidden_by("CUDA_VISIBLE_DEVICES", ""), "devices-hidden", ERROR, "unset CUDA_VISIBLE_DEVICES"),
        (hidden_by("CUDA_VISIBLE_DEVICES", "0,0"), "devices-hidden", ERROR, "unset CUDA_VISIBLE_DEVICES"),
        (hidden_by("CUDA_DEVICE_ORDER", "pci"), "devices-hidden", ERROR, "unset CUDA_DEVICE_ORDER"),
        (docker_without_driver, "driver-missing", ERROR, "--gpus all"),
        (wsl_where_nothing_answers, "driver-missing", ERROR, "on Windows, not inside WSL"),
        (arch_list("8.6;8.9"), "arch-list-lacks-device", WARNING, "export TORCH_CUDA_ARCH_LIST=12.0"),
        (arch_list("8.0+PTX"), "arch-list-only-ptx", INFO, "export TORCH_CUDA_ARCH_LIST=12.0"),
        (arch_list("Ampere"), "arch-list-only-ptx", INFO, "export TORCH_CUDA_ARCH_LIST=12.0"),
        (arch_list("9.0 12.0"), "arch-list-hopper", WARNING, "export TORCH_CUDA_ARCH_LIST=12.0"),
        (arch_list("12.0;12"), "arch-list-malformed", WARNING, "export TORCH_CUDA_ARCH_LIST=12.0"),
        (arch_list("12.0;13.0"), "arch-list-unknown-to-torch", WARNING, "unset TORCH_CUDA_ARCH_LIST"),
        (arch_list("75-real;86-real", "CUDAARCHS"), "arch-list-lacks-device", WARNING, "export CUDAARCHS=120"),
        (arch_list("120;No", "CMAKE_CUDA_ARCHITECTURES"), "arch-list-malformed", WARNING, "=120"),
        (no_toolkit, "nvcc-missing", INFO, "13.0"),
        (cuda_home_wrong, "cuda-home-wrong", WARNING, "export CUDA_HOME="),
        (old_toolkit, "nvcc-too-old-for-device", INFO, "12.8"),
        (toolkit_of_another_major, "nvcc-differs-from-torch", INFO, "13.0"),
        (two_toolkits, "several-nvcc", WARNING, "export CUDA_HOME="),
        (no_compiler, "host-compiler-missing", INFO, "g++"),
        (no_compiler_for_triton, "triton-without-compiler", WARNING, "g++"),
        (compiler_too_new, "host-compiler-too-new", INFO, "export CUDAHOSTCXX=g++-15"),
        (clang_too_new, "host-compiler-too-new", INFO, "clang 20"),
        (no_ninja, "ninja-missing", INFO, "-m pip install ninja"),
        (torch_for_the_cpu, "torch-cpu-only", ERROR, "/whl/cu130"),
        (torch_for_amd, "torch-for-amd", ERROR, "/whl/cu130"),
        (torch_with_cuda_12_4, "torch-cuda-too-old", ERROR, "/whl/cu130"),
        (old_triton, "triton-too-old", ERROR, "/whl/cu130"),
        (old_triton_on_windows, "triton-too-old", ERROR, "pip install"),
        (torchvision_for_another_torch, "requirement-unmet", ERROR, "--upgrade torchvision torch==2.13.0+cu130"),
        (torchvision_for_the_cpu, "cuda-variants-differ", ERROR, "--no-deps torchvision==0.28.0 --index-url"),
        (torchaudio_of_another_variant, "cuda-variants-differ", ERROR, "/whl/cu130"),
        (torchvision_of_another_release, "releases-differ", ERROR, "/whl/cu130"),
        (triton_replaced, "requirement-unmet", WARNING, "triton==3.7.1"),
        (nvidia_package_replaced, "requirement-unmet", WARNING, "nvidia-cudnn-cu13==9.20.0.48"),
        (numpy_missing, "requirement-missing", WARNING, "numpy>=1.17"),
        (xformers_for_another_torch, "built-for-other-torch", ERROR, "--no-deps xformers"),
        (flash_attn_for_another_torch, "built-for-other-torch", ERROR, "torch 2.13.0+cu130"),
        (bitsandbytes_without_cuda_13, "bitsandbytes-without-cuda-version", ERROR, "--no-deps bitsandbytes"),
        (the_predecessor, "rtx50-compat-installed", WARNING, "-m pip uninstall -y rtx50-compat"),
        (python_32_bit, "python-32-bit", ERROR, "64-bit Python"),
        (python_unknown, "python-without-wheels", WARNING, "-m venv"),
        (python_no_longer_served, "python-served-no-longer", INFO, "-m venv"),
        (no_headers, "python-headers-missing", INFO, "development package"),
        (torch_not_installed, "torch-not-installed", WARNING, "pip install"),
        (two_torches, "torch-twice", WARNING, "Remove"),
        (torch_shadowed, "torch-shadowed", ERROR, "export PYTHONNOUSERSITE=1"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_fault_is_said_and_nothing_else(machine, fault, identifier, severity, next_step):
    fault(machine)

    findings = machine.findings()

    assert set(findings) == {identifier}
    assert findings[identifier].severity is severity
    assert next_step in findings[identifier].next
    assert "--extra-index-url" not in findings[identifier].next


def test_a_torch_that_is_missing_is_said_on_a_python_too_that_newer_ones_leave_out(machine):
    torch_not_installed(machine)
    python_no_longer_served(machine)
    assert set(machine.findings()) == {"python-served-no-longer", "torch-not-installed"}


@pytest.mark.parametrize(
    "value",
    ["12.0", "12.0a", "8.9;12.0+PTX", "Blackwell", "native", "8.6 12.0", ""],
    ids=lambda value: value or "empty",
)
def test_a_list_that_serves_the_device_is_left_alone(machine, value):
    machine.environ["TORCH_CUDA_ARCH_LIST"] = value

    assert machine.findings() == {}


@pytest.mark.parametrize("value", ["native", "all-major", "120", "86,120-real", "120a"])
def test_a_list_for_cmake_that_serves_the_device_is_left_alone(machine, value):
    machine.environ["CUDAARCHS"] = value

    assert machine.findings() == {}


def test_every_device_has_to_be_on_the_list_and_keeps_its_own_entry(machine):
    machine.survey = survey(RTX_4090, RTX_5090)
    machine.environ["TORCH_CUDA_ARCH_LIST"] = "12.0"

    finding = machine.findings()["arch-list-lacks-device"]

    assert "8.9" in finding.what
    assert finding.next == "export TORCH_CUDA_ARCH_LIST='8.9;12.0'"


def test_what_only_an_rtx_50_minds_is_not_said_to_others(machine):
    machine.survey = survey(RTX_4090)
    machine.torch("2.6.0+cu124", "12.4")
    machine.toolkit("12.4")
    machine.install("triton", "3.2.0")
    machine.environ["TORCH_CUDA_ARCH_LIST"] = "8.9;9.0"

    assert machine.findings() == {}


def test_a_driver_between_may_be_kept_with_an_older_variant(machine):
    driver_before_cuda_13(machine)

    assert "Or keep the driver" in machine.findings()["driver-too-old-for-torch"].next


def test_simulated_devices_need_no_driver(machine):
    machine.survey = survey(
        type(RTX_5090)(0, "simulated", (12, 0), "simulated", None), driver=None, reason="The devices are simulated."
    )
    libcuda_missing(machine)

    assert machine.findings() == {}


def test_wsl_with_the_driver_of_windows_is_as_it_should_be(machine):
    libcuda_missing(machine)
    linux_driver_in_wsl(machine)
    machine.environ["LD_LIBRARY_PATH"] = str(machine.root / "usr/lib/wsl/lib")

    assert machine.findings() == {}


def test_a_container_with_everything_is_left_alone(machine):
    docker_with_graphics_only(machine)
    machine.environ["NVIDIA_DRIVER_CAPABILITIES"] = "compute,utility"

    assert machine.findings() == {}


@pytest.mark.parametrize(
    ("name", "mark", "variable"),
    [
        ("podman", "/run/.containerenv", None),
        ("kubernetes", None, "KUBERNETES_SERVICE_HOST"),
        ("container", None, "container"),
    ],
)
def test_each_kind_of_container_has_its_own_way_to_get_a_gpu(machine, name, mark, variable):
    without_devices(machine, "No driver.")
    if mark:
        machine.system(mark)
    if variable:
        machine.environ[variable] = "x"

    finding = machine.findings()["container-without-gpu"]

    assert name in finding.what
    assert ("nvidia.com/gpu" in finding.next) == (name != "container")


def test_one_cause_is_said_once(machine):
    machine.install("torchaudio", "2.9.0", "torch==2.9.0", built="2.9.0+cu128")

    assert set(machine.findings()) == {"requirement-unmet"}


def test_extensions_on_the_stable_abi_may_be_older_than_torch(machine):
    machine.install("xformers", "0.0.35", "torch>=2.10")
    machine.write(machine.site / "xformers" / "cpp_lib.json", json.dumps({"version": {"torch": "2.10.0+cu128"}}))
    machine.install("torchaudio", "2.11.0", built="2.11.0+cu130")

    assert machine.findings() == {}


def test_a_nightly_counts_like_the_release_it_leads_to(machine):
    machine.torch("2.14.0.dev20260801+cu130", "13.0")
    machine.install("bitsandbytes", "0.50.2", "torch<3,>=2.4")
    machine.write(machine.site / "bitsandbytes" / "libbitsandbytes_cuda130.so")

    assert machine.findings() == {}


def test_bitsandbytes_takes_the_nearest_library_of_the_same_major_version(machine):
    machine.torch("2.9.0+cu129", "12.9")
    machine.toolkit("12.9")
    machine.install("bitsandbytes", "0.50.2", "torch")
    machine.write(machine.site / "bitsandbytes" / "libbitsandbytes_cuda128.so")

    assert machine.findings() == {}


def test_bitsandbytes_is_asked_for_a_library_that_it_does_not_have(machine):
    machine.install("bitsandbytes", "0.50.2", "torch")
    machine.write(machine.site / "bitsandbytes" / "libbitsandbytes_cuda130.so")
    machine.environ["BNB_CUDA_VERSION"] = "124"

    assert machine.findings()["bitsandbytes-without-cuda-version"].next == "unset BNB_CUDA_VERSION"


def test_triton_makes_missing_headers_a_warning(machine):
    machine.install("triton", "3.7.1")
    machine.system("/etc/os-release", 'ID=ubuntu\nID_LIKE="debian"\n')
    no_headers(machine)

    finding = machine.findings()["python-headers-missing"]

    assert finding.severity is Severity.WARNING
    assert finding.next == "sudo apt install python3.12-dev"


def test_ninja_beside_the_interpreter_only_has_to_be_reached(machine):
    no_ninja(machine)
    (machine.venv / "bin" / "ninja").touch()

    assert "Activate" in machine.findings()["ninja-missing"].next


def test_cuda_home_may_be_right_and_path_lead_elsewhere_to_the_same_version(machine):
    machine.environ["CUDA_HOME"] = str(machine.root / "usr" / "local" / "cuda")
    machine.environ["PATH"] += f":{machine.toolkit('13.0', 'usr') / 'bin'}"

    assert machine.findings() == {}


# The host


@pytest.mark.parametrize(("free", "expected"), [(5, {"disk-small"}), (2, {"disk-small", "temporary-folder-small"})])
def test_little_room_is_said_with_numbers(machine, monkeypatch, free, expected):
    monkeypatch.setattr(host.shutil, "disk_usage", lambda _: SimpleNamespace(free=free * GIB))

    findings = machine.findings()

    assert set(findings) == expected
    assert all(f"{free} GiB" in finding.what and finding.severity is Severity.INFO for finding in findings.values())


def test_a_folder_that_cannot_be_measured_is_not_talked_about(machine, monkeypatch):
    def refuse(_):
        raise PermissionError

    monkeypatch.setattr(host.shutil, "disk_usage", refuse)

    assert machine.findings() == {}


def test_jobs_are_limited_by_the_memory_that_the_container_may_use(machine):
    machine.system("/proc/meminfo", "MemTotal:       65536000 kB\nMemFree: 1 kB\n")
    assert machine.findings() == {}

    machine.system("/sys/fs/cgroup/memory.max", f"{16 * GIB}\n")
    finding = machine.findings()["memory-small-for-builds"]
    assert finding.next.endswith("export MAX_JOBS=2")
    assert "16 GiB" in finding.what

    machine.environ["MAX_JOBS"] = "1"
    assert machine.findings() == {}


# Windows, as far as its files show it


@pytest.fixture
def windows(machine):
    machine.platform = "win32"
    machine.program("cl.exe", "Microsoft (R) C/C++ Optimizing Compiler Version 19.44.35207 for x64")
    machine.program("ninja.exe", "1.11.1")
    machine.program("nvcc.exe", "Cuda compilation tools, release 13.0, V13.0.88", machine.root / "cuda" / "bin")
    machine.write(
        machine.root / "cuda" / "include" / "crt" / "host_config.h", "#if _MSC_VER < 1920 || _MSC_VER >= 1950\n"
    )
    machine.environ["CUDA_PATH"] = str(machine.root / "cuda")
    return machine


def test_on_windows_nothing_of_linux_is_missed(windows):
    assert windows.findings() == {}


def test_on_windows_steps_are_written_for_its_terminal(windows):
    windows.environ["CUDA_FORCE_PTX_JIT"] = "1"
    windows.survey = survey(driver=None, reason="No driver.")

    findings = windows.findings()

    assert findings["ptx-jit-forced"].next == "set CUDA_FORCE_PTX_JIT="
    assert "nvidia.com/drivers" in findings["driver-missing"].next


def test_an_embedded_python_is_told_by_the_file_beside_it(windows):
    windows.write(windows.venv / "bin" / "python312._pth", "python312.zip\n")

    assert "-m pip install" in windows.findings()["python-embedded"].next


def test_visual_studio_that_nvcc_does_not_take(windows):
    windows.program("cl.exe", "Microsoft (R) C/C++ Optimizing Compiler Version 19.50.1 for x64")

    assert "msvc 19.49" in windows.findings()["host-compiler-too-new"].why


def test_visual_studio_is_found_outside_of_its_own_prompt(windows):
    (windows.bin / "cl.exe").unlink()
    assert "BuildTools" in windows.findings()["host-compiler-missing"].next

    windows.system("/Program Files (x86)/Microsoft Visual Studio/Installer/vswhere.exe")
    assert windows.findings() == {}


# Faults of our own and of others


def test_a_topic_that_fails_is_said_and_the_others_go_on(machine, monkeypatch):
    def fail(_):
        raise RuntimeError("odd metadata")

    monkeypatch.setattr(examination, "TOPICS", {**examination.TOPICS, "driver": fail})
    machine.environ["CUDA_FORCE_PTX_JIT"] = "1"

    findings = machine.findings()

    assert set(findings) == {"not-examined", "ptx-jit-forced"}
    assert findings["not-examined"].severity is Severity.INFO
    assert "odd metadata" in findings["not-examined"].why


def test_packages_that_cannot_be_read_leave_the_rest(machine, monkeypatch):
    def fail(_):
        raise RuntimeError("odd metadata")

    monkeypatch.setattr(examination, "read_stack", fail)

    assert set(machine.findings()) == {"not-examined"}


@pytest.mark.parametrize("text", ["", "__version__ = ", "\0", "cuda = 5\nhip = []\n", "cuda = 'new'\n"])
def test_a_torch_with_odd_contents_does_not_stop_anything(machine, text):
    machine.write(machine.site / "torch" / "version.py", text)
    machine.write(machine.site / "torch" / "utils" / "cpp_extension.py", "supported_arches = [1, (]\n")
    machine.environ["TORCH_CUDA_ARCH_LIST"] = "12.0"

    machine.examine()


def test_a_program_that_hangs_is_given_up(machine):
    machine.write(machine.bin / "ninja", "#!/bin/sh\nwhile :; do :; done\n").chmod(0o755)
    place = machine.place
    hasty = Place(place.python, place.environ, place.paths, place.root, place.platform, time_limit=0.2)

    assert examination.examine(machine.survey, hasty).facts["compiler"]["ninja_version"] == ""


def test_a_program_in_the_current_folder_is_never_run(machine, monkeypatch):
    monkeypatch.chdir(machine.bin)
    machine.environ["PATH"] = ".:"

    assert machine.place.find_program("ninja") is None


def test_this_machine_is_read_without_importing_torch():
    code = """if True:
        import json, sys
        from rtx50_autoload.evidence.devices import Device, Survey
        from rtx50_autoload.evidence.environment import examination
        survey = Survey((Device(0, "NVIDIA GeForce RTX 5090", (12, 0), "simulated", None),), None, "Simulated.")
        found = examination.findings(survey)
        facts = examination.facts(survey)
        assert "torch" not in sys.modules and "numpy" not in sys.modules
        assert all(finding.next and finding.why for finding in found)
        assert not [finding for finding in found if finding.id == "not-examined"], found
        print(json.dumps(facts))
    """
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120)

    assert set(json.loads(printed.stdout)) == set(examination.TOPICS)


# The tables


def test_the_tables_hold_what_the_code_asks_of_them():
    versions = topic.knowledge("versions")
    assert all(topic.parse_version(row["cuda"]) for row in versions["index"])
    assert [row["driver"] for row in versions["index"]] == sorted(
        (row["driver"] for row in versions["index"]), reverse=True
    )
    assert all(row["torchvision"].startswith("0.") for row in versions["torch"])
    for row in topic.knowledge("runtime_libraries")["library"]:
        assert set(row["packages"]) <= set(row["sonames"])
    assert len({row["name"] for row in topic.knowledge("stack")["package"]}) == len(topic.knowledge("stack")["package"])
