"""Stands for xformers.ops."""

from xformers.ops.fmha import memory_efficient_attention

__all__ = ["memory_efficient_attention"]
