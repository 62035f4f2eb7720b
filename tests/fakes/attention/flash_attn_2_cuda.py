"""Stands for flash_attn's compiled extension: computes, or fails as it does where it holds no code for the GPU.

`calls` counts. `errors` gives, by dtype and then in general (None), what is raised instead; a list is used up.
"""

import torch

NO_IMAGE = (
    "CUDA error: no kernel image is available for execution on the device\n"
    "CUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace below might be "
    "incorrect.\nFor debugging consider passing CUDA_LAUNCH_BLOCKING=1\n"
    "Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.\n"
)

calls = 0
errors = {}


def fwd(q, k, v, scale, causal):
    global calls
    calls += 1
    error = errors.get(q.dtype, errors.get(None))
    if isinstance(error, list):
        error = error.pop(0) if error else None
    if error is not None:
        raise error if isinstance(error, Exception) else RuntimeError(error)
    scores = torch.einsum("bqhd,bkhd->bhqk", q.float(), k.float()) * scale
    if causal:
        hidden = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        scores = scores.masked_fill(hidden, float("-inf"))
    return torch.einsum("bhqk,bkhd->bqhd", scores.softmax(-1), v.float()).to(q.dtype).contiguous()
