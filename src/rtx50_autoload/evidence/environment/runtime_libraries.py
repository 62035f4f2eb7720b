"""The CUDA libraries that installed extension modules need when they are loaded, and which of them are not found.

Linux: what `dlopen` would do is followed from the dynamic sections of the files, after what ``import torch`` has loaded
by then. Windows: the import tables are compared with the folders that torch and Python hand to the loader.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from rtx50_autoload.evidence.environment import advice
from rtx50_autoload.evidence.environment.loader import Loader, expand, linkage_of
from rtx50_autoload.evidence.environment.topic import Examined, Given, dotted, knowledge
from rtx50_autoload.evidence.finding import Finding, Severity
from rtx50_autoload.evidence.pe_imports import read_imports
from rtx50_autoload.evidence.positioned import MalformedError, open_source

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from rtx50_autoload.evidence.environment.place import Place
    from rtx50_autoload.evidence.environment.stack import Stack, Torch

__all__ = ["CudaLibrary", "bitsandbytes_binary", "cuda_library", "examine"]

#: Parts of torch's CUDA builds, absent from its builds for the CPU.
_TORCH_CUDA = ("libc10_cuda.so", "libtorch_cuda.so", "c10_cuda.dll", "torch_cuda.dll")
_BITSANDBYTES = re.compile(r"libbitsandbytes_cuda(\d+)\.(?:so|dll)")


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


@dataclass(frozen=True)
class _Lack:
    """Something that one binary needs and does not find."""

    package: str
    binary: Path
    name: str
    #: What the same binary needs besides: tells its CUDA version.
    beside: tuple[str, ...]


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


def examine(given: Given) -> Examined:
    """Follow what the installed libraries would load."""
    place, stack = given.place, given.stack
    if place.is_linux:
        lacks, loaded = _follow(place, stack)
        findings = list(_explain(given, lacks))
    elif place.is_windows:
        lacks, loaded = _compare(place, stack), {}
        findings = list(_explain(given, lacks))
    else:
        return Examined(())
    facts = {
        "loaded": {name: str(path) for name, path in sorted(loaded.items()) if cuda_library(name)},
        "missing": sorted({lack.name for lack in lacks if cuda_library(lack.name) or lack.name.lower() in _TORCH_CUDA}),
    }
    return Examined(tuple(findings), facts)


# Linux


def _follow(place: Place, stack: Stack) -> tuple[list[_Lack], dict[str, Path]]:
    loader = Loader(place)
    loaded: dict[str, Path] = {}
    lacks: list[_Lack] = []
    # torch first: what it has loaded satisfies the others by name.
    binaries = list(_binaries(place, stack))
    for package, binary in binaries:
        if package == "torch":
            lacks += _load(loader, package, binary, loaded)
    if stack.torch:
        _preload(place, stack.torch, loader, loaded)
    for package, binary in binaries:
        if package != "torch":
            lacks += _load(loader, package, binary, loaded)
    return [lack for lack in lacks if lack.name not in loaded], loaded


def _load(loader: Loader, package: str, binary: Path, loaded: dict[str, Path]) -> Iterator[_Lack]:
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
                yield _Lack(package, path, name, linkage.needed)
                continue
            loaded[name] = found
            queue.append((found, handed_on))


def _preload(place: Place, torch: Torch, loader: Loader, loaded: dict[str, Path]) -> None:
    """Add what ``import torch`` loads from NVIDIA's packages.

    It does so where its own run path does not lead to the CUDA runtime, and, since torch 2.6, where it does, too.
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
            for _ in _load(loader, "torch", found, loaded):
                pass


def _candidates(paths: Iterable[Path], folder: str, name: str, cuda: int) -> Iterator[Path]:
    for path in paths:
        for place in (path / "nvidia" / folder, path / "nvidia" / f"cu{cuda}", path / folder):
            yield from sorted((place / "lib").glob(f"{name}.so.*[0-9]"))


# Windows


def _compare(place: Place, stack: Stack) -> list[_Lack]:
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
            _Lack(package, binary, name, imports)
            for name in imports
            if name.lower() not in present and (cuda_library(name) or name.lower() in _TORCH_CUDA)
        ]
    return lacks


# Both


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


def _explain(given: Given, lacks: list[_Lack]) -> Iterator[Finding]:
    of_cuda: dict[str, list[_Lack]] = defaultdict(list)
    of_torch: dict[str, list[_Lack]] = defaultdict(list)
    for lack in lacks:
        if cuda_library(lack.name):
            of_cuda[lack.package].append(lack)
        elif lack.name.lower() in _TORCH_CUDA:
            of_torch[lack.package].append(lack)
    for package, missing in of_cuda.items():
        unreachable = {lack.name: path for lack in missing if (path := _elsewhere(given, lack))}
        yield from _unreachable(given, package, unreachable)
        yield from _missing(given, package, [lack for lack in missing if lack.name not in unreachable])
    for package, missing in of_torch.items():
        yield _needs_cuda_torch(given, package, missing)


def _missing(given: Given, package: str, lacks: list[_Lack]) -> Iterator[Finding]:
    if not lacks:
        return
    names = list(dict.fromkeys(lack.name for lack in lacks))
    torch = given.stack.torch
    # torch's own variant decides for torch; any other binary names its CUDA version by its runtime.
    cuda = torch.cuda[0] if package == "torch" and torch and torch.cuda else None
    packages = dict.fromkeys(
        library.package(cuda or _cuda_of(lack)) for lack in lacks if (library := cuda_library(lack.name))
    )
    yield Finding(
        id="runtime-library-missing",
        severity=Severity.ERROR,
        what=f"{package} {_version(given, package)} needs {_listed(names)}, which {'is' if len(names) == 1 else 'are'} "
        "not on this computer.",
        why=f"{_relative(given, lacks[0].binary)} cannot be loaded without; {_beside(torch)}. What is missing "
        f"comes with {_listed(list(packages))}.",
        next=_step(given, package, packages),
    )


def _step(given: Given, package: str, packages: Iterable[str]) -> str:
    place, torch = given.place, given.stack.torch
    installed = given.stack.installed.get(package)
    if torch and torch.cuda and installed and package in ("torchvision", "torchaudio"):
        # They have a build for each variant of torch.
        return advice.match_torch(place, given.survey, torch, installed, same_release=installed.accepts(torch))
    if place.is_windows and package != "torch":
        # A DLL elsewhere is not found by extension modules (PATH does not count since Python 3.8).
        return _other_build(given, package)
    step = advice.pip_install(place, *packages)
    if torch and torch.cuda is None:
        return f"First install a CUDA build of torch, which may bring it; if this is still said then: {step}"
    return step


def _unreachable(given: Given, package: str, found: Mapping[str, Path]) -> Iterator[Finding]:
    for folder in dict.fromkeys(path.parent for path in found.values()):
        names = [name for name, path in found.items() if path.parent == folder]
        yield Finding(
            id="runtime-library-unreachable",
            severity=Severity.ERROR,
            what=f"{package} {_version(given, package)} needs {_listed(names)}, which lies in {folder}, where the "
            "loader does not look.",
            why=f"{_beside(given.stack.torch)}, and {folder} is in neither its run path nor LD_LIBRARY_PATH nor "
            "the system's cache.",
            next=advice.prepend_to_loader_path(folder),
        )


def _needs_cuda_torch(given: Given, package: str, lacks: list[_Lack]) -> Finding:
    names = list(dict.fromkeys(lack.name for lack in lacks))
    return Finding(
        id="extension-needs-cuda-torch",
        severity=Severity.ERROR,
        what=f"The GPU code of {package} {_version(given, package)} was built for a CUDA build of torch, and "
        f"{given.stack.torch or 'torch'} is none.",
        why=f"{_relative(given, lacks[0].binary)} needs {_listed(names)}, which only torch's CUDA builds contain.",
        next=advice.install_torch(given.place, given.survey),
    )


def _elsewhere(given: Given, lack: _Lack) -> Path | None:
    """Find the library where a loader does not look by itself: NVIDIA's packages, a toolkit, conda."""
    library = cuda_library(lack.name)
    if library is None or given.place.is_windows:
        return None
    shared = (library.folder, *(f"cu{major}" for major in library.packages))
    folders = [
        *(path / "nvidia" / name / "lib" for path in given.place.paths for name in shared),
        given.place.python.prefix / "lib",
        *(Path(home) / "lib64" for name in ("CUDA_HOME", "CUDA_PATH") if (home := given.place.environ.get(name))),
        given.place.system("/usr/local/cuda/lib64"),
    ]
    return next((folder / lack.name for folder in folders if (folder / lack.name).is_file()), None)


def _cuda_of(lack: _Lack) -> int | None:
    """Give the CUDA major version of a binary by the runtime, or another library with a number of its own, beside."""
    majors = (set(library.packages) for name in (lack.name, *lack.beside) if (library := cuda_library(name)))
    return next((major for (major, *others) in map(sorted, majors) if not others), None)


def _other_build(given: Given, package: str) -> str:
    torch = given.stack.torch
    variant = f" made for CUDA {dotted(torch.cuda)}" if torch and torch.cuda else ""
    return f"Install the build of {package}{variant}, or the torch that your {package} was built for."


def _beside(torch: Torch | None) -> str:
    if torch is None:
        return "torch, which would load CUDA's libraries, is not installed"
    if torch.cuda is None:
        return f"{torch} has no CUDA and loads none of its libraries"
    return f"{torch} loads those of CUDA {dotted(torch.cuda)}"


def _version(given: Given, package: str) -> str:
    torch = given.stack.torch
    return torch.version if package == "torch" and torch else given.stack.version(package) or ""


def _relative(given: Given, path: Path) -> str:
    # The folder of a script may hold the environment: the nearest folder of packages counts.
    below = (str(path.relative_to(base)) for base in given.place.paths if path.is_relative_to(base))
    return min(below, key=len, default=str(path))


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
