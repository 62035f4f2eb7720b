"""Whether NVIDIA's driver is here at all: a cheaper question than what it drives."""

from __future__ import annotations

import sys

__all__ = ["is_absent"]


def is_absent() -> bool:
    """Tell that there is no management library to ask. To load it starts nothing; False where that is not Linux."""
    if sys.platform != "linux":
        return False
    import ctypes  # noqa: PLC0415 - not before it is needed

    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return True
    return False
