"""Attention on packed sequences of various lengths, (T, H, K) tensors, by the fastest of torch's ways that is exact."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch

from . import kernels
from .dense import attend, attend_with_lse, connected_zeros, without_autocast

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .band import Causal, Window

__all__ = ["Sequences", "attend_varlen", "attend_varlen_with_lse"]

Tensor = Any


@dataclass(frozen=True, slots=True)
class Sequences:
    """Where the sequences lie among the packed queries and keys.

    Attributes:
        starts_q: (S + 1,) int32 on the device: where each sequence's queries start, and the end of the last.
        starts_k: likewise for the keys; with `used_k` a sequence need not reach to the start of the next.
        longest_q: not less than the number of queries of any sequence.
        longest_k: likewise for the keys.
        used_k: (S,) int32 on the device: how many keys each sequence has, where that is less than `starts_k` says.
        known: starts of the queries, starts of the keys, numbers of keys, where they are known without asking the
            device: (S + 1), (S or S + 1) and (S) numbers.

    """

    starts_q: Tensor
    starts_k: Tensor
    longest_q: int
    longest_k: int
    used_k: Tensor = None
    known: tuple[Sequence[int], Sequence[int], Sequence[int]] | None = None

    def spans(self) -> Iterator[tuple[slice, slice]]:
        """Yield the queries and the keys of each sequence; waits for the device where the numbers are not known."""
        if self.known is not None:
            starts_q, starts_k, used = self.known
        else:
            starts_q, starts_k = self.starts_q.tolist(), self.starts_k.tolist()
            used = [end - start for start, end in pairwise(starts_k)] if self.used_k is None else self.used_k.tolist()
        for number, count in enumerate(used):
            yield slice(starts_q[number], starts_q[number + 1]), slice(starts_k[number], starts_k[number] + count)


@dataclass(frozen=True, slots=True)
class _Mask:
    causal: Causal | None
    window: Window | None

    def flash_window(self, sequences: Sequences) -> tuple[int, int] | None:
        """Return the window as flash's kernel takes it, None where its rendering would not be exact for every sequence.

        The kernel drops a limit that reaches as far as the longest sequence of keys, although it may have an effect
        where a sequence has more queries than keys, and knows no diagonal from the top left.
        """
        if self.causal == "top-left" and not _squares(sequences):
            return None
        left, right = (-1 if limit is None or limit < 0 else limit for limit in self.window or (-1, -1))
        if self.causal is not None:
            return left, 0
        last = max(sequences.longest_q - 1, 0)
        if right >= last or right < 0:
            # No limit to the right: told as one that has no effect, lest the kernel makes up one of its own.
            right = -1 if left < 0 else last
        return None if right >= sequences.longest_k else (left, right)

    def mask_type(self, sequences: Sequences) -> int | None:
        """Return the mask as the memory-efficient kernel calls it, None for what it does not have."""
        if (
            sequences.known is None
            or sequences.used_k is not None
            or any(limit is not None and limit >= 0 for limit in self.window or ())
        ):
            return None
        lengths = [(rows.stop - rows.start, keys.stop - keys.start) for rows, keys in sequences.spans()]
        fewest = min(columns - (rows if self.causal == "bottom-right" else 1) for rows, columns in lengths)
        # A query that sees no key is not left to this kernel.
        if fewest < 0:
            return None
        return {None: 0, "top-left": 1, "bottom-right": 2}[self.causal]


def _squares(sequences: Sequences) -> bool:
    """Tell whether every sequence has as many queries as keys, without asking the device."""
    if sequences.used_k is None and sequences.starts_q is sequences.starts_k:
        return True
    if sequences.known is None:
        return False
    return all(rows.stop - rows.start == keys.stop - keys.start for rows, keys in sequences.spans())


def attend_varlen(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    sequences: Sequences,
    *,
    scale: float | None = None,
    causal: Causal | None = None,
    window: Window | None = None,
    softcap: float = 0.0,
    alibi_slopes: Tensor = None,
    dropout: float = 0.0,
    output_dtype: Any = None,
) -> Tensor:
    """Compute attention within each sequence, as `attend` does it.

    Args:
        query: (T, H, K), the sequences one behind the other.
        key: (U, G, K).
        value: (U, G, V).
        sequences: where they lie.
        scale: as for `attend`, like all that follows.
        causal: the same.
        window: the same.
        softcap: the same.
        alibi_slopes: (H,) or (S, H).
        dropout: the same.
        output_dtype: the same.

    Returns:
        (T, H, V), contiguous; zeros for a query that sees no key.

    """
    options = _options(query, scale, softcap, alibi_slopes, dropout, output_dtype)
    return _attend_varlen(query, key, value, sequences, _Mask(causal, window), options, with_lse=False)[0]


def attend_varlen_with_lse(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    sequences: Sequences,
    *,
    scale: float | None = None,
    causal: Causal | None = None,
    window: Window | None = None,
    softcap: float = 0.0,
    alibi_slopes: Tensor = None,
    dropout: float = 0.0,
    output_dtype: Any = None,
) -> tuple[Tensor, Tensor]:
    """Compute attention as `attend_varlen` does, and the logarithms of the sums: (H, T), inf where no key is seen."""
    options = _options(query, scale, softcap, alibi_slopes, dropout, output_dtype)
    out, lse = _attend_varlen(query, key, value, sequences, _Mask(causal, window), options, with_lse=True)
    return out, lse.detach()


def _options(
    query: Tensor, scale: float | None, softcap: float, alibi_slopes: Tensor, dropout: float, output_dtype: Any
) -> dict[str, Any]:
    return {
        "scale": float(query.shape[-1] ** -0.5 if scale is None else scale),
        "softcap": softcap,
        "alibi_slopes": alibi_slopes,
        "dropout": dropout,
        "output_dtype": None if output_dtype == query.dtype else output_dtype,
    }


def _attend_varlen(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    sequences: Sequences,
    mask: _Mask,
    options: dict[str, Any],
    *,
    with_lse: bool,
) -> tuple[Tensor, Tensor]:
    if not (query.numel() and key.numel()):
        total, heads = query.shape[:2]
        dtype = options["output_dtype"] or query.dtype
        out = connected_zeros((total, heads, value.shape[-1]), dtype, query, key, value)
        exact = torch.float64 if query.dtype == torch.float64 else torch.float32
        return out, torch.full((heads, total), torch.inf, dtype=exact, device=query.device)
    with without_autocast(query.device):
        if not options["softcap"] and options["output_dtype"] is None:
            answer = _by_a_kernel(query, key, value, sequences, mask, options, with_lse=with_lse)
            if answer is not None:
                return answer
        return _one_by_one(query, key, value, sequences, mask, options, with_lse=with_lse)


def _by_a_kernel(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    sequences: Sequences,
    mask: _Mask,
    options: dict[str, Any],
    *,
    with_lse: bool,
) -> tuple[Tensor, Tensor] | None:
    scale, dropout, slopes = options["scale"], options["dropout"], options["alibi_slopes"]
    one = (query[None], key[None], value[None])
    starts = (sequences.starts_q, sequences.starts_k)
    longest = (sequences.longest_q, sequences.longest_k)
    # torch's backward pass of flash's kernel knows neither slopes nor keys that are not used.
    forward_alone = slopes is not None or sequences.used_k is not None
    window = mask.flash_window(sequences)
    if (
        window
        and not (forward_alone and kernels.needs_gradient(query, key, value))
        and kernels.can_be_flash(*one, dropout)
    ):
        out, lse = kernels.flash(
            query,
            key,
            value,
            scale=scale,
            causal=mask.causal is not None,
            window=window,
            dropout=dropout,
            alibi_slopes=slopes,
            starts=starts,
            longest=longest,
            used_keys=sequences.used_k,
        )
        return out.contiguous(), _packed(lse, sequences, query.shape[0]) if with_lse else lse
    mask_type = mask.mask_type(sequences)
    if slopes is None and mask_type is not None and kernels.can_be_efficient(*one, dropout):
        out, lse = kernels.efficient(
            *one, scale=scale, mask_type=mask_type, dropout=dropout, with_lse=with_lse, starts=starts, longest=longest
        )
        return out[0].contiguous(), _packed(lse, sequences, query.shape[0]) if with_lse else lse
    return None


def _packed(lse: Tensor, sequences: Sequences, total: int) -> Tensor:
    """Bring (S, H, longest) into the (H, T) that newer kernels return themselves."""
    if lse.dim() == 2:  # noqa: PLR2004 - packed already
        return lse
    tokens = torch.arange(total, device=lse.device)
    sequence = torch.searchsorted(sequences.starts_q[1:].long(), tokens, right=True)
    return lse[sequence, :, tokens - sequences.starts_q.long()[sequence]].transpose(0, 1)


def _one_by_one(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    sequences: Sequences,
    mask: _Mask,
    options: dict[str, Any],
    *,
    with_lse: bool,
) -> tuple[Tensor, Tensor]:
    slopes = options["alibi_slopes"]
    outs, sums = [], []
    for number, (rows, columns) in enumerate(sequences.spans()):
        own = {**options, "alibi_slopes": slopes if slopes is None or slopes.dim() == 1 else slopes[number][None]}
        parts = (query[None, rows], key[None, columns], value[None, columns])
        if with_lse:
            out, lse = attend_with_lse(*parts, causal=mask.causal, window=mask.window, **own)
            sums.append(lse[0])
        else:
            out = attend(*parts, causal=mask.causal, window=mask.window, **own)
        outs.append(out[0])
    return torch.cat(outs), torch.cat(sums, dim=1) if with_lse else None
