"""Stands for the switch of FlashAttention-3."""

_use_fa3 = True


def _set_use_fa3(use):
    global _use_fa3  # noqa: PLW0603
    _use_fa3 = use


def _get_use_fa3():
    return _use_fa3
