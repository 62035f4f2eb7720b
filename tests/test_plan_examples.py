"""Single fix plans, as a person on that machine would read them."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtx50_autoload.diagnosis.plans import plan
from rtx50_autoload.diagnosis.recipes import load_plans
from rtx50_autoload.diagnosis.situation import Gpu, Situation

RTX_5090 = Gpu("NVIDIA GeForce RTX 5090", (12, 0), "nvidia")
RTX_4090 = Gpu("NVIDIA GeForce RTX 4090", (8, 9), "nvidia")
GTX_1080 = Gpu("NVIDIA GeForce GTX 1080", (6, 1), "nvidia")
B200 = Gpu("NVIDIA B200", (10, 0), "nvidia")
GB10 = Gpu("NVIDIA GB10", (12, 1), "nvidia")
UNTOLD = Gpu("NVIDIA Graphics Device", None, "nvidia")
WITHOUT_GPU = Situation(source="machine", gpus=(), system="linux", tool="pip")
INTEGRATED = Gpu("AMD Radeon Graphics", None, "amd")


def on(*gpus, system="linux", tool="pip", **known):
    return Situation(source="machine", gpus=gpus or None, system=system, tool=tool, **known)


def commands(category, situation, values=None, culprit=None):
    return [command for step in plan(category, situation, values or {}, culprit) for command in step.commands]


def text(category, situation, values=None, culprit=None):
    steps = plan(category, situation, values or {}, culprit)
    return "\n".join(line for step in steps for line in (step.step, step.why, *step.commands, step.changes, step.check))


def torch_from(index, python="python"):
    return f"{python} -m pip install --force-reinstall torch torchvision torchaudio --index-url https://download.pytorch.org/whl/{index}"


# torch for the GPU


def test_comfyui_portable_on_an_rtx_50_gets_its_driver_and_then_its_torch():
    situation = on(RTX_5090, system="windows", tool="embedded", torch="2.6.0", torch_variant="cu124", driver="560.94")

    driver, torch, afterwards, otherwise = plan("torch_build_lacks_arch", situation, {"arch": "120"})

    assert driver.step.startswith("Update the NVIDIA driver first")
    assert "570 or later; you have 560.94" in driver.step
    assert torch.commands == (torch_from("cu128", r".\python_embeded\python.exe -s"),)
    assert torch.check.endswith("lists sm_120.")
    assert "newest release of the application" in otherwise.step
    assert afterwards.commands == (r".\python_embeded\python.exe -s -m rtx50_autoload doctor",)


@pytest.mark.parametrize(
    ("gpu", "driver", "index"),
    [
        (RTX_5090, None, "cu128"),
        (RTX_5090, "570.124.06", "cu128"),
        (RTX_5090, "580.95.05", "cu130"),
        (GB10, "580.95.05", "cu130"),
        (B200, None, "cu128"),
        (RTX_4090, None, "cu126"),
        (RTX_4090, "580.95.05", "cu130"),
        (GTX_1080, None, "cu126"),
        (GTX_1080, "580.95.05", "cu126"),
    ],
)
def test_the_gpu_and_the_driver_choose_the_build_of_torch(gpu, driver, index):
    assert torch_from(index) in commands("cpu_only_torch", on(gpu, driver=driver, torch_variant="cpu"))


def test_a_torch_that_fits_is_left_alone():
    situation = on(RTX_5090, torch="2.8.0", torch_variant="cu128", driver="580.95.05")

    for values in ({"library": "torch"}, {"library": "sageattention"}, {"library": "some_extension"}):
        assert "torchvision" not in text("no_kernel_image", situation, values)


def test_the_text_tells_the_gpu_where_nothing_else_does():
    assert torch_from("cu128") in commands("torch_build_lacks_arch", on(), {"arch": "120"})
    assert torch_from("cu126") in commands("torch_build_lacks_arch", on(), {"arch": "sm_86"})
    assert "TORCH_CUDA_ARCH_LIST" not in text("torch_build_lacks_arch", on(), {"arch": "999"})


def test_the_architecture_of_a_kernel_is_not_taken_for_the_gpu():
    assert "8.9" not in "\n".join(
        commands("extension_kernel_not_built", on(), {"arch": "89", "package": "an-extension"})
    )
    assert "10.1" not in text("torch_cpp_ext_unknown_arch", on(RTX_5090), {"arch": "10.1"})


def test_of_several_gpus_the_one_in_the_text_counts_and_else_the_newest():
    both = on(RTX_4090, RTX_5090, INTEGRATED)

    assert "export TORCH_CUDA_ARCH_LIST=12.0" in commands("arch_list_env_wrong", both)
    assert "export TORCH_CUDA_ARCH_LIST=8.9" in commands("arch_list_env_wrong", both, {"arch": "89"})
    assert torch_from("cu126") in commands("no_kernel_image_old_gpu", on(RTX_5090, GTX_1080))


@pytest.mark.parametrize(("gpu", "value"), [(RTX_5090, "12.0"), (GB10, "12.1"), (B200, "10.0"), (RTX_4090, "8.9")])
def test_builds_are_for_the_gpu_and_no_other(gpu, value):
    built = commands("no_kernel_image", on(gpu), {"package": "an-extension"})

    assert f"export TORCH_CUDA_ARCH_LIST={value}" in built
    assert built[-1].startswith("python -m pip install --force-reinstall --no-deps --no-build-isolation")


def test_a_build_for_another_gpu_is_turned_to_this_one():
    found = commands("nvcc_unsupported_arch", on(RTX_4090), {"arch": "120"})

    assert "export TORCH_CUDA_ARCH_LIST=8.9" in found
    assert "CUDA_HOME" not in "\n".join(found)


# Tools and systems


def test_uv_installs_into_the_python_in_question():
    situation = on(RTX_5090, tool="uv", python_command="'/home/a b/.venv/bin/python'")

    (command,) = [each for each in commands("torch_build_lacks_arch", situation) if " install " in each]

    assert command == (
        "uv pip install --python '/home/a b/.venv/bin/python' --force-reinstall torch torchvision torchaudio "
        "--index-url https://download.pytorch.org/whl/cu128"
    )


def test_conda_is_told_that_its_channel_has_ended():
    assert "conda's own pytorch channel gets no new versions" in text("cpu_only_torch", on(RTX_5090, tool="conda"))


def test_windows_takes_the_triton_that_belongs_to_torch():
    situation = on(RTX_5090, system="windows", torch="2.7.1", torch_variant="cu128")

    assert "python -m pip install --upgrade triton-windows==3.3.*" in commands("triton_too_old", situation)


def test_where_the_system_is_not_known_the_other_way_to_set_a_variable_is_told():
    situation = on(RTX_5090, system=None)

    (step, *_) = plan("arch_list_env_wrong", situation, {})

    assert "export TORCH_CUDA_ARCH_LIST=12.0" in step.commands
    assert "set NAME=VALUE" in step.changes


# Libraries


def test_a_library_is_found_by_its_binary_and_by_its_module():
    for values, culprit in (
        ({}, "bitsandbytes/libbitsandbytes_cuda126.so"),
        ({"module": "bitsandbytes.cextension"}, None),
        ({"library": "BitsAndBytes"}, None),
        ({"file": "/home/torch/venv/lib/python3.12/site-packages/bitsandbytes/libbitsandbytes_cuda126.so"}, None),
    ):
        found = commands("no_kernel_image", on(RTX_5090), values, culprit)
        assert "python -m pip install --upgrade --no-deps bitsandbytes" in found


def test_the_package_that_brings_a_missing_cuda_library_is_named():
    situation = on(RTX_5090, torch="2.13.0", torch_variant="cu130")

    found = commands("missing_shared_library", situation, {"file": "libcudart.so.12", "library": "xformers"})

    assert found[0] == "python -m pip install nvidia-cuda-runtime-cu12"


def test_xformers_that_refuses_the_gpu_is_not_rebuilt():
    found = text("capability_gate_too_new", on(RTX_5090), {"library": "xformers"})

    assert "rtx50-autoload status" in found
    assert "install" not in "\n".join(commands("capability_gate_too_new", on(RTX_5090), {"library": "xformers"}))


def test_paddle_comes_from_its_own_index_for_a_new_gpu():
    found = commands("paddle_arch_mismatch", on(), {"library": "paddlepaddle-gpu", "arch": "120"})

    assert "https://www.paddlepaddle.org.cn/packages/stable/cu129/" in found[-1]


def test_a_file_that_was_named_is_looked_at():
    found = commands("no_kernel_image", on(RTX_5090), {"file": "/opt/an app/lib_kernels.so"})

    assert "rtx50-autoload scan '/opt/an app/lib_kernels.so'" in found
    # Of a mere name nobody knows where it lies.
    assert "scan" not in text("no_kernel_image", on(RTX_5090), {"file": "lib_kernels.so"})


@pytest.mark.parametrize("hostile", ["x; rm -rf ~", "$(id)", "x&calc", 'x" & y', "-r evil.txt", "a\nb", "%PATH%"])
@pytest.mark.parametrize("system", ["linux", "windows", None])
def test_what_a_text_says_never_becomes_part_of_a_command_unless_it_is_a_name(hostile, system):
    for category in ("no_kernel_image", "abi_mismatch_undefined_symbol", "missing_shared_library", "build_isolation"):
        values = {"package": hostile, "file": hostile, "module": hostile, "required": hostile, "limit": hostile}
        for command in commands(category, on(RTX_5090, system=system), values, hostile):
            assert hostile not in command


WORDS = (
    st.none()
    | st.text(max_size=12)
    | st.sampled_from(["cu1", "cu", "cu128", "12", "V12.8.93", "2.8", "latest", "{gpu}"])
)


@settings(deadline=None)
@given(
    category=st.sampled_from(sorted(load_plans())),
    known=st.fixed_dictionaries(
        dict.fromkeys(("torch", "torch_variant", "driver", "cuda_toolkit", "python_version"), WORDS)
    ),
    system=st.sampled_from(["linux", "windows", "macos", None]),
    gpu=st.sampled_from([RTX_5090, GTX_1080, UNTOLD, INTEGRATED, Gpu(None, (99, 9), None), Gpu(None, None, None)]),
    values=st.dictionaries(st.sampled_from(["arch", "package", "library", "file", "limit", "module"]), st.text()),
)
def test_whatever_is_known_a_plan_is_made(category, known, system, gpu, values):
    for step in plan(category, on(gpu, system=system, **known), values, values.get("library")):
        assert step.step
        assert step.check


def test_a_plan_is_made_without_the_examination_and_its_dependencies():
    code = (
        "import sys\n"
        "from rtx50_autoload.diagnosis.plans import plan\n"
        "from rtx50_autoload.diagnosis.situation import Situation\n"
        "assert plan('no_kernel_image', Situation(), {'library': 'xformers'})\n"
        "heavy = {'packaging', 'importlib_metadata', 'rich', 'ctypes', 'torch'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert 'rtx50_autoload.evidence.environment.examination' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_error_of_a_gpu_that_is_explained_on_a_machine_without_one_is_about_another_machine():
    steps = plan("no_kernel_image", WITHOUT_GPU, {})
    assert any("nvidia-smi" in command for step in steps for command in step.commands)
    assert not any('"cpu"' in step.step for step in steps)


def test_a_machine_that_is_known_to_have_no_gpu_is_told_to_use_the_processor():
    steps = plan("no_kernel_image", Situation(source="file", gpus=()), {})
    assert '"cpu"' in steps[0].step


def test_the_package_of_a_missing_library_is_named_on_a_machine_without_a_gpu_too():
    first = plan("missing_shared_library", WITHOUT_GPU, {"file": "libcudart.so.12"}, "libcudart.so.12")[0]
    assert "nvidia-cuda-runtime-cu12" in first.step


def test_a_part_of_an_old_cudnn_leads_to_a_package_for_the_new_one():
    file = "libcudnn_ops_infer.so.8"
    steps = plan("missing_shared_library", WITHOUT_GPU, {"file": file}, file)
    assert "cuDNN 9" in steps[0].step
    assert not any(f"Install {file}" in step.step for step in steps)


def test_what_only_a_cuda_build_of_torch_contains_leads_to_one():
    file = {"file": "libc10_cuda.so"}
    on_5090 = on(RTX_5090, torch="2.13.0", torch_variant="cpu", driver="580.95")
    assert commands("missing_shared_library", on_5090, file)[0] == torch_from("cu130")
    assert not any("whl/cpu" in command for command in commands("missing_shared_library", WITHOUT_GPU, file))


def test_the_loader_is_told_where_the_package_has_put_a_library():
    steps = plan("missing_shared_library", WITHOUT_GPU, {"file": "libcudart.so.12"})
    [command] = steps[1].commands
    assert command.startswith("export LD_LIBRARY_PATH=")
    assert "/nvidia/cuda_runtime/lib" in command
    assert not any(
        "LD_LIBRARY_PATH" in one
        for one in commands("missing_shared_library", on(system="windows"), {"file": "cudart64_12.dll"})
    )
