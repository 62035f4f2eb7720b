"""Whether NVIDIA's driver can be here at all: a cheaper question than what it drives, and nothing is loaded for it."""

from __future__ import annotations

import os
import sys
from typing import Final

__all__ = ["is_absent"]

#: One of these is there where a program can reach a GPU: the driver's node, WSL's, that of Jetson boards, its folder.
_SIGNS: Final = ("/dev/nvidiactl", "/dev/dxg", "/dev/nvmap", "/proc/driver/nvidia")


def is_absent() -> bool:
    """Tell that there is nothing of a driver on this Linux; False on other systems, where that is not known."""
    if sys.platform != "linux":
        return False
    folders = os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    libraries = (os.path.join(folder, "libnvidia-ml.so.1") for folder in folders if folder)  # noqa: PTH118 - just looked at
    return not any(map(os.path.exists, (*_SIGNS, *libraries)))
