"""What the installed torch was built for, and the extensions that it has compiled; torch is not imported for it."""

from __future__ import annotations

import ast
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from rtx50_autoload.evidence.installed import Installed, is_loadable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["TorchBuild", "compiled_extensions", "torch_build"]


@dataclass(frozen=True, slots=True)
class TorchBuild:
    """The installed torch."""

    #: With its local part, ``2.13.0+cpu``, which the distribution's metadata may lack.
    version: str
    #: The CUDA version that it was built with, ``(13, 0)``; None where it was built without.
    cuda: tuple[int, int] | None
    #: The HIP version, of a build for AMD's GPUs.
    hip: str | None = None


def torch_build(torch: Installed) -> TorchBuild | None:
    """Read torch's ``version.py``; None where it is not there or says something else."""
    for root in torch.roots:
        try:
            tree = ast.parse((root / "torch" / "version.py").read_bytes())
        except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):  # the last two: nested deep
            continue
        values = dict(pair for statement in tree.body for pair in _assigned(statement))
        version, hip = values.get("__version__"), values.get("hip")
        if isinstance(version, str):
            return TorchBuild(version, _pair(values.get("cuda")), hip if isinstance(hip, str) else None)
    return None


def _assigned(statement: ast.stmt) -> list[tuple[str, object]]:
    """Return what a statement such as ``cuda: Optional[str] = '13.0'`` gives to which names."""
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    else:
        return []
    if not isinstance(statement.value, ast.Constant):
        return []
    return [(target.id, statement.value.value) for target in targets if isinstance(target, ast.Name)]


def _pair(version: object) -> tuple[int, int] | None:
    try:
        major, minor, *_ = map(int, str(version).split("."))
    except ValueError:
        return None
    return major, minor


def compiled_extensions(torch: TorchBuild, environ: Mapping[str, str] | None = None) -> Iterator[Installed]:
    """Find what `torch.utils.cpp_extension.load` has compiled for this Python and this torch.

    Args:
        torch: the installed torch.
        environ: the environment variables, by default the process's.

    """
    try:
        folder = _extensions_folder(torch, os.environ if environ is None else environ)
        files = sorted(path for path in folder.glob("*/*") if is_loadable(path.name))
    except (OSError, RuntimeError):  # RuntimeError: this user has no home folder
        return
    for extension in sorted({path.parent for path in files}):
        binaries = tuple((path.relative_to(folder).as_posix(), path) for path in files if path.parent == extension)
        yield Installed(extension.name, None, "torch_extensions", (folder,), binaries)


def _extensions_folder(torch: TorchBuild, environ: Mapping[str, str]) -> Path:
    """Return where torch keeps them (torch 2.13.0, `_get_build_directory` in torch/utils/cpp_extension.py)."""
    given = environ.get("TORCH_EXTENSIONS_DIR")
    if given is not None:
        return Path(given)
    if torch.hip is not None:
        accelerator = f"rocm{torch.hip.replace('.', '')}"
    else:
        accelerator = "cpu" if torch.cuda is None else f"cu{torch.cuda[0]}{torch.cuda[1]}"
    python = f"py{sys.version_info[0]}{sys.version_info[1]}{getattr(sys, 'abiflags', '')}"
    return platformdirs.user_cache_path("torch_extensions") / f"{python}_{accelerator}"
