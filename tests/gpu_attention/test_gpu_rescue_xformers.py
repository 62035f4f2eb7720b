"""The stand-ins for xformers against xformers' own kernels, both compared with float64: run by hand where a GPU is.

It needs an NVIDIA GPU that xformers' kernels run on (not an RTX 50), torch for CUDA, xformers and pytest. From here:

    PYTHONPATH=../../src python3 -m pytest -c /dev/null --rootdir . -q test_gpu_rescue_xformers.py
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs torch for CUDA")
if not torch.cuda.is_available():
    pytest.skip("needs an NVIDIA GPU", allow_module_level=True)
theirs = pytest.importorskip("xformers.ops", reason="needs xformers", exc_type=ImportError)
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from attention_reference import reference  # noqa: E402
from rtx50_autoload.rescue import xformers as ours  # noqa: E402
from xformers_cases import MASKS, case  # noqa: E402

DTYPES = (torch.float16, torch.bfloat16, torch.float32)
SEEDS = 18
LEAST = 1200

#: What one rounding to the dtype costs; sums in float32 are a little worse than one rounding.
ROUNDING = {torch.float16: 2**-10, torch.bfloat16: 2**-7, torch.float32: 2**-17}

counted = Counter()
worst = {}


def error(value, wanted):
    return (value.double() - wanted).abs().max().item() if wanted.numel() else 0.0


def judge(what, call, value, other, wanted):
    """Hold our value to twice the error of theirs, or to some roundings of the dtype where that is more."""
    dtype = value.dtype
    bound = (
        (2 if what == "forward" else 8)
        * ROUNDING[dtype]
        * max(1.0, wanted.abs().max().item() if wanted.numel() else 0.0)
    )
    own = error(value, wanted)
    other = math.nan if other is None else error(other, wanted)
    counted[what] += 1
    counted[f"{what}, compared with theirs"] += not math.isnan(other)
    key = what, str(dtype).removeprefix("torch.")
    if not math.isnan(other) and own > bound / 100:
        worst[key] = max(worst.get(key, (0.0, "")), (own / max(other, 1e-12), call.name))
    limit = bound if math.isnan(other) else max(2 * other, bound)
    return [] if own <= limit else [f"{what}: {own:.3g} > {limit:.3g} (theirs {other:.3g}): {call.name}"]


def forward(module, case):
    with torch.no_grad():
        return module.memory_efficient_attention(case.query, case.key, case.value, case.bias, scale=case.scale)


def gradients(function, tensors, bias, gradient):
    leaves = [tensor.detach().requires_grad_() for tensor in tensors]
    wanted = list(leaves)
    if type(bias) is torch.Tensor:
        bias = bias.detach().requires_grad_()
        wanted.append(bias)
    return torch.autograd.grad(function(*leaves, bias), wanted, gradient)


def of_library(module, case, gradient):
    def function(query, key, value, bias):
        return module.memory_efficient_attention(query, key, value, bias, scale=case.scale)

    return gradients(function, (case.query, case.key, case.value), case.bias, gradient)


def of_reference(case, gradient):
    dense = type(case.bias) is torch.Tensor
    written = None if case.written is None else case.written.double()
    tensors = tuple(tensor.double() for tensor in case.heads())

    def function(query, key, value, bias):
        return reference(query, key, value, bias if dense else written, scale=case.scale)[0]

    found = gradients(
        function, tensors, written if dense else None, gradient.double().reshape(function(*tensors, written).shape)
    )
    shapes = (case.query, case.key, case.value, *([case.bias] if dense else []))
    return [value.reshape(like.shape) for value, like in zip(found, shapes, strict=True)]


def attempt(call, *arguments):
    """Call xformers; None where it has no kernel for this."""
    try:
        return call(theirs, *arguments)
    except (NotImplementedError, ValueError, AssertionError, RuntimeError) as refusal:
        if "CUDA error" in str(refusal):
            raise
        counted[f"theirs refused: {type(refusal).__name__}"] += 1
        return None


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("mask", MASKS)
def test_the_stand_in_is_as_exact_as_the_kernels(mask, dtype):
    faults = []
    for seed in range(SEEDS):
        call = case(mask, seed, dtype, "cuda", scale=(1, 4, 8)[seed % 3])
        wanted = reference(*call.heads(), call.written, scale=call.scale)[0].reshape(*call.query.shape[:-1], -1)
        out = forward(ours, call)
        assert out.shape == wanted.shape
        assert out.dtype == dtype
        assert out.is_contiguous()
        faults += judge("forward", call, out, attempt(forward, call), wanted)
        gradient = torch.randn_like(out)
        own = of_library(ours, call, gradient)
        other = attempt(of_library, call, gradient) or [None] * len(own)
        for name, value, its, true in zip("qkvb", own, other, of_reference(call, gradient), strict=False):
            faults += judge(f"gradient of {name}", call, value, its, true)
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("mask", MASKS)
def test_the_logarithms_of_the_sums_are_right(mask, dtype):
    for seed in range(6):
        call = case(mask, seed, dtype, "cuda")
        wanted = reference(*call.heads(), call.written, scale=call.scale)[1]
        arguments = (call.query, call.key, call.value, call.bias)
        _, lse = ours.memory_efficient_attention_forward_requires_grad(*arguments, scale=call.scale)
        torch.testing.assert_close(lse.double().reshape(wanted.shape), wanted, atol=2e-3, rtol=1e-3)
        counted["lse"] += 1


COMPILED = ("none", "triangle", "bottom right", "local", "tensor")


@pytest.mark.parametrize("mask", COMPILED)
def test_it_compiles_without_a_break(mask):
    call = case(mask, 0, torch.bfloat16, "cuda")

    def function(query, key, value):
        return ours.memory_efficient_attention(query, key, value, call.bias, scale=call.scale)

    compiled = torch.compile(function, fullgraph=True)(call.query, call.key, call.value)
    torch.testing.assert_close(compiled, function(call.query, call.key, call.value), atol=2e-2, rtol=2e-2)


@pytest.mark.parametrize("mask", ["none", "triangle", "bottom right", "local", "blocks", "padded offset"])
def test_it_can_be_captured_in_a_graph(mask):
    call = case(mask, 3, torch.float16, "cuda")
    expected = forward(ours, call)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        forward(ours, call)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = forward(ours, call)
    graph.replay()
    torch.testing.assert_close(out, expected)


def test_autocast_changes_nothing_and_inference_mode_is_kept():
    call = case("triangle", 1, torch.float32, "cuda")
    plain = forward(ours, call)
    with torch.autocast("cuda", dtype=torch.float16), torch.inference_mode():
        out = forward(ours, call)
    assert out.dtype == torch.float32
    assert out.is_inference()
    torch.testing.assert_close(out, plain)


@pytest.mark.parametrize("mask", ["none", "tensor", "bottom right", "blocks"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32], ids=str)
def test_dropout_drops_as_many_weights_as_asked_and_lets_the_others_grow(mask, dtype):
    call = case(mask, 0, dtype, "cuda", scale=8)
    batch, keys, heads, _ = call.heads()[1].shape
    queries = call.query.shape[1]
    # Zeros as queries make all weights of a query equal, and ones as values make the output count those that are left.
    query = torch.zeros(batch, queries, heads, 16, device="cuda", dtype=dtype)
    key = torch.randn(batch, keys, heads, 16, device="cuda", dtype=dtype)
    value = torch.ones(batch, keys, heads, 16, device="cuda", dtype=dtype)
    bias = None if mask == "tensor" else call.bias
    seen = ours.memory_efficient_attention(query, key, value, bias).float()
    torch.manual_seed(5)
    out = ours.memory_efficient_attention(query, key, value, bias, p=0.25).float()
    torch.manual_seed(5)
    again = ours.memory_efficient_attention(query, key, value, bias, p=0.25).float()
    assert torch.equal(out, again)
    assert not torch.equal(out, seen)
    assert abs((out.mean() / seen.mean()).item() - 1) < 0.1


def test_there_were_as_many_cases_as_promised(capfd):
    with capfd.disabled():
        print(f"\n{torch.cuda.get_device_name()}, torch {torch.__version__}")
        for what, number in sorted(counted.items()):
            print(f"{number:6}  {what}")
        for (what, dtype), (ratio, name) in sorted(worst.items()):
            print(f"worst error, ours to theirs: {ratio:8.2f}  {what} {dtype}: {name}")
    assert counted["forward"] >= LEAST
