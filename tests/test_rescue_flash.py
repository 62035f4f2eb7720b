"""The stand-ins for flash_attn on the CPU, against float64; tests/test_gpu_rescue_flash.py is the part for a GPU."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from rig import ROOT

TESTS = Path(__file__).resolve().parent
STAND_INS = ROOT / "src" / "rtx50_autoload" / "rescue"

#: What most functions of flash_attn 2.8.3 take behind their tensors, with the defaults.
SHARED = {
    "dropout_p": 0.0,
    "softmax_scale": None,
    "causal": False,
    "window_size": (-1, -1),
    "softcap": 0.0,
    "alibi_slopes": None,
    "deterministic": False,
    "return_attn_probs": False,
}
PACKED = ["cu_seqlens_q", "cu_seqlens_k", "max_seqlen_q", "max_seqlen_k"]
ROTATED = {"seqlen_offsets": 0, "cu_seqlens": None, "max_seqlen": None}
#: The parameters of flash_attn 2.8.3: those without a default, and those with one.
SIGNATURES = {
    "flash_attn.py": {
        "flash_attn_func": (["q", "k", "v"], SHARED),
        "flash_attn_kvpacked_func": (["q", "kv"], SHARED),
        "flash_attn_qkvpacked_func": (["qkv"], SHARED),
        "flash_attn_varlen_func": (["q", "k", "v", *PACKED], {**SHARED, "block_table": None}),
        "flash_attn_varlen_kvpacked_func": (["q", "kv", *PACKED], SHARED),
        "flash_attn_varlen_qkvpacked_func": (["qkv", "cu_seqlens", "max_seqlen"], SHARED),
        "flash_attn_with_kvcache": (
            ["q", "k_cache", "v_cache"],
            {
                **dict.fromkeys(("k", "v", "rotary_cos", "rotary_sin", "cache_seqlens", "cache_batch_idx")),
                **dict.fromkeys(("cache_leftpad", "block_table", "softmax_scale")),
                "causal": False,
                "window_size": (-1, -1),
                "softcap": 0.0,
                "rotary_interleaved": True,
                "alibi_slopes": None,
                "num_splits": 0,
                "return_softmax_lse": False,
            },
        ),
    },
    "flash_padding.py": {
        "pad_input": (["hidden_states", "indices", "batch", "seqlen"], {}),
        "unpad_input": (["hidden_states", "attention_mask"], {"unused_mask": None}),
        "unpad_input_for_concatenated_sequences": (["hidden_states", "attention_mask_in_length"], {}),
    },
    "flash_rotary.py": {
        "apply_rotary": (["x", "cos", "sin"], {**ROTATED, "interleaved": False, "inplace": False, "conjugate": False}),
    },
    "flash_rotary_layers.py": {
        "apply_rotary_emb": (["x", "cos", "sin"], {"interleaved": False, "inplace": False, **ROTATED}),
        "apply_rotary_emb_torch": (["x", "cos", "sin"], {"interleaved": False}),
        "apply_rotary_emb_qkv_": (
            ["qkv", "cos", "sin"],
            {"cos_k": None, "sin_k": None, "interleaved": False, "seqlen_offsets": 0, "num_heads_q": None},
        ),
        "apply_rotary_emb_kv_": (["kv", "cos", "sin"], {"interleaved": False, "seqlen_offsets": 0}),
    },
}

PRELUDE = """
import json, sys
import torch
from rtx50_autoload.rescue import flash_attn, flash_kernel, flash_padding, flash_plain, flash_rotary
from rtx50_autoload.rescue.errors import CannotRender
torch.set_num_threads(1)
torch.manual_seed(0)
def normal(*shape, dtype=torch.bfloat16):
    return torch.randn(shape).to(dtype)
def refusal(call):
    try:
        call()
    except Exception as error:
        return [type(error).__name__, str(error)]
"""


@pytest.fixture(scope="module")
def ask(with_torch):
    """Run code beside the stand-ins and the real torch; give what it prints, read as JSON."""

    def run(code, *, prelude=PRELUDE):
        return json.loads(with_torch.run("-c", prelude + code, check=True).stdout.splitlines()[-1])

    return run


@pytest.mark.parametrize("module", SIGNATURES)
def test_the_functions_take_what_those_of_flash_attn_take(module):
    functions = {
        node.name: node for node in ast.parse((STAND_INS / module).read_text("utf-8")).body
        if isinstance(node, ast.FunctionDef)
    }  # fmt: skip
    for name, (needed, optional) in SIGNATURES[module].items():
        arguments = functions[name].args
        names = [argument.arg for argument in arguments.args]
        assert names == [*needed, *optional], name
        assert [ast.literal_eval(value) for value in arguments.defaults] == list(optional.values()), name
        assert not any((arguments.posonlyargs, arguments.kwonlyargs, arguments.vararg, arguments.kwarg)), name


# `kernel` has the reference in the place of torch's kernel, which needs a GPU: what is handed over to it is tested.
@pytest.mark.parametrize(("grid", "least"), [("calls", 480), ("caches", 200), ("kernel", 320)])
def test_every_call_is_right_but_for_one_rounding(with_torch, grid, least):
    found = json.loads(with_torch.run(with_torch.python, TESTS / "flash_cases.py", grid, check=True).stdout)
    assert found["count"] >= least
    assert {what: case for what, case in found["worst"].items() if case[0] > 0.75} == {}
    # Not all are zero by some mistake of the comparison.
    assert found["worst"]["out"][0] > 0.1


def test_what_flash_attn_refuses_is_refused_by_the_same_type_of_error(ask):
    refusals = ask("""
q, k = normal(2, 4, 4, 16), normal(2, 4, 3, 16)
starts = torch.tensor([0, 4, 8], dtype=torch.int32)
wide = normal(1, 2, 1, 264)
func, varlen, cached = flash_attn.flash_attn_func, flash_attn.flash_attn_varlen_func, flash_attn.flash_attn_with_kvcache
pages = torch.zeros(2, 1, dtype=torch.int32)
print(json.dumps([refusal(call) for call in (
    lambda: func(q.float(), q.float(), q.float()),
    lambda: func(q, q.half(), q),
    lambda: func(q, k, k),
    lambda: func(wide, wide, wide),
    lambda: func(q[:0], q[:0], q[:0]),
    lambda: func(q, q, q, softcap=1.0, dropout_p=0.1),
    lambda: func(q, q, q, dropout_p=1.0),
    lambda: func(q, q, q, alibi_slopes=torch.ones(4).half()),
    lambda: varlen(q[0], q[0], q[0], starts.long(), starts, 4, 4),
    lambda: varlen(q[0], q, q, starts, starts, 4, 4, block_table=pages),
    lambda: cached(q, q, q, q, q),
    lambda: cached(q, q, q, q, cache_seqlens=0),
    lambda: cached(q, q, q, rotary_cos=q, cache_seqlens=0),
    lambda: cached(q, q, q, block_table=pages),
    lambda: cached(q, q, q, cache_seqlens=torch.zeros(2)),
)]))
""")
    assert [name for name, _ in refusals] == ["RuntimeError"] * 15
    assert [message.split()[0] for _, message in refusals] == [
        "FlashAttention", "query", "Number", "FlashAttention", "batch", "Softcapping", "dropout_p", "ALiBi",
        "cu_seqlens_q", "Paged", "If", "If", "If", "Paged", "seqlens_k",
    ]  # fmt: skip


def test_the_weights_themselves_are_refused_by_name(ask):
    name, message = ask("""
q = normal(1, 4, 2, 16)
print(json.dumps(refusal(lambda: flash_attn.flash_attn_func(q, q, q, return_attn_probs=True))))
""")
    assert name == "CannotRender"
    assert "return_attn_probs" in message


def test_dropout_drops_its_share_scales_the_rest_and_obeys_the_seed(ask):
    share, error, same, kept = ask("""
q, k = normal(8, 32, 4, 32), normal(8, 32, 4, 32)
v = torch.eye(32, dtype=torch.bfloat16)[None, :, None, :].expand(8, 32, 4, 32)
weights = flash_attn.flash_attn_func(q, k, v).double()
torch.manual_seed(1)
dropped = flash_attn.flash_attn_func(q, k, v, dropout_p=0.25)
torch.manual_seed(1)
again = flash_attn.flash_attn_func(q, k, v, dropout_p=0.25)
left = dropped != 0
error = ((dropped.double() - weights / 0.75).abs() / (weights / 0.75))[left].max().item()
given = [tensor.detach().requires_grad_() for tensor in (q, k, normal(8, 32, 4, 32))]
out = flash_attn.flash_attn_func(*given, dropout_p=0.5)
(by_value,) = torch.autograd.grad(out.float().square().sum() / 2, given[2])
# The output is linear in the values, so this is what holds whatever was dropped.
kept = (by_value.double() * given[2].detach().double()).sum() / out.detach().double().square().sum()
print(json.dumps([1 - left.double().mean().item(), error, torch.equal(dropped, again), kept.item()]))
""")
    assert 0.24 < share < 0.26
    assert error < 4 * 2**-8
    assert same
    assert kept == pytest.approx(1.0, abs=0.01)


def test_many_scores_are_taken_in_pieces_with_the_same_result(ask):
    assert (
        ask("""
def run():
    torch.manual_seed(3)
    given = [normal(2, 50, 4, 16).requires_grad_(), normal(2, 70, 2, 16).requires_grad_(), normal(2, 70, 2, 16)]
    out = flash_attn.flash_attn_func(*given, causal=True, window_size=(20, 0), softcap=3.0, alibi_slopes=torch.rand(4))
    with torch.no_grad():
        cached, lse = flash_attn.flash_attn_with_kvcache(given[0].detach(), *(t.detach() for t in given[1:]),
                                                         cache_seqlens=60, causal=True, return_softmax_lse=True)
    return [out, *torch.autograd.grad(out.float().square().sum(), given[:2]), cached, lse]
whole = run()
flash_plain._SCORES_AT_ONCE = 2 * 4 * 70 * 7
pieces = run()
print(json.dumps([bool(torch.allclose(a.float(), b.float(), rtol=2**-7, atol=2**-7)) for a, b in zip(whole, pieces)]))
""")
        == [True] * 5
    )


def test_where_there_is_nothing_to_attend_to_the_output_is_zero_and_so_are_the_gradients(ask):
    assert ask("""
q, none = normal(2, 3, 4, 16).requires_grad_(), normal(2, 0, 2, 16).requires_grad_()
out = flash_attn.flash_attn_func(q, none, none, causal=True)
grads = torch.autograd.grad(out.sum(), (q, none))
starts, ends = (torch.tensor(each, dtype=torch.int32) for each in ([0, 0, 0], [0, 4, 6]))
some = normal(6, 2, 16).requires_grad_()
empty = flash_attn.flash_attn_varlen_func(normal(0, 4, 16), some, some, starts, ends, 0, 4)
(more,) = torch.autograd.grad(empty.sum(), some)
lone = flash_attn.flash_attn_varlen_func(q.flatten(0, 1), none.flatten(0, 1), none.flatten(0, 1), ends, starts, 4, 0)
values = [out, lone, grads[0], more]
shapes = [list(each.shape) for each in (*values, empty, grads[1])]
print(json.dumps([[each.abs().sum().item() for each in values], shapes]))
""") == [[0.0] * 4, [[2, 3, 4, 16], [6, 4, 16], [2, 3, 4, 16], [6, 2, 16], [0, 4, 16], [2, 0, 2, 16]]]


def test_autocast_and_inference_mode_change_nothing(ask):
    assert (
        ask("""
q, k = normal(1, 9, 4, 16), normal(1, 12, 2, 16)
want = flash_attn.flash_attn_func(q, k, k, causal=True, softcap=2.0)
with torch.autocast("cpu", dtype=torch.float16):
    cast = flash_attn.flash_attn_func(q, k, k, causal=True, softcap=2.0)
with torch.inference_mode():
    free = flash_attn.flash_attn_func(q, k, k, causal=True, softcap=2.0)
print(json.dumps([torch.equal(cast, want), cast.dtype == want.dtype, torch.equal(free, want), free.is_inference()]))
""")
        == [True] * 4
    )


def test_dynamo_traces_each_kind_of_call_as_one_graph(ask):
    assert (
        ask("""
q, k = normal(2, 9, 4, 16).requires_grad_(), normal(2, 12, 2, 16)
starts, ends = (torch.tensor(each, dtype=torch.int32) for each in ([0, 5, 18], [0, 11, 24]))
lengths = torch.tensor([3, 7], dtype=torch.int32)
calls = {
    "dense": lambda: flash_attn.flash_attn_func(q, k, k, causal=True, window_size=(4, -1), softcap=2.0),
    "packed": lambda: flash_attn.flash_attn_varlen_func(q.flatten(0, 1), *[k.flatten(0, 1)] * 2, starts, ends, 13, 13),
    "cache": lambda: flash_attn.flash_attn_with_kvcache(q.detach(), k.clone(), k.clone(), k[:, :2], k[:, :2],
                                                        cache_seqlens=lengths, causal=True),
}
same = []
for call in calls.values():
    compiled = torch.compile(call, fullgraph=True, backend="aot_eager")
    same.append(bool(torch.allclose(compiled().float(), call().float(), rtol=2**-7, atol=2**-7)))
print(json.dumps(same))
""")
        == [True] * 3
    )


def test_the_kernel_is_asked_only_for_what_it_computes_exactly(ask):
    answers = ask("""
class OnGpu:
    is_cuda = True
    numel = staticmethod(lambda: 1)
    def __init__(self, dim, grad):
        self.shape, self.requires_grad = (1, 1, 1, dim), grad
def answer(dim=64, grad=False, **more):
    q = OnGpu(dim, grad)
    options = {"causal": True, "window_size": (3, -1), "softcap": 0.0, "alibi_slopes": None, **more}
    return flash_kernel.renders(q, q, q, flash_attn.rules(q, None, **options))
flash_kernel._BUILT = True
slopes = torch.ones(1)
known = [answer(), answer(grad=True), answer(256), answer(256, grad=True), answer(dropout_p=0.1, grad=True),
         answer(deterministic=True)]
plain = [answer(softcap=1.0), answer(alibi_slopes=slopes), answer(224, grad=True),
         answer(256, grad=True, dropout_p=0.1), answer(deterministic=True, grad=True)]
torch.use_deterministic_algorithms(True, warn_only=True)
plain.append(answer(deterministic=True, grad=True))
torch.use_deterministic_algorithms(True)
known.append(answer(deterministic=True, grad=True))
flash_kernel._BUILT = False
plain.append(answer())
print(json.dumps([known, plain]))
""")
    assert answers == [[True] * 7, [False] * 7]


def test_the_functions_behind_the_public_ones_give_what_those_give(ask):
    same, refused = ask(f"""
sys.path.insert(0, {str(TESTS)!r})
import flash_cases
from rtx50_autoload.rescue import flash_bindings
flash_cases.ask_the_kernel()
gpu = flash_bindings.flash_attn_gpu
def close(*pairs):
    return [bool(torch.equal(a, b)) for a, b in pairs]
q, k, v = normal(2, 6, 4, 16), normal(2, 9, 2, 16), normal(2, 9, 2, 16)
given = [tensor.requires_grad_() for tensor in (q, k, v)]
want = flash_attn.flash_attn_func(*given, causal=True, window_size=(4, -1))
gradient = normal(*want.shape)
wanted = torch.autograd.grad(want, given, gradient)
rest = (0.0, 0.25, True, 4, -1, 0.0)
with torch.no_grad():
    out, lse, nothing, state = gpu.fwd(q, k, v, None, None, *rest, False, None)
    into = [torch.empty_like(tensor) for tensor in given]
    gpu.bwd(gradient, q, k, v, out, lse, *into, None, *rest, False, None, state)
    same = close((out, want), *zip(into, wanted))
    out, lse, nothing, state = flash_bindings.wrapped_forward(q, k, v, *rest, None, False)
    into = [torch.empty_like(tensor) for tensor in given]
    flash_bindings.wrapped_backward(gradient, q, k, v, out, lse, *into, *rest, None, False, rng_state=state)
    same += close((out, want), *zip(into, wanted))
starts, ends = (torch.tensor(each, dtype=torch.int32) for each in ([0, 5, 12], [0, 11, 18]))
flat = [tensor.detach().flatten(0, 1).requires_grad_() for tensor in given]
want = flash_attn.flash_attn_varlen_func(*flat, starts, ends, 7, 11)
gradient = normal(*want.shape)
wanted = torch.autograd.grad(want, flat, gradient)
with torch.no_grad():
    rest = (False, False, -1, -1, 0.0)
    more = (starts, ends, None, None, None, None, 7, 11, 0.0, 0.25, *rest, False, None)
    out, lse, nothing, state = gpu.varlen_fwd(*flat, None, *more)
    into = [torch.empty_like(tensor) for tensor in flat]
    gpu.varlen_bwd(gradient, *flat, out, lse, *into, starts, ends, None, 7, 11, 0.0, 0.25, *rest, False, None, state)
    same += close((out, want), *zip(into, wanted))
refused = [refusal(call)[0] for call in (
    lambda: gpu.fwd(q, k, v, q, None, 0.0, 0.25, True, -1, -1, 0.0, False, None),
    lambda: gpu.fwd(q, k, v, None, torch.ones(4), 0.0, 0.25, True, -1, -1, 0.0, False, None),
    lambda: gpu.fwd(q, k, v, None, None, 0.0, 0.25, True, -1, -1, 2.0, False, None),
    lambda: gpu.fwd(q, k, v, None, None, 0.1, 0.25, True, -1, -1, 0.0, True, None),
    lambda: gpu.bwd(q, q, k, v, q, lse, q, k, v, None, 0.1, 0.25, True, -1, -1, 0.0, False, None, None),
    lambda: gpu.bwd(q, q, k, v, q, lse, q, k, v, None, 0.0, 0.25, True, -1, -1, 0.0, True, None, None),
)]
print(json.dumps([same, refused]))
""")
    assert same == [True] * 12
    assert refused == ["CannotRender"] * 6


def test_padding_is_taken_out_and_put_back(ask):
    answers = ask("""
mask = torch.tensor([[0, 1, 1, 0], [1, 1, 1, 1], [0, 0, 0, 0]])
unused = torch.tensor([[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]])
x = torch.arange(24.0).view(3, 4, 2).requires_grad_()
tokens, indices, starts, longest, used = flash_padding.unpad_input(x, mask, unused)
back = flash_padding.pad_input(tokens, indices, 3, 4)
(gradient,) = torch.autograd.grad((back * back.detach()).sum(), x)
kept = (mask + unused).bool()
lengths = torch.tensor([[2, 1, 0, 0], [4, 0, 0, 0], [0, 0, 0, 0]])
several = flash_padding.unpad_input_for_concatenated_sequences(x, lengths)
print(json.dumps([
    indices.tolist(), starts.tolist(), str(starts.dtype), longest, used.tolist(),
    torch.equal(tokens, x[kept]), torch.equal(back[kept], x[kept]), back[~kept].abs().sum().item(),
    torch.equal(gradient, back.detach()),
    several[1].tolist(), several[2].tolist(), several[3], torch.equal(several[0], x.flatten(0, 1)[several[1]]),
    len(flash_padding.unpad_input(x, mask)),
]))
""")
    assert answers == [
        [0, 1, 2, 4, 5, 6, 7, 11], [0, 3, 7, 8], "torch.int32", 4, [2, 4, 0], True, True, 0.0, True,
        [0, 1, 2, 4, 5, 6, 7], [0, 2, 3, 7], 4, True, 5,
    ]  # fmt: skip


def test_the_rotation_is_that_of_complex_numbers(ask):
    answers = ask("""
from rtx50_autoload.rescue import flash_rotary_layers as layers
angle = torch.rand(20, 4) * 6
cos, sin = angle.cos(), angle.sin()
x = torch.randn(2, 7, 3, 10)
def right(x, positions, interleaved, sign=1):
    pairs = torch.stack((x[..., 0:8:2], x[..., 1:8:2]) if interleaved else (x[..., :4], x[..., 4:8]), dim=-1)
    turn = torch.polar(torch.ones(()), sign * angle[positions])[..., None, :]
    turned = torch.view_as_complex(pairs.contiguous()) * turn
    real = torch.view_as_real(turned)
    real = real.flatten(-2) if interleaved else torch.cat([real[..., 0], real[..., 1]], dim=-1)
    return torch.cat([real, x[..., 8:]], dim=-1)
positions = torch.arange(7).expand(2, 7)
offsets = torch.tensor([3, 12])
starts = torch.tensor([0, 4, 14], dtype=torch.int32)
packed = torch.tensor([*range(4), *range(10)])
close = lambda a, b: bool(torch.allclose(a, b, atol=1e-5))
found = []
for interleaved in (False, True):
    found += [
        close(flash_rotary.apply_rotary(x, cos, sin, interleaved=interleaved), right(x, positions, interleaved)),
        close(flash_rotary.apply_rotary(x, cos, sin, offsets, interleaved=interleaved),
              right(x, positions + offsets[:, None], interleaved)),
        close(flash_rotary.apply_rotary(x, cos, sin, 2, interleaved=interleaved, conjugate=True),
              right(x, positions + 2, interleaved, -1)),
        close(layers.apply_rotary_emb(x.flatten(0, 1), cos, sin, interleaved, False, 5, starts, 10),
              right(x.flatten(0, 1), packed + 5, interleaved)),
        close(layers.apply_rotary_emb_torch(x, cos[:7], sin[:7], interleaved), right(x, positions, interleaved)),
    ]
qkv = torch.randn(2, 7, 3, 2, 8)
want = qkv.clone()
want[:, :, 0], want[:, :, 1] = (flash_rotary.apply_rotary(qkv[:, :, each], cos, sin, 1) for each in (0, 1))
found.append(layers.apply_rotary_emb_qkv_(qkv, cos, sin, seqlen_offsets=1) is qkv and close(qkv, want))
embedding = layers.RotaryEmbedding(8)
given = torch.randn(1, 5, 3, 2, 8)
frequencies = torch.outer(torch.arange(5.0), 10000 ** (-torch.arange(0, 8, 2) / 8))
want = flash_rotary.apply_rotary(given[:, :, 1], frequencies.cos(), frequencies.sin())
found.append(close(embedding(given.clone())[:, :, 1], want))
scaled = layers.RotaryEmbedding(8, scale_base=512.0)
turned = scaled(given.clone())
# The scales of queries and keys undo each other at one place, and decay with the distance.
found.append(close((turned[:, :, 0] * turned[:, :, 1]).sum(-1), (given[:, :, 0] * given[:, :, 1]).sum(-1)))
print(json.dumps(found))
""")
    assert answers == [True] * 13


def test_the_provided_modules_say_what_they_are_and_lack_what_they_do_not_have(ask):
    answers = ask("""
import importlib, importlib.metadata
from rtx50_autoload.rescue import provided
modules = provided.build_module("flash_attn is not installed.")
sys.modules.update(modules)
import flash_attn as package
import flash_attn.flash_attn_interface as interface
from flash_attn.bert_padding import index_first_axis, pad_input, unpad_input
from flash_attn.layers.rotary import RotaryEmbedding, apply_rotary_emb
from flash_attn.ops.triton.rotary import apply_rotary
from packaging.version import Version
from rtx50_autoload.rescue.flash_attn import flash_attn_func
def missing(code):
    return refusal(lambda: exec(code))
print(json.dumps([
    package.__version__, Version("2.8.2") < Version(package.__version__) < Version("2.8.4"),
    all("rtx50-autoload stands in" in module.__doc__ for module in modules.values()),
    all("flash_attn is not installed." in module.__doc__ for module in modules.values()),
    package.flash_attn_func is interface.flash_attn_func is flash_attn_func,
    all("rtx50_autoload" in module.__file__ for module in modules.values()),
    importlib.util.find_spec("flash_attn") is not None, importlib.util.find_spec("flash_attn.cute") is None,
    hasattr(interface, "flash_attn_gpu"), hasattr(package, "flash_attn_gpu"),
    missing("package = __import__('flash_attn'); package.nothing"), missing("from flash_attn import nothing"),
    missing("import flash_attn.losses.cross_entropy")[0],
]))
""")
    *facts, attribute, imported, submodule = answers
    assert facts == ["2.8.3+rtx50.standin", *[True] * 8, False]
    assert attribute[0] == "AttributeError"
    assert "rtx50-autoload" in attribute[1]
    assert imported[0] == "ImportError"
    assert "rtx50_autoload" in imported[1]
    assert submodule == "ModuleNotFoundError"


def test_the_metadata_of_the_stand_in_is_told_to_who_asks_for_this_process_alone(installed):
    answers = json.loads(
        installed.run_code("""
        import importlib.metadata, json, sys
        from rtx50_autoload.rescue.provided_distribution import find_distributions
        class Finder:
            find_spec = staticmethod(lambda *arguments, **options: None)
            find_distributions = staticmethod(find_distributions)
        sys.meta_path.append(Finder)
        print(json.dumps([
            importlib.metadata.version("flash_attn"), importlib.metadata.version("flash-attn"),
            importlib.metadata.metadata("flash_attn")["Summary"],
            [each.metadata["Name"] for each in importlib.metadata.distributions() if each.version.endswith("standin")],
            [each.metadata["Name"] for each in importlib.metadata.distributions(path=sys.path)
             if each.version.endswith("standin")],
        ]))
        """).stdout
    )
    assert answers[:2] == ["2.8.3+rtx50.standin"] * 2
    assert answers[2].startswith("Not flash_attn: rtx50-autoload")
    assert answers[3:] == [["flash-attn"], []]
