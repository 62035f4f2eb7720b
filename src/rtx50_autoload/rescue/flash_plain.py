"""The plain way: flash_attn's rules in plain operations of torch, in float32, on any device.

Exact and not fast. The scores of a limited number of queries are held at a time; where gradients are recorded, they are
computed again for the backward pass. Nothing here reads a value from the device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from rtx50_autoload.rescue.dense import connected_zeros
from rtx50_autoload.rescue.flash_kernel import records
from rtx50_autoload.rescue.flash_rules import visible_window

if TYPE_CHECKING:
    from torch import Tensor

    from rtx50_autoload.rescue.flash_rules import Rules

__all__ = ["attend", "attend_packed", "gather", "sequence_of_token"]

#: So many scores are held at once: 256 MiB.
_SCORES_AT_ONCE = 1 << 26


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    rules: Rules,
    lengths_q: Tensor | None = None,
    lengths_k: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Attend within a batch of sequences: (batch, length, heads, head dimension).

    Args:
        query: the queries, whose heads are a multiple of those of `key` and `value`.
        key: the keys.
        value: the values.
        rules: how to attend.
        lengths_q: how many queries each sequence has, the others being padding; all by default.
        lengths_k: likewise for the keys.

    Returns:
        The output, zero for a query that sees no key, and the logarithm of the sum of each row's exponentials as
        flash_attn gives it: (batch, heads, length), infinite for such a query.

    """
    batch, longest_q, heads, head_dim = query.shape
    longest_k, groups = key.shape[1], key.shape[2]
    if longest_k == 0 or longest_q == 0:
        out = connected_zeros(tuple(query.shape), query.dtype, query, key, value)
        return out, out.new_full((batch, heads, longest_q), torch.inf, dtype=torch.float32)
    # What lies behind a sequence's end may be anything, and zero times not-a-number is not zero.
    if lengths_k is not None:
        used = (torch.arange(longest_k, device=key.device) < lengths_k[:, None])[:, :, None, None]
        key, value = key.masked_fill(~used, 0.0), value.masked_fill(~used, 0.0)
    # A compiler would unroll the pieces, and fuses what they are there for.
    compiling = torch.compiler.is_compiling()
    rows = longest_q if compiling else max(1, _SCORES_AT_ONCE // (batch * heads * longest_k))
    again = rows < longest_q and records(query, key, value)
    # Autocast would turn the products back into half precision.
    with torch.autocast(query.device.type, enabled=False):
        query = query.float().unflatten(2, (groups, heads // groups)).permute(0, 2, 3, 1, 4)
        key = key.float().permute(0, 2, 3, 1).unsqueeze(2)
        value_rows = value.float().permute(0, 2, 1, 3).unsqueeze(2)
        parts = []
        for start in range(0, longest_q, rows):
            piece = query[..., start : start + rows, :]
            arguments = (piece, key, value_rows, rules, start, longest_q, lengths_q, lengths_k)
            parts.append(
                checkpoint(_attend_rows, *arguments, use_reentrant=False) if again else _attend_rows(*arguments)
            )
    out = parts[0][0] if len(parts) == 1 else torch.cat([part[0] for part in parts], dim=3)
    logsumexp = parts[0][1] if len(parts) == 1 else torch.cat([part[1] for part in parts], dim=3)
    # (batch, groups, heads of a group, length, head dimension) back to flash_attn's order, contiguous as its output is.
    out = out.permute(0, 3, 1, 2, 4).reshape(batch, longest_q, heads, head_dim)
    return out.to(value.dtype), logsumexp.reshape(batch, heads, longest_q)


def _attend_rows(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    rules: Rules,
    start: int,
    longest_q: int,
    lengths_q: Tensor | None,
    lengths_k: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Attend from those queries that begin with number `start`."""
    device, longest_k = query.device, key.shape[-1]
    scores = (query @ key) * rules.scale
    if rules.softcap > 0.0:
        scores = torch.tanh(scores / rules.softcap) * rules.softcap
    # The position of each query among the keys: the last query stands beside the last key.
    position = torch.arange(start, start + query.shape[-2], device=device)[:, None]
    column = torch.arange(longest_k, device=device)
    if lengths_k is None:
        position = position + (longest_k - longest_q)
        seen = torch.ones((), dtype=torch.bool, device=device)
    else:
        shift = lengths_k - (longest_q if lengths_q is None else lengths_q)
        position = position + shift[:, None, None, None, None]
        seen = column < lengths_k[:, None, None, None, None]
    left, right = visible_window(rules, longest_q, longest_k)
    if right >= 0:
        seen = seen & (column <= position + right)
    if left >= 0:
        seen = seen & (column >= position - left)
    slopes = None
    if rules.alibi_slopes is not None:
        slopes = rules.alibi_slopes.reshape(-1, query.shape[1], query.shape[2], 1, 1)
        scores = scores - slopes * (position - column).abs()
    # Not -inf: a row without a key would be not-a-number, and its gradients, too.
    scores = scores.masked_fill(~seen, torch.finfo(scores.dtype).min)
    weights = scores.softmax(dim=-1).masked_fill(~seen, 0.0)
    if rules.dropout_p > 0.0:
        weights = functional.dropout(weights, rules.dropout_p)
    logsumexp = scores.detach().logsumexp(dim=-1)
    if slopes is not None and left < 0 and right == 0:
        # flash_attn's causal kernel leaves out what is the same for a whole row, which its sum shows.
        logsumexp = logsumexp + (slopes * position)[..., 0]
    empty = ~seen.any(dim=-1)
    return weights @ value, logsumexp.masked_fill(empty, torch.inf)


def attend_packed(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    starts_q: Tensor,
    starts_k: Tensor,
    longest_q: int,
    longest_k: int,
    rules: Rules,
    lengths_k: Tensor | None = None,
) -> Tensor:
    """Attend within sequences that lie one after the other, by padding each to the longest.

    The arguments are those of `flash_kernel.packed`. Tokens behind the last sequence give zero.
    """
    if query.shape[0] == 0:
        return connected_zeros(tuple(query.shape), query.dtype, query, key, value)
    lengths_q = starts_q.diff()
    lengths_k = starts_k.diff() if lengths_k is None else lengths_k
    padded, _ = attend(
        gather(query, starts_q[:-1], longest_q),
        gather(key, starts_k[:-1], longest_k),
        gather(value, starts_k[:-1], longest_k),
        rules,
        lengths_q,
        lengths_k,
    )
    sequence, place = sequence_of_token(starts_q, query.shape[0])
    inside = torch.arange(query.shape[0], device=query.device) < starts_q[-1]
    out = padded[sequence, place.clamp(max=max(longest_q - 1, 0))]
    return out.masked_fill(~inside[:, None, None], 0.0)


def gather(tokens: Tensor, starts: Tensor, longest: int) -> Tensor:
    """Give what begins at each start, as (sequences, longest, ...); behind a sequence's end it may be anything."""
    if tokens.shape[0] == 0:
        return connected_zeros((starts.shape[0], longest, *tokens.shape[1:]), tokens.dtype, tokens)
    index = starts[:, None].long() + torch.arange(longest, device=tokens.device)
    return tokens[index.clamp(max=tokens.shape[0] - 1)]


def sequence_of_token(starts: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Give the sequence that each of `count` tokens belongs to, and its place there."""
    token = torch.arange(count, device=starts.device, dtype=starts.dtype)
    # All of the starts, although the first one is known: Inductor of torch 2.11 fails on a part of them.
    sequence = (torch.searchsorted(starts, token, right=True) - 1).clamp(max=starts.shape[0] - 2)
    return sequence, (token - starts[sequence]).long()
