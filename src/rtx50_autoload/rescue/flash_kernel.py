"""The fast way: torch's own copy of the FlashAttention-2 kernels, with the arguments that its SDPA does not pass on.

Nothing here reads a value from the device, so it can be captured in a CUDA graph.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

    from rtx50_autoload.rescue.flash_rules import Rules

__all__ = ["HEAD_DIM_STEP", "answers", "dense", "differentiates", "forward", "packed", "records", "renders"]

# What this torch was built with; asking does not initialise CUDA. AMD's build has other kernels behind the same name.
_BUILT = torch.version.hip is None and torch.backends.cuda.is_flash_attention_available()
#: Kernels take head dimensions that are multiples of this one.
HEAD_DIM_STEP = 8
#: Up to this head dimension, the backward kernels fit into the shared memory of every GPU that has the forward ones.
_BACKWARD_EVERYWHERE = 192
#: Above this one, only dropout does not fit.
_BACKWARD_WITHOUT_DROPOUT = 224


def renders(query: Tensor, key: Tensor, value: Tensor, rules: Rules) -> bool:
    """Say whether torch's kernels compute these rules exactly, gradients included where they are wanted."""
    # The backward kernels cannot be started for nothing.
    if not (answers(query) and query.numel() and key.numel()):
        return False
    # torch has no argument for soft capping, and its backward pass knows no slopes.
    if rules.softcap > 0.0 or rules.alibi_slopes is not None:
        return False
    return differentiates(query, rules) if records(query, key, value) else True


def answers(query: Tensor) -> bool:
    """Say whether torch has its kernels for the device of these queries."""
    return _BUILT and query.is_cuda


def differentiates(query: Tensor, rules: Rules) -> bool:
    """Say whether torch's backward kernel computes the gradients exactly, and as reproducibly as is asked for."""
    # torch takes the reproducible backward kernel only where the whole process asks for it, and asks strictly.
    if rules.deterministic and not (
        torch.are_deterministic_algorithms_enabled() and not torch.is_deterministic_algorithms_warn_only_enabled()
    ):
        return False
    # On a GPU with 99 KiB of shared memory (RTX 30, 40, 50), torch's backward kernel fails or writes nothing.
    head_dim = query.shape[-1]
    return head_dim <= _BACKWARD_EVERYWHERE or (head_dim > _BACKWARD_WITHOUT_DROPOUT and rules.dropout_p == 0.0)


def records(*tensors: Tensor) -> bool:
    """Say whether a gradient of any of these is recorded."""
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)


def dense(query: Tensor, key: Tensor, value: Tensor, rules: Rules) -> Tensor:
    """Attend within a batch of sequences of one length: (batch, length, heads, head dimension)."""
    out, _, _ = forward(query, key, value, None, None, query.shape[1], key.shape[1], rules, None)
    return out


def packed(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    starts_q: Tensor,
    starts_k: Tensor,
    longest_q: int,
    longest_k: int,
    rules: Rules,
    lengths_k: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Attend within sequences that lie one after the other: (tokens, heads, head dimension).

    Args:
        query: the queries; `key` and `value` likewise.
        key: the keys.
        value: the values.
        starts_q: where each sequence of queries begins, and the end of the last one.
        starts_k: likewise for the keys. With `lengths_k`, they may begin anywhere and in any order.
        longest_q: no sequence of queries is longer.
        longest_k: no sequence of keys is longer.
        rules: how to attend.
        lengths_k: how many keys each sequence has; no gradients then, because torch's backward does not know of them.

    Returns:
        The output, and the logarithm of the sum of each row's exponentials: (heads, tokens).

    """
    out, logsumexp, _ = forward(query, key, value, starts_q, starts_k, longest_q, longest_k, rules, lengths_k)
    return out, logsumexp


def forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    starts_q: Tensor | None,
    starts_k: Tensor | None,
    longest_q: int,
    longest_k: int,
    rules: Rules,
    lengths_k: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Call the kernel: `dense` without starts, `packed` with them; give the state of the generator, too."""
    head_dim = query.shape[-1]
    missing = -head_dim % HEAD_DIM_STEP
    if missing:
        query, key, value = (functional.pad(tensor, [0, missing]) for tensor in (query, key, value))
    out, logsumexp, rng_state, *_ = torch.ops.aten._flash_attention_forward(
        query,
        key,
        value,
        starts_q,
        starts_k,
        longest_q,
        longest_k,
        rules.dropout_p,
        rules.causal,
        False,
        scale=rules.scale,
        window_size_left=rules.left,
        window_size_right=rules.right,
        seqused_k=lengths_k,
    )
    return (out[..., :head_dim] if missing else out), logsumexp, rng_state
