"""What xformers' masks mean, read from their attributes; xformers itself is not imported."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Literal

import torch

from rtx50_autoload.knowledge import read_tables

from .errors import CannotRender
from .varlen import Sequences

if TYPE_CHECKING:
    from .band import Causal, Window

__all__ = ["Meaning", "added_by", "in_pages", "meaning", "sequences", "written_out"]

Tensor = Any

#: The module whose classes the table describes, in all versions since 0.0.20.
_MODULE = "xformers.ops.fmha.attn_bias"

#: A mask that only its class can write out is written out up to so many cells.
_CELLS = 2**28


@dataclass(frozen=True, slots=True)
class Meaning:
    """What one class means."""

    keys: Literal["all", "blocks", "padded", "gappy", "paged", "paged-gappy"]
    causal: Causal | None = None
    window: Literal["size", "sides"] | None = None
    bias: bool = False

    def window_of(self, mask: Any) -> Window | None:
        """Return how many keys left and right of the diagonal this mask lets a query see."""
        if self.window == "size":
            return mask._window_size - 1, 0
        return (mask.window_left, mask.window_right) if self.window == "sides" else None

    @property
    def paged(self) -> bool:
        """Whether the keys lie in pages."""
        return self.keys in ("paged", "paged-gappy")


@cache
def _meanings() -> dict[str, Meaning]:
    tables = read_tables(__package__, "xformers_masks.toml")["mask"]
    return {name: Meaning(**table) for name, table in tables.items()}


# torch.compile cannot look into the reading of a file.
_MEANINGS = _meanings()


def meaning(mask: Any) -> Meaning | None:
    """Return what the class of this mask means, None for a class that is not described."""
    kind = type(mask)
    # It has no effect in 0.0.35; what an earlier version made of it, its class writes out.
    if getattr(mask, "causal_diagonal", None) is not None:
        return None
    return _MEANINGS.get(kind.__name__) if kind.__module__ == _MODULE else None


def added_by(mask: Any) -> Tensor:
    """Return the tensor that a mask adds; up to 0.0.31 such a mask was itself a tensor around another."""
    found = getattr(mask, "_bias", None)
    return mask._subtensor if found is None else found


def sequences(mask: Any, meant: Meaning, queries: int, keys: int) -> Sequences:
    """Return where the sequences of a mask lie, whose keys are not in pages.

    Raises:
        CannotRender: the mask does not belong to so many queries and keys.

    """
    q, k = mask.q_seqinfo, mask.k_seqinfo
    _check_queries(q, queries)
    gaps = meant.keys != "blocks"
    lengths = k.seqlen_py if gaps else [end - start for start, end in zip(k.seqstart_py, k.seqstart_py[1:])]  # noqa: B905 - torch.compile
    if any(start + length > keys for start, length in zip(k.seqstart_py, lengths)):  # noqa: B905 - a start more
        raise CannotRender(f"the mask reaches behind the last of {keys} keys")
    return Sequences(
        starts_q=q.seqstart,
        starts_k=k.seqstart,
        longest_q=q.max_seqlen,
        longest_k=k.max_seqlen,
        used_k=k.seqlen if gaps else None,
        known=(q.seqstart_py, k.seqstart_py, lengths),
    )


def in_pages(mask: Any, meant: Meaning, queries: int) -> tuple[Tensor, Sequences]:
    """Return which of the keys a paged mask uses, sequence after sequence, and where the sequences lie among these.

    Raises:
        CannotRender: the mask does not belong to so many queries, or a graph is being captured.

    """
    q, k = mask.q_seqinfo, mask.k_seqinfo
    _check_queries(q, queries)
    table, size = mask.block_tables, mask.page_size
    if table.is_cuda and torch.cuda.is_current_stream_capturing():
        raise CannotRender("paged keys are collected by numbers that a captured CUDA graph would keep for ever")
    firsts = [0] * len(k.seqlen_py)
    ends = list(k.seqlen_py)
    if meant.keys == "paged-gappy":
        firsts = list(k.seqstart_py[: len(ends)])
        if not _told_by_ends(k):
            ends = [first + length for first, length in zip(firsts, ends)]  # noqa: B905 - of one length
    lengths = [end - first for first, end in zip(firsts, ends)]  # noqa: B905 - likewise
    starts = [0, *accumulate(lengths)]
    device = table.device
    positions = torch.cat([torch.arange(first, end) for first, end in zip(firsts, ends)]).to(device)  # noqa: B905
    owners = torch.repeat_interleave(torch.tensor(lengths)).to(device)
    used = table[owners, positions // size].long() * size + positions % size
    return used, Sequences(
        starts_q=q.seqstart,
        starts_k=torch.tensor(starts, dtype=torch.int32, device=device),
        longest_q=q.max_seqlen,
        longest_k=max(lengths, default=0),
        known=(q.seqstart_py, starts, lengths),
    )


def _told_by_ends(info: Any) -> bool:
    """Tell whether sequences in pages are told by where they end (xformers 0.0.31 and later), and not by their lengths.

    The class that holds them is asked what it would make of one that starts at 1 and has two keys.
    """
    for starts in ([1], [1, 0]):  # versions differ in whether they want the end of all
        try:
            made = type(info).from_seqlens_gappy(starts, [2], paged=True, device=torch.device("cpu"))
        except ValueError:
            continue
        return list(made.seqlen_py) == [3]
    raise CannotRender("it is not known how this version of xformers tells the sequences in pages")


def _check_queries(info: Any, queries: int) -> None:
    if info.seqstart_py[-1] != queries:
        raise CannotRender(f"the mask describes {info.seqstart_py[-1]} queries, but there are {queries}")


def written_out(mask: Any, shape: tuple[int, int, int, int], device: Any) -> Tensor:
    """Let a class that is not described write its mask out, which is its own definition.

    Raises:
        CannotRender: it cannot, or the mask would be too large.

    """
    name = type(mask).__name__
    materialize = getattr(mask, "materialize", None)
    if materialize is None:
        raise CannotRender(f"it is not known what a mask of the class {name} means")
    if torch.Size(shape).numel() > _CELLS:
        raise CannotRender(f"a mask of the class {name} can only be written out, and it would be too large")
    try:
        return materialize(shape, dtype=torch.float32, device=device)
    except Exception as error:
        raise CannotRender(f"a mask of the class {name} could not be written out") from error
