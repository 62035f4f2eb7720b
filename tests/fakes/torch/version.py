"""What torch's build writes here."""

import os

__version__ = "2.13.0"
debug = False
cuda = "13.0" if "FAKE_TORCH_DEVICES" in os.environ else None
git_version = "0" * 40
hip = None
rocm = None
xpu = None
