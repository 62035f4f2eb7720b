"""Ask torchruntime which variant of torch a machine should have; `peers.py` runs this, as torchruntime looks at itself.

What is faked: the system, the processor, the Python, and that the graphics cards were found. Their names are those of
torchruntime's own table; the answer is its own.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from pathlib import Path
from typing import NamedTuple

from torchruntime import device_db, platform_detection


class Version(NamedTuple):
    """What `sys.version_info` is compared as."""

    major: int
    minor: int


def find(name: str) -> device_db.GPU | None:
    """Find a card by its marketing name in the table of PCI devices."""
    database = sqlite3.connect(Path(device_db.__file__).with_name(device_db.DEVICE_DB_FILE))
    short = name.removeprefix("NVIDIA ").removeprefix("AMD ").removeprefix("Intel ").lower()
    laptop = short.replace(" laptop gpu", "")
    ends = (f"[{short}]", f"[{short.removeprefix('geforce ')}]", f"[{laptop} mobile]", f"[{laptop} max-q / mobile]")
    query = "SELECT vendor_id, vendor_name, device_id, device_name, is_discrete FROM pci_ids"
    for *row, discrete in database.execute(query):
        if any(end in row[3].lower() for end in ends):
            return device_db.GPU(*row, bool(discrete))
    return None


def main() -> None:
    """Read a question from stdin and print the variant."""
    question = json.load(sys.stdin)
    gpus = [find(name) for name in question["gpus"]]
    if None in gpus:
        sys.exit("does not know the GPU")
    platform_detection.os_name = question["system"]
    platform_detection.arch = question["processor"]
    platform_detection.py_version = Version(*question["python"])
    print(platform_detection.get_torch_platform(gpus))


if __name__ == "__main__":
    main()
