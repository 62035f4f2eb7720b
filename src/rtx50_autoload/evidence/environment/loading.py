"""What is loaded when the packages of the AI stack are used, and what of it is not found.

Linux: what `dlopen` would do is followed from the dynamic sections of the files, after what ``import torch`` has loaded
by then. Windows: the import tables are compared with the folders that torch and Python hand to the loader.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rtx50_autoload.evidence.environment.cuda_libraries import cuda_library
from rtx50_autoload.evidence.environment.loader import Loader, expand, linkage_of
from rtx50_autoload.evidence.environment.topic import knowledge
from rtx50_autoload.evidence.pe_imports import read_imports
from rtx50_autoload.evidence.positioned import MalformedError, open_source

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from rtx50_autoload.evidence.environment.place import Place
    from rtx50_autoload.evidence.environment.stack import Stack, Torch

__all__ = ["TORCH_CUDA", "Lack", "bitsandbytes_binary", "compare", "follow", "load"]

#: Parts of torch's CUDA builds, absent from its builds for the CPU.
TORCH_CUDA: Final = ("libc10_cuda.so", "libtorch_cuda.so", "c10_cuda.dll", "torch_cuda.dll")

_BITSANDBYTES: Final = re.compile(r"libbitsandbytes_cuda(\d+)\.(?:so|dll)")


@dataclass(frozen=True)
class Lack:
    """Something that one binary needs and does not find."""

    package: str
    binary: Path
    name: str
    #: What the same binary needs besides: tells its CUDA version.
    beside: tuple[str, ...]


def follow(place: Place, stack: Stack) -> tuple[list[Lack], dict[str, Path]]:
    """Follow what Linux would load: what is not found, and what is, by name."""
    loader = Loader(place)
    loaded: dict[str, Path] = {}
    lacks: list[Lack] = []
    # torch first: what it has loaded satisfies the others by name.
    binaries = list(_binaries(place, stack))
    for package, binary in binaries:
        if package == "torch":
            lacks += load(loader, package, binary, loaded)
    if stack.torch:
        _preload(place, stack.torch, loader, loaded)
    for package, binary in binaries:
        if package != "torch":
            lacks += load(loader, package, binary, loaded)
    return [lack for lack in lacks if lack.name not in loaded], loaded


def load(loader: Loader, package: str, binary: Path, loaded: dict[str, Path]) -> Iterator[Lack]:
    """Add what loading one binary loads, in the loader's order: breadth first."""
    queue: list[tuple[Path, tuple[Path, ...]]] = [(binary, ())]
    for path, inherited in queue:
        linkage = linkage_of(path)
        # Others that need it by this name get it: libtorchaudio.so is opened by its path.
        if linkage.soname:
            loaded.setdefault(linkage.soname, path)
        handed_on = () if linkage.runpath else (*expand(linkage.rpath, path), *inherited)
        for name in linkage.needed:
            if name in loaded:
                continue
            found = loader.find(name, path, linkage, inherited)
            if found is None:
                yield Lack(package, path, name, linkage.needed)
                continue
            loaded[name] = found
            queue.append((found, handed_on))


def _preload(place: Place, torch: Torch, loader: Loader, loaded: dict[str, Path]) -> None:
    """Add what ``import torch`` loads from NVIDIA's packages.

    torch 2.13.0 does so whether or not its own run path leads to the CUDA runtime. With nvidia-cuda-runtime-cu12 beside
    its build for CUDA 13, a library that needs libcudart.so.12 was loaded; without, it was not (November 2026).
    """
    if torch.cuda is None:
        return
    for row in knowledge("runtime_libraries")["library"]:
        if not row["preloaded"]:
            continue
        found = next(_candidates(place.paths, row["folder"], row["name"], torch.cuda[0]), None)
        if found is None:
            return
        name = linkage_of(found).soname or found.name
        if name not in loaded:
            loaded[name] = found
            # What these lack is their package's fault, and torch goes on without.
            for _ in load(loader, "torch", found, loaded):
                pass


def _candidates(paths: Iterable[Path], folder: str, name: str, cuda: int) -> Iterator[Path]:
    for path in paths:
        for place in (path / "nvidia" / folder, path / "nvidia" / f"cu{cuda}", path / folder):
            yield from sorted((place / "lib").glob(f"{name}.so.*[0-9]"))


def compare(place: Place, stack: Stack) -> list[Lack]:
    """Look for the imported DLLs of CUDA and torch; all others are taken to be there."""
    prefixes = dict.fromkeys((place.python.prefix, place.python.base_prefix))
    folders = [folder / part for folder in prefixes for part in (".", "Library/bin", "bin")]
    if stack.torch:
        folders.insert(0, stack.torch.folder / "lib")
    lacks = []
    for package, binary in _binaries(place, stack):
        try:
            with open_source(binary) as source:
                imports = read_imports(source)
        except (OSError, MalformedError):
            continue
        present = {path.name.lower() for folder in (binary.parent, *folders) for path in folder.glob("*.dll")}
        lacks += [
            Lack(package, binary, name, imports)
            for name in imports
            if name.lower() not in present and (cuda_library(name) or name.lower() in TORCH_CUDA)
        ]
    return lacks


def _binaries(place: Place, stack: Stack) -> Iterator[tuple[str, Path]]:
    """Name the files that are loaded when each package is used; torch's come first."""
    suffixes = (".pyd", ".dll") if place.is_windows else (".so",)
    for entry in knowledge("stack")["package"]:
        name = entry["name"]
        package = stack.installed.get(name)
        folder = package.folder if package else stack.torch.folder.parent if name == "torch" and stack.torch else None
        if folder is None:
            continue
        if name == "bitsandbytes":
            chosen = bitsandbytes_binary(place, stack)
            files = [chosen] if chosen and chosen.is_file() else []
        else:
            files = [file for pattern in entry["binaries"] for file in sorted(folder.glob(pattern))]
        for file in files:
            if file.suffix in suffixes:
                yield name, file


def bitsandbytes_binary(place: Place, stack: Stack) -> Path | None:
    """Give the library that bitsandbytes loads; it need not exist. None where it loads none for CUDA.

    bitsandbytes 0.50.2, cextension.py: the version of torch's CUDA, else the highest below it of the same major
    version, else the lowest above it; `BNB_CUDA_VERSION` overrides all.
    """
    package = stack.installed.get("bitsandbytes")
    if package is None or stack.torch is None or stack.torch.cuda is None:
        return None
    suffix = ".dll" if place.is_windows else ".so"
    folder = package.folder / "bitsandbytes"
    wanted = "{}{}".format(*stack.torch.cuda)
    if override := place.environ.get("BNB_CUDA_VERSION"):
        return folder / f"libbitsandbytes_cuda{override}{suffix}"
    matches = (_BITSANDBYTES.fullmatch(file.name) for file in folder.glob(f"libbitsandbytes_cuda*{suffix}"))
    # Two digits are the major version: 118, 126, 130.
    packed = sorted(match[1] for match in matches if match and match[1][:2] == wanted[:2])
    older = [version for version in packed if version <= wanted]
    best = older[-1] if older else packed[0] if packed else wanted
    return folder / f"libbitsandbytes_cuda{best}{suffix}"
