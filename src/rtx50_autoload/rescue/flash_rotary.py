"""Rotary position embeddings as flash_attn's Triton kernel computes them, in plain operations of torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from rtx50_autoload.rescue.flash_plain import sequence_of_token

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["apply_rotary", "rotate_from"]


def apply_rotary(
    x: Tensor,
    cos: Tensor,
    sin: Tensor,
    seqlen_offsets: int | Tensor = 0,
    cu_seqlens: Tensor | None = None,
    max_seqlen: int | None = None,
    interleaved: bool = False,
    inplace: bool = False,
    conjugate: bool = False,
) -> Tensor:
    """Rotate the first dimensions of each head by the angles of its position; the arguments are flash_attn's.

    Args:
        x: (batch, length, heads, head dimension), or (tokens, heads, head dimension) with `cu_seqlens`.
        cos: (positions, half of the rotated dimensions).
        sin: likewise.
        seqlen_offsets: the position of the first token, for all sequences or for each.
        cu_seqlens: where each sequence begins, and the end of the last one.
        max_seqlen: no sequence is longer; needed with `cu_seqlens`.
        interleaved: whether neighbouring dimensions are one pair, rather than those of the two halves.
        inplace: whether `x` itself is changed and given back.
        conjugate: whether to rotate the other way.

    """
    if cu_seqlens is None:
        batch, length = x.shape[:2]
        place = torch.arange(length, device=x.device)
        offset = seqlen_offsets[:, None] if isinstance(seqlen_offsets, torch.Tensor) else seqlen_offsets
        position = place + offset
        position = position.expand(batch, length)
    else:
        if max_seqlen is None:
            raise AssertionError("If cu_seqlens is passed in, then max_seqlen must be passed")
        length = max_seqlen
        sequence, position = sequence_of_token(cu_seqlens, x.shape[0])
        position = position + (seqlen_offsets[sequence] if isinstance(seqlen_offsets, torch.Tensor) else seqlen_offsets)
    if 2 * cos.shape[1] > x.shape[-1]:
        raise AssertionError("rotary_dim must be <= headdim")
    if cos.shape[0] < length + (seqlen_offsets if isinstance(seqlen_offsets, int) else 0):
        raise AssertionError("seqlen_ro must be >= seqlen")
    rotated = _rotate(x, cos, -sin if conjugate else sin, position, interleaved)
    return x.copy_(rotated) if inplace else rotated


def rotate_from(
    x: Tensor, cos: Tensor, sin: Tensor, interleaved: bool, first: Tensor, *, one_place: bool = False
) -> Tensor:
    """Rotate (batch, length, heads, head dimension) from the position `first` of each sequence on.

    Args:
        x: what is rotated.
        cos: (positions, half of the rotated dimensions).
        sin: likewise.
        interleaved: whether neighbouring dimensions are one pair.
        first: the position of each sequence's first token.
        one_place: whether all tokens of a sequence stand there.

    """
    place = torch.arange(x.shape[1], device=x.device)
    position = first[:, None] + (torch.zeros_like(place) if one_place else place)
    return _rotate(x, cos, sin, position, interleaved)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor, position: Tensor, interleaved: bool) -> Tensor:
    """Rotate `x` (..., heads, head dimension) by its positions (...); behind the last angle nothing is rotated."""
    half = cos.shape[1]
    known = (position < cos.shape[0])[..., None, None]
    position = position.clamp(max=cos.shape[0] - 1).long()
    cosine = torch.where(known, cos[position].float()[..., None, :], 1.0)
    sine = torch.where(known, sin[position].float()[..., None, :], 0.0)
    turned = x[..., : 2 * half].float()
    first, second = (turned[..., 0::2], turned[..., 1::2]) if interleaved else turned.chunk(2, dim=-1)
    parts = (first * cosine - second * sine, first * sine + second * cosine)
    turned = torch.stack(parts, dim=-1).flatten(-2) if interleaved else torch.cat(parts, dim=-1)
    return torch.cat([turned.to(x.dtype), x[..., 2 * half :]], dim=-1)
