"""Calls of flash_attn's functions, each compared with float64; run as a program, it prints what came out as JSON."""

from __future__ import annotations

import json
import random
import sys
from dataclasses import dataclass, replace

import torch

import flash_reference
from rtx50_autoload.rescue import flash_attn, flash_kernel

#: The ways to hand over queries, keys and values.
KINDS = ("dense", "kvpacked", "qkvpacked", "varlen", "varlen_kvpacked", "varlen_qkvpacked")
#: What a call with a cache may have beside the cache.
CACHES = ("whole", "lengths", "new", "number", "rows", "left", "rotary", "rotary_halves", "pages", "pages_new")
#: causal and window_size, the last ones longer than the keys.
MASKS = (
    (False, (-1, -1)),
    (True, (-1, -1)),
    (False, (3, 2)),
    (True, (4, -1)),
    (False, (0, 0)),
    (False, (5, -1)),
    (False, (-1, 3)),
    (True, (2, 7)),
    (False, (1000, 1)),
    (False, (1, 1000)),
)
EXTRAS = ("plain", "softcap", "alibi", "alibi by sequence")
SMALL = (1, 2, 3, 7, 12, 17)
LARGE = (1, 5, 64, 127, 128, 129, 200, 257)


@dataclass(frozen=True)
class Case:
    """One call."""

    kind: str
    dtype: torch.dtype
    causal: bool
    window: tuple[int, int]
    extra: str
    lengths_q: tuple[int, ...]
    lengths_k: tuple[int, ...]
    heads: int
    groups: int
    dim: int
    scale: float | None
    strided: bool
    seed: int

    @property
    def slopes_by_sequence(self):
        return self.extra == "alibi by sequence"


def cases(seed=0, sizes=SMALL, dims=(8, 16, 20, 32), kinds=KINDS, extras=EXTRAS):
    """Give every kind with every mask and every extra in both dtypes, each with sizes drawn by the seed."""
    draw = random.Random(seed)  # noqa: S311 - which sizes, and nothing secret
    for kind in kinds:
        for dtype in (torch.bfloat16, torch.float16):
            for causal, window in MASKS:
                for extra in extras:
                    batch = draw.choice((1, 2, 3))
                    lengths_q = tuple(draw.choice(sizes) for _ in range(batch))
                    lengths_k = tuple(draw.choice(sizes) for _ in range(batch))
                    if kind.startswith("varlen") and draw.random() < 0.3:
                        lengths_q, lengths_k = (*lengths_q, 0, 5), (*lengths_k, 4, 0)
                    if not kind.startswith("varlen"):
                        lengths_q, lengths_k = lengths_q[:1] * batch, lengths_k[:1] * batch
                    groups = draw.choice((1, 2))
                    heads = groups * draw.choice((1, 2, 3))
                    if kind.endswith("qkvpacked"):
                        lengths_k, groups = lengths_q, heads
                    scale = draw.choice((None, 0.3))
                    case = Case(kind, dtype, causal, window, extra, lengths_q, lengths_k, heads, groups, 0, scale,
                                draw.random() < 0.3, draw.randrange(1 << 30))  # fmt: skip
                    yield replace(case, dim=draw.choice(dims))


def cache_cases(seed=0, sizes=SMALL, dims=(16, 32), extras=("plain", "softcap", "alibi")):
    """Give every way to have a cache with every mask, in turn with every extra."""
    draw = random.Random(seed)  # noqa: S311 - which sizes, and nothing secret
    for kind in CACHES:
        for number, (causal, window) in enumerate(MASKS):
            for dtype in (torch.bfloat16, torch.float16):
                batch = draw.choice((1, 3))
                length = draw.choice([size for size in sizes if size <= 130])
                groups = draw.choice((1, 2))
                used = tuple(draw.choice(sizes) for _ in range(batch))
                extra = extras[number % len(extras)]
                heads, dim = groups * draw.choice((1, 3)), draw.choice(dims)
                yield Case(
                    kind, dtype, causal, window, extra, (length,) * batch, used, heads, groups, dim,
                    scale=None, strided=False, seed=draw.randrange(1 << 30),
                )  # fmt: skip


class Inputs:
    """The tensors of a case."""

    def __init__(self, case: Case, device: str) -> None:
        self.generator = torch.Generator().manual_seed(case.seed)
        self.device = device
        self.dtype = case.dtype
        self.slopes = None
        if case.extra.startswith("alibi"):
            shape = (len(case.lengths_q), case.heads) if case.slopes_by_sequence else (case.heads,)
            self.slopes = torch.rand(shape, generator=self.generator).to(device)

    def normal(self, *shape, strided=False):
        """Give random numbers; strided ones with gaps between the heads."""
        wide = (*shape[:-2], 2 * shape[-2], shape[-1]) if strided else shape
        values = torch.randn(wide, generator=self.generator).to(self.device, self.dtype)
        return values[..., ::2, :] if strided else values


def options(case: Case, inputs: Inputs):
    """Give the arguments that all functions share."""
    return {
        "softmax_scale": case.scale,
        "causal": case.causal,
        "window_size": case.window,
        "softcap": 2.0 if case.extra == "softcap" else 0.0,
        "alibi_slopes": inputs.slopes,
    }


def reference_options(case: Case, inputs: Inputs):
    """Give the same for the reference."""
    return {
        "scale": case.dim**-0.5 if case.scale is None else case.scale,
        "causal": case.causal,
        "window": case.window,
        "softcap": 2.0 if case.extra == "softcap" else 0.0,
        "slopes": inputs.slopes,
    }


def starts(lengths, device):
    """Give where each sequence begins, and the end of the last one."""
    return torch.tensor([0, *torch.tensor(lengths).cumsum(0).tolist()], dtype=torch.int32, device=device)


def ratio(got, want, *, floor):
    """Give the largest error, in steps of the dtype at the largest value (at least `floor`) of what is right."""
    if want.numel() == 0:
        return 0.0
    if not torch.isfinite(got).all():
        return float("inf")
    largest = max(want.abs().max().item(), floor)
    return ((got.double() - want).abs().max().item()) / (torch.finfo(got.dtype).eps * largest)


def run(case: Case, device="cpu", functions=flash_attn):
    """Call the function of a case, forward and backward; give the ratio of each result to the right one."""
    inputs = Inputs(case, device)
    varlen = case.kind.startswith("varlen")
    total_q, total_k = sum(case.lengths_q), sum(case.lengths_k)
    batch, dense_q, dense_k = len(case.lengths_q), case.lengths_q[0], case.lengths_k[0]
    first_q, first_k = ((total_q,), (total_k,)) if varlen else ((batch, dense_q), (batch, dense_k))
    if case.kind.endswith("qkvpacked"):
        given = [inputs.normal(*first_q, 3, case.heads, case.dim, strided=case.strided)]
    elif case.kind.endswith("kvpacked"):
        given = [
            inputs.normal(*first_q, case.heads, case.dim, strided=case.strided),
            inputs.normal(*first_k, 2, case.groups, case.dim),
        ]
    else:
        given = [inputs.normal(*first_q, case.heads, case.dim, strided=case.strided)]
        given += [inputs.normal(*first_k, case.groups, case.dim, strided=case.strided) for _ in range(2)]
    given = [tensor.detach().requires_grad_() for tensor in given]
    where = ()
    if varlen:
        q, k = (
            (starts(case.lengths_q, device), max(case.lengths_q)),
            (starts(case.lengths_k, device), max(case.lengths_k)),
        )
        where = (q[0], q[1]) if case.kind == "varlen_qkvpacked" else (q[0], k[0], q[1], k[1])
    out = getattr(functions, f"flash_attn_{case.kind}_func".replace("_dense", ""))(
        *given, *where, **options(case, inputs)
    )
    gradient = inputs.normal(*out.shape)
    got = [out.detach(), *torch.autograd.grad(out, given, gradient)]

    exact = [tensor.detach().double().requires_grad_() for tensor in given]
    if case.kind.endswith("qkvpacked"):
        q, k, v = exact[0].unbind(-3)
    elif case.kind.endswith("kvpacked"):
        q, (k, v) = exact[0], exact[1].unbind(-3)
    else:
        q, k, v = exact
    if varlen:
        q, k, v = q.split(case.lengths_q), k.split(case.lengths_k), v.split(case.lengths_k)
    outs, _ = flash_reference.sequences(list(q), list(k), list(v), **reference_options(case, inputs))
    right = torch.cat(outs) if varlen else torch.stack(outs)
    want = [right.detach(), *torch.autograd.grad(right, exact, gradient.double())]
    if out.shape != right.shape or out.dtype != case.dtype:
        return {"shape": float("inf")}
    # A gradient of queries and keys can be zero by cancellation; its errors are those of what cancels.
    return {
        ("out" if number == 0 else f"gradient {number}"): ratio(*pair, floor=1.0 if number else 1e-3)
        for number, pair in enumerate(zip(got, want, strict=True))
    }


def run_cache(case: Case, device="cpu", functions=flash_attn):  # noqa: C901, PLR0912, PLR0915 - told in its order
    """Call flash_attn_with_kvcache; give the ratio of the output, of its sums, and of what the cache then holds."""
    inputs = Inputs(case, device)
    batch, length, used = len(case.lengths_q), case.lengths_q[0], list(case.lengths_k)
    kind = case.kind
    new = 0 if kind in {"whole", "lengths", "pages"} else min(length, 5)
    page = 256
    capacity = 2 * page if kind.startswith("pages") else max(used) + length + 3
    rows = list(range(batch))
    shape = (batch, capacity, case.groups, case.dim)
    if kind == "rows":
        rows = [batch + 1 - row for row in rows]
        shape = (batch + 2, *shape[1:])
    elif kind.startswith("pages"):
        shape = (2 * batch + 1, page, case.groups, case.dim)
    caches = [inputs.normal(*shape), inputs.normal(*shape)]
    query = inputs.normal(batch, length, case.heads, case.dim)
    fresh = [inputs.normal(batch, new, case.groups, case.dim) for _ in range(2)] if new else [None, None]
    extra, begin, angles = {}, [0] * batch, None
    if kind == "whole":
        used = [capacity] * batch
    elif kind == "number":
        used = [used[0]] * batch
        extra["cache_seqlens"] = used[0]
    else:
        extra["cache_seqlens"] = torch.tensor(used, dtype=torch.int32, device=device)
    if kind == "rows":
        extra["cache_batch_idx"] = torch.tensor(rows, dtype=torch.int32, device=device)
    elif kind == "left":
        begin = [min(2, length) for length in used]
        extra["cache_leftpad"] = torch.tensor(begin, dtype=torch.int32, device=device)
    elif kind.startswith("rotary"):
        angle = torch.rand(capacity, 8, generator=inputs.generator).to(device) * 6.28
        angles = (angle.cos().to(case.dtype), angle.sin().to(case.dtype))
        extra |= {"rotary_cos": angles[0], "rotary_sin": angles[1], "rotary_interleaved": kind == "rotary"}
    elif kind.startswith("pages"):
        pages = [[2 * batch - 2 * row, 2 * batch - 2 * row - 1] for row in range(batch)]
        # What a sequence does not reach is not looked at.
        table = [[each if number * page < used[row] + new else 1 << 30 for number, each in enumerate(own)]
                 for row, own in enumerate(pages)]  # fmt: skip
        extra["block_table"] = torch.tensor(table, dtype=torch.int32, device=device)

    def held(cache):
        if kind.startswith("pages"):
            return [torch.cat([cache[each] for each in own]) for own in pages]
        return [cache[row] for row in rows]

    want_caches = [[own.clone() for own in held(cache)] for cache in caches]
    want_query = query.clone()
    if kind.startswith("pages"):
        # Nothing behind what is used may matter.
        for cache in caches:
            for row, own in enumerate(pages):
                for number, each in enumerate(own):
                    cache[each, max(0, min(page, used[row] - number * page)) :] = torch.nan
    shared = options(case, inputs)
    out, lse = functions.flash_attn_with_kvcache(query, *caches, *fresh, **extra, **shared, return_softmax_lse=True)
    tells_apart = (
        (case.causal and (length > 1 or inputs.slopes is not None))
        or 0 <= case.window[0] < capacity
        or 0 <= case.window[1] < capacity
    )
    for row in range(batch):
        if angles:
            places = [used[row] + (place if tells_apart else 0) for place in range(length)]
            want_query[row] = flash_reference.rotate(query[row], *angles, places, kind == "rotary")
        for number in range(2):
            if new:
                piece = fresh[number][row]
                if angles and number == 0:
                    places = [used[row] + place for place in range(new)]
                    piece = flash_reference.rotate(piece, *angles, places, kind == "rotary")
                want_caches[number][row][used[row] : used[row] + new] = piece
    spans = [slice(begin[row], used[row] + new) for row in range(batch)]
    parts = [[own[span].double() for own, span in zip(cache, spans, strict=True)] for cache in want_caches]
    outs, sums = flash_reference.sequences(
        list(want_query.double()), *parts, longest_q=length, longest_k=capacity, **reference_options(case, inputs)
    )
    outs, sums = torch.stack(outs), torch.stack(sums)
    got = {"out": ratio(out, outs, floor=1e-3)}
    blind = torch.isinf(sums)
    same = bool((torch.isinf(lse) == blind).all()) and bool((lse[blind] > 0).all()) and lse.dtype == torch.float32
    lse, sums = lse.to(case.dtype).masked_fill(blind, 0), sums.masked_fill(blind, 0)
    got["lse"] = ratio(lse, sums, floor=1.0) if same else float("inf")
    for name, cache, want in zip(("keys", "values"), caches, want_caches, strict=True):
        now = torch.cat([own[span] for own, span in zip(held(cache), spans, strict=True)])
        right = torch.cat([own[span] for own, span in zip(want, spans, strict=True)])
        got[name] = ratio(now, right.double(), floor=1e-3)
    return got


def kernel_by_reference(  # noqa: PLR0913, PLR0917 - in torch's order
    q, k, v, starts_q, starts_k, longest_q, longest_k, dropout_p, is_causal, return_debug_mask, *,
    scale, window_size_left, window_size_right, seqused_k,
):  # fmt: skip
    """Stand for torch's kernel where there is no GPU: the same arguments, answered by the reference."""
    assert q.shape[-1] % 8 == 0
    assert all(tensor.stride(-1) == 1 for tensor in (q, k, v))
    assert dropout_p == 0.0
    assert not return_debug_mask
    rules = {"scale": scale, "causal": is_causal, "window": (window_size_left, window_size_right), "softcap": 0.0}
    rules |= {"longest_q": longest_q, "longest_k": longest_k}
    if starts_q is None:
        outs, sums = flash_reference.sequences(list(q.double()), list(k.double()), list(v.double()), **rules)
        return torch.stack(outs).to(q.dtype), torch.stack(sums).float(), torch.tensor([1, 2]), None, None
    assert all(each is None or each.dtype == torch.int32 for each in (starts_q, starts_k, seqused_k))
    used = starts_k.diff() if seqused_k is None else seqused_k
    spans = [slice(start, start + length) for start, length in zip(starts_k[:-1].tolist(), used.tolist(), strict=True)]
    queries = list(q.double().split(starts_q.diff().tolist()))
    keys, values = ([tensor[span].double() for span in spans] for tensor in (k, v))
    outs, sums = flash_reference.sequences(queries, keys, values, **rules)
    return torch.cat(outs).to(q.dtype), torch.cat(sums, dim=1).float(), torch.tensor([1, 2]), None, None


def backward_by_reference(  # noqa: PLR0913, PLR0917 - in torch's order
    gradient, q, k, v, out, lse, starts_q, starts_k, longest_q, longest_k, dropout_p, is_causal, state, offset, *,
    scale, window_size_left, window_size_right,
):  # fmt: skip
    """Stand for torch's backward kernel likewise."""
    assert out.shape == q.shape
    assert lse.dtype == torch.float32
    assert state is offset
    given = [tensor.detach().requires_grad_() for tensor in (q, k, v)]
    borders = (starts_q, starts_k, longest_q, longest_k, dropout_p, is_causal, False)
    window = {"window_size_left": window_size_left, "window_size_right": window_size_right}
    with torch.enable_grad():
        again, *_ = kernel_by_reference(*given, *borders, scale=scale, **window, seqused_k=None)
        return torch.autograd.grad(again, given, gradient)


def ask_the_kernel():
    """Have every call go to the kernel that the kernel can answer, and have the reference for a kernel."""
    flash_kernel.renders = lambda *arguments: arguments[-1].softcap <= 0 and arguments[-1].alibi_slopes is None
    flash_kernel.answers = lambda query: query.shape[-1] > 0
    torch.ops.aten._flash_attention_forward = kernel_by_reference
    torch.ops.aten._flash_attention_backward = backward_by_reference


def total(results):
    """Give how many calls there were and, by result, the largest ratio with its case."""
    worst = {}
    for case, ratios in results:
        for name, value in ratios.items():
            if value >= worst.get(name, (0.0, ""))[0]:
                worst[name] = (value, str(case))
    return {"count": len(results), "worst": worst}


def kernel_results():
    """Run what the kernel answers, without it."""
    ask_the_kernel()
    results = [(case, run(case)) for case in cases(seed=5, extras=("plain",))]
    return results + [(case, run_cache(case)) for case in cache_cases(seed=6, extras=("plain",), dims=(16, 20))]


def main():
    """Run the grid of a kind on the CPU."""
    torch.set_num_threads(1)
    results = {
        "calls": lambda: [(case, run(case)) for case in cases()],
        "caches": lambda: [(case, run_cache(case)) for case in cache_cases()],
        "kernel": kernel_results,
    }[sys.argv[1]]()
    json.dump({**total(results), "kernel": flash_kernel._BUILT}, sys.stdout)


if __name__ == "__main__":
    main()
