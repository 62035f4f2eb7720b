"""The libraries of the CUDA toolkit: how binaries name them, and which package brings each."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

from rtx50_autoload.evidence.environment.topic import knowledge

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CudaLibrary", "cuda_library"]

#: The CUDA major version since which NVIDIA's packages share a folder.
_SHARED_SINCE: Final = 13


@dataclass(frozen=True)
class CudaLibrary:
    """A library of the CUDA toolkit, of one version, as a binary names it."""

    soname: str
    #: Below ``nvidia/`` in a folder of packages.
    folder: str
    #: The package on PyPI that brings it, by the CUDA major version.
    packages: Mapping[int, str]

    def package(self, cuda: int | None) -> str:
        """Give the package for a CUDA major version, where several bring the same file; the newest otherwise."""
        return self.packages.get(cuda or 0) or self.packages[max(self.packages)]

    def folder_of(self, package: str) -> str:
        """Give the folder below ``nvidia/`` that a package puts it into; those for CUDA 13 and later share one."""
        cuda = next(major for major, name in self.packages.items() if name == package)
        return self.folder if cuda < _SHARED_SINCE else f"cu{cuda}"


@cache
def _table() -> Mapping[str, CudaLibrary]:
    """By the name in a binary, lower case: ``libcudart.so.12``, ``cudart64_12.dll``."""
    table: dict[str, CudaLibrary] = {}
    for row in knowledge("runtime_libraries")["library"]:
        by_file: dict[str, dict[int, str]] = defaultdict(dict)
        for cuda, version in row["sonames"].items():
            names = [f"{row['name']}.so.{version}"]
            if "dll" in row:
                # cudart64_110.dll, cudart64_12.dll; nvrtc64_120_0.dll and nvJitLink_120_0.dll keep the minor version 0
                digits = version.replace(".", "")
                names += [f"{row['dll']}{digits}.dll", f"{row['dll']}{digits}0_0.dll"]
            for name in names:
                if package := row["packages"].get(cuda):
                    by_file[name][int(cuda)] = package
        table.update({file.lower(): CudaLibrary(file, row["folder"], packages) for file, packages in by_file.items()})
    return table


def cuda_library(name: str) -> CudaLibrary | None:
    """Give the toolkit's library that a binary means; None where it means something else."""
    return _table().get(name.lower())
