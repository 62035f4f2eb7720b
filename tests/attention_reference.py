"""What attention is, in float64, with nothing but products and a softmax: shared by the tests of the stand-ins."""

from __future__ import annotations

import torch


def reference(query, key, value, bias=None, *, scale=None, softcap=0.0):  # noqa: PLR0913 - what attention takes
    """Return (out, lse) in float64: (B, M, H, V) and (B, H, M).

    query is (B, M, H, K); key and value have (B, N, G, …) with G dividing H. bias is added to the scores and can be
    broadcast to (B, H, M, N); -inf masks. A query that sees nothing gets zeros, and inf as its lse.
    """
    query, key, value = (tensor.double() for tensor in (query, key, value))
    heads = query.shape[2]
    key, value = (tensor.repeat_interleave(heads // tensor.shape[2], dim=2) for tensor in (key, value))
    scores = torch.einsum("bmhk,bnhk->bhmn", query, key) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if softcap:
        scores = softcap * torch.tanh(scores / softcap)
    if bias is not None:
        scores = scores + bias.double()
    blind = (scores == -torch.inf).all(dim=-1) if scores.shape[-1] else torch.ones(scores.shape[:-1], dtype=torch.bool)
    blind = blind.to(query.device)
    scores = scores.masked_fill(blind[..., None], 0.0)
    weights = torch.softmax(scores, dim=-1).masked_fill(blind[..., None], 0.0)
    out = torch.einsum("bhmn,bnhv->bmhv", weights, value)
    return out, torch.logsumexp(scores, dim=-1).masked_fill(blind, torch.inf)


def reference_gradients(gradient, tensors, bias=None, *, scale=None, softcap=0.0):
    """Return the float64 gradients of query, key, value and, where it requires one, of the bias."""
    leaves = [tensor.detach().double().requires_grad_() for tensor in tensors]
    wanted = list(leaves)
    if bias is not None:
        with_gradient = bias.requires_grad
        bias = bias.detach().double().requires_grad_(with_gradient)
        if with_gradient:
            wanted.append(bias)
    out, _ = reference(*leaves, bias, scale=scale, softcap=softcap)
    return torch.autograd.grad(out, wanted, gradient.double())


def band_bias(queries, keys, low, high, device="cpu"):
    """Return zeros where i + low <= j <= i + high, else -inf; None is no limit."""
    row = torch.arange(queries, device=device)[:, None]
    column = torch.arange(keys, device=device)[None, :]
    seen = torch.ones(queries, keys, dtype=torch.bool, device=device)
    if low is not None:
        seen &= column >= row + low
    if high is not None:
        seen &= column <= row + high
    return torch.zeros(queries, keys, dtype=torch.float64, device=device).masked_fill(~seen, -torch.inf)
