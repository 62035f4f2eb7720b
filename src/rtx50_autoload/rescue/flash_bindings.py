"""What other libraries take from behind flash_attn's public functions: those of its extension, on torch's kernels.

xformers calls the extension (`flash_attn_interface.flash_attn_gpu`) wherever it finds a flash_attn, and diffusers two
wrapped functions. Only what torch's kernels answer is rendered; here there is no plain way.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import torch

from rtx50_autoload.rescue import flash_kernel
from rtx50_autoload.rescue.errors import CannotRender
from rtx50_autoload.rescue.flash_rules import Rules, check, last_contiguous

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["flash_attn_gpu", "wrapped_backward", "wrapped_forward"]


def _fwd(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor | None,
    alibi_slopes: Tensor | None,
    p_dropout: float,
    softmax_scale: float,
    is_causal: bool,
    window_size_left: int,
    window_size_right: int,
    softcap: float,
    return_softmax: bool,
    gen: object,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    _refuse(out=out, alibi_slopes=alibi_slopes, softcap=softcap, return_softmax=return_softmax, gen=gen)
    rules = Rules(softmax_scale, is_causal, window_size_left, window_size_right, 0.0, None, p_dropout, False)
    check(q, k, v, rules)
    _known(q)
    found, logsumexp, rng_state = flash_kernel.forward(q, k, v, None, None, q.shape[1], k.shape[1], rules, None)
    return found, logsumexp, q.new_empty(0), rng_state


def _varlen_fwd(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor | None,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    seqused_k: Tensor | None,
    leftpad_k: Tensor | None,
    block_table: Tensor | None,
    alibi_slopes: Tensor | None,
    max_seqlen_q: int,
    max_seqlen_k: int,
    p_dropout: float,
    softmax_scale: float,
    zero_tensors: bool,
    is_causal: bool,
    window_size_left: int,
    window_size_right: int,
    softcap: float,
    return_softmax: bool,
    gen: object,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    _refuse(out=out, alibi_slopes=alibi_slopes, softcap=softcap, return_softmax=return_softmax, gen=gen)
    _refuse(leftpad_k=leftpad_k, block_table=block_table, zero_tensors=zero_tensors)
    rules = Rules(softmax_scale, is_causal, window_size_left, window_size_right, 0.0, None, p_dropout, False)
    check(q, k, v, rules)
    _known(q)
    found, logsumexp, rng_state = flash_kernel.forward(
        q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, rules, seqused_k
    )
    return found, logsumexp, q.new_empty(0), rng_state


def _bwd(
    dout: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    softmax_lse: Tensor,
    dq: Tensor | None,
    dk: Tensor | None,
    dv: Tensor | None,
    alibi_slopes: Tensor | None,
    p_dropout: float,
    softmax_scale: float,
    is_causal: bool,
    window_size_left: int,
    window_size_right: int,
    softcap: float,
    deterministic: bool,
    gen: object,
    rng_state: Tensor | None,
) -> tuple[Tensor | None, ...]:
    _refuse(alibi_slopes=alibi_slopes, softcap=softcap, gen=gen)
    rules = Rules(softmax_scale, is_causal, window_size_left, window_size_right, 0.0, None, p_dropout, deterministic)
    saved = (dout, q, k, v, out, softmax_lse)
    return _backward(saved, None, None, q.shape[1], k.shape[1], rules, rng_state, (dq, dk, dv))


def _varlen_bwd(
    dout: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    softmax_lse: Tensor,
    dq: Tensor | None,
    dk: Tensor | None,
    dv: Tensor | None,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    alibi_slopes: Tensor | None,
    max_seqlen_q: int,
    max_seqlen_k: int,
    p_dropout: float,
    softmax_scale: float,
    zero_tensors: bool,
    is_causal: bool,
    window_size_left: int,
    window_size_right: int,
    softcap: float,
    deterministic: bool,
    gen: object,
    rng_state: Tensor | None,
) -> tuple[Tensor | None, ...]:
    _refuse(alibi_slopes=alibi_slopes, softcap=softcap, gen=gen, zero_tensors=zero_tensors)
    rules = Rules(softmax_scale, is_causal, window_size_left, window_size_right, 0.0, None, p_dropout, deterministic)
    saved = (dout, q, k, v, out, softmax_lse)
    return _backward(saved, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, rules, rng_state, (dq, dk, dv))


#: What `flash_attn_2_cuda` is to flash_attn: fwd, varlen_fwd, bwd and varlen_bwd, called by position.
flash_attn_gpu = SimpleNamespace(fwd=_fwd, varlen_fwd=_varlen_fwd, bwd=_bwd, varlen_bwd=_varlen_bwd)


def wrapped_forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    dropout_p: float,
    softmax_scale: float,
    causal: bool,
    window_size_left: int,
    window_size_right: int,
    softcap: float,
    alibi_slopes: Tensor | None,
    return_softmax: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Answer `flash_attn_interface._wrapped_flash_attn_forward`: output, sums, nothing, and the generator's state."""
    q, k, v = last_contiguous(q), last_contiguous(k), last_contiguous(v)
    window = (window_size_left, window_size_right)
    return _fwd(q, k, v, None, alibi_slopes, dropout_p, softmax_scale, causal, *window, softcap, return_softmax, None)


def wrapped_backward(
    dout: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    softmax_lse: Tensor,
    dq: Tensor | None,
    dk: Tensor | None,
    dv: Tensor | None,
    dropout_p: float,
    softmax_scale: float,
    causal: bool,
    window_size_left: int,
    window_size_right: int,
    softcap: float,
    alibi_slopes: Tensor | None,
    deterministic: bool,
    rng_state: Tensor | None = None,
) -> None:
    """Answer `flash_attn_interface._wrapped_flash_attn_backward`: the gradients are written to `dq`, `dk` and `dv`.

    What flash_attn returns beside that, an intermediate sum, is not to be had from torch.
    """
    saved = (dout, q, k, v, out, softmax_lse, dq, dk, dv)
    window = (window_size_left, window_size_right)
    _bwd(*saved, alibi_slopes, dropout_p, softmax_scale, causal, *window, softcap, deterministic, None, rng_state)


def _backward(
    saved: tuple[Tensor, ...],
    starts_q: Tensor | None,
    starts_k: Tensor | None,
    longest_q: int,
    longest_k: int,
    rules: Rules,
    rng_state: Tensor | None,
    into: tuple[Tensor | None, ...],
) -> tuple[Tensor | None, ...]:
    query = saved[1]
    _known(query)
    if not flash_kernel.differentiates(query, rules):
        raise CannotRender("torch's backward kernel does not compute this exactly")
    if rng_state is None:
        if rules.dropout_p > 0.0:
            raise CannotRender("without the state of the generator, nobody knows what was dropped")
        rng_state = torch.empty(2, dtype=torch.int64, device=query.device)
    # The second state was the generator's offset once; the first one holds both now.
    gradients = torch.ops.aten._flash_attention_backward(
        *saved,
        starts_q,
        starts_k,
        longest_q,
        longest_k,
        rules.dropout_p,
        rules.causal,
        rng_state,
        rng_state,
        scale=rules.scale,
        window_size_left=rules.left,
        window_size_right=rules.right,
    )
    found = tuple(
        gradient if own is None else own.copy_(gradient) for own, gradient in zip(into, gradients, strict=True)
    )
    return (*found, None)


def _known(query: Tensor) -> None:
    if not flash_kernel.answers(query):
        raise CannotRender("torch has no FlashAttention kernel for this device")
    if query.shape[-1] % flash_kernel.HEAD_DIM_STEP:
        raise RuntimeError("query, key, value, and out_ must have a head_size that is a multiple of 8")


def _refuse(**given: object) -> None:
    for name, value in given.items():
        # False and numbers up to 0 switch off what they are given for.
        if value is not None and not (isinstance(value, (int, float)) and value <= 0):
            raise CannotRender(f"torch's kernel has nothing like {name}")
