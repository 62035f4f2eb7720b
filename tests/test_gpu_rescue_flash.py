"""On a real NVIDIA GPU: the stand-ins for flash_attn against float64, and against torch's copy of its kernels.

Run in this folder, where the package and a CUDA build of torch are installed beside pytest:
``python3 -m pytest -c /dev/null --rootdir . -s test_gpu_rescue_flash.py``. The last tests need transformers; flash_attn
must not be installed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

torch = pytest.importorskip("torch")

import flash_cases  # noqa: E402 - where torch is
from flash_cases import LARGE, MASKS, Inputs, cache_cases, cases, run, run_cache, starts, total  # noqa: E402
from rtx50_autoload.rescue import flash_attn, flash_bindings, flash_kernel, flash_plain  # noqa: E402

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU and its driver")

HALF = (torch.bfloat16, torch.float16)
#: Of gradients, in steps of the dtype at the largest value; of all else it is one step. The plain way rounds once; each
#: gradient of the kernel is a difference of products of rounded values.
BOUNDS = {"plain": 1.0, "kernel": 5.0}


@pytest.fixture
def plain(monkeypatch):
    """Have every call answered on the plain way."""
    monkeypatch.setattr(flash_kernel, "_BUILT", False)


def judge(name, results, bound):
    found = total(results)
    lines = [f"  {what}: {value:.3f} at {case}" for what, (value, case) in found["worst"].items()]
    print("", f"{name}: {found['count']} calls", *lines, sep="\n")  # noqa: T201 - read by who runs it by hand
    wrong = [
        (ratios, case)
        for case, ratios in results
        if any(ratio > (bound if what.startswith("gradient") else 1.0) for what, ratio in ratios.items())
    ]
    assert not wrong, wrong[:5]
    return found["count"]


def test_the_kernel_is_what_answers_here():
    print(f"\n{torch.cuda.get_device_name()}, torch {torch.__version__}")  # noqa: T201 - read by who runs it by hand
    q = torch.zeros(1, 1, 1, 8, dtype=torch.float16, device="cuda")
    assert flash_kernel.renders(
        q, q, q, flash_attn.rules(q, None, causal=False, window_size=(-1, -1), softcap=0.0, alibi_slopes=None)
    )


def test_every_kind_of_call_is_right_to_the_bound():
    grid = [*cases(seed=1, sizes=LARGE, dims=(8, 40, 64, 128))]
    assert judge("calls", [(case, run(case, "cuda")) for case in grid], BOUNDS["kernel"]) >= 480


@pytest.mark.parametrize("seed", range(4))
def test_every_mask_of_the_kernel_is_right_to_the_bound(seed):
    grid = [*cases(seed=10 + seed, sizes=LARGE, dims=(20, 32, 96, 160, 192, 256), extras=("plain",))]
    assert judge("kernel", [(case, run(case, "cuda")) for case in grid], BOUNDS["kernel"]) >= 120


@pytest.mark.usefixtures("plain")
def test_the_plain_way_is_right_to_the_bound():
    grid = [*cases(seed=2, sizes=LARGE, dims=(8, 40, 64, 128))]
    assert judge("plain", [(case, run(case, "cuda")) for case in grid], BOUNDS["plain"]) >= 480


def test_every_cache_is_right_to_the_bound():
    grid = [*cache_cases(seed=3, sizes=LARGE, dims=(16, 40, 64, 128), extras=("plain", "plain", "softcap", "alibi"))]
    assert judge("caches", [(case, run_cache(case, "cuda")) for case in grid], BOUNDS["kernel"]) >= 200


@pytest.mark.usefixtures("plain")
def test_every_cache_is_right_to_the_bound_on_the_plain_way():
    grid = [*cache_cases(seed=4, sizes=LARGE, dims=(16, 64))]
    assert judge("caches, plain", [(case, run_cache(case, "cuda")) for case in grid], BOUNDS["plain"]) >= 200


def aten(q, k, v, borders, longest, case):  # noqa: PLR0913, PLR0917 - what the kernel takes
    """Call torch's copy of flash_attn's kernel, with nothing of ours in between."""
    left, right = case.window
    return torch.ops.aten._flash_attention_forward(
        q, k, v, *borders, *longest, 0.0, case.causal, False,  # noqa: FBT003 - in torch's order
        scale=case.dim**-0.5, window_size_left=left, window_size_right=right,
    )[0]  # fmt: skip


@pytest.mark.parametrize("varlen", [False, True])
def test_the_plain_way_sees_what_the_kernel_sees(varlen, monkeypatch):
    results = []
    kind = "varlen" if varlen else "dense"
    for seed in range(5):
        for case in cases(seed=20 + seed, sizes=LARGE, dims=(32, 64), kinds=(kind,), extras=("plain",)):
            inputs = Inputs(case, "cuda")
            total_q, total_k = sum(case.lengths_q), sum(case.lengths_k)
            batch = len(case.lengths_q)
            first_q, first_k = (total_q,), (total_k,)
            if not varlen:
                first_q, first_k = (batch, case.lengths_q[0]), (batch, case.lengths_k[0])
            q = inputs.normal(*first_q, case.heads, case.dim).requires_grad_()
            k, v = (inputs.normal(*first_k, case.groups, case.dim).requires_grad_() for _ in range(2))
            longest = (max(case.lengths_q), max(case.lengths_k))
            gradient = inputs.normal(*q.shape)
            if varlen:
                borders = (starts(case.lengths_q, "cuda"), starts(case.lengths_k, "cuda"))
                theirs = aten(q, k, v, borders, longest, case)
                call = (flash_attn.flash_attn_varlen_func, (q, k, v, *borders, *longest))
            else:
                theirs = aten(q, k, v, (None, None), longest, case)
                call = (flash_attn.flash_attn_func, (q, k, v))
            gradients = torch.autograd.grad(theirs, (q, k, v), gradient)
            options = {"causal": case.causal, "window_size": case.window}
            fast = call[0](*call[1], **options)
            assert torch.equal(fast, theirs), case
            with monkeypatch.context() as patch:
                patch.setattr(flash_kernel, "_BUILT", False)
                ours = call[0](*call[1], **options)
                own = torch.autograd.grad(ours, (q, k, v), gradient)
            pairs = [(ours.detach(), theirs.detach(), 1e-3), *zip(own, gradients, (1.0,) * 3, strict=True)]
            ratios = [flash_cases.ratio(one, other.double(), floor=floor) for one, other, floor in pairs]
            results.append((case, dict(zip(("out", "gradient 1", "gradient 2", "gradient 3"), ratios, strict=True))))
    judge(f"plain against the kernel, {kind}", results, BOUNDS["kernel"])


def tensors(dtype=torch.bfloat16, dim=64, grad=False, length=70, groups=2):
    generator = torch.Generator().manual_seed(5)
    shapes = ((2, 33, 4, dim), (2, length, groups, dim), (2, length, groups, dim))
    made = [torch.randn(shape, generator=generator).to("cuda", dtype) for shape in shapes]
    return [tensor.requires_grad_() for tensor in made] if grad else made


def packed_call(q, k, v, **options):
    borders = [torch.tensor(ends, dtype=torch.int32, device="cuda") for ends in ((0, 20, 66), (0, 100, 140))]
    flat = [tensor.flatten(0, 1) for tensor in (q, k, v)]
    return flash_attn.flash_attn_varlen_func(*flat, *borders, 46, 100, **options)


def cache_call(q, k, v, **options):
    lengths = torch.tensor([40, 12], dtype=torch.int32, device="cuda")
    new = [tensor[:, :5].clone() for tensor in (k, v)]
    return flash_attn.flash_attn_with_kvcache(q, k.clone(), v.clone(), *new, cache_seqlens=lengths, **options)


CALLS = {"dense": flash_attn.flash_attn_func, "packed": packed_call, "cache": cache_call}
WAYS = {"kernel": {}, "plain": {"softcap": 3.0}}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", CALLS)
def test_nothing_waits_for_the_gpu(name, way):
    given = tensors()
    borders = torch.tensor([0, 20, 66], dtype=torch.int32, device="cuda")
    ends = torch.tensor([0, 100, 140], dtype=torch.int32, device="cuda")
    lengths = torch.tensor([40, 12], dtype=torch.int32, device="cuda")
    flat = [tensor.flatten(0, 1) for tensor in given]
    options = {"causal": True, "window_size": (9, -1), **WAYS[way]}
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        if name == "dense":
            flash_attn.flash_attn_func(*given, **options)
        elif name == "packed":
            flash_attn.flash_attn_varlen_func(*flat, borders, ends, 46, 100, **options)
        else:
            new = [tensor[:, :5].clone() for tensor in given[1:]]
            flash_attn.flash_attn_with_kvcache(*given, *new, cache_seqlens=lengths, **options)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["dense", "packed", "cache"])
def test_a_cuda_graph_replays_with_other_values(name, way):
    given = tensors()
    borders = torch.tensor([0, 20, 66], dtype=torch.int32, device="cuda")
    ends = torch.tensor([0, 100, 140], dtype=torch.int32, device="cuda")
    lengths = torch.tensor([40, 12], dtype=torch.int32, device="cuda")
    options = {"causal": True, **WAYS[way]}

    def call():
        if name == "dense":
            return flash_attn.flash_attn_func(*given, **options)
        if name == "packed":
            flat = [tensor.flatten(0, 1) for tensor in given]
            return flash_attn.flash_attn_varlen_func(*flat, borders, ends, 46, 100, **options)
        return flash_attn.flash_attn_with_kvcache(*given, cache_seqlens=lengths, **options)

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = call()
    for tensor in given:
        tensor.normal_()
    borders.copy_(torch.tensor([0, 30, 66]))
    ends.copy_(torch.tensor([0, 50, 140]))
    lengths.copy_(torch.tensor([7, 60]))
    graph.replay()
    torch.cuda.synchronize()
    assert torch.equal(out, call())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", CALLS)
def test_it_compiles_as_one_graph(name, way):
    given = tensors(grad=name != "cache")
    options = {"causal": True, **WAYS[way]}

    def call(*arguments):
        return CALLS[name](*arguments, **options)

    torch._dynamo.reset()
    compiled = torch.compile(call, fullgraph=True)
    out, want = compiled(*given), call(*given)
    assert flash_cases.ratio(out.detach(), want.detach().double(), floor=1e-3) <= BOUNDS["plain"]
    if name != "cache":
        gradient = torch.randn_like(want)
        for one, other in zip(
            torch.autograd.grad(out, given, gradient), torch.autograd.grad(want, given, gradient), strict=True
        ):
            assert flash_cases.ratio(one, other.double(), floor=1.0) <= BOUNDS["kernel"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", CALLS)
def test_autocast_and_inference_mode_change_nothing(name, way):
    given = tensors()
    want = CALLS[name](*given, **WAYS[way])
    with torch.autocast("cuda", dtype=torch.float16):
        assert torch.equal(CALLS[name](*given, **WAYS[way]), want)
        with pytest.raises(RuntimeError, match="only support fp16 and bf16"):
            CALLS[name](*(tensor.float() for tensor in given), **WAYS[way])
    with torch.inference_mode():
        out = CALLS[name](*given, **WAYS[way])
    assert out.is_inference()
    assert torch.equal(out, want)


@pytest.mark.parametrize("way", ["kernel", "plain"])
@pytest.mark.parametrize("dtype", HALF)
def test_dropout_drops_its_share_and_scales_the_rest(dtype, way, monkeypatch):
    monkeypatch.setattr(flash_kernel, "_BUILT", way == "kernel")
    size = 64
    q, k = (torch.randn(8, size, 4, size, device="cuda", dtype=dtype) for _ in range(2))
    # With these values, the output is the weights themselves.
    v = torch.eye(size, device="cuda", dtype=dtype)[None, :, None, :].expand(8, size, 4, size).contiguous()
    weights = flash_attn.flash_attn_func(q, k, v).double()
    torch.manual_seed(3)
    dropped = flash_attn.flash_attn_func(q, k, v, dropout_p=0.25)
    torch.manual_seed(3)
    assert torch.equal(dropped, flash_attn.flash_attn_func(q, k, v, dropout_p=0.25))
    kept = dropped != 0
    share = 1 - kept.double().mean().item()
    assert 0.24 < share < 0.26
    error = (dropped.double() - weights / 0.75).abs()[kept]
    assert (error <= 4 * torch.finfo(dtype).eps * (weights / 0.75)[kept] + 1e-6).all()


@pytest.mark.parametrize("way", ["kernel", "plain"])
def test_the_gradients_know_what_was_dropped(way, monkeypatch):
    monkeypatch.setattr(flash_kernel, "_BUILT", way == "kernel")
    q, k, v = tensors(grad=True, dim=32)
    out = flash_attn.flash_attn_func(q, k, v, dropout_p=0.5, causal=True)
    gradient = torch.randn_like(out)
    # The output is linear in the values: the gradient has to undo just that map.
    (by_value,) = torch.autograd.grad(out, v, gradient)
    left = (by_value.double() * v.detach().double()).sum()
    right = (gradient.double() * out.detach().double()).sum()
    assert torch.isclose(left, right, rtol=0.02, atol=2.0)


def test_deterministic_gradients_are_the_same_each_time():
    given = tensors(grad=True, length=600)
    gradient = torch.randn(2, 33, 4, 64, device="cuda", dtype=torch.bfloat16)

    def gradients(**options):
        return torch.autograd.grad(flash_attn.flash_attn_func(*given, **options), given, gradient)

    want = gradients()
    plain = gradients(deterministic=True)
    assert all(torch.equal(*pair) for pair in zip(plain, gradients(deterministic=True), strict=True))
    torch.use_deterministic_algorithms(mode=True)
    try:
        strict = gradients(deterministic=True)
        assert all(torch.equal(*pair) for pair in zip(strict, gradients(deterministic=True), strict=True))
    finally:
        torch.use_deterministic_algorithms(mode=False)
    for one, two, three in zip(want, plain, strict, strict=True):
        assert flash_cases.ratio(two, one.double(), floor=1.0) <= BOUNDS["kernel"]
        assert flash_cases.ratio(three, one.double(), floor=1.0) <= BOUNDS["kernel"]


def test_long_sequences_are_taken_in_pieces_and_need_little_memory():
    q, k, v = (torch.randn(1, 8192, 8, 64, device="cuda", dtype=torch.bfloat16).requires_grad_() for _ in range(3))
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    flash_attn.flash_attn_func(q, k, v, causal=True, softcap=30.0).sum().backward()
    whole = 8 * 8192 * 8192 * 4
    peak = torch.cuda.max_memory_allocated() - before
    print(f"\npeak: {peak / whole:.2f} of one matrix of scores")  # noqa: T201 - read by who runs it by hand
    assert peak < 12 * flash_plain._SCORES_AT_ONCE * 4 < 2 * whole


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_the_functions_behind_the_public_ones_give_what_those_give(dropout):
    given = tensors(grad=True)
    torch.manual_seed(7)
    want = flash_attn.flash_attn_func(*given, causal=True, window_size=(20, -1), dropout_p=dropout)
    gradient = torch.randn_like(want)
    wanted = torch.autograd.grad(want, given, gradient)
    rest = (dropout, 0.125, True, 20, -1, 0.0)
    into = [torch.empty_like(tensor) for tensor in given]
    with torch.no_grad():
        torch.manual_seed(7)
        out, lse, _, state = flash_bindings.flash_attn_gpu.fwd(*given, None, None, *rest, False, None)  # noqa: FBT003
        flash_bindings.wrapped_backward(gradient, *given, out, lse, *into, *rest, None, False, state)  # noqa: FBT003
    assert torch.equal(out, want)
    # The kernel adds to the gradients of queries in no fixed order.
    for one, other in zip(into, wanted, strict=True):
        assert flash_cases.ratio(one, other.double(), floor=1.0) <= 1.0


def test_masks_that_hide_all_keys_of_a_query_give_zero():
    for causal, window in MASKS:
        q = torch.randn(1, 9, 2, 32, device="cuda", dtype=torch.float16)
        k = torch.randn(1, 4, 2, 32, device="cuda", dtype=torch.float16)
        out = flash_attn.flash_attn_func(q, k, k, causal=causal, window_size=window)
        assert torch.isfinite(out).all()


BY_HAND = """
import sys
from rtx50_autoload.rescue import provided, provided_distribution
sys.modules.update(provided.build_module("flash_attn is not installed."))
class Finder:
    find_spec = staticmethod(lambda *arguments, **options: None)
    find_distributions = staticmethod(provided_distribution.find_distributions)
sys.meta_path.append(Finder)
"""
TRANSFORMERS = """
import torch, transformers
from transformers import (Gemma2Config, Gemma2ForCausalLM, LlamaConfig, LlamaForCausalLM, MistralConfig,
                          MistralForCausalLM, Qwen2Config, Qwen2ForCausalLM)
import flash_attn
assert "rtx50" in flash_attn.__version__, flash_attn
from rtx50_autoload.rescue import flash_kernel, flash_plain
calls = {"kernel": 0, "plain": 0}
def counted(module, name, way):
    function = getattr(module, name)
    def count(*arguments, **options):
        calls[way] += 1
        return function(*arguments, **options)
    setattr(module, name, count)
counted(flash_kernel, "forward", "kernel")
counted(flash_plain, "attend", "plain")
print("transformers", transformers.__version__, "flash_attn", flash_attn.__version__)
small = dict(vocab_size=128, hidden_size=128, intermediate_size=256, num_hidden_layers=3, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=256)
models = [(LlamaConfig, LlamaForCausalLM, {}, "sdpa"),
          (MistralConfig, MistralForCausalLM, {"sliding_window": 8}, "sdpa"),
          (Qwen2Config, Qwen2ForCausalLM, {}, "sdpa"),
          (Gemma2Config, Gemma2ForCausalLM, {"head_dim": 32, "sliding_window": 8}, "eager")]
for config_class, model_class, more, other in models:
    for dtype in (torch.bfloat16, torch.float16):
        got = {}
        for attention in ("flash_attention_2", other):
            torch.manual_seed(0)
            config = config_class(**small, **more)
            config._attn_implementation = attention
            model = model_class(config).to("cuda", dtype)
            assert model.config._attn_implementation == attention
            ids = torch.randint(0, 128, (3, 40), generator=torch.Generator().manual_seed(1)).cuda()
            mask = torch.ones_like(ids)
            mask[0, :17], mask[1, :3] = 0, 0
            # Where padding ends, a token would be predicted from it, which each attention fills in its own way.
            behind_padding = torch.nn.functional.pad(mask[:, :-1], (1, 0)) == 0
            before = sum(calls.values())
            out = model(ids, attention_mask=mask, labels=ids.masked_fill((mask == 0) | behind_padding, -100))
            assert sum(calls.values()) - before == (3 if attention == "flash_attention_2" else 0), calls
            out.loss.backward()
            grads = torch.cat([p.grad.flatten().float() for p in model.parameters() if p.grad is not None])
            with torch.no_grad():
                model.eval()
                tokens = model.generate(ids, attention_mask=mask, max_new_tokens=8, do_sample=False, pad_token_id=0)
            got[attention] = (out.logits.detach()[mask.bool()].float(), grads, tokens)
        (a, ga, ta), (b, gb, tb) = got.values()
        eps = torch.finfo(dtype).eps
        logits, gradients = (a - b).abs().max() / b.abs().max() / eps, (ga - gb).norm() / gb.norm() / eps
        print(model_class.__name__, dtype, other, f"logits {logits:.2f} eps, gradients {gradients:.2f} eps,",
              f"generated tokens equal: {(ta == tb).float().mean():.3f}")
        assert logits < 4 and gradients < 8, (logits, gradients)
print("answered by", calls)
"""


@pytest.mark.parametrize("way", ["by_hand", "provide"])
def test_transformers_gives_with_the_stand_in_what_it_gives_with_its_own_attention(way, tmp_path):
    pytest.importorskip("transformers")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RTX50_")}
    environment |= {"RTX50_RESCUE": "provide"} if way == "provide" else {}
    code = textwrap.dedent(BY_HAND if way == "by_hand" else "") + TRANSFORMERS
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    print("\n" + done.stdout)  # noqa: T201 - read by who runs it by hand
    assert done.returncode == 0, done.stdout + done.stderr
