"""torch's own attention kernels, each behind the question of whether it can do the work.

What a kernel can do is asked of torch, which looks at the device itself and honours `torch.nn.attention.sdpa_kernel`;
the reported compute capability, which the masquerade may change, is not asked.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch.nn import functional

__all__ = ["aligned", "as_many_heads", "can_be_efficient", "can_be_flash", "efficient", "flash", "needs_gradient"]

Tensor = Any

#: What the calls below hand over by name.
_FLASH_OPTIONS = {"scale", "window_size_left", "window_size_right", "seqused_k", "alibi_slopes"}

_FLASH_DTYPES = (torch.float16, torch.bfloat16)

#: The widths of a head up to which flash's kernel has the same limits, on each device; it has none wider.
_FLASH_WIDTHS = (192, 224, 256)

#: The kernels read 16 bytes at once.
_BYTES = 16


@cache
def _options(name: str) -> frozenset[str]:
    operator = getattr(torch.ops.aten, name, None)
    if operator is None:
        return frozenset()
    return frozenset(argument.name for argument in operator.default._schema.arguments)


@cache
def _more_parameters() -> tuple[bool, ...]:
    tensor = torch.empty(1, 1, 1, 8)
    try:
        torch.backends.cuda.SDPAParams(tensor, tensor, tensor, None, 0.0, False, False)
    except TypeError:  # torch 2.4 knows no grouped heads
        return ()
    return (False,)


# The answers have to be there before torch.compile looks at what follows.
_FLASH_KNOWN = _options("_flash_attention_forward") >= _FLASH_OPTIONS
_EFFICIENT_KNOWN = _options("_efficient_attention_forward") >= {"scale", "compute_log_sumexp"}
_MORE_PARAMETERS = _more_parameters()


def needs_gradient(*tensors: Tensor) -> bool:
    """Tell whether a gradient will be asked of any of these."""
    return torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors)


def aligned(tensor: Tensor) -> Tensor:
    """Return the tensor laid out so that a kernel can read 16 bytes at once, copied only if it is not."""
    unit = _BYTES // tensor.element_size()
    # torch.compile cannot trace where a tensor starts; neither do the libraries ask.
    start = 0 if torch.compiler.is_compiling() else tensor.storage_offset()
    if tensor.stride(-1) == 1 and start % unit == 0 and all(stride % unit == 0 for stride in tensor.stride()[:-1]):
        return tensor
    return tensor.clone(memory_format=torch.contiguous_format)


def as_many_heads(tensor: Tensor, heads: int) -> Tensor:
    """Repeat the heads of keys or values (…, H, K) for grouped queries; without a copy where there is one head."""
    own = tensor.shape[-2]
    if own == heads:
        return tensor
    if own == 1:
        return tensor.expand(*tensor.shape[:-2], heads, tensor.shape[-1])
    return tensor.repeat_interleave(heads // own, dim=-2)


#: What torch has answered, by all that the answers depend on.
_ANSWERS: dict[tuple[Any, ...], bool] = {}


# torch.compile cannot trace the question, but can put it while it traces: what it depends on is no tensor.
@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator, unused-ignore]
def _answer(kernel: str, device: Any, dtype: Any, width: int, gradient: bool, drops: bool) -> bool:
    backends = torch.backends.cuda
    enabled = backends.flash_sdp_enabled() if kernel == "flash" else backends.mem_efficient_sdp_enabled()
    question = (kernel, device, dtype, width, gradient, drops, enabled)
    if question not in _ANSWERS:
        # Neither the lengths nor the heads matter: which mask is asked of the kernel is decided here, not there.
        tensor = torch.empty(1, 1, 8, width, device=device, dtype=dtype, requires_grad=gradient)
        parameters = backends.SDPAParams(tensor, tensor, tensor, None, 0.5 if drops else 0.0, False, *_MORE_PARAMETERS)
        can = backends.can_use_flash_attention if kernel == "flash" else backends.can_use_efficient_attention
        _ANSWERS[question] = bool(can(parameters, False))
    return _ANSWERS[question]


def can_be_flash(query: Tensor, key: Tensor, value: Tensor, dropout: float) -> bool:
    """Tell whether flash's kernel takes these (B, M, H, K) tensors, masks aside."""
    if not _FLASH_KNOWN or query.device.type != "cuda" or query.dtype not in _FLASH_DTYPES:
        return False
    width = max(query.shape[-1], value.shape[-1])
    if width > _FLASH_WIDTHS[-1]:
        return False
    # Only above these widths does an answer depend on it; a width itself may be none yet while torch.compile traces.
    told = next(bound for bound in _FLASH_WIDTHS if width <= bound)
    gradient = needs_gradient(query, key, value)
    # The backward kernel does not fit into the shared memory of an RTX card there, which not every torch knows.
    if gradient and told > _FLASH_WIDTHS[0] and (told < _FLASH_WIDTHS[-1] or dropout):
        return False
    return bool(_answer("flash", query.device, query.dtype, told, gradient, dropout > 0.0))


def _rounded(width: int) -> int:
    return -(-width // 8) * 8


def _as_wide(tensor: Tensor, width: int) -> Tensor:
    missing = _rounded(width) - tensor.shape[-1]
    return functional.pad(tensor, (0, missing)) if missing else tensor


def flash(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    scale: float,
    causal: bool,
    window: tuple[int, int],
    dropout: float,
    alibi_slopes: Tensor = None,
    starts: tuple[Tensor, Tensor] = (None, None),
    longest: tuple[int, int] | None = None,
    used_keys: Tensor = None,
) -> tuple[Tensor, Tensor]:
    """Call flash's kernel: on (B, M, H, K) tensors, or with `starts` and `longest` on packed (T, H, K) ones.

    The diagonal ends at the last query and key. Zeros that widen a head change no product, so that heads of any width
    and values of another width are exact.

    Returns:
        The output in the layout of the query, and the logarithms of the sums: (B, H, M), or (H, T) where packed; inf
        where a query saw no key.

    """
    out_width = value.shape[-1]
    width = max(query.shape[-1], out_width)
    query, key, value = (aligned(_as_wide(tensor, width)) for tensor in (query, key, value))
    longest_q, longest_k = longest or (query.shape[1], key.shape[1])
    out, lse, *_ = torch.ops.aten._flash_attention_forward(
        query,
        key,
        value,
        *starts,
        longest_q,
        longest_k,
        dropout,
        causal,
        False,  # return_debug_mask
        scale=scale,
        window_size_left=window[0],
        window_size_right=window[1],
        seqused_k=used_keys,
        alibi_slopes=None if alibi_slopes is None else alibi_slopes.float(),
    )
    return out[..., :out_width], lse


def can_be_efficient(query: Tensor, key: Tensor, value: Tensor, dropout: float) -> bool:
    """Tell whether the memory-efficient kernel takes these (B, M, H, K) tensors, masks aside."""
    if not _EFFICIENT_KNOWN or query.device.type != "cuda":
        return False
    # The kernel wants a width that is a multiple of what it reads at once.
    told = 8 if query.shape[-1] % 8 == 0 and value.shape[-1] % 8 == 0 else 4
    if told != 8 and (query.shape[-1] % 4 or value.shape[-1] % 4):  # noqa: PLR2004 - the widths told
        return False
    gradient = needs_gradient(query, key, value)
    return bool(_answer("efficient", query.device, query.dtype, told, gradient, dropout > 0.0))


def efficient(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    scale: float,
    mask_type: int,
    dropout: float,
    with_lse: bool,
    starts: tuple[Tensor, Tensor] = (None, None),
    longest: tuple[int | None, int | None] = (None, None),
) -> tuple[Tensor, Tensor]:
    """Call the memory-efficient kernel on (B, M, H, K) tensors; packed sequences have B = 1, `starts` and `longest`.

    Args:
        query: the queries.
        key: the keys, of any number of heads that divides the queries'.
        value: the values.
        scale: by which the products are multiplied.
        mask_type: 0 for none, 1 for causal from the top left, 2 for causal to the bottom right.
        dropout: the probability.
        with_lse: whether the logarithms of the sums are wanted.
        starts: where each sequence starts among the queries and the keys.
        longest: the lengths of the longest sequence of queries and of keys.

    Returns:
        The output in the layout of the query, and the logarithms of the sums, (B, H, M) with M rounded up.

    """
    heads = query.shape[2]
    query, key, value = (aligned(tensor) for tensor in (query, as_many_heads(key, heads), as_many_heads(value, heads)))
    out, lse, *_ = torch.ops.aten._efficient_attention_forward(
        query,
        key,
        value,
        None,
        *starts,
        *longest,
        dropout,
        mask_type,
        with_lse or needs_gradient(query, key, value),
        scale=scale,
    )
    return out, lse
