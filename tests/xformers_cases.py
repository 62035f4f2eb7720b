"""Calls of `xformers.ops.memory_efficient_attention`, drawn at random: every mask, layout and memory layout.

Shared by the grid on the CPU and by the one against the real kernels; needs torch and the real xformers. The masks are
xformers' own, and so is what they mean: `materialize` writes each out.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import torch
from xformers.ops.fmha import attn_bias as masks

from rtx50_autoload.rescue.xformers_masks import added_by

__all__ = ["MASKS", "Case", "case"]

LAYOUTS = ("BMHK", "BMK", "BMGHK", "BMGHK shared")
MEMORY = ("contiguous", "heads first", "packed", "sliced")


@dataclass
class Case:
    """One call.

    Attributes:
        written: the mask as an additive tensor that broadcasts to (B, H, M, N), None where there is none.

    """

    name: str
    query: Any
    key: Any
    value: Any
    bias: Any
    written: Any
    scale: float | None

    def heads(self) -> tuple[Any, Any, Any]:
        """Return the tensors as (B, M, H, K), all heads there."""
        tensors = (self.query, self.key, self.value)
        if self.query.ndim == 3:
            return tuple(tensor.unsqueeze(2) for tensor in tensors)
        return tensors if self.query.ndim == 4 else tuple(tensor.flatten(2, 3) for tensor in tensors)


@dataclass
class _Draw:
    """What a mask is made for: `lengths` are the sequences' queries and keys, where there are sequences."""

    chance: random.Random
    device: Any
    dtype: Any
    lengths: list[tuple[int, int]]
    shape: tuple[int, ...] = ()

    @property
    def queries(self) -> list[int]:
        return [queries for queries, _ in self.lengths]

    @property
    def keys(self) -> list[int]:
        return [keys for _, keys in self.lengths]


def _tensor(draw, batch, heads, queries, keys):
    # The kernels want rows that begin every 16 bytes.
    width = -(-keys // 8) * 8
    return torch.randn(batch, heads, queries, width, device=draw.device, dtype=draw.dtype)[..., :keys]


def _blocks(kind, make=None):
    def build(draw):
        block = masks.BlockDiagonalMask.from_seqlens(draw.queries, draw.keys, device=draw.device)
        return (make or (lambda mask, _: mask))(block, draw), sum(draw.keys)

    return build, kind


def _padded(kind):
    def build(draw):
        padding = max(draw.keys) + draw.chance.choice([0, 5])
        keys = {"q_seqlen": draw.queries, "kv_padding": padding, "kv_seqlen": draw.keys, "device": draw.device}
        mask = masks.BlockDiagonalPaddedKeysMask.from_seqlens(**keys)
        if kind == "offset":
            mask = masks.BlockDiagonalCausalWithOffsetPaddedKeysMask.from_seqlens(**keys)
        if kind == "local":
            mask = mask.make_local_attention(3, 2)
        if kind == "causal local":
            mask = masks.BlockDiagonalCausalLocalAttentionPaddedKeysMask(mask.q_seqinfo, mask.k_seqinfo, 4)
        return mask, padding * len(draw.keys)

    return build


def _gappy(kind):
    def build(draw):
        starts, end = [], 0
        for keys in draw.keys:
            end += draw.chance.choice([0, 3])
            starts.append(end)
            end += keys
        return kind.from_seqlens(draw.queries, [*starts, end + 2], draw.keys, device=draw.device), end + 2

    return build


def _paged(kind, *, gappy=False):
    def build(draw):
        # xformers' own kernels know pages of 256 tokens and of smaller powers of two.
        size = 16
        pages = max(-(-(keys + 7) // size) for keys in draw.keys)
        order = list(range(pages * len(draw.keys)))
        draw.chance.shuffle(order)
        table = torch.tensor(order, dtype=torch.int32, device=draw.device).view(len(draw.keys), pages)
        if gappy:
            # Only this way: the class's own from_seqlens cannot be called.
            room = pages * size
            starts = [number * room + draw.chance.choice([0, 5]) for number in range(len(draw.keys))]
            starts.append(room * len(draw.keys))
            flat = masks.BlockDiagonalGappyKeysMask.from_seqlens(draw.queries, starts, draw.keys, device=draw.device)
            mask = flat.make_paged(table, size, room, kind)
        else:
            mask = kind.from_seqlens(draw.queries, draw.keys, table, size, device=draw.device)
        return mask, size * len(order)

    return build


def _dense(make):
    return lambda draw: (make(draw), None)


#: By name: which function draws the mask, and what the lengths of the sequences must be.
MASKS = {
    "none": (_dense(lambda _: None), "one"),
    "tensor": (_dense(lambda draw: _tensor(draw, *draw.shape)), "one"),
    "tensor with -inf": (
        _dense(lambda draw: (bias := _tensor(draw, *draw.shape)).masked_fill_(bias[..., :1] + bias > 2.5, -torch.inf)),
        "one",
    ),
    "triangle": (_dense(lambda _: masks.LowerTriangularMask()), "one"),
    "triangle and tensor": (
        _dense(lambda draw: masks.LowerTriangularMaskWithTensorBias(_tensor(draw, *draw.shape))),
        "one",
    ),
    "bottom right": (_dense(lambda _: masks.LowerTriangularFromBottomRightMask()), "one"),
    "bottom right local": (_dense(lambda _: masks.LowerTriangularFromBottomRightLocalAttentionMask(5)), "one"),
    "local": (_dense(lambda _: masks.LocalAttentionFromBottomRightMask(3, 2)), "one"),
    "local wide": (_dense(lambda _: masks.LocalAttentionFromBottomRightMask(0, 40)), "one"),
    "blocks": _blocks("any"),
    "blocks causal": _blocks("any", lambda mask, _: mask.make_causal()),
    "blocks causal square": _blocks("square", lambda mask, _: mask.make_causal()),
    "blocks bottom right": _blocks("more keys", lambda mask, _: mask.make_causal_from_bottomright()),
    "blocks local": _blocks("square", lambda mask, _: mask.make_local_attention(3)),
    "blocks local bottom right": _blocks("more keys", lambda mask, _: mask.make_local_attention_from_bottomright(3)),
    "padded": (_padded(""), "any"),
    "padded offset": (_padded("offset"), "any"),
    "padded local": (_padded("local"), "any"),
    "padded causal local": (_padded("causal local"), "any"),
    "gappy": (_gappy(masks.BlockDiagonalGappyKeysMask), "any"),
    "gappy offset": (_gappy(masks.BlockDiagonalCausalWithOffsetGappyKeysMask), "any"),
    "paged": (_paged(masks.PagedBlockDiagonalPaddedKeysMask), "any"),
    "paged offset": (_paged(masks.PagedBlockDiagonalCausalWithOffsetPaddedKeysMask), "any"),
    "paged gappy": (_paged(masks.PagedBlockDiagonalGappyKeysMask, gappy=True), "any"),
    "paged gappy offset": (_paged(masks.PagedBlockDiagonalCausalWithOffsetGappyKeysMask, gappy=True), "any"),
}


def _lengths(chance, kind, scale):
    lengths = []
    for _ in range(chance.choice([1, 2, 4])):
        queries = chance.choice([1, 3, 8, 17]) * scale
        keys = chance.choice([1, 3, 8, 17, 32]) * scale
        if kind == "square":
            keys = queries
        elif kind == "more keys":
            keys = max(queries, keys)
        lengths.append((queries, keys))
    if kind == "any" and chance.random() < 0.3:
        lengths.append(chance.choice([(0, 3), (4, 0)]))
    return lengths


def _laid_out(draw, shape, memory):
    batch, length, heads, width = shape
    options = {"device": draw.device, "dtype": draw.dtype}
    if memory == "heads first":
        return torch.randn(batch, heads, length, width, **options).transpose(1, 2)
    if memory == "packed":
        return torch.randn(batch, length, 3, heads, width, **options)[:, :, 1]
    if memory == "sliced":
        return torch.randn(batch, length + 2, heads + 1, width + 8, **options)[:, 1:-1, :heads, :width]
    return torch.randn(batch, length, heads, width, **options)


def case(mask: str, seed: int, dtype: torch.dtype, device: str, scale: int = 1) -> Case:
    """Draw a call.

    Args:
        mask: one of `MASKS`.
        seed: what is drawn: the same seed is the same call.
        dtype: of the tensors.
        device: where they lie.
        scale: by which the lengths are multiplied.

    """
    chance = random.Random(f"{mask} {seed} {dtype}")  # noqa: S311 - the same calls each time
    torch.manual_seed(chance.getrandbits(31))
    device = torch.device(device)
    build, kind = MASKS[mask]
    layout, memory = chance.choice(LAYOUTS), chance.choice(MEMORY)
    one = kind == "one"
    # xformers gives a mask no place among tensors without heads, some apart.
    if layout == "BMK" and mask not in {"none", "tensor", "tensor with -inf", "triangle"}:
        layout = "BMHK"
    width = chance.choice([8, 16, 32, 64, 128])
    value_width = chance.choice([width, width, width, 24])
    groups, each = {"BMHK": (1, chance.choice([1, 3])), "BMK": (1, 1)}.get(layout, (2, chance.choice([1, 3])))
    heads = groups * each
    batch = chance.choice([1, 2]) if one else 1
    lengths = _lengths(chance, kind, scale)
    draw = _Draw(chance, device, dtype, lengths)
    queries = lengths[0][0] if one else sum(draw.queries)
    draw.shape = (batch, heads, queries, lengths[0][1])
    bias, keys = build(draw)
    keys = lengths[0][1] if keys is None else keys
    query = _laid_out(draw, (batch, queries, heads, width), memory)
    of_keys = groups if layout == "BMGHK shared" else heads
    key = _laid_out(draw, (batch, keys, of_keys, width), memory)
    value = _laid_out(draw, (batch, keys, of_keys, value_width), memory)
    written = _written(bias, (batch, heads, queries, keys), device)
    if layout == "BMK":
        query, key, value = (tensor[:, :, 0] for tensor in (query, key, value))
        if type(bias) is torch.Tensor:
            bias = bias[:, 0]
    elif layout != "BMHK":
        query = query.unflatten(2, (groups, each))
        key, value = (
            tensor.unsqueeze(3).expand(-1, -1, -1, each, -1)
            if layout == "BMGHK shared"
            else tensor.unflatten(2, (groups, each))
            for tensor in (key, value)
        )
        if type(bias) is torch.Tensor:
            bias = bias.unflatten(1, (groups, each))
        elif mask == "triangle and tensor":
            bias = masks.LowerTriangularMaskWithTensorBias(added_by(bias).unflatten(1, (groups, each)))
    factor = chance.choice([None, None, 0.3])
    shapes = f"{tuple(query.shape)} x {tuple(key.shape)} -> {value_width}, {lengths}"
    name = f"{mask}, {layout}, {memory}, {dtype}, {shapes}, scale {factor}, seed {seed}"
    return Case(name, query, key, value, bias, written, factor)


def _written(bias, shape, device):
    if bias is None or type(bias) is torch.Tensor:
        return bias
    return bias.materialize(shape, dtype=torch.float32, device=device)
