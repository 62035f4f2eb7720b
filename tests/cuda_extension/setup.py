"""Builds a small extension as projects with CUDA code do: for torch's list of GPUs, and without CUDA by default.

What is left out: torch's own headers and libraries, which its builds for the CPU do not bring for CUDA.
"""

import os
import subprocess
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext


class Build(build_ext):
    """Compiles with nvcc where CUDA is wanted."""

    def build_extension(self, ext):
        """Compile one extension."""
        # As in xformers' setup.py: a visible GPU, or somebody who says so.
        import torch  # noqa: PLC0415 - only building needs it

        if not (torch.cuda.is_available() or os.environ.get("FORCE_CUDA") == "1"):
            super().build_extension(ext)
            return
        from torch.utils.cpp_extension import _get_cuda_arch_flags  # noqa: PLC0415

        target = Path(self.get_ext_fullpath(ext.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        nvcc = Path(os.environ["CUDA_HOME"], "bin", "nvcc")
        command = [nvcc, *_get_cuda_arch_flags(), "-shared", "-Xcompiler", "-fPIC", "kernel.cu", "-o", target]
        print(*command, flush=True)  # noqa: T201 - what a build shows
        subprocess.run(command, check=True)


setup(
    packages=["rtx50_example"],
    ext_modules=[Extension("rtx50_example._C", ["plain.c"])],
    cmdclass={"build_ext": Build},
)
