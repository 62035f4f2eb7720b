"""The CUDA libraries that installed extension modules need when they are loaded, and which of them are not found."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from rtx50_autoload.evidence.environment import advice
from rtx50_autoload.evidence.environment.cuda_libraries import cuda_library
from rtx50_autoload.evidence.environment.loading import TORCH_CUDA, Lack, compare, follow
from rtx50_autoload.evidence.environment.topic import Examined, Given, dotted
from rtx50_autoload.evidence.finding import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from rtx50_autoload.evidence.environment.stack import Torch

__all__ = ["examine"]


def examine(given: Given) -> Examined:
    """Follow what the installed libraries would load."""
    place, stack = given.place, given.stack
    lacks: list[Lack] = []
    loaded: Mapping[str, Path] = {}
    if place.is_linux:
        lacks, loaded = follow(place, stack)
    elif place.is_windows:
        lacks = compare(place, stack)
    facts = {
        "loaded": {name: str(path) for name, path in sorted(loaded.items()) if cuda_library(name)},
        "missing": sorted({lack.name for lack in lacks if cuda_library(lack.name) or lack.name.lower() in TORCH_CUDA}),
    }
    return Examined(tuple(_explain(given, lacks)), facts)


def _explain(given: Given, lacks: list[Lack]) -> Iterator[Finding]:
    of_cuda: dict[str, list[Lack]] = defaultdict(list)
    of_torch: dict[str, list[Lack]] = defaultdict(list)
    for lack in lacks:
        if cuda_library(lack.name):
            of_cuda[lack.package].append(lack)
        elif lack.name.lower() in TORCH_CUDA:
            of_torch[lack.package].append(lack)
    for package, missing in of_cuda.items():
        unreachable = {lack.name: path for lack in missing if (path := _elsewhere(given, lack))}
        yield from _unreachable(given, package, unreachable)
        yield from _missing(given, package, [lack for lack in missing if lack.name not in unreachable])
    for package, missing in of_torch.items():
        yield _needs_cuda_torch(given, package, missing)


def _missing(given: Given, package: str, lacks: list[Lack]) -> Iterator[Finding]:
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


def _needs_cuda_torch(given: Given, package: str, lacks: list[Lack]) -> Finding:
    names = list(dict.fromkeys(lack.name for lack in lacks))
    return Finding(
        id="extension-needs-cuda-torch",
        severity=Severity.ERROR,
        what=f"The GPU code of {package} {_version(given, package)} was built for a CUDA build of torch, and "
        f"{given.stack.torch or 'torch'} is none.",
        why=f"{_relative(given, lacks[0].binary)} needs {_listed(names)}, which only torch's CUDA builds contain.",
        next=advice.install_torch(given.place, given.survey),
    )


def _elsewhere(given: Given, lack: Lack) -> Path | None:
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


def _cuda_of(lack: Lack) -> int | None:
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
