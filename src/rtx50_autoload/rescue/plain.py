"""Attention in pieces of the queries: where no kernel of torch takes the mask, and where all is computed in float32."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from .band import Trimmed
from .kernels import as_many_heads, needs_gradient

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .band import Band

__all__ = ["Extras", "in_full_precision", "masked", "with_a_mask"]

Tensor = Any

#: How many cells of a mask, and of scores in float32, are held at once.
_MASK_CELLS = 2**25
_SCORE_CELLS = 2**26

#: Pieces are not made smaller than this: the start of a kernel costs more than the memory.
_FEWEST_ROWS = 16


class Extras(NamedTuple):
    """What is done to the scores beside the band.

    Attributes:
        bias: added, broadcastable to (B, H, M, N).
        softcap: the scores are bent to stay below it, before anything is added; 0.0 is none.
        alibi_slopes: (H,) or (B, H): how fast the scores fall with the distance from the diagonal.
        diagonal: the key that is opposite the first query, for the distance.

    """

    bias: Tensor = None
    softcap: float = 0.0
    alibi_slopes: Tensor = None
    diagonal: int = 0

    def among(self, part: Trimmed) -> Extras:
        """Return the same for a part of the queries and keys."""
        bias = self.bias
        if bias is not None:
            # A dimension of 1 stands for all queries or all keys.
            if bias.shape[-2] > 1:
                bias = bias[..., part.first_row : part.last_row, :]
            if bias.shape[-1] > 1:
                bias = bias[..., part.first_key : part.last_key]
        return self._replace(bias=bias, diagonal=self.diagonal + part.first_row - part.first_key)


def _pieces(band: Band, queries: int, keys: int, cells: int) -> Iterator[Trimmed]:
    """Cut the queries, each of which sees a key, so that no piece has more cells; each has the keys that it sees."""
    seen = keys if band.low is None or band.high is None else min(keys, band.high - band.low + 1)
    rows = max(_FEWEST_ROWS, cells // max(1, 2 * seen))
    for start in range(0, queries, rows):
        count = min(rows, queries - start)
        yield replace(band.moved(start, 0).trim(count, keys), first_row=start, last_row=start + count)


def _mask(piece: Trimmed, device: Any) -> Tensor:
    rows = torch.arange(piece.last_row - piece.first_row, device=device)[:, None]
    columns = torch.arange(piece.last_key - piece.first_key, device=device)[None, :]
    low, high = piece.band.low, piece.band.high
    if low is None:
        return None if high is None else columns <= rows + high
    seen = columns >= rows + low
    return seen if high is None else seen & (columns <= rows + high)


def masked(bias: Tensor, band: Band, queries: int, keys: int) -> Tensor:
    """Return the bias with -inf where the band has no key."""
    mask = _mask(Trimmed(0, queries, 0, keys, band), bias.device)
    return bias if mask is None else bias.masked_fill(~mask, -math.inf)


def with_a_mask(query: Tensor, key: Tensor, value: Tensor, *, scale: float, band: Band, dropout: float) -> Tensor:
    """Answer a band with torch's attention and a boolean mask, on (B, M, H, K) tensors; every query sees a key."""
    heads = query.shape[2]
    query, key, value = (
        tensor.transpose(1, 2) for tensor in (query, as_many_heads(key, heads), as_many_heads(value, heads))
    )
    outs = []
    for piece in _pieces(band, query.shape[2], key.shape[2], _MASK_CELLS):
        keys = slice(piece.first_key, piece.last_key)
        parts = (query[:, :, piece.first_row : piece.last_row], key[:, :, keys], value[:, :, keys])
        outs.append(
            functional.scaled_dot_product_attention(
                *parts, attn_mask=_mask(piece, query.device), dropout_p=dropout, scale=scale
            )
        )
    return (outs[0] if len(outs) == 1 else torch.cat(outs, dim=2)).transpose(1, 2)


def in_full_precision(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    scale: float,
    band: Band,
    extras: Extras,
    dropout: float,
) -> tuple[Tensor, Tensor]:
    """Compute attention as its definition says, in float32 or float64, on (B, M, H, K) tensors.

    Where gradients are wanted and there is more than one piece, each is computed again for the backward pass rather
    than kept.

    Returns:
        The output, (B, M, H, K), in the dtype of the computation, and the logarithms of the sums, (B, H, M): inf where
        all scores of a query are -inf.

    """
    batch, queries, heads, _ = query.shape
    pieces = list(_pieces(band, queries, key.shape[1], max(1, _SCORE_CELLS // (batch * heads))))
    again = len(pieces) > 1 and needs_gradient(query, key, value, extras.bias)
    outs, sums = [], []
    for piece in pieces:
        keys = slice(piece.first_key, piece.last_key)
        parts = (query[:, piece.first_row : piece.last_row], key[:, keys], value[:, keys])
        arguments = (*parts, scale, piece, extras.among(piece), dropout)
        out, lse = checkpoint(_piece, *arguments, use_reentrant=False) if again else _piece(*arguments)
        outs.append(out)
        sums.append(lse)
    if len(pieces) == 1:
        return outs[0], sums[0]
    return torch.cat(outs, dim=1), torch.cat(sums, dim=2)


def _piece(
    query: Tensor, key: Tensor, value: Tensor, scale: float, piece: Trimmed, extras: Extras, dropout: float
) -> tuple[Tensor, Tensor]:
    exact = torch.float64 if query.dtype == torch.float64 else torch.float32
    batch, rows, heads, width = query.shape
    columns, groups = key.shape[1], key.shape[2]
    # The heads that share a key become more rows of it, so that no key is repeated.
    query = query.to(exact).view(batch, rows, groups, heads // groups, width).permute(0, 2, 3, 1, 4)
    query = query.reshape(batch, groups, heads // groups * rows, width)
    key = key.to(exact).permute(0, 2, 3, 1)
    value = value.to(exact).transpose(1, 2)
    scores = ((query * scale) @ key).view(batch, heads, rows, columns)
    if extras.softcap:
        scores = torch.tanh(scores / extras.softcap) * extras.softcap
    if extras.bias is not None:
        scores = scores + extras.bias.to(exact)
    if extras.alibi_slopes is not None:
        scores = scores - _distances(extras, rows, columns, exact)
    mask = _mask(piece, query.device)
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    # A query whose scores are all -inf gets zeros, and its gradient is zero rather than not a number.
    blind = (scores == -math.inf).all(dim=-1, keepdim=True)
    scores = scores.masked_fill(blind, 0.0)
    weights = torch.softmax(scores, dim=-1).masked_fill(blind, 0.0)
    lse = torch.logsumexp(scores.detach(), dim=-1).masked_fill(blind.squeeze(-1), math.inf)
    if dropout:
        weights = functional.dropout(weights, dropout)
    out = weights.view(batch, groups, heads // groups * rows, columns) @ value
    return out.view(batch, heads, rows, value.shape[-1]).transpose(1, 2), lse


def _distances(extras: Extras, rows: int, columns: int, dtype: Any) -> Tensor:
    slopes = extras.alibi_slopes.to(dtype)
    row = torch.arange(rows, device=slopes.device)[:, None]
    column = torch.arange(columns, device=slopes.device)[None, :]
    return slopes[..., None, None] * (row + extras.diagonal - column).abs().to(dtype)
