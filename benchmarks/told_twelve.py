"""Let torch answer 12.0 for every GPU, to everyone: an RTX 50 card as far as Python can see, and none of our package.

For the columns of a benchmark that show what happens without us, or with another package. Compiled code still sees the
card that is there.
"""

from __future__ import annotations

import torch

__all__ = ["pretend"]


def pretend() -> None:
    """Change the two numbers where torch and all libraries read them."""
    properties = torch.cuda._CudaDeviceProperties  # noqa: SLF001 - there is no public name for it
    properties.major = property(lambda _: 12)
    properties.minor = property(lambda _: 0)
