"""Stands for xformers.ops.fmha on an RTX 50 card: float16 has an operator, float32 none, as version 0.0.35 says it."""

import torch

calls = 0

NO_OPERATOR = """No operator found for `memory_efficient_attention_forward` with inputs:
     query       : shape=(1, 16, 2, 40) (torch.float32)
     key         : shape=(1, 16, 2, 40) (torch.float32)
     value       : shape=(1, 16, 2, 40) (torch.float32)
     attn_bias   : <class 'NoneType'>
     p           : 0.0
`fa2F@2.5.7-pt` is not supported because:
    dtype=torch.float32 (supported: {torch.float16, torch.bfloat16})
`cutlassF-pt` is not supported because:
    requires device with capability <= (9, 0) but your GPU has capability (12, 0) (too new)"""


def memory_efficient_attention(
    query,
    key,
    value,
    attn_bias=None,
    p=0.0,
    scale=None,
    *,
    op=None,
    output_dtype=None,
):
    """Attend; (batch, length, heads, head dimension)."""
    global calls
    calls += 1
    if query.dtype == torch.float32:
        raise NotImplementedError(NO_OPERATOR)
    query, key, value = (tensor.transpose(1, 2) for tensor in (query, key, value))
    return torch.nn.functional.scaled_dot_product_attention(query, key, value, scale=scale).transpose(1, 2)
