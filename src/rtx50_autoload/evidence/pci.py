"""What the PCI numbers of the GPUs rule out: the driver need not be asked where none can be a Blackwell.

On Linux, from the folder of the NVIDIA driver in sysfs; to read it starts nothing and takes less than a millisecond.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

__all__ = ["BLACKWELL", "all_are_older_than_blackwell"]

#: The smallest capability of the generation (10.0, data centre; 12.0 is that of RTX 50 cards).
BLACKWELL: Final = (10, 0)
# The list pci.ids of 2023-04-10, from before that generation, names 28e1 as NVIDIA's highest number of all.
_FIRST_NUMBER: Final = 0x2900
#: Holds a link for each device that the driver has.
_BOUND: Final = Path("/sys/bus/pci/drivers/nvidia")


def all_are_older_than_blackwell() -> bool:
    """Tell whether there are GPUs with NVIDIA's driver here, and each is of an earlier generation.

    False where that is not known: on other systems, in WSL, in a container without sysfs, on boards without PCI.
    """
    try:
        numbers = [int((link / "device").read_text(encoding="ascii"), 16) for link in _BOUND.glob("*:*:*.*")]
    except (OSError, ValueError):
        return False
    return bool(numbers) and max(numbers) < _FIRST_NUMBER
