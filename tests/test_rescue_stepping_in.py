"""Kernels that cannot be loaded, in whole processes with the real torch: its attention answers, and says so once.

The libraries are stand-ins of ours (tests/fakes/attention) whose kernels raise what the real ones raise.
"""

from __future__ import annotations

import ast
import json

import pytest

import rig

SIMULATED = "NVIDIA GeForce RTX 5090:12.0"
FAKES = rig.FAKES / "attention"
CANNOT_LOAD = rig.FAKES / "flash_attn_that_cannot_load"

PRELUDE = """
import sys, torch
import flash_attn, flash_attn_2_cuda as kernel
from flash_attn import flash_attn_func
def right(out, like, causal=False):
    q, k, v = (tensor.float().transpose(1, 2) for tensor in like)
    wanted = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal).transpose(1, 2)
    return out.dtype == like[0].dtype and torch.allclose(out.float(), wanted, atol=2e-2)
torch.manual_seed(0)
qkv = [torch.randn(2, 16, 4, 32, dtype=torch.float16) for _ in range(3)]
kernel.errors[torch.float16] = kernel.NO_IMAGE
"""


def program(venv: rig.Venv, code: str, *, prelude: str = PRELUDE, path=(FAKES,), check: bool = True, **environment):
    """Run code after a prelude; give its lines on stdout and what it has said on stderr in our name."""
    variables = {"RTX50_SIMULATE": SIMULATED, "PYTHONPATH": ":".join(map(str, path)), **environment}
    result = venv.run_code(prelude + rig.textwrap.dedent(code), env=variables, check=check)
    ours = [line for line in result.stderr.splitlines() if line.startswith("rtx50-autoload: ")]
    return result.stdout.splitlines(), ours


def test_the_first_call_is_rescued_with_one_line_and_the_second_costs_no_exception(with_torch):
    lines, said = program(
        with_torch,
        """
        print(right(flash_attn_func(*qkv), qkv))
        tried = kernel.calls
        print(all(right(flash_attn_func(*qkv, causal=True), qkv, True) for _ in range(3)), kernel.calls == tried)
        with torch.inference_mode():
            print(right(flash_attn_func(*qkv), qkv), kernel.calls == tried)
        bfloat = [tensor.bfloat16() for tensor in qkv]
        print(right(flash_attn_func(*bfloat), bfloat), kernel.calls == tried + 1)
        import rtx50_autoload
        (row,) = rtx50_autoload.status()["stand_ins"]
        print(row["library"], row["state"])
        print(row["functions"])
        from rtx50_autoload.diagnosis.incidents import load_all
        print([incident.diagnosis.category for incident in load_all().incidents])
        """,
        RTX50_MASQUERADE="12.0:9.0",
    )
    assert lines[:4] == ["True", "True True", "True True", "True True"]
    assert lines[4] == "flash_attn steps in where a kernel cannot be loaded"
    (function,) = ast.literal_eval(lines[5])
    assert function == {
        "function": "flash_attn.flash_attn_func",
        "reasons": ["its binary holds no code for this GPU"],
        "calls": 5,
    }
    assert lines[6] == "['no_kernel_image']"
    (line,) = [line for line in said if "is told that" not in line]
    for words in (
        "flash_attn.flash_attn_func",
        "RTX 5090",
        "torch's own attention",
        "`rtx50-autoload fix --run flash-attn`",
        "RESCUE=0",
    ):
        assert words in line


def test_gradients_come_from_the_stand_in_too(with_torch):
    lines, _ = program(
        with_torch,
        """
        def gradients(function):
            inputs = [tensor.detach().clone().requires_grad_() for tensor in qkv]
            function(*inputs).float().square().sum().backward()
            return [tensor.grad.float() for tensor in inputs]
        wanted = gradients(lambda *t: torch.nn.functional.scaled_dot_product_attention(
            *(tensor.float().transpose(1, 2) for tensor in t)).transpose(1, 2))
        given = gradients(flash_attn_func)
        print(all(torch.allclose(one, other, atol=2e-2) for one, other in zip(given, wanted)))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            print(flash_attn_func(*qkv).dtype)
        """,
    )
    assert lines == ["True", "torch.float16"]


def test_compiled_code_is_as_whole_as_before_and_gets_the_stand_in_where_the_kernel_fails(with_torch):
    lines, said = program(
        with_torch,
        """
        def double(*tensors):
            return flash_attn_func(*tensors, causal=True) * 2
        compiled = torch.compile(double, backend="eager", fullgraph=True)
        bfloat = [tensor.bfloat16() for tensor in qkv]
        print(right(compiled(*bfloat) / 2, bfloat, True), kernel.calls)     # nothing fails: traced as it is
        print(right(compiled(*qkv) / 2, qkv, True))                         # found out while it is traced
        tried = kernel.calls
        print(right(compiled(*qkv) / 2, qkv, True), kernel.calls == tried)
        kernel.errors[torch.bfloat16] = kernel.NO_IMAGE                     # fails after it was compiled, and then
        flash_attn_func(*bfloat)                                            # is heard of by a call that is not
        tried = kernel.calls
        print(right(compiled(*bfloat) / 2, bfloat, True), kernel.calls == tried)
        """,
    )
    assert lines == ["True 2", "True", "True True", "True True"]
    assert len([line for line in said if "answers in its place" in line]) == 1


def test_what_cannot_be_rendered_raises_the_original_error_with_our_note(with_torch):
    lines, _ = program(
        with_torch,
        """
        for _ in range(2):
            try:
                flash_attn_func(*qkv, return_attn_probs=True)
            except RuntimeError as error:
                notes = error.__notes__
                print(str(error) == kernel.NO_IMAGE, error.__context__, len(notes), "could not answer" in notes[-1])
        print("return_attn_probs" in notes[-1])
        try:
            flash_attn_func(*(torch.randn(1, 4, 2, 512, dtype=torch.float16) for _ in range(3)))
        except RuntimeError as error:
            print(error, getattr(error, "__notes__", None))
        """,
    )
    assert lines == [
        "True None 2 True",
        "True None 2 True",
        "True",
        "FlashAttention forward only supports head dimension at most 256 None",
    ]


def test_xformers_falls_back_only_for_what_no_operator_takes(with_torch):
    lines, said = program(
        with_torch,
        """
        import torch, xformers.ops
        from xformers.ops import fmha
        def answer(dtype):
            qkv = [torch.randn(1, 16, 2, 40, dtype=dtype) for _ in range(3)]
            q, k, v = (tensor.transpose(1, 2) for tensor in qkv)
            wanted = torch.nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2)
            before = fmha.calls
            out = xformers.ops.memory_efficient_attention(*qkv)
            return torch.allclose(out, wanted, atol=2e-3), fmha.calls - before
        print([answer(dtype) for dtype in (torch.float32, torch.float32, torch.float16, torch.float16)])
        """,
        prelude="",
    )
    assert lines == ["[(True, 1), (True, 0), (True, 1), (True, 1)]"]
    (line,) = [line for line in said if "answers in its place" in line]
    assert "xformers.ops.memory_efficient_attention" in line


def test_with_rescue_off_or_without_an_nvidia_gpu_there_is_no_change_at_all(with_torch):
    code = """
        module = sys.modules[flash_attn_func.__module__]
        print([name for name in vars(module) if "rtx50_autoload" in name], flash_attn_func.__code__.co_names)
        try:
            flash_attn_func(*qkv)
        except RuntimeError:
            print(kernel.calls)
    """
    off, said = program(with_torch, code, RTX50_RESCUE="0")
    stock, _ = program(with_torch, code, RTX50_DISABLE="1")
    without_gpu, _ = program(with_torch, code, RTX50_SIMULATE="")
    assert off == without_gpu == stock
    assert off[1] == "1"
    assert not any("answers" in line for line in said)


def test_deactivate_brings_every_function_back(with_torch):
    lines, _ = program(
        with_torch,
        """
        import inspect, pickle, rtx50_autoload
        early = flash_attn.flash_attn_interface.flash_attn_func
        print(early is flash_attn_func is flash_attn.flash_attn_func, pickle.loads(pickle.dumps(early)) is early)
        print(right(flash_attn_func(*qkv), qkv), str(inspect.signature(early)).count("="))
        changed = early.__code__
        rtx50_autoload.deactivate()
        print(early is flash_attn.flash_attn_func, early.__code__ is not changed, flash_attn_func.__code__.co_names[:1])
        print([name for name in vars(flash_attn.flash_attn_interface) if "rtx50_autoload" in name])
        try:
            flash_attn_func(*qkv)
        except RuntimeError as error:
            print(str(error) == kernel.NO_IMAGE)
        rtx50_autoload.activate()
        print(right(flash_attn_func(*qkv), qkv))
        """,
    )
    assert lines == ["True True", "True 9", "True True ('shape',)", "[]", "True", "True"]


def test_children_of_a_fork_and_of_a_spawn_are_rescued_themselves(with_torch, tmp_path):
    (tmp_path / "work_of_the_test.py").write_text(
        PRELUDE + "def work(_):\n    return right(flash_attn_func(*qkv), qkv)\n", encoding="utf-8"
    )
    lines, _ = program(
        with_torch,
        """
        import multiprocessing
        from work_of_the_test import work
        if __name__ == "__main__":
            print(work(0))
            for way in ("fork", "spawn"):
                with multiprocessing.get_context(way).Pool(1) as pool:
                    print(pool.map(work, [0]))
        """,
        prelude="",
        path=(FAKES, tmp_path),
        OMP_NUM_THREADS="1",  # the threads of torch's own work do not survive a fork
    )
    assert lines == ["True", "[True]", "[True]"]


ASK = """
        import importlib.metadata, importlib.util
        import torch
        print(importlib.util.find_spec("flash_attn") is not None)
        try:
            import flash_attn
        except ImportError as error:
            print(type(error).__name__, "flash_attn" in str(error))
        else:
            from flash_attn.bert_padding import unpad_input
            from flash_attn import flash_attn_func
            qkv = [torch.randn(1, 16, 2, 32, dtype=torch.float16) for _ in range(3)]
            print(flash_attn.__version__, flash_attn.__doc__.splitlines()[0], flash_attn_func(*qkv).shape)
        try:
            print(importlib.metadata.version("flash_attn"))
        except importlib.metadata.PackageNotFoundError:
            print("no distribution")
        import rtx50_autoload
        rtx50_autoload.deactivate()
        print("flash_attn" in sys.modules, importlib.util.find_spec("flash_attn") is not None)
"""


def test_a_flash_attn_that_cannot_be_imported_is_replaced_where_that_is_asked_for(with_torch):
    plain, _ = program(with_torch, ASK, prelude="import sys\n", path=(CANNOT_LOAD,))
    assert plain == ["True", "ImportError True", "no distribution", "False True"]
    asked, said = program(with_torch, ASK, prelude="import sys\n", path=(CANNOT_LOAD,), RTX50_RESCUE="import")
    assert asked[0] == "True"
    assert asked[1].startswith("2.8.3+rtx50.standin This is not flash_attn: rtx50-autoload stands in for it")
    assert asked[1].endswith("torch.Size([1, 16, 2, 32])")
    assert asked[2:] == ["no distribution", "False True"]
    (line,) = [line for line in said if "provided" in line]
    assert "undefined symbol" in line
    assert "RTX50_RESCUE is import" in line


#: What transformers asks when it is imported, which may be before torch is; nothing of it loads torch.
ASKED_BEFORE = """
import importlib.metadata, importlib.util, sys
assert importlib.metadata.packages_distributions()["flash_attn"] == ["flash-attn"]
assert importlib.util.find_spec("flash_attn") is not None
assert "torch" not in sys.modules
"""


@pytest.mark.parametrize("prelude", ["import sys\n", ASKED_BEFORE], ids=["torch first", "torch last"])
def test_a_flash_attn_that_is_not_installed_is_provided_where_that_is_asked_for(with_torch, prelude):
    asked, said = program(with_torch, ASK, prelude=prelude, path=(), RTX50_RESCUE="provide")
    assert asked[0] == "True"
    assert asked[1].startswith("2.8.3+rtx50.standin This is not flash_attn: rtx50-autoload stands in for it")
    assert asked[2:] == ["2.8.3+rtx50.standin", "False False"]
    assert len([line for line in said if "not installed" in line]) == 1


def test_a_flash_attn_that_is_not_installed_stays_so_otherwise(with_torch):
    lines, _ = program(with_torch, ASK, prelude="import sys\n", path=(), RTX50_RESCUE="import")
    assert lines == ["False", "ModuleNotFoundError True", "no distribution", "False False"]


def test_status_tells_what_would_step_in_and_what_it_costs(with_torch, tmp_path):
    info = tmp_path / "flash_attn-2.8.3.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: flash-attn\nVersion: 2.8.3\n", encoding="utf-8")
    env = {"RTX50_SIMULATE": SIMULATED, "PYTHONPATH": str(tmp_path)}
    (row,) = json.loads(with_torch.run("-m", "rtx50_autoload", "status", "--json", env=env, check=True).stdout)[
        "stand_ins"
    ]
    assert (row["library"], row["functions"]) == ("flash_attn", [])
    assert row["state"] == "when flash_attn.flash_attn_interface is imported"
    assert "more memory" in row["cost"]
    shown = with_torch.run("-m", "rtx50_autoload", "status", env=env, check=True).stdout
    assert "flash_attn: torch's own attention (RTX50_RESCUE)" in " ".join(shown.split())
    off = with_torch.run("-m", "rtx50_autoload", "status", "--json", env={**env, "RTX50_RESCUE": "0"}, check=True)
    assert json.loads(off.stdout)["stand_ins"] == []
