"""Stands for xformers.ops: hands on what `fmha` defines."""

from .fmha import memory_efficient_attention

__all__ = ["memory_efficient_attention"]
