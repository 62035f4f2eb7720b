"""Whether NVIDIA's driver can be here at all: a cheaper question than what it drives, and nothing is loaded for it."""

from __future__ import annotations

import os
import sys
from typing import Final

__all__ = ["is_absent"]

#: The driver's node, WSL's, that of Jetson boards, and the driver's folder; and where distributions put the library,
#: for its first use loads a driver that is not loaded yet.
_SIGNS: Final = (
    *("/dev/nvidiactl", "/dev/dxg", "/dev/nvmap", "/proc/driver/nvidia"),
    "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1",
    "/usr/lib/aarch64-linux-gnu/libnvidia-ml.so.1",
    "/usr/lib64/libnvidia-ml.so.1",
    "/usr/lib/libnvidia-ml.so.1",
    "/run/opengl-driver/lib/libnvidia-ml.so.1",
)


def is_absent() -> bool:
    """Tell that there is nothing of a driver on this Linux; False on other systems, where that is not known."""
    if sys.platform != "linux":
        return False
    folders = os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    libraries = (os.path.join(folder, "libnvidia-ml.so.1") for folder in folders if folder)  # noqa: PTH118 - just looked at
    return not any(map(os.path.exists, (*_SIGNS, *libraries)))
