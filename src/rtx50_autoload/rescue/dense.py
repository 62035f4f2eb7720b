"""Attention on (B, M, H, K) tensors, by the fastest of torch's ways that is exact."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from . import kernels
from .band import FULL, Band, band_of
from .plain import Extras, in_full_precision, masked, with_a_mask

if TYPE_CHECKING:
    from .band import Causal, Window

__all__ = ["attend", "attend_with_lse", "connected_zeros", "without_autocast"]

Tensor = Any


@dataclass(frozen=True, slots=True)
class _Wish:
    """What is asked of the tensors."""

    scale: float
    extras: Extras
    dropout: float
    output_dtype: Any
    with_lse: bool

    def kernels_will_do(self, query: Tensor) -> bool:
        """Tell whether a kernel's output has the dtype, and its scores nothing but a band and slopes."""
        plain = self.extras.bias is None and not self.extras.softcap
        return plain and self.output_dtype in (None, query.dtype)


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    scale: float | None = None,
    causal: Causal | None = None,
    window: Window | None = None,
    bias: Tensor = None,
    softcap: float = 0.0,
    alibi_slopes: Tensor = None,
    dropout: float = 0.0,
    output_dtype: Any = None,
) -> Tensor:
    """Compute attention in the layout of xformers and flash_attn.

    A query that sees no key gets zeros. Autocast has no effect, as on the libraries' kernels.

    Args:
        query: (B, M, H, K).
        key: (B, N, G, K), where G divides H: query head h belongs to key head h // (H // G).
        value: (B, N, G, V).
        scale: by which the products are multiplied; 1 / sqrt(K) unless told.
        causal: where the diagonal ends, behind which no query sees; None for no such limit.
        window: how many keys left and right of the diagonal are seen, None or -1 for all; the diagonal ends at the last
            query and key unless `causal` is "top-left".
        bias: added to the scores, broadcastable to (B, H, M, N); it may require a gradient.
        softcap: the scores become softcap * tanh(scores / softcap) before a bias is added; 0.0 for no such limit.
        alibi_slopes: (H,) or (B, H): slope * distance from the diagonal is subtracted.
        dropout: the probability by which a weight is dropped, the others growing accordingly.
        output_dtype: another dtype for the output, which is then not rounded before.

    Returns:
        (B, M, H, V), contiguous.

    """
    wish = _Wish(_scale(scale, query), Extras(bias, softcap, alibi_slopes), dropout, output_dtype, with_lse=False)
    return _attend(query, key, value, causal, window, wish)[0]


def attend_with_lse(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    scale: float | None = None,
    causal: Causal | None = None,
    window: Window | None = None,
    bias: Tensor = None,
    softcap: float = 0.0,
    alibi_slopes: Tensor = None,
    dropout: float = 0.0,
    output_dtype: Any = None,
) -> tuple[Tensor, Tensor]:
    """Compute attention as `attend` does, and the logarithms of the sums of the exponentiated scores.

    Returns:
        The output, and (B, H, M) in float32 (float64 where the query is), without a gradient: inf where a query sees no
        key.

    """
    wish = _Wish(_scale(scale, query), Extras(bias, softcap, alibi_slopes), dropout, output_dtype, with_lse=True)
    out, lse = _attend(query, key, value, causal, window, wish)
    return out, lse.detach()


def _scale(scale: float | None, query: Tensor) -> float:
    return float(query.shape[-1] ** -0.5 if scale is None else scale)


def without_autocast(device: Any) -> Any:
    """Switch autocast off where it is on: it changes torch's attention and products, but not the libraries' kernels."""
    if torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


def connected_zeros(shape: tuple[int, ...], dtype: Any, *tensors: Tensor) -> Tensor:
    """Return zeros whose gradients with respect to the tensors are zeros, whatever stands in these."""
    zeros = torch.zeros(shape, dtype=dtype, device=tensors[0].device)
    for tensor in tensors:
        if kernels.needs_gradient(tensor):
            zeros = zeros + tensor.flatten()[:0].sum().to(dtype)
    return zeros


def _attend(
    query: Tensor, key: Tensor, value: Tensor, causal: Causal | None, window: Window | None, wish: _Wish
) -> tuple[Tensor, Tensor]:
    batch, queries, heads, _ = query.shape
    keys = key.shape[1]
    dtype = wish.output_dtype or query.dtype
    part = band_of(causal, window, queries, keys).trim(queries, keys)
    rows = part.last_row - part.first_row
    shape = (batch, queries, heads, value.shape[-1])
    if rows <= 0 or part.last_key <= part.first_key or not batch or not heads:
        lse = torch.full((batch, heads, queries), torch.inf, dtype=_exact(query), device=query.device)
        return connected_zeros(shape, dtype, query, key, value), lse
    diagonal = 0 if causal == "top-left" else keys - queries
    extras = wish.extras._replace(diagonal=diagonal).among(part)
    wish = replace(wish, extras=extras)
    if part.last_key - part.first_key < keys:
        key, value = (tensor[:, part.first_key : part.last_key] for tensor in (key, value))
    if rows < queries:
        query = query[:, part.first_row : part.last_row]
    with without_autocast(query.device):
        out, lse = _choose(query, key, value, part.band, wish)
    if rows < queries:
        before, behind = part.first_row, queries - part.last_row
        out = functional.pad(out, (0, 0, 0, 0, before, behind))
        lse = None if lse is None else functional.pad(lse, (before, behind), value=torch.inf)
    return out.to(dtype).contiguous(), lse


def _exact(query: Tensor) -> Any:
    return torch.float64 if query.dtype == torch.float64 else torch.float32


def _choose(query: Tensor, key: Tensor, value: Tensor, band: Band, wish: _Wish) -> tuple[Tensor, Tensor]:
    """Answer on the fastest exact way; every query sees a key, and every key is seen."""
    extras = wish.extras
    square = _decided(band == Band(None, 0) and query.shape[1] == key.shape[1])
    usual = not wish.with_lse and not extras.softcap and extras.alibi_slopes is None
    if wish.kernels_will_do(query):
        # torch's public function chooses among all its kernels, and knows nothing but these two masks.
        if usual and (square or band == FULL) and key.shape[2] == query.shape[2]:
            return _sdpa(query, key, value, None, is_causal=square, wish=wish), None
        answer = _by_a_kernel(query, key, value, band, wish)
        if answer is not None:
            return answer
        if usual and not (square or band == FULL):
            return with_a_mask(query, key, value, scale=wish.scale, band=band, dropout=wish.dropout), None
    same_dtype = extras.bias is None or extras.bias.dtype == query.dtype
    if usual and same_dtype and wish.output_dtype in (None, query.dtype):
        # A band is written into the bias, which is as large anyway. What has no bias is full or square here.
        bias = None if extras.bias is None else masked(extras.bias, band, query.shape[1], key.shape[1])
        return _sdpa(query, key, value, bias, is_causal=bias is None and square, wish=wish), None
    return in_full_precision(query, key, value, scale=wish.scale, band=band, extras=extras, dropout=wish.dropout)


def _decided(condition: bool) -> bool:
    # While torch.compile traces, a comparison of lengths is no bool yet, which a branch makes of it.
    if condition:  # noqa: SIM103
        return True
    return False


def _by_a_kernel(query: Tensor, key: Tensor, value: Tensor, band: Band, wish: _Wish) -> tuple[Tensor, Tensor] | None:
    """Answer a band by calling one of torch's kernels for CUDA, None where none takes it."""
    scale, dropout, slopes = wish.scale, wish.dropout, wish.extras.alibi_slopes
    queries, keys = query.shape[1], key.shape[1]
    window = band.flash_window(queries, keys)
    # torch's backward pass of flash's kernel knows no slopes, and the kernel's diagonal ends at the last key.
    slopes_fit = slopes is None or (
        wish.extras.diagonal == keys - queries and not kernels.needs_gradient(query, key, value)
    )
    if window and slopes_fit and kernels.can_be_flash(query, key, value, dropout):
        return kernels.flash(
            query,
            key,
            value,
            scale=scale,
            causal=_decided(window[1] == 0),
            window=window,
            dropout=dropout,
            alibi_slopes=slopes,
        )
    mask_type = _mask_type(band, queries, keys)
    if slopes is not None or mask_type is None or not kernels.can_be_efficient(query, key, value, dropout):
        return None
    out, lse = kernels.efficient(
        query, key, value, scale=scale, mask_type=mask_type, dropout=dropout, with_lse=wish.with_lse
    )
    return out, lse[:, :, :queries]


def _mask_type(band: Band, queries: int, keys: int) -> int | None:
    """Return the band as the memory-efficient kernel calls it, None for a band that it does not have."""
    if band == FULL:
        return 0
    if band == Band(None, 0):
        return 1
    return 2 if band == Band(None, keys - queries) else None


def _sdpa(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, *, is_causal: bool, wish: _Wish) -> Tensor:
    heads = query.shape[2]
    tensors = (query, kernels.as_many_heads(key, heads), kernels.as_many_heads(value, heads))
    if query.device.type == "cuda":
        tensors = tuple(kernels.aligned(tensor) for tensor in tensors)
    return functional.scaled_dot_product_attention(
        *(tensor.transpose(1, 2) for tensor in tensors),
        attn_mask=mask,
        dropout_p=wish.dropout,
        is_causal=is_causal,
        scale=wish.scale,
    ).transpose(1, 2)
