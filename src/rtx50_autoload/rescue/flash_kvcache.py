"""flash_attn's decoding against a cache of keys and values: what it writes into the cache, and what it then attends to.

Nothing here reads a value from the device, and nothing records a gradient, as in flash_attn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from rtx50_autoload.rescue import flash_kernel, flash_plain, flash_rotary
from rtx50_autoload.rescue.flash_rules import check, visible_window

if TYPE_CHECKING:
    from torch import Tensor

    from rtx50_autoload.rescue.flash_rules import Rules

__all__ = ["PAGE_SIZE_STEP", "Cache", "Rotation", "attend", "paged"]

#: Pages have a multiple of this size.
PAGE_SIZE_STEP = 256
#: A multiple of so many dimensions is rotated.
_ROTATED_STEP = 16


class Rotation(NamedTuple):
    """A rotary embedding: (positions, half of the rotated dimensions)."""

    cos: Tensor
    sin: Tensor
    interleaved: bool


class Cache(NamedTuple):
    """A cache, and how the sequences of a call lie in it.

    Attributes:
        keys: (rows, capacity, heads, head dimension), or (pages, page size, heads, head dimension) with `pages`.
        values: likewise.
        used: how much of the cache each sequence has used before this call; None for all of it.
        rows: the row of each sequence; None for the first ones.
        left: where each sequence begins in its row; None for its start.
        pages: the pages of each sequence: (sequences, pages of a sequence).

    """

    keys: Tensor
    values: Tensor
    used: Tensor | None
    rows: Tensor | None
    left: Tensor | None
    pages: Tensor | None

    @property
    def capacity(self) -> int:
        """How many keys a sequence can have."""
        if self.pages is None:
            return int(self.keys.shape[1])
        return int(self.pages.shape[1] * self.keys.shape[1])


def check_cache(
    query: Tensor, cache: Cache, key: Tensor | None, value: Tensor | None, rotation: Rotation | None
) -> None:
    """Refuse what flash_attn refuses, with the same type of error and in its words.

    Raises:
        RuntimeError: flash_attn would refuse the call.

    """
    refused = {
        "batch size must be positive": query.shape[0] == 0,
        "Paged KVcache does not support cache_batch_idx": cache.pages is not None and cache.rows is not None,
        "We don't support Paged KV and leftpad_k running at the same time yet": (
            cache.pages is not None and cache.left is not None
        ),
        "Paged KV cache block size must be divisible by 256": (
            cache.pages is not None and cache.keys.shape[1] % PAGE_SIZE_STEP != 0
        ),
        "If rotary cos/sin are provided, new key / value to be appended to KV cache must also be provided": (
            rotation is not None and key is None
        ),
    }
    integers = {"block_table": cache.pages, "seqlens_k": cache.used, "leftpad_k": cache.left}
    for name, tensor in {**integers, "cache_batch_idx": cache.rows}.items():
        refused[f"{name} must have dtype int32"] = tensor is not None and tensor.dtype != torch.int32
    _refuse(refused)
    if key is not None:
        _check_new(query, cache, key, value)
    if rotation is not None:
        _check_rotation(query, cache, rotation)


def _check_new(query: Tensor, cache: Cache, key: Tensor, value: Tensor | None) -> None:
    _refuse(
        {
            "If key is supplied, value must also be passed in": value is None,
            "If key is supplied, seqlens_k must also be passed in": cache.used is None,
            "Key must have the same dtype as query": key.dtype != query.dtype,
            "Value must have the same dtype as query": value is not None and value.dtype != query.dtype,
            "If key is supplied, it must have seqlen <= the seqlen of the KV cache": query.shape[1] > cache.capacity,
        }
    )


def _check_rotation(query: Tensor, cache: Cache, rotation: Rotation) -> None:
    rotated = 2 * rotation.cos.shape[1]
    _refuse(
        {
            "rotary_cos must have the same dtype as query": rotation.cos.dtype != query.dtype,
            "rotary_sin must have the same dtype as query": rotation.sin.dtype != query.dtype,
            "rotary_cos and rotary_sin must have the same shape": rotation.cos.shape != rotation.sin.shape,
            "rotary_dim must be <= headdim": rotated > query.shape[-1],
            "Only rotary dimensions divisible by 16 are currently supported": rotated % _ROTATED_STEP != 0,
            "cos/sin seqlen must be at least the seqlen of KV cache": rotation.cos.shape[0] < cache.capacity,
        }
    )


def _refuse(refused: dict[str, bool]) -> None:
    for message, holds in refused.items():
        if holds:
            raise RuntimeError(message)


def attend(
    query: Tensor,
    cache: Cache,
    key: Tensor | None,
    value: Tensor | None,
    rotation: Rotation | None,
    rules: Rules,
) -> tuple[Tensor, Tensor]:
    """Write the new keys and values into the cache, and attend to what it then holds.

    Args:
        query: (batch, length, heads, head dimension).
        cache: the cache, which is changed where there is a new `key`.
        key: what is to be written behind what is used: (batch, new length, heads, head dimension).
        value: likewise.
        rotation: what query and key are rotated by.
        rules: how to attend.

    Returns:
        The output, and the logarithm of the sum of each row's exponentials: (batch, heads, length).

    """
    check(query, cache.keys, cache.values, rules)
    check_cache(query, cache, key, value, rotation)
    with torch.no_grad():
        return _attend(query, cache, key, value, rotation, rules)


def _attend(
    query: Tensor, cache: Cache, key: Tensor | None, value: Tensor | None, rotation: Rotation | None, rules: Rules
) -> tuple[Tensor, Tensor]:
    batch, length = query.shape[:2]
    device = query.device
    used = cache.used
    if used is None:
        used = torch.full((batch,), cache.capacity, dtype=torch.int32, device=device)
    if key is not None and value is not None:
        if rotation is not None:
            # Without a mask that tells positions apart, all queries stand where the first new key does.
            one_place = visible_window(rules, length, cache.capacity) == (-1, -1)
            query = flash_rotary.rotate_from(query, *rotation, used, one_place=one_place)
            key = flash_rotary.rotate_from(key, *rotation, used)
        _append(cache, used, key, value)
        used = used + key.shape[1]
    begin = torch.zeros_like(used) if cache.left is None else cache.left
    held = (used - begin).to(torch.int32)
    if cache.pages is None:
        keys, values = (tensor.reshape(-1, *tensor.shape[2:]) for tensor in (cache.keys, cache.values))
        row = torch.arange(batch, device=device) if cache.rows is None else cache.rows
        starts = row * cache.capacity + begin
    else:
        keys, values = (paged(tensor, cache.pages, used) for tensor in (cache.keys, cache.values))
        starts = torch.arange(batch, device=device) * cache.capacity
    starts = torch.cat([starts, starts[-1:]]).to(torch.int32)
    if flash_kernel.renders(query, keys, values, rules):
        starts_q = torch.arange(batch + 1, dtype=torch.int32, device=device) * length
        out, logsumexp = flash_kernel.packed(
            query.reshape(-1, *query.shape[2:]), keys, values, starts_q, starts, length, cache.capacity, rules, held
        )
        return out.unflatten(0, (batch, length)), logsumexp.unflatten(1, (batch, length)).transpose(0, 1).contiguous()
    return flash_plain.attend(
        query,
        flash_plain.gather(keys, starts[:-1], cache.capacity),
        flash_plain.gather(values, starts[:-1], cache.capacity),
        rules,
        None,
        held,
    )


def paged(tensor: Tensor, pages: Tensor, used: Tensor) -> Tensor:
    """Give the pages of each sequence one after the other, so that sequence `i` begins at `i` times its capacity.

    Of the table, only what `used` reaches is looked at: the rest may hold anything.
    """
    size = tensor.shape[1]
    first = torch.arange(pages.shape[1], device=pages.device) * size
    known = torch.where(first < used[:, None], pages, 0)
    return tensor[known.long()].flatten(0, 2)


def _append(cache: Cache, used: Tensor, key: Tensor, value: Tensor) -> None:
    place = used[:, None].long() + torch.arange(key.shape[1], device=key.device)
    if cache.pages is None:
        row = torch.arange(key.shape[0], device=key.device) if cache.rows is None else cache.rows.long()
        index = (row[:, None].expand_as(place), place)
    else:
        size = cache.keys.shape[1]
        index = (cache.pages.long().gather(1, place // size), place % size)
    cache.keys.index_put_(index, key)
    cache.values.index_put_(index, value)
