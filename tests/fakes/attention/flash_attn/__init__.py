"""Stands for flash_attn 2.8: its functions, with an extension of our own (flash_attn_2_cuda.py) behind them."""

__version__ = "2.8.3"

from flash_attn.flash_attn_interface import flash_attn_func, flash_attn_qkvpacked_func

__all__ = ["flash_attn_func", "flash_attn_qkvpacked_func"]
