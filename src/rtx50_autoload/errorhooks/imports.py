"""Imports that fail: which are listened to, and whose failure is worth a diagnosis."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["MORE_WATCHED", "imported_by_a_program"]

#: What the import hook listens to once it has been woken, beside what it does from the start: modules of libraries with
#: GPU code in which a failed import ends, and those that bring ways for errors with them. An extension module itself
#: cannot be listened to: the system's loader refuses it before it runs.
MORE_WATCHED = frozenset(
    {
        "IPython.core.interactiveshell",
        "asyncio.base_events",
        "bitsandbytes",
        "causal_conv1d",
        "flash_attn.flash_attn_interface",
        "flash_attn_3",
        "flash_attn_interface",
        "flashinfer",
        "mamba_ssm",
        "sageattention",
        "sgl_kernel",
        "torchaudio",
        "torchvision",
        "transformer_engine",
        "triton",
        "vllm",
        "xformers.ops",
        "xformers.ops.fmha",
    }
)

_FOLDERS_OF_LIBRARIES = ("site-packages", "dist-packages")


def imported_by_a_program() -> bool:
    """Tell whether the import that runs now is one of a program, not of a library.

    Libraries try imports and go on without what fails, every day; a diagnosis would cost time and be read by nobody. An
    error that no library catches comes to us by another way.
    """
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - there is no other way to a caller's frame
    while frame is not None and _belongs_to_the_import(frame.f_globals.get("__name__")):
        frame = frame.f_back
    if frame is None:
        return False
    folders = frame.f_code.co_filename.replace("\\", "/").split("/")
    return not any(folder in folders for folder in _FOLDERS_OF_LIBRARIES)


def _belongs_to_the_import(module: str | None) -> bool:
    """Tell whether a module is part of Python's import, or ours."""
    return module is None or module.partition(".")[0] in {
        "_frozen_importlib",
        "_rtx50_autoload_importlib_bootstrap",
        "_rtx50_autoload_importlib_bootstrap_watching",
        "importlib",
        "rtx50_autoload",
    }
