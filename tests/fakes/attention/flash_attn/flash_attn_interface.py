"""Stands for flash_attn.flash_attn_interface: a Python function, an autograd function, a custom operator, a kernel."""

import flash_attn_2_cuda as kernel
import torch


@torch.library.custom_op("rtx50_fake_flashattn::_flash_attn_forward", mutates_args=())
def _flash_attn_forward(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float, causal: bool) -> torch.Tensor:
    return kernel.fwd(q, k, v, scale, causal)


@_flash_attn_forward.register_fake
def _(q, k, v, scale, causal):
    return torch.empty_like(q)


class FlashAttnFunc(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, k, v, scale, causal):
        ctx.save_for_backward(q, k, v)
        ctx.rules = scale, causal
        return _flash_attn_forward(q, k, v, scale, causal)

    @staticmethod
    def backward(ctx, gradient):
        with torch.enable_grad():
            inputs = [tensor.detach().requires_grad_() for tensor in ctx.saved_tensors]
            out = kernel.fwd(*inputs, *ctx.rules)
        return (*torch.autograd.grad(out, inputs, gradient), None, None)


def flash_attn_func(
    q,
    k,
    v,
    dropout_p=0.0,
    softmax_scale=None,
    causal=False,
    window_size=(-1, -1),
    softcap=0.0,
    alibi_slopes=None,
    deterministic=False,
    return_attn_probs=False,
    added_later=None,
):
    """Attend; (batch, length, heads, head dimension)."""
    if q.shape[-1] > 256:
        raise RuntimeError("FlashAttention forward only supports head dimension at most 256")
    return FlashAttnFunc.apply(q, k, v, softmax_scale or q.shape[-1] ** -0.5, causal)


def flash_attn_qkvpacked_func(
    qkv,
    dropout_p=0.0,
    softmax_scale=None,
    causal=False,
    window_size=(-1, -1),
    softcap=0.0,
    alibi_slopes=None,
    deterministic=False,
    return_attn_probs=False,
):
    """Attend to the three parts of one tensor."""
    scale = softmax_scale or qkv.shape[-1] ** -0.5
    return FlashAttnFunc.apply(qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2], scale, causal)
