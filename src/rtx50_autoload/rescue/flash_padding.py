"""What flash_attn.bert_padding offers: between padded batches and tokens one after the other, in plain torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "index_first_axis",
    "index_first_axis_residual",
    "index_put_first_axis",
    "pad_input",
    "unpad_input",
    "unpad_input_for_concatenated_sequences",
]


def index_first_axis(input: Tensor, indices: Tensor) -> Tensor:  # noqa: A002 - flash_attn's name
    """Give the rows of `input` that `indices` names."""
    return input[indices]


def index_first_axis_residual(input: Tensor, indices: Tensor) -> tuple[Tensor, Tensor]:  # noqa: A002 - flash_attn's name
    """Give the rows of `input` that `indices` names, and `input` itself."""
    return input[indices], input.view_as(input)


def index_put_first_axis(values: Tensor, indices: Tensor, first_axis_dim: int) -> Tensor:
    """Give `first_axis_dim` rows of zeros with `values` at `indices`."""
    rows = values.new_zeros((first_axis_dim, *values.shape[1:]))
    return rows.index_put((indices,), values)


def pad_input(hidden_states: Tensor, indices: Tensor, batch: int, seqlen: int) -> Tensor:
    """Put tokens back into a padded batch: (batch, length, ...), zero where there is no token."""
    return index_put_first_axis(hidden_states, indices, batch * seqlen).unflatten(0, (batch, seqlen))


def unpad_input(
    hidden_states: Tensor, attention_mask: Tensor, unused_mask: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor, int, Tensor]:
    """Take the tokens of a padded batch out of it.

    Args:
        hidden_states: (batch, length, ...).
        attention_mask: (batch, length), 1 for a token and 0 for padding.
        unused_mask: (batch, length), 1 for what is kept as if it were a token, and is none.

    Returns:
        The tokens; their places in the flattened batch; where each sequence begins and the last one ends; the length of
        the longest; how many tokens of each are none of the unused.

    """
    kept = attention_mask if unused_mask is None else attention_mask + unused_mask
    lengths = kept.sum(dim=-1, dtype=torch.int32)
    used = attention_mask.sum(dim=-1, dtype=torch.int32)
    indices = torch.nonzero(kept.flatten(), as_tuple=False).flatten()
    return (*_unpadded(hidden_states, indices, lengths), used)


def unpad_input_for_concatenated_sequences(
    hidden_states: Tensor, attention_mask_in_length: Tensor
) -> tuple[Tensor, Tensor, Tensor, int]:
    """Take the tokens out of a batch whose rows hold several sequences each.

    Args:
        hidden_states: (batch, length, ...).
        attention_mask_in_length: (batch, length): the lengths of a row's sequences, then zeros.

    Returns:
        The tokens; their places in the flattened batch; where each sequence begins and the last one ends; the length of
        the longest.

    """
    filled = attention_mask_in_length.sum(dim=-1)
    column = torch.arange(attention_mask_in_length.shape[-1], device=filled.device)
    indices = torch.nonzero((column < filled[:, None]).flatten(), as_tuple=False).flatten()
    lengths = attention_mask_in_length.flatten()
    return _unpadded(hidden_states, indices, lengths[torch.nonzero(lengths, as_tuple=True)])


def _unpadded(hidden_states: Tensor, indices: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor, int]:
    starts = functional.pad(torch.cumsum(lengths, dim=0, dtype=torch.int32), (1, 0))
    return hidden_states.flatten(0, 1)[indices], indices, starts, int(lengths.max().item())
