"""What one call of flash_attn asks for: the numbers behind its arguments, and what flash_attn itself would refuse."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from rtx50_autoload.rescue.errors import CannotRender

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Rules", "check", "check_packed", "last_contiguous", "rules", "visible_window"]

#: flash_attn's kernels are compiled for head dimensions up to this one.
_LARGEST_HEAD_DIM = 256


# Not a dataclass: Dynamo, which traces through it, knows tuples in every version.
class Rules(NamedTuple):
    """How the scores become weights.

    Attributes:
        left: how many keys to the left of its own position a query sees; negative for all.
        right: likewise to the right.
        softcap: 0 or less for none.
        alibi_slopes: by head, or by batch and head.

    """

    scale: float
    causal: bool
    left: int
    right: int
    softcap: float
    alibi_slopes: Tensor | None
    dropout_p: float
    deterministic: bool


def rules(
    query: Tensor,
    softmax_scale: float | None,
    causal: bool,
    window_size: tuple[int, int],
    softcap: float,
    alibi_slopes: Tensor | None,
    dropout_p: float = 0.0,
    deterministic: bool = False,
    return_attn_probs: bool = False,
) -> Rules:
    """Take the arguments that most functions of flash_attn share.

    Raises:
        CannotRender: the weights themselves are asked for.
        RuntimeError: flash_attn would refuse the combination.

    """
    if return_attn_probs:
        raise CannotRender(
            "return_attn_probs=True asks for the kernel's own form of weights and dropout, which nothing in torch gives"
        )
    if not 0.0 <= dropout_p < 1.0:
        raise RuntimeError("dropout_p must be at least 0 and less than 1")
    if softcap > 0.0 and dropout_p > 0.0:
        raise RuntimeError("Softcapping does not support dropout for now")
    # The kernel pads the head dimension; the default belongs to what the caller sees.
    scale = query.shape[-1] ** -0.5 if softmax_scale is None else softmax_scale
    left, right = window_size
    return Rules(scale, causal, left, right, softcap, alibi_slopes, dropout_p, deterministic)


def visible_window(rules: Rules, longest_query: int, longest_key: int) -> tuple[int, int]:
    """Give the window as flash_attn's kernel applies it.

    A side that reaches over all keys counts as unlimited, and a limited left side makes the right one as long as the
    keys. So where there are more queries than keys, the window is not quite the documented one; this is the kernel's.
    """
    left, right, causal = rules.left, rules.right, rules.causal
    if left >= longest_key:
        left = -1
    if right >= longest_key:
        right = -1
    if longest_query == 1 and rules.alibi_slopes is None:
        causal = False
    if causal:
        right = 0
    if left >= 0 and right < 0:
        right = longest_key
    return left, right


def last_contiguous(tensor: Tensor) -> Tensor:
    """Give the tensor with its last dimension contiguous, as flash_attn does with what it is given."""
    return tensor if tensor.stride(-1) == 1 else tensor.contiguous()


def check(query: Tensor, key: Tensor, value: Tensor, rules: Rules) -> None:
    """Refuse what flash_attn refuses, with the same type of error and in its words.

    The CPU is not refused, although flash_attn has no code for it: the tests run there.

    Raises:
        RuntimeError: flash_attn would refuse these tensors.

    """
    if query.dtype not in (torch.float16, torch.bfloat16):
        raise RuntimeError("FlashAttention only support fp16 and bf16 data type")
    if key.dtype != query.dtype:
        raise RuntimeError("query and key must have the same dtype")
    if value.dtype != query.dtype:
        raise RuntimeError("query and value must have the same dtype")
    if key.device != query.device or value.device != query.device:
        raise RuntimeError("query, key and value must be on the same device")
    if query.shape[-1] > _LARGEST_HEAD_DIM:
        raise RuntimeError("FlashAttention forward only supports head dimension at most 256")
    if key.shape[-1] != query.shape[-1] or value.shape != key.shape:
        raise RuntimeError("query, key and value must have the same head dimension, and key and value the same shape")
    if query.shape[-2] % key.shape[-2] != 0:
        raise RuntimeError("Number of heads in key/value must divide number of heads in query")
    slopes = rules.alibi_slopes
    if slopes is not None and (slopes.dtype != torch.float32 or slopes.shape[-1] != query.shape[-2]):
        raise RuntimeError("ALiBi slopes must have dtype fp32 and one value for each head of the query")


def check_packed(cu_seqlens_q: Tensor, cu_seqlens_k: Tensor) -> None:
    """Refuse borders of sequences that flash_attn refuses; what they hold is on the device and is not looked at.

    Raises:
        RuntimeError: flash_attn would refuse them.

    """
    if cu_seqlens_q.dtype != torch.int32:
        raise RuntimeError("cu_seqlens_q must have dtype int32")
    if cu_seqlens_k.dtype != torch.int32:
        raise RuntimeError("cu_seqlens_k must have dtype int32")
    if not (cu_seqlens_q.is_contiguous() and cu_seqlens_k.is_contiguous()):
        raise RuntimeError("cu_seqlens_q and cu_seqlens_k must be contiguous")
    if cu_seqlens_q.numel() <= 1:
        raise RuntimeError("batch size must be positive")
    if cu_seqlens_q.shape != cu_seqlens_k.shape:
        raise RuntimeError("cu_seqlens_q and cu_seqlens_k must have the same shape")
