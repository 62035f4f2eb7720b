"""Stands for a build that has FlashAttention-3's extension."""

_C_flashattention3 = object()
