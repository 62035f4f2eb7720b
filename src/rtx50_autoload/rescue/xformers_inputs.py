"""What xformers does with its arguments before a kernel sees them: the checks, and the layouts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from .kernels import needs_gradient
from .xformers_masks import added_by, meaning

__all__ = ["Inputs"]

Tensor = Any

_LAYOUTS = (3, 4, 5)


@dataclass(slots=True)
class Inputs:
    """The tensors of a call: (B, M, K), (B, M, H, K) or (B, M, G, H, K)."""

    query: Tensor
    key: Tensor
    value: Tensor
    attn_bias: Any
    p: float

    def output_shape(self) -> tuple[int, ...]:
        """Return the shape that the output has."""
        return (*self.query.shape[:-1], self.value.shape[-1])

    def with_heads(self) -> None:
        """Give tensors without heads one."""
        if self.query.ndim not in _LAYOUTS:
            raise ValueError(
                f"Invalid shape for query: {self.query.shape}. Expected shape [batch, seqlen, head_groups, "
                "num_heads_per_group, K], [batch, seqlen, num_heads, K], or [batch, seqlen, K]."
            )
        if self.query.ndim == 3:  # noqa: PLR2004 - (B, M, K)
            self.query, self.key, self.value = (tensor.unsqueeze(2) for tensor in (self.query, self.key, self.value))
            if self._described() is None and isinstance(self.attn_bias, torch.Tensor):
                self.attn_bias = self.attn_bias.unsqueeze(1)

    def added(self) -> Tensor:
        """Return the tensor that is added to the scores, None where none is."""
        described = self._described()
        if described is not None:
            return added_by(self.attn_bias) if described.bias else None
        return self.attn_bias if isinstance(self.attn_bias, torch.Tensor) else None

    def folded(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the tensors as (B, M, H, K), groups folded into heads; expanded heads become one again."""
        query, key, value = self.query, self.key, self.value
        # The gradient of what was expanded belongs to each of its heads.
        shared = not needs_gradient(key, value)
        if query.ndim == 5:  # noqa: PLR2004 - (B, M, G, H, K)
            if shared and key.stride(3) == 0 and value.stride(3) == 0:
                key, value = key[:, :, :, 0], value[:, :, :, 0]
            else:
                key, value = key.flatten(2, 3), value.flatten(2, 3)
            return query.flatten(2, 3), key, value
        if shared and key.shape[2] and key.stride(2) == 0 and value.stride(2) == 0:
            key, value = key[:, :, :1], value[:, :, :1]
        return query, key, value

    def _described(self) -> Any:
        return None if self.attn_bias is None else meaning(self.attn_bias)

    def check(self) -> None:
        """Raise the ValueError that xformers raises."""
        query, tensors = self.query, (self.query, self.key, self.value)
        if query.ndim not in _LAYOUTS or any(tensor.ndim != query.ndim for tensor in tensors):
            raise ValueError(f"Query/Key/Value should all have BMGHK, BMHK or BMK shape.\n{self._shapes()}")
        if any(tensor.device != query.device for tensor in tensors):
            raise ValueError("Query/Key/Value should all be on the same device")
        described = self._described()
        if described is not None and described.keys != "all":
            self._check_sequences(described.keys == "blocks")
        if any(tensor.dtype != query.dtype for tensor in tensors):
            raise ValueError(
                "Query/Key/Value should either all have the same dtype, or (in the quantized case) Key/Value should "
                f"have dtype torch.int32\n  query.dtype: {query.dtype}\n  key.dtype  : {self.key.dtype}\n"
                f"  value.dtype: {self.value.dtype}"
            )
        self._check_bias()
        if self.p < 0.0 or self.p > 1.0:
            raise ValueError(f"Invalid dropout probability: p={self.p}")
        self._check_shapes()

    def _check_sequences(self, one_behind_the_other: bool) -> None:
        bias_device = self.attn_bias.q_seqinfo.seqstart.device
        if bias_device != self.query.device:
            raise ValueError(
                "Attention bias and Query/Key/Value should be on the same device\n"
                f"  query.device: {self.query.device}\n  attn_bias   : {bias_device}\n"
            )
        if one_behind_the_other and any(tensor.shape[0] != 1 for tensor in (self.query, self.key, self.value)):
            raise ValueError(f"Expected batch_size=1 when using block-diagonal bias\n{self._shapes()}")

    def _check_bias(self) -> None:
        query, bias = self.query, self.added()
        name = type(self.attn_bias).__name__
        # One head was not asked for, so that a mask has no place for it; a plain tensor and the plain triangle have.
        plain = self.attn_bias is None or name == "LowerTriangularMask" or self._described() is None
        if query.ndim == 3 and not plain:  # noqa: PLR2004 - (B, M, K)
            raise ValueError(f"Please provide inputs in BMHK format rather than BMK when using bias type `{name}`")
        if query.ndim == 4 and bias is not None:  # noqa: PLR2004 - (B, M, H, K)
            expected = (query.shape[0], query.shape[2], query.shape[1], self.key.shape[1])
            if tuple(bias.shape) != expected:
                raise ValueError(
                    f"Invalid shape for attention bias: {bias.shape} (expected {expected})\n{self._shapes()}"
                )

    def _check_shapes(self) -> None:
        # As xformers: the batch of the key counts, and the heads of the query.
        batch, heads, width = self.key.shape[0], tuple(self.query.shape[2:-1]), self.query.shape[-1]
        expected = (
            (batch, self.query.shape[1], *heads, width),
            (batch, self.key.shape[1], *heads, width),
            (batch, self.key.shape[1], *heads, self.value.shape[-1]),
        )
        if tuple(tuple(tensor.shape) for tensor in (self.query, self.key, self.value)) != expected:
            raise ValueError(
                f"Incompatible shapes for attention inputs:\n{self._shapes()}\n"
                "HINT: We don't support broadcasting, please use `expand` yourself before calling "
                "`memory_efficient_attention` if you need to"
            )

    def _shapes(self) -> str:
        return f"  query.shape: {self.query.shape}\n  key.shape  : {self.key.shape}\n  value.shape: {self.value.shape}"
