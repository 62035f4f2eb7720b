"""Stand-ins for the attention functions of `xformers.ops`, with the signatures of xformers 0.0.35."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from .dense import attend, attend_with_lse
from .errors import CannotRender
from .varlen import attend_varlen, attend_varlen_with_lse
from .xformers_inputs import Inputs
from .xformers_masks import in_pages, meaning, sequences, written_out

if TYPE_CHECKING:
    from .xformers_masks import Meaning

__all__ = [
    "memory_efficient_attention",
    "memory_efficient_attention_forward",
    "memory_efficient_attention_forward_requires_grad",
    "memory_efficient_attention_partial",
]

Tensor = Any


def memory_efficient_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_bias: Any = None,
    p: float = 0.0,
    scale: float | None = None,
    *,
    op: Any = None,  # noqa: ARG001 - a choice among kernels that could not be loaded
    output_dtype: Any = None,
) -> Tensor:
    """Compute attention as `xformers.ops.memory_efficient_attention` does.

    Raises:
        CannotRender: the call cannot be answered exactly.
        ValueError: the arguments do not fit together; as xformers says it.

    """
    inputs = Inputs(query, key, value, attn_bias, p)
    # xformers checks (B, M, K) tensors before it gives them a head where no gradient is wanted, and after where one is.
    if any(tensor.requires_grad for tensor in (query, key, value)):
        inputs.with_heads()
    return _attention(inputs, scale, output_dtype, with_lse=False)[0].reshape(*query.shape[:-1], value.shape[-1])


def memory_efficient_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_bias: Any = None,
    p: float = 0.0,
    scale: float | None = None,
    *,
    op: Any = None,  # noqa: ARG001 - a choice among kernels that could not be loaded
    output_dtype: Any = None,
) -> Tensor:
    """Compute attention as `xformers.ops.memory_efficient_attention_forward` does: without a gradient.

    Raises:
        CannotRender: the call cannot be answered exactly.
        ValueError: the arguments do not fit together; as xformers says it.

    """
    with torch.no_grad():
        inputs = Inputs(query, key, value, attn_bias, p)
        return _attention(inputs, scale, output_dtype, with_lse=False)[0].reshape(*query.shape[:-1], value.shape[-1])


def memory_efficient_attention_forward_requires_grad(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_bias: Any = None,
    p: float = 0.0,
    scale: float | None = None,
    *,
    op: Any = None,  # noqa: ARG001 - a choice among kernels that could not be loaded
    output_dtype: Any = None,
) -> tuple[Tensor, Tensor]:
    """Compute attention as `xformers.ops.memory_efficient_attention_forward_requires_grad` does.

    Returns:
        The output, and the logarithms of the sums: (B, H, M) or (B, G, H, M), where the sequences of a mask are packed
        with B = 1; inf where a query sees no key.

    Raises:
        CannotRender: the call cannot be answered exactly.
        NotImplementedError: dropout is wanted; as xformers says it.
        ValueError: the arguments do not fit together; as xformers says it.

    """
    if p != 0.0:
        raise NotImplementedError(
            "dropout is not supported on the non-autograd API. If you want to use dropout, please call "
            "`memory_efficient_attention` directly"
        )
    with torch.no_grad():
        return _with_lse(Inputs(query, key, value, attn_bias, p), scale, output_dtype)


def memory_efficient_attention_partial(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_bias: Any = None,
    p: float = 0.0,
    scale: float | None = None,
    *,
    op: Any = None,  # noqa: ARG001 - a choice among kernels that could not be loaded
    output_dtype: Any = None,
) -> tuple[Tensor, Tensor]:
    """Compute attention to a part of the keys as `xformers.ops.memory_efficient_attention_partial` does.

    Returns:
        The output, and the logarithms of the sums, with which `xformers.ops.merge_attentions` joins the parts: -inf
        where a query sees no key, so that the part counts nothing.

    Raises:
        CannotRender: the call cannot be answered exactly.
        NotImplementedError: dropout is wanted; as xformers says it.
        ValueError: the arguments do not fit together; as xformers says it.

    """
    if p != 0.0:
        raise NotImplementedError("dropout is not supported.")
    with torch.no_grad():
        out, lse = _with_lse(Inputs(query, key, value, attn_bias, p), scale, output_dtype)
    return out, lse.masked_fill(lse == torch.inf, -torch.inf)


def _with_lse(inputs: Inputs, scale: float | None, output_dtype: Any) -> tuple[Tensor, Tensor]:
    shape, groups = inputs.output_shape(), tuple(inputs.query.shape[2:-1])
    out, lse = _attention(inputs, scale, output_dtype, with_lse=True)
    return out.reshape(shape), lse.unflatten(1, groups or (1,))


def _attention(inputs: Inputs, scale: float | None, output_dtype: Any, *, with_lse: bool) -> tuple[Tensor, Tensor]:
    """Return (B, M, H, V) and, if wanted, (B, H, M), groups folded into heads."""
    if inputs.value.dtype == torch.int32:
        raise CannotRender("keys and values that are quantized in xformers' own way cannot be read by torch")
    inputs.check()
    inputs.with_heads()
    options = {"scale": scale, "dropout": inputs.p, "output_dtype": output_dtype}
    mask = inputs.attn_bias
    meant = None if mask is None else meaning(mask)
    query, key, value = inputs.folded()
    if meant is not None and meant.keys != "all":
        return _sequences(query, key, value, mask, meant, options, with_lse=with_lse)
    bias = inputs.added()
    if bias is not None:
        if bias.dtype != query.dtype:
            raise RuntimeError(f"invalid dtype for bias - should match query's dtype ({bias.dtype}, {query.dtype})")
        if bias.ndim == 5:  # noqa: PLR2004 - (B, G, H, M, N)
            bias = bias.flatten(1, 2)
    elif mask is not None and meant is None:
        bias = written_out(mask, (query.shape[0], query.shape[2], query.shape[1], key.shape[1]), query.device)
    if meant is not None:
        options = {**options, "causal": meant.causal, "window": meant.window_of(mask)}
    if with_lse:
        return attend_with_lse(query, key, value, bias=bias, **options)
    return attend(query, key, value, bias=bias, **options), None


def _sequences(
    query: Tensor, key: Tensor, value: Tensor, mask: Any, meant: Meaning, options: dict[str, Any], *, with_lse: bool
) -> tuple[Tensor, Tensor]:
    batch, queries, heads, _ = query.shape
    query, key, value = (tensor.flatten(0, 1) for tensor in (query, key, value))
    if meant.paged:
        used, where = in_pages(mask, meant, batch * queries)
        key, value = key.index_select(0, used), value.index_select(0, used)
    else:
        where = sequences(mask, meant, batch * queries, key.shape[0])
    options = {**options, "causal": meant.causal, "window": meant.window_of(mask)}
    if with_lse:
        out, lse = attend_varlen_with_lse(query, key, value, where, **options)
        return out.view(batch, queries, heads, -1), lse[None]
    return attend_varlen(query, key, value, where, **options).view(batch, queries, heads, -1), None
