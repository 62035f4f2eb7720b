"""What `importlib.metadata` says of the provided flash_attn. Asked at any time, so nothing here imports torch."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from importlib.metadata import DistributionFinder

__all__ = ["VERSION", "StandInDistribution", "find_distributions"]

#: The version of flash_attn whose functions these are; what stands behind the plus sign says whose they truly are.
VERSION = "2.8.3+rtx50.standin"


class StandInDistribution(importlib.metadata.Distribution):
    """What `importlib.metadata` says of the stand-in, where no flash_attn is installed.

    transformers and diffusers ask it for the version before they import anything.
    """

    _FILES = {  # noqa: RUF012 - nobody changes it
        "METADATA": (
            f"Metadata-Version: 2.1\nName: flash-attn\nVersion: {VERSION}\n"
            "Summary: Not flash_attn: rtx50-autoload stands in for it in this process.\n"
        ),
        "top_level.txt": "flash_attn\n",
        "INSTALLER": "rtx50-autoload\n",
    }

    def read_text(self, filename: str) -> str | None:
        """Give the text of a file of the metadata."""
        return self._FILES.get(filename)

    def locate_file(self, path: Any) -> Path:
        """Give where a file would lie; there is none."""
        return Path(__file__).parent.joinpath(path)


def find_distributions(context: DistributionFinder.Context) -> Iterable[importlib.metadata.Distribution]:
    """Give the stand-in's metadata where it is asked for: all of this process's distributions, or this name.

    Who looks into a certain folder, as pip does, is not told of it: it lies in none.
    """
    if "path" in vars(context):
        return ()
    name = context.name
    return [StandInDistribution()] if name is None or name.replace("_", "-").lower() == "flash-attn" else ()
