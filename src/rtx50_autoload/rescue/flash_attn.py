"""The public functions of flash_attn 2.8, answered by torch instead of flash_attn's own compiled kernels.

The signatures are flash_attn's, and so is what the arguments mean; docs/rescue-flash-attn.md says what each call is
rendered by. A call that cannot be rendered exactly raises `CannotRender`; one that flash_attn itself refuses raises the
same type of error as there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from rtx50_autoload.rescue import flash_kernel, flash_kvcache, flash_plain
from rtx50_autoload.rescue.flash_rules import check, check_packed, last_contiguous, rules

if TYPE_CHECKING:
    from torch import Tensor

    from rtx50_autoload.rescue.flash_rules import Rules

__all__ = [
    "flash_attn_func",
    "flash_attn_kvpacked_func",
    "flash_attn_qkvpacked_func",
    "flash_attn_varlen_func",
    "flash_attn_varlen_kvpacked_func",
    "flash_attn_varlen_qkvpacked_func",
    "flash_attn_with_kvcache",
]


def flash_attn_func(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = (-1, -1),
    softcap: float = 0.0,
    alibi_slopes: Tensor | None = None,
    deterministic: bool = False,
    return_attn_probs: bool = False,
) -> Tensor:
    """Attend as `flash_attn.flash_attn_func` does: (batch, length, heads, head dimension)."""
    wanted = rules(
        q, softmax_scale, causal, window_size, softcap, alibi_slopes, dropout_p, deterministic, return_attn_probs
    )
    return _dense(q, k, v, wanted)


def flash_attn_kvpacked_func(
    q: Tensor,
    kv: Tensor,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = (-1, -1),
    softcap: float = 0.0,
    alibi_slopes: Tensor | None = None,
    deterministic: bool = False,
    return_attn_probs: bool = False,
) -> Tensor:
    """Attend as `flash_attn.flash_attn_kvpacked_func` does; `kv` is (batch, length, 2, heads, head dimension)."""
    wanted = rules(
        q, softmax_scale, causal, window_size, softcap, alibi_slopes, dropout_p, deterministic, return_attn_probs
    )
    return _dense(q, kv[:, :, 0], kv[:, :, 1], wanted)


def flash_attn_qkvpacked_func(
    qkv: Tensor,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = (-1, -1),
    softcap: float = 0.0,
    alibi_slopes: Tensor | None = None,
    deterministic: bool = False,
    return_attn_probs: bool = False,
) -> Tensor:
    """Attend as `flash_attn.flash_attn_qkvpacked_func` does; `qkv` is (batch, length, 3, heads, head dimension)."""
    wanted = rules(
        qkv, softmax_scale, causal, window_size, softcap, alibi_slopes, dropout_p, deterministic, return_attn_probs
    )
    return _dense(qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2], wanted)


def flash_attn_varlen_func(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = (-1, -1),
    softcap: float = 0.0,
    alibi_slopes: Tensor | None = None,
    deterministic: bool = False,
    return_attn_probs: bool = False,
    block_table: Tensor | None = None,
) -> Tensor:
    """Attend as `flash_attn.flash_attn_varlen_func` does: (tokens, heads, head dimension).

    With `block_table`, `k` and `v` are (pages, page size, heads, head dimension).
    """
    wanted = rules(
        q, softmax_scale, causal, window_size, softcap, alibi_slopes, dropout_p, deterministic, return_attn_probs
    )
    return _packed(q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, wanted, block_table)


def flash_attn_varlen_kvpacked_func(
    q: Tensor,
    kv: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = (-1, -1),
    softcap: float = 0.0,
    alibi_slopes: Tensor | None = None,
    deterministic: bool = False,
    return_attn_probs: bool = False,
) -> Tensor:
    """Attend as `flash_attn.flash_attn_varlen_kvpacked_func` does; `kv` is (tokens, 2, heads, head dimension)."""
    wanted = rules(
        q, softmax_scale, causal, window_size, softcap, alibi_slopes, dropout_p, deterministic, return_attn_probs
    )
    return _packed(q, kv[:, 0], kv[:, 1], cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, wanted)


def flash_attn_varlen_qkvpacked_func(
    qkv: Tensor,
    cu_seqlens: Tensor,
    max_seqlen: int,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = (-1, -1),
    softcap: float = 0.0,
    alibi_slopes: Tensor | None = None,
    deterministic: bool = False,
    return_attn_probs: bool = False,
) -> Tensor:
    """Attend as `flash_attn.flash_attn_varlen_qkvpacked_func` does; `qkv` is (tokens, 3, heads, head dimension)."""
    wanted = rules(
        qkv, softmax_scale, causal, window_size, softcap, alibi_slopes, dropout_p, deterministic, return_attn_probs
    )
    return _packed(qkv[:, 0], qkv[:, 1], qkv[:, 2], cu_seqlens, cu_seqlens, max_seqlen, max_seqlen, wanted)


def flash_attn_with_kvcache(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    k: Tensor | None = None,
    v: Tensor | None = None,
    rotary_cos: Tensor | None = None,
    rotary_sin: Tensor | None = None,
    cache_seqlens: int | Tensor | None = None,
    cache_batch_idx: Tensor | None = None,
    cache_leftpad: Tensor | None = None,
    block_table: Tensor | None = None,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = (-1, -1),
    softcap: float = 0.0,
    rotary_interleaved: bool = True,
    alibi_slopes: Tensor | None = None,
    num_splits: int = 0,  # noqa: ARG001 - how the work is divided, which changes no result
    return_softmax_lse: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Attend as `flash_attn.flash_attn_with_kvcache` does, and write `k` and `v` into the cache before that."""
    if k_cache.stride(-1) != 1:
        raise AssertionError("k_cache must have contiguous last dimension")
    if v_cache.stride(-1) != 1:
        raise AssertionError("v_cache must have contiguous last dimension")
    if isinstance(cache_seqlens, int):
        cache_seqlens = torch.full((q.shape[0],), cache_seqlens, dtype=torch.int32, device=q.device)
    rotation = None
    if rotary_cos is not None:
        if rotary_sin is None:
            raise RuntimeError("If rotary cos is provided, rotary sin must also be provided")
        rotation = flash_kvcache.Rotation(rotary_cos, rotary_sin, rotary_interleaved)
    cache = flash_kvcache.Cache(k_cache, v_cache, cache_seqlens, cache_batch_idx, cache_leftpad, block_table)
    wanted = rules(q, softmax_scale, causal, window_size, softcap, alibi_slopes)
    out, logsumexp = flash_kvcache.attend(last_contiguous(q), cache, k, v, rotation, wanted)
    return (out, logsumexp) if return_softmax_lse else out


def _dense(query: Tensor, key: Tensor, value: Tensor, wanted: Rules) -> Tensor:
    check(query, key, value, wanted)
    if query.shape[0] == 0:
        raise RuntimeError("batch size must be positive")
    query, key, value = last_contiguous(query), last_contiguous(key), last_contiguous(value)
    if flash_kernel.renders(query, key, value, wanted):
        return flash_kernel.dense(query, key, value, wanted)
    out, _ = flash_plain.attend(query, key, value, wanted)
    return out


def _packed(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    wanted: Rules,
    block_table: Tensor | None = None,
) -> Tensor:
    check(query, key, value, wanted)
    check_packed(cu_seqlens_q, cu_seqlens_k)
    max_seqlen_q, max_seqlen_k = _number(max_seqlen_q), _number(max_seqlen_k)
    starts_k, lengths_k = cu_seqlens_k, None
    if block_table is not None:
        if key.shape[1] % flash_kvcache.PAGE_SIZE_STEP != 0:
            raise RuntimeError("Paged KV cache block size must be divisible by 256")
        lengths_k = cu_seqlens_k.diff()
        capacity = block_table.shape[1] * key.shape[1]
        key, value = (flash_kvcache.paged(tensor, block_table, lengths_k) for tensor in (key, value))
        starts_k = torch.arange(cu_seqlens_k.numel(), dtype=torch.int32, device=key.device) * capacity
    query, key, value = last_contiguous(query), last_contiguous(key), last_contiguous(value)
    arguments = (query, key, value, cu_seqlens_q, starts_k, max_seqlen_q, max_seqlen_k, wanted, lengths_k)
    # torch's backward kernel does not know of lengths.
    exact = lengths_k is None or not flash_kernel.records(query, key, value)
    if exact and flash_kernel.renders(query, key, value, wanted):
        out, _ = flash_kernel.packed(*arguments)
        return out
    return flash_plain.attend_packed(*arguments)


def _number(value: int | Tensor) -> int:
    """Give a length as a number; flash_attn takes a tensor of one, too."""
    return int(value.item()) if isinstance(value, torch.Tensor) else value
