"""What flash_attn 2.8 computes, in float64, one sequence at a time and as directly as its documentation says it."""

from __future__ import annotations

import torch


def limits(row, queries, keys, *, causal, window, longest_q, longest_k, slopes):  # noqa: PLR0913 - as the kernel
    """Give the first and the last key that a query sees; the last is before the first where it sees none.

    The documented window, but for this: flash_attn's kernel takes a side that reaches over all keys for unlimited, and
    where the left side alone is limited, the right one ends after as many keys as there are.
    """
    left, right = (-1 if side >= longest_k else side for side in window)
    if causal and (longest_q > 1 or slopes):
        right = 0
    if left >= 0 and right < 0:
        right = longest_k
    middle = row + keys - queries
    first = max(0, middle - left) if left >= 0 else 0
    last = min(keys - 1, middle + right) if right >= 0 else keys - 1
    return first, last


def one_sequence(  # noqa: PLR0913 - as the function
    q, k, v, *, scale, causal, window, softcap, slopes, longest_q, longest_k
):
    """Attend from q (queries, heads, dimension) to k and v (keys, groups, dimension): the output, and lse by head."""
    queries, heads, keys = q.shape[0], q.shape[1], k.shape[0]
    if keys == 0 or queries == 0:
        return q * 0, torch.full((heads, queries), torch.inf, dtype=q.dtype, device=q.device)
    each = heads // k.shape[1]
    scores = torch.einsum("ihd,jhd->hij", q, k.repeat_interleave(each, dim=1)) * scale
    if softcap > 0:
        scores = softcap * torch.tanh(scores / softcap)
    row = torch.arange(queries, device=q.device)[:, None]
    column = torch.arange(keys, device=q.device)[None, :]
    if slopes is not None:
        scores = scores - slopes.to(q.dtype)[:, None, None] * (row + keys - queries - column).abs()
    sizes = {"causal": causal, "window": window, "longest_q": longest_q, "longest_k": longest_k}
    ends = [limits(i, queries, keys, **sizes, slopes=slopes is not None) for i in range(queries)]
    first, last = torch.tensor(ends, device=q.device).T
    seen = (column >= first[:, None]) & (column <= last[:, None])
    weights = torch.exp(scores - scores.amax(dim=-1, keepdim=True).detach()) * seen
    total = weights.sum(dim=-1, keepdim=True)
    blind = total == 0
    out = torch.einsum("hij,jhd->ihd", weights / total.masked_fill(blind, 1), v.repeat_interleave(each, dim=1))
    lse = scores.masked_fill(~seen, -torch.inf).logsumexp(dim=-1).detach()
    causal_kernel = slopes is not None and causal and not 0 <= window[0] < longest_k
    if causal_kernel:
        # With ALiBi, the causal kernel adds slope * column and leaves out what is the same for a whole row.
        lse = lse + slopes.to(q.dtype)[:, None] * (row + keys - queries).T
    return out, lse.masked_fill(blind.squeeze(-1), torch.inf)


def sequences(qs, ks, vs, *, slopes=None, longest_q=None, longest_k=None, **rules):  # noqa: PLR0913 - as the function
    """Attend within each of several sequences; `slopes` are by head, or by sequence and head."""
    longest_q = max(q.shape[0] for q in qs) if longest_q is None else longest_q
    longest_k = max(k.shape[0] for k in ks) if longest_k is None else longest_k
    outs, sums = [], []
    for number, (q, k, v) in enumerate(zip(qs, ks, vs, strict=True)):
        own = slopes[number] if slopes is not None and slopes.dim() == 2 else slopes
        out, lse = one_sequence(q, k, v, slopes=own, longest_q=longest_q, longest_k=longest_k, **rules)
        outs.append(out)
        sums.append(lse)
    return outs, sums


def rotate(x, cos, sin, positions, interleaved):
    """Rotate x (tokens, heads, dimension) by the angles of its positions, and round to its own dtype."""
    half = cos.shape[1]
    out = x.double().clone()
    for token, position in enumerate(positions):
        for pair in range(half):
            a, b = (2 * pair, 2 * pair + 1) if interleaved else (pair, pair + half)
            c, s = cos[position, pair].double(), sin[position, pair].double()
            out[token, :, a] = x[token, :, a].double() * c - x[token, :, b].double() * s
            out[token, :, b] = x[token, :, a].double() * s + x[token, :, b].double() * c
    return out.to(x.dtype)
