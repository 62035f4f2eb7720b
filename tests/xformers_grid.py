"""The stand-ins for xformers on the CPU, beside the real xformers: prints what each check found, as JSON.

Runs in an environment of its own, since it needs torch and xformers; test_rescue_xformers.py reads what it prints.
"""

from __future__ import annotations

import contextlib
import json
import random
import sys
import time
import traceback

import torch
import xformers.ops as theirs
from xformers.ops.fmha import attn_bias as masks

from attention_reference import band_bias, reference
from rtx50_autoload.rescue import plain
from rtx50_autoload.rescue import xformers as ours
from rtx50_autoload.rescue.core import Sequences, attend, attend_varlen_with_lse, attend_with_lse
from rtx50_autoload.rescue.errors import CannotRender
from xformers_cases import MASKS, case

DTYPES = (torch.float16, torch.bfloat16, torch.float32)

#: What one rounding to the dtype costs; sums in float32 are a little worse than one rounding.
ROUNDING = {torch.float16: 2**-10, torch.bfloat16: 2**-7, torch.float32: 2**-19, torch.float64: 2**-40}

CHECKS = {}


def check(function):
    CHECKS[function.__name__] = function
    return function


def close(value, wanted, roundings, what):
    """Return a fault where the value is further away than so many roundings of its dtype."""
    limit = roundings * ROUNDING[value.dtype] * max(1.0, wanted.abs().max().item() if wanted.numel() else 0.0)
    found = (value.double() - wanted).abs().max().item() if wanted.numel() else 0.0
    return [] if found <= limit else [f"{found:.3g} > {limit:.3g}: {what}"]


def gradients(function, tensors, gradient):
    leaves = [tensor.detach().requires_grad_() for tensor in tensors]
    return torch.autograd.grad(function(*leaves), leaves, gradient)


def differentiated(call, out):
    """Compare the gradients of a call, that of a tensor that is added among them."""
    added = [call.bias] if type(call.bias) is torch.Tensor else []
    gradient = torch.randn_like(out)

    def own(query, key, value, bias=call.bias):
        return ours.memory_efficient_attention(query, key, value, bias, scale=call.scale)

    def true(query, key, value, bias=call.written):
        return reference(query, key, value, bias, scale=call.scale)[0]

    found = gradients(own, [call.query, call.key, call.value, *added], gradient)
    doubles = [tensor.double() for tensor in (*call.heads(), *([call.written] if added else []))]
    wanted = gradients(true, doubles, gradient.double().reshape(true(*doubles).shape))
    faults = []
    for name, value, exact in zip("qkvb", found, wanted, strict=False):
        faults += close(value, exact.reshape(value.shape), 8, f"gradient of {name}: {call.name}")
    return faults


@check
def every_mask_means_what_xformers_writes_out():
    faults, cases = [], 0
    for mask in MASKS:
        for dtype in DTYPES:
            for seed in range(6):
                call = case(mask, seed, dtype, "cpu")
                wanted, lse = reference(*call.heads(), call.written, scale=call.scale)
                arguments = (call.query, call.key, call.value, call.bias)
                if seed % 3 == 2:
                    out, sums = ours.memory_efficient_attention_forward_requires_grad(*arguments, scale=call.scale)
                    sums = sums.reshape(lse.shape).double()
                    faults += [] if torch.allclose(sums, lse, atol=1e-2) else [f"lse: {call.name}"]
                else:
                    out = ours.memory_efficient_attention(*arguments, scale=call.scale)
                assert out.shape == (*call.query.shape[:-1], call.value.shape[-1]), call.name
                assert out.dtype == dtype, call.name
                assert out.is_contiguous(), call.name
                faults += close(out, wanted.reshape(out.shape), 2, call.name)
                cases += 1
                if seed < 1:
                    faults += differentiated(call, out)
                    cases += 1
    assert cases >= 500, cases
    return faults


@check
def dense_attention_is_exact_with_all_its_options():
    chance = random.Random(7)  # noqa: S311 - the same cases each time
    faults = []
    for _ in range(150):
        batch, groups = chance.choice([1, 2]), chance.choice([1, 2])
        heads, width = groups * chance.choice([1, 3]), chance.choice([4, 5, 16])
        queries, keys = (chance.choice([0, 1, 3, 7, 40]) for _ in range(2))
        dtype = chance.choice(list(ROUNDING))
        causal = chance.choice([None, "top-left", "bottom-right"])
        left, right = window = chance.choice([(None, None), (-1, -1), (3, 2), (0, 0), (-1, 4), (5, -1), (2, None)])
        softcap = chance.choice([0.0, 0.0, 2.0])
        tensors = [torch.randn(batch, queries, heads, width, dtype=dtype)]
        tensors += [torch.randn(batch, keys, groups, size, dtype=dtype) for size in (width, chance.choice([width, 6]))]
        diagonal = 0 if causal == "top-left" else keys - queries
        right = 0 if causal else right
        low, high = (None if side in {None, -1} else side for side in (left, right))
        written = band_bias(
            queries, keys, None if low is None else diagonal - low, None if high is None else diagonal + high
        )
        slopes = torch.rand(chance.choice([(heads,), (batch, heads)])) if chance.random() < 0.3 else None
        if slopes is not None:
            distance = torch.arange(queries)[:, None] + diagonal - torch.arange(keys)[None]
            written = written - slopes.double()[..., None, None] * distance.abs()
        options = {"causal": causal, "window": window, "softcap": softcap, "alibi_slopes": slopes}
        if chance.random() < 0.4:
            bias = torch.randn(chance.choice([1, batch]), 1, queries, keys, dtype=dtype)
            if softcap:
                bias[..., :2, :] = -torch.inf  # queries that see nothing although the mask lets them
            tensors.append(bias)
        what = f"{[tuple(tensor.shape) for tensor in tensors]} {dtype} {options}"

        def own(query, key, value, *bias, options=options):
            return attend(query, key, value, bias=bias[0] if bias else None, **options)

        def true(query, key, value, *bias, written=written, softcap=softcap):
            return reference(query, key, value, written + (bias[0] if bias else 0.0), softcap=softcap)[0]

        # So small that the queries are cut to pieces.
        with cells(chance.choice([64, 2**25])):
            out, lse = attend_with_lse(*tensors[:3], bias=tensors[3] if len(tensors) > 3 else None, **options)
            doubles = [tensor.double() for tensor in tensors]
            added = written + (doubles[3] if len(tensors) > 3 else 0.0)
            wanted, sums = reference(*doubles[:3], added, softcap=softcap)
            faults += close(out, wanted, 2, what)
            faults += close(own(*tensors), wanted, 2, what)
            faults += [] if torch.allclose(lse.double(), sums, atol=1e-2) else [f"lse: {what}"]
            if queries and keys:
                gradient = torch.randn_like(out)
                exact = gradients(true, doubles, gradient.double())
                for value, its in zip(gradients(own, tensors, gradient), exact, strict=True):
                    faults += close(value, its, 8, f"gradients: {what}")
    return faults


@contextlib.contextmanager
def cells(number):
    before = plain._MASK_CELLS, plain._SCORE_CELLS
    plain._MASK_CELLS = plain._SCORE_CELLS = number
    try:
        yield
    finally:
        plain._MASK_CELLS, plain._SCORE_CELLS = before


@check
def packed_sequences_need_no_numbers_on_the_host():
    faults = []
    query, key, value = (torch.randn(20, heads, 8, requires_grad=True) for heads in (4, 2, 2))
    starts_q, starts_k = [0, 0, 7, 20], [0, 5, 12, 20]
    written = torch.full((20, 20), -torch.inf)
    for row, column in zip(zip(starts_q, starts_q[1:]), zip(starts_k, starts_k[1:])):  # noqa: B905, RUF007 - 3.9
        queries, keys = row[1] - row[0], column[1] - column[0]
        written[slice(*row), slice(*column)] = band_bias(queries, keys, None, keys - queries).float()
    tensors = (torch.tensor(starts, dtype=torch.int32) for starts in (starts_q, starts_k))
    where = Sequences(*tensors, longest_q=13, longest_k=8)
    slopes = torch.rand(3, 4)
    sequence = torch.tensor([1] * 7 + [2] * 13)  # the first has no queries
    # Opposite the first query of the second sequence lies key 5, of the third key 7: its diagonal ends at the last key.
    diagonal = torch.cat([5 + torch.arange(7), 7 + torch.arange(13)])
    distances = (diagonal[:, None] - torch.arange(20)).abs()
    written = written - slopes[sequence].T[:, :, None] * distances
    out, lse = attend_varlen_with_lse(query, key, value, where, causal="bottom-right", alibi_slopes=slopes)
    wanted, sums = reference(query[None], key[None], value[None], written)
    faults += close(out, wanted[0], 2, "out")
    faults += [] if torch.allclose(lse.double(), sums[0], atol=1e-4) else ["lse"]
    return faults


def refusal(function, *arguments, **options):
    try:
        function(*arguments, **options)
    except (ValueError, NotImplementedError, CannotRender) as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())}"
    return "answered"


@check
def a_call_that_xformers_refuses_is_refused_with_its_words():
    def normal(*shape, dtype=torch.float32):
        return torch.randn(shape, dtype=dtype)

    plain_call = (normal(2, 4, 3, 8),) * 3
    block = masks.BlockDiagonalMask.from_seqlens([4, 4], device=torch.device("cpu"))
    calls = {
        "ndim": ((normal(4, 8),) * 3, {}),
        "mixed ndim": ((normal(2, 4, 8), *plain_call[1:]), {}),
        "dtypes": ((plain_call[0].half(), *plain_call[1:]), {}),
        "bias shape": (plain_call, {"attn_bias": normal(1, 3, 4, 4)}),
        "batch of blocks": (plain_call, {"attn_bias": block}),
        "mask without heads": ((normal(1, 8, 8),) * 3, {"attn_bias": block}),
        "p": (plain_call, {"p": 1.5}),
        "heads": ((plain_call[0], normal(2, 4, 1, 8), normal(2, 4, 1, 8)), {}),
        "width": ((plain_call[0], normal(2, 4, 3, 16), plain_call[2]), {}),
        "keys": ((plain_call[0], normal(2, 5, 3, 8), plain_call[2]), {}),
    }
    faults = []
    for name, (tensors, options) in calls.items():
        said = [refusal(module.memory_efficient_attention, *tensors, **options) for module in (ours, theirs)]
        if said[0] != said[1] or not said[0].startswith("ValueError: "):
            faults.append(f"{name}: {said}")
    for name in ("memory_efficient_attention_forward_requires_grad", "memory_efficient_attention_partial"):
        said = [refusal(getattr(module, name), *plain_call, p=0.5) for module in (ours, theirs.fmha)]
        if said[0] != said[1] or not said[0].startswith("NotImplementedError: "):
            faults.append(f"{name}: {said}")
    return faults


@check
def what_cannot_be_rendered_exactly_is_refused_with_a_reason():
    tensors = [torch.randn(1, 6, 2, 8) for _ in range(3)]
    short = masks.BlockDiagonalMask.from_seqlens([3, 2], [3, 3], device=torch.device("cpu"))
    long = masks.BlockDiagonalMask.from_seqlens([3, 3], [3, 4], device=torch.device("cpu"))
    quantized = [tensors[0], *(torch.zeros(1, 6, 2, 2, dtype=torch.int32) for _ in range(2))]
    calls = {
        "a mask of the class object": (*tensors, object()),
        "5 queries": (*tensors, short),
        "behind the last of 6 keys": (*tensors, long),
        "quantized": quantized,
    }
    said = {reason: refusal(ours.memory_efficient_attention, *arguments) for reason, arguments in calls.items()}
    return [text for reason, text in said.items() if not (text.startswith("CannotRender: ") and reason in text)]


@check
def a_class_that_is_not_known_is_taken_at_its_word():
    class LowerTriangularMask(masks.LowerTriangularMask):
        """Not xformers' own, although its name says so: the diagonal alone."""

        def materialize(self, shape, dtype=torch.float32, device="cpu"):
            return torch.eye(shape[-2], shape[-1], dtype=dtype, device=device).log().expand(shape)

    query, key, value = (torch.randn(2, 6, 3, 8, dtype=torch.bfloat16) for _ in range(3))
    out = ours.memory_efficient_attention(query, key, value, LowerTriangularMask())
    return close(out, value.double(), 1, "only its own key")


@check
def sequences_in_pages_may_be_told_by_their_lengths_as_in_older_versions():
    class Lengths(masks._GappySeqInfo):
        @classmethod
        def from_seqlens_gappy(cls, seqstarts, seqlens, paged, *, device):
            starts = [*seqstarts, -1] if paged else seqstarts
            return masks._GappySeqInfo.from_seqlens_gappy(starts, seqlens, paged=False, device=device)

    faults = []
    for seed in range(12):
        call = case("paged gappy", seed, torch.float32, "cpu")
        info = call.bias.k_seqinfo
        lengths = [end - start for start, end in zip(info.seqstart_py, info.seqlen_py)]  # noqa: B905 - a start more
        call.bias.k_seqinfo = Lengths(
            info.seqstart, info.max_seqlen, info.min_seqlen, info.seqstart_py, torch.tensor(lengths), lengths
        )
        out = ours.memory_efficient_attention(call.query, call.key, call.value, call.bias, scale=call.scale)
        wanted = reference(*call.heads(), call.written, scale=call.scale)[0]
        faults += close(out, wanted.reshape(out.shape), 2, call.name)
    return faults


@check
def parts_of_the_keys_can_be_joined():
    query, key, value = (torch.randn(2, 6, 3, 8) for _ in range(3))
    mask = masks.LowerTriangularFromBottomRightMask()
    whole = ours.memory_efficient_attention(query, key, value, masks.LocalAttentionFromBottomRightMask(5, 0))
    # The first part is before the diagonal of all queries but the first ones: these see nothing of the second.
    parts = [
        ours.memory_efficient_attention_partial(query, key[:, :3], value[:, :3], masks.LowerTriangularMask()),
        ours.memory_efficient_attention_partial(query, key[:, 3:], value[:, 3:], mask),
    ]
    faults = [] if torch.isneginf(parts[1][1][:, :, :3]).all() else ["a part without keys counts"]
    sums = torch.stack([lse for _, lse in parts])
    weights = torch.softmax(sums, dim=0).transpose(2, 3).unsqueeze(-1)
    joined = sum(out * weight for (out, _), weight in zip(parts, weights, strict=True))
    return faults + close(joined, whole.double(), 2, "joined")


@check
def another_dtype_of_the_output_is_not_rounded_before():
    query, key, value = (torch.randn(1, 40, 2, 16).bfloat16() for _ in range(3))
    out = ours.memory_efficient_attention_forward(query, key, value, output_dtype=torch.float32)
    assert out.dtype == torch.float32
    return close(out, reference(query, key, value)[0], 4, "float32 of bfloat16")


@check
def dropout_drops_as_many_weights_as_asked_and_lets_the_others_grow():
    faults = []
    # Equal weights and ones as values: the output counts the weights that are left.
    query, key, value = torch.zeros(2, 200, 4, 8), torch.randn(2, 200, 4, 8), torch.ones(2, 200, 4, 8)
    options = (
        {},
        {"causal": "bottom-right"},
        {"causal": "bottom-right", "window": (180, None)},
        {"bias": torch.zeros(2, 4, 200, 200)},
        {"softcap": 3.0},
    )
    for chosen in options:
        torch.manual_seed(3)
        out = attend(query, key, value, dropout=0.25, **chosen)
        torch.manual_seed(3)
        again = attend(query, key, value, dropout=0.25, **chosen)
        faults += [] if torch.equal(out, again) else ["the seed does not decide"]
        faults += [] if abs(out.mean().item() - 1) < 0.02 else [f"the mean is {out.mean().item()}"]
        # Each weight is 0 or as large as 0.75 of them make it.
        seen = 181 if "window" in chosen else 200
        left = out[:, -1] * seen * 0.75
        faults += [] if torch.allclose(left, left.round(), atol=1e-3) else ["the others do not grow as they should"]
        faults += [] if abs(left.mean().item() / seen - 0.75) < 0.06 else [f"{left.mean().item()} are left"]
    return faults


@check
def autocast_changes_nothing_and_the_modes_of_autograd_are_kept():
    query, key, value = (torch.randn(1, 9, 2, 8, requires_grad=True) for _ in range(3))
    faults = []
    for mask in (None, masks.LocalAttentionFromBottomRightMask(2, 1), masks.LowerTriangularMask()):
        expected = ours.memory_efficient_attention(query, key, value, mask)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = ours.memory_efficient_attention(query, key, value, mask)
        faults += [] if out.dtype == torch.float32 and torch.equal(out, expected) else ["autocast"]
        with torch.no_grad():
            out = ours.memory_efficient_attention(query, key, value, mask)
        faults += [] if not out.requires_grad and torch.allclose(out, expected, atol=1e-6) else ["no_grad"]
        with torch.inference_mode():
            out = ours.memory_efficient_attention(query, key, value, mask)
        faults += [] if out.is_inference() and torch.allclose(out, expected, atol=1e-6) else ["inference_mode"]
    return faults


@check
def it_compiles_without_a_break():
    faults = []
    for mask in ("none", "local", "tensor", "blocks"):
        call = case(mask, 0, torch.float32, "cpu")

        def function(query, key, value, call=call):
            return ours.memory_efficient_attention(query, key, value, call.bias, scale=call.scale)

        torch._dynamo.reset()
        compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
        leaves = [tensor.detach().requires_grad_() for tensor in (call.query, call.key, call.value)]
        out, expected = compiled(*leaves), function(*leaves)
        gradient = torch.randn_like(out)
        pairs = zip(
            (out, *torch.autograd.grad(out, leaves, gradient)),
            (expected, *torch.autograd.grad(expected, leaves, gradient)),
            strict=True,
        )
        faults += [mask for value, its in pairs if not torch.allclose(value, its, atol=1e-5)]

    def bottom_right(query, key):
        return attend(query, key, key, causal="bottom-right")

    torch._dynamo.reset()
    compiled = torch.compile(bottom_right, fullgraph=True, backend="aot_eager", dynamic=True)
    for queries, keys in ((8, 8), (12, 12), (8, 12), (12, 8)):
        query, key = torch.randn(2, queries, 2, 8), torch.randn(2, keys, 2, 8)
        if not torch.allclose(compiled(query, key), bottom_right(query, key), atol=1e-5):
            faults.append(f"{queries} x {keys}")
    return faults


def main():
    torch.set_num_threads(1)  # tensors so small gain nothing by more, and threads that wait for each other cost much
    torch.manual_seed(0)
    found = {}
    for name, function in CHECKS.items():
        start = time.perf_counter()
        try:
            found[name] = function()
        except Exception:  # noqa: BLE001 - the others are still to be seen
            found[name] = [traceback.format_exc()]
        print(f"{time.perf_counter() - start:6.2f} s  {name}", file=sys.stderr)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
