"""Building from source on described machines: what is set, what has to be there before, and what cannot be built."""

from __future__ import annotations

import itertools
from types import MappingProxyType

import pytest

from rtx50_autoload.capability import parse_capability
from rtx50_autoload.diagnosis.situation import Gpu
from rtx50_autoload.installer.build_recipes import BuildRecipe, newest_compiler, nvcc_knows, recipe_for
from rtx50_autoload.installer.builds import build_steps
from rtx50_autoload.installer.machine import Machine, Package
from rtx50_autoload.installer.plan import Unsolved
from rtx50_autoload.knowledge import read_tables

GIB = 2**30
RTX_5090 = Gpu("NVIDIA GeForce RTX 5090", (12, 0), "nvidia")
RTX_4090 = Gpu("NVIDIA GeForce RTX 4090", (8, 9), "nvidia")
GTX_1080_TI = Gpu("NVIDIA GeForce GTX 1080 Ti", (6, 1), "nvidia")
H100 = Gpu("NVIDIA H100", (9, 0), "nvidia")
GB10 = Gpu("NVIDIA GB10", (12, 1), "nvidia")
RADEON = Gpu("AMD Radeon", None, "amd")

CU126, CU128, CU130 = ("2.11.0", "cu126"), ("2.11.0", "cu128"), ("2.11.0", "cu130")
TOOLS = ("einops", "ninja", "numpy", "packaging", "psutil", "setuptools", "wheel")


def machine(*gpus, toolkit="12.8", **known):
    """A machine that lacks nothing."""
    defaults = {
        "gpus": gpus or (RTX_5090,),
        "executable": "/venv/bin/python",
        "cores": 16,
        "memory": 128 * GIB,
        "free_disk": 100 * GIB,
        "toolkit_home": toolkit and f"/usr/local/cuda-{toolkit}",
        "compiler": ("gcc", 13),
        "ninja": True,
        "packages": MappingProxyType({name: Package("1.0") for name in TOOLS}),
    }
    return Machine(toolkit=toolkit, **{**defaults, **known})


def ids(steps):
    return [step.id for step in steps]


def variables(on, package="flash-attn", torch=CU128):
    return build_steps(on, package, torch)[-1].commands[0].environ


def test_a_machine_that_lacks_nothing_has_one_step():
    (step,) = build_steps(machine(), "flash-attn", CU128)
    build, check = step.commands
    assert step.id == "build-flash-attn"
    assert build.arguments[:4] == ("/venv/bin/python", "-m", "pip", "install")
    assert {"--no-build-isolation", "--no-deps", "flash-attn==2.8.3.post2"} <= set(build.arguments)
    assert check.arguments == (
        *("/venv/bin/python", "-m", "rtx50_autoload", "check-build", "flash-attn"),
        *("--device", "12.0"),
    )
    assert dict(build.environ) == {
        "TORCH_CUDA_ARCH_LIST": "12.0",
        "FORCE_CUDA": "1",
        "MAX_JOBS": "16",
        "FLASH_ATTENTION_FORCE_BUILD": "TRUE",
        "CUDA_HOME": "/usr/local/cuda-12.8",
        "FLASH_ATTN_CUDA_ARCHS": "120",
        "NVCC_THREADS": "1",
    }
    assert not step.by_hand


@pytest.mark.parametrize(
    ("installer", "anew"),
    [("pip", ("--no-cache-dir", "--force-reinstall")), ("uv", ("--no-cache", "--reinstall-package"))],
)
def test_a_wheel_that_an_installer_has_kept_does_not_come_back(installer, anew):
    arguments = build_steps(machine(installer=installer), "xformers", CU128)[-1].commands[0].arguments
    assert set(anew) <= set(arguments)
    assert arguments[arguments.index("--no-binary") + 1] == "xformers"


@pytest.mark.parametrize(
    ("gpus", "package", "torch", "toolkit", "expected"),
    [
        ((), "xformers", CU128, "12.8", "12.0+PTX"),
        ((RTX_5090,), "xformers", CU128, "12.8", "12.0+PTX"),
        ((RTX_5090, RTX_5090), "xformers", CU128, "12.8", "12.0+PTX"),
        ((RTX_5090, RTX_4090), "xformers", CU128, "12.8", "8.9;12.0+PTX"),
        ((RTX_5090, RTX_4090), "flash-attn", CU128, "12.8", "8.0;12.0"),
        ((RTX_5090, RTX_4090), "sageattention", CU128, "12.8", "8.9;12.0"),
        ((RTX_5090, RTX_4090), "some-kernels", CU128, "12.8", "8.9;12.0+PTX"),
        ((RTX_5090, RADEON), "xformers", CU128, "12.8", "12.0+PTX"),
        ((RTX_5090, H100), "flash-attn", CU128, "12.8", "9.0;12.0"),
        ((GB10,), "xformers", CU130, "13.0", "12.0+PTX"),
        ((GB10,), "flash-attn", CU130, "13.0", "12.0"),
        ((GB10,), "sageattention", CU130, "13.0", "12.1"),
        ((GTX_1080_TI,), "xformers", CU126, "12.6", "6.1+PTX"),
    ],
)
def test_the_list_holds_the_code_that_the_gpus_run(gpus, package, torch, toolkit, expected):
    on = machine(toolkit=toolkit, gpus=gpus)
    steps = build_steps(on, package, torch)
    assert ids(steps) == [f"build-{package}"]
    environ = steps[-1].commands[0].environ
    assert environ["TORCH_CUDA_ARCH_LIST"] == expected
    if package == "flash-attn":
        assert environ["FLASH_ATTN_CUDA_ARCHS"] == expected.replace(".", "")


@pytest.mark.parametrize("package", ["flash-attn", "xformers", "sageattention", "some-kernels"])
@pytest.mark.parametrize(
    "gpus",
    [each for size in (1, 2, 3) for each in itertools.combinations((RTX_5090, RTX_4090, GTX_1080_TI, GB10), size)],
)
def test_hoppers_code_is_built_for_hopper_only(package, gpus):
    for torch, toolkit in ((CU128, "12.9"), (CU130, "13.0"), (CU126, "12.6")):
        steps = build_steps(machine(*gpus, toolkit=toolkit), package, torch)
        if not isinstance(steps, Unsolved):
            environ = steps[-1].commands[0].environ
            assert "9.0" not in environ["TORCH_CUDA_ARCH_LIST"]
            assert "90" not in environ.get("FLASH_ATTN_CUDA_ARCHS", "").split(";")


@pytest.mark.parametrize(("torch", "toolkit"), [(CU128, "12.8"), (CU130, "13.0")])
def test_a_gpu_that_torch_has_no_code_for_is_left_out_and_named(torch, toolkit):
    (step,) = build_steps(machine(RTX_5090, GTX_1080_TI, toolkit=toolkit), "xformers", torch)
    assert step.commands[0].environ["TORCH_CUDA_ARCH_LIST"] == "12.0+PTX"
    assert "has no code for 6.1" in step.why
    assert "6.1" not in step.commands[1].arguments


@pytest.mark.parametrize(
    ("toolkit", "torch", "gpu", "installed", "reason"),
    [
        (None, CU128, RTX_5090, "12.8", "bring no nvcc"),
        ("12.6", CU128, RTX_5090, "12.8", "Unsupported gpu architecture 'compute_120'"),
        ("13.0", CU128, RTX_5090, "12.8", "torch refuses one of another CUDA than 12"),
        ("12.8", CU130, RTX_5090, "13.0", "torch refuses one of another CUDA than 13"),
        # SageAttention asks for 12.1 by its own name, which nvcc knows from 12.9 on.
        ("12.8", CU128, GB10, "12.9", "compute_121"),
    ],
)
def test_a_toolkit_that_does_not_fit_is_replaced_first(toolkit, torch, gpu, installed, reason):
    steps = build_steps(machine(gpu, toolkit=toolkit), "sageattention", torch)
    assert ids(steps) == ["install-cuda-toolkit", "build-sageattention"]
    assert f"CUDA {installed}" in steps[0].what
    assert reason in steps[0].why
    assert steps[0].commands or steps[0].by_hand


@pytest.mark.parametrize("toolkit", ["12.8", "12.9"])
def test_a_toolkit_of_another_minor_version_serves(toolkit):
    assert ids(build_steps(machine(toolkit=toolkit), "xformers", CU128)) == ["build-xformers"]


def test_nvcc_of_cuda_13_comes_from_pypi_into_a_virtual_environment():
    steps = build_steps(machine(toolkit=None, python="3.12"), "xformers", CU130)
    assert steps[0].commands[0].arguments[-1] == "cuda-toolkit[nvcc,nvvm,crt,cudart,cccl]==13.0.*"
    home = "/venv/lib/python3.12/site-packages/nvidia/cu13"
    assert steps[-1].commands[0].environ["CUDA_HOME"] == home


@pytest.mark.parametrize(
    ("known", "words", "home"),
    [
        ({}, "cuda-toolkit-12-8", "/usr/local/cuda-12.8"),
        ({"system": "wsl"}, "WSL-Ubuntu", "/usr/local/cuda-12.8"),
        ({"kind": "conda", "executable": "/conda/bin/python"}, "-c conda-forge cuda-toolkit=12.8", "/conda"),
        ({"system": "windows"}, "without the driver", r"C:\Program Files\NVIDIA GPU Computing Toolkit\CUDA\v12.8"),
    ],
)
def test_nvcc_of_cuda_12_is_installed_by_hand(known, words, home):
    steps = build_steps(machine(toolkit=None, **known), "xformers", CU128)
    assert words in " ".join(steps[0].by_hand)
    assert steps[-1].commands[0].environ["CUDA_HOME"] == home


def test_a_toolkit_whose_folder_is_not_known_is_left_to_torch_to_find():
    assert "CUDA_HOME" not in variables(machine(toolkit_home=None))


@pytest.mark.parametrize(
    ("compiler", "toolkit", "torch", "limit"),
    [
        (("gcc", 15), "12.8", CU128, 14),
        (("gcc", 14), "12.6", CU126, 13),
        (("gcc", 16), "13.0", CU130, 15),
        (("clang", 21), "13.0", CU130, 15),
    ],
)
def test_a_compiler_that_nvcc_refuses_gets_an_older_one_beside_it(compiler, toolkit, torch, limit):
    gpu = RTX_4090 if torch == CU126 else RTX_5090
    steps = build_steps(machine(gpu, compiler=compiler, toolkit=toolkit), "xformers", torch)
    assert ids(steps) == ["install-older-compiler", "build-xformers"]
    environ = steps[-1].commands[0].environ
    assert (environ["CC"], environ["CXX"]) == (f"gcc-{limit}", f"g++-{limit}")


@pytest.mark.parametrize(("compiler", "toolkit", "torch"), [(("gcc", 14), "12.8", CU128), (("gcc", 15), "13.0", CU130)])
def test_a_compiler_that_nvcc_accepts_is_taken(compiler, toolkit, torch):
    on = machine(compiler=compiler, toolkit=toolkit)
    assert ids(build_steps(on, "xformers", torch)) == ["build-xformers"]
    assert "CC" not in variables(on, torch=torch)


def test_without_a_compiler_one_comes_first():
    steps = build_steps(machine(compiler=None, python="3.13"), "xformers", CU128)
    assert ids(steps) == ["install-compiler", "build-xformers"]
    assert "python3.13-dev" in " ".join(steps[0].by_hand)


@pytest.mark.parametrize("compiler", [None, ("gcc", 13)])
def test_windows_needs_microsofts_compiler_and_its_prompt(compiler):
    steps = build_steps(machine(system="windows", compiler=compiler), "xformers", CU128)
    assert ids(steps) == ["install-compiler", "build-xformers"]
    assert "Desktop development with C++" in " ".join(steps[0].by_hand)
    assert "Native Tools Command Prompt" in " ".join(steps[-1].by_hand)
    assert steps[-1].commands[0].environ["DISTUTILS_USE_SDK"] == "1"


def test_a_python_in_an_applications_folder_needs_its_headers():
    on = machine(system="windows", compiler=("msvc", 1944), kind="embedded", executable=r"C:\ComfyUI\python.exe")
    assert ids(build_steps(on, "sageattention", CU128)) == ["copy-python-headers", "build-sageattention"]


@pytest.mark.parametrize("ninja", [True, False])
def test_build_tools_that_are_missing_are_installed(ninja):
    steps = build_steps(machine(packages=MappingProxyType({}), ninja=ninja), "flash-attn", CU128)
    assert ids(steps) == ["install-build-tools", "build-flash-attn"]
    installed = steps[0].commands[0].arguments
    assert "psutil" in installed
    assert ("ninja" in installed) is not ninja


@pytest.mark.parametrize(
    ("package", "gpus", "cores", "memory", "jobs"),
    [
        ("flash-attn", (RTX_5090,), 16, 128, 16),
        ("flash-attn", (RTX_5090,), 16, 32, 4),
        ("flash-attn", (RTX_5090,), 4, 128, 4),
        ("flash-attn", (RTX_5090,), 16, 4, 1),
        ("flash-attn", (RTX_5090,), None, 32, 4),
        ("flash-attn", (RTX_5090,), None, None, 1),
        # Its nvcc compiles for both GPUs at a time, and no variable changes that.
        ("sageattention", (RTX_5090, RTX_4090), 16, 48, 4),
        ("sageattention", (RTX_5090,), 16, 48, 8),
    ],
)
def test_as_many_jobs_run_as_cores_and_memory_allow(package, gpus, cores, memory, jobs):
    on = machine(*gpus, cores=cores, memory=memory and memory * GIB)
    assert variables(on, package)["MAX_JOBS"] == str(jobs)


def test_too_little_memory_for_one_job_is_said():
    (step,) = build_steps(machine(memory=4 * GIB), "flash-attn", CU128)
    assert "add swap space" in step.why


def test_what_has_to_be_in_path_is_said():
    assert "activate the environment" in build_steps(machine(ninja=False), "flash-attn", CU128)[-1].why
    assert "`git` has to be installed" in build_steps(machine(), "sageattention", CU128)[-1].why
    (step,) = build_steps(machine(), "flash-attn", CU128)
    assert "PATH" not in step.why
    assert "git" not in step.why


def test_time_is_estimated_where_something_is_known_of_it():
    def minutes(package, *gpus, cores=16):
        return build_steps(machine(*gpus, cores=cores), package, CU128)[-1].minutes

    assert minutes("flash-attn") == 13
    assert minutes("flash-attn", RTX_5090, RTX_4090) == 25
    assert minutes("flash-attn", cores=4) == 50
    assert minutes("xformers") == 1
    assert minutes("sageattention") is None


@pytest.mark.parametrize(
    ("torch", "known", "package", "id_"),
    [
        (None, {}, "flash-attn", "build-without-torch"),
        (("2.13.0", "cpu"), {}, "flash-attn", "build-torch-without-cuda"),
        (("2.13.0", None), {}, "flash-attn", "build-torch-without-cuda"),
        (("2.11.0", "rocm6.4"), {}, "flash-attn", "build-torch-without-cuda"),
        (("2.6.0", "cu126"), {}, "flash-attn", "build-no-code-for-gpu"),
        (("2.6.0", "cu126"), {"gpus": (GTX_1080_TI,)}, "flash-attn", "build-no-code-for-gpu"),
        (("2.9.1", "cu128"), {}, "xformers", "build-torch-does-not-fit"),
        (CU128, {"free_disk": GIB}, "flash-attn", "build-disk-too-small"),
        (CU128, {"system": "macos"}, "flash-attn", "build-no-cuda"),
    ],
)
def test_what_cannot_be_built_says_why_and_what_would_help(torch, known, package, id_):
    unsolved = build_steps(machine(**known), package, torch)
    assert isinstance(unsolved, Unsolved)
    assert unsolved.id == id_
    assert unsolved.what.endswith(".")
    assert unsolved.why.endswith(".")
    assert unsolved.next.endswith(".")


@pytest.mark.parametrize(
    ("packages", "back", "before"),
    [({}, "Uninstall flash-attn.", None), ({"flash-attn": Package("2.7.4")}, "flash-attn==2.7.4 again", "2.7.4")],
)
def test_the_way_back_is_what_was_there(packages, back, before):
    on = machine(packages=MappingProxyType({**{name: Package("1.0") for name in TOOLS}, **packages}))
    (step,) = build_steps(on, "flash_attn", CU128)
    assert back in step.back
    assert (step.changes[0].before, step.changes[0].after) == (before, "2.8.3.post2")


def test_every_step_says_what_why_back_and_check():
    bare = machine(toolkit=None, compiler=None, packages=MappingProxyType({}), ninja=False)
    for package, torch in itertools.product(("flash-attn", "xformers", "sageattention"), (CU128, CU130)):
        for step in build_steps(bare, package, torch):
            assert step.commands or step.by_hand
            assert all((step.what, step.why, step.back, step.check))


# The knowledge


@pytest.mark.parametrize(
    "row", read_tables("rtx50_autoload.installer", "builds.toml")["build"], ids=lambda row: row["package"]
)
def test_a_recipe_can_be_read_and_says_where_it_is_from(row):
    recipe = recipe_for(row["package"])
    assert isinstance(recipe, BuildRecipe)
    assert recipe.source
    assert list(recipe.architectures) == sorted(map(parse_capability, row["architectures"]))
    assert recipe.exact <= set(recipe.architectures)
    assert recipe.architecture_for((12, 0)) == (12, 0)
    assert recipe.memory > GIB
    assert {"ninja", "setuptools"} <= set(recipe.requires)


@pytest.mark.parametrize(
    ("cuda", "capability", "known"),
    [
        ((12, 6), (12, 0), False),
        ((12, 8), (12, 0), True),
        ((12, 8), (12, 1), False),
        ((12, 9), (12, 1), True),
        ((12, 9), (6, 1), True),
        ((13, 0), (6, 1), False),
        ((13, 0), (7, 5), True),
        ((13, 0), (2, 0), False),
    ],
)
def test_which_gpus_an_nvcc_knows(cuda, capability, known):
    assert nvcc_knows(cuda, capability) is known


@pytest.mark.parametrize(
    ("cuda", "kind", "newest"),
    [((13, 0), "gcc", 15), ((13, 2), "gcc", 15), ((12, 9), "gcc", 14), ((12, 5), "gcc", 13), ((11, 8), "gcc", None)],
)
def test_which_compiler_an_nvcc_accepts(cuda, kind, newest):
    assert newest_compiler(cuda, kind) == newest
