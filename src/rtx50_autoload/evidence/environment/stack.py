"""Which packages of the AI stack are installed, by their metadata; none of them is imported."""

from __future__ import annotations

import ast
import json
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from rtx50_autoload.evidence.environment.topic import CudaVersion, knowledge, parse_version

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from packaging.specifiers import SpecifierSet

    from rtx50_autoload.evidence.environment.place import Place

__all__ = ["Installed", "Stack", "Torch", "read_stack", "satisfied"]

# "2.8.0+cu128": torch's family says it in version.py even where the index forbids it in the metadata.
_VARIANT = re.compile(r"\+cu(\d{2})(\d)\b")


@dataclass(frozen=True)
class Installed:
    """One installed distribution, the one that an import finds."""

    name: str
    #: As its metadata says: ``0.26.0``.
    version: str
    #: As its own ``version.py`` says, with the variant: ``0.26.0+cu130``; the metadata's where there is none.
    built: str
    #: The folder of packages that it is in.
    folder: Path
    #: What it requires, as written in its metadata.
    requires: tuple[str, ...]
    #: The file or address that it was installed from, where the installer kept it.
    origin: str | None

    @property
    def cuda(self) -> CudaVersion | None:
        """The CUDA variant that its version names; None where it names none."""
        match = _VARIANT.search(self.built)
        return (int(match[1]), int(match[2])) if match else None

    @property
    def is_cpu_only(self) -> bool:
        """Whether its version says so."""
        return self.built.endswith("+cpu")

    @property
    def torch_specifiers(self) -> tuple[SpecifierSet, ...]:
        """What it requires of torch's version."""
        specifiers = []
        for text in self.requires:
            with suppress(InvalidRequirement):
                requirement = Requirement(text)
                if canonicalize_name(requirement.name) == "torch":
                    specifiers.append(requirement.specifier)
        return tuple(specifiers)

    def accepts(self, torch: Torch) -> bool:
        """Whether its metadata allows this torch."""
        return all(satisfied(specifier, torch.version) for specifier in self.torch_specifiers)


@dataclass(frozen=True)
class Torch:
    """The torch that an import finds, by its ``version.py``."""

    folder: Path
    version: str
    #: The CUDA version that it was built with; None for builds for the CPU or for AMD's GPUs.
    cuda: CudaVersion | None
    #: The ROCm version, for AMD's GPUs.
    hip: str | None

    @property
    def release(self) -> tuple[int, int]:
        """``(2, 13)``."""
        return parse_version(self.version)

    def __str__(self) -> str:
        return f"torch {self.version}"


@dataclass(frozen=True)
class Stack:
    """The installed packages that matter to a GPU."""

    #: By normalised name: ``flash-attn``.
    installed: Mapping[str, Installed]
    torch: Torch | None
    #: Every folder ``torch`` that an import could find, the one that it does first.
    torch_copies: tuple[Path, ...]
    #: Whether the metadata could be read; else nothing is known of what is installed.
    readable: bool = True

    def version(self, name: str) -> str | None:
        """Give the version of a package; None where it is not installed."""
        package = self.installed.get(name)
        return package.version if package else None


def satisfied(specifier: SpecifierSet, version: str) -> bool:
    """Whether a version is allowed; one that is no version at all is taken to be."""
    try:
        # Nightly builds and local versions count like the release that they lead to.
        return specifier.contains(Version(version), prereleases=True)
    except InvalidVersion:
        return True


def read_stack(place: Place) -> Stack:
    """Read the metadata of the packages that the table `stack.toml` names."""
    installed: dict[str, Installed] = {}
    for entry in knowledge("stack")["package"]:
        package = _find(place, entry["name"], entry["module"])
        if package:
            installed[package.name] = package
    copies = tuple(path / "torch" for path in place.paths if (path / "torch" / "version.py").is_file())
    torch = _read_torch(copies[0]) if copies else None
    return Stack(installed, torch, copies)


def _find(place: Place, name: str, module: str) -> Installed | None:
    # Importing it puts a finder on sys.meta_path: only in a process of our own, where somebody asks for this.
    import importlib_metadata  # noqa: PLC0415

    for path in place.paths:
        for found in importlib_metadata.distributions(name=name, path=[str(path)]):
            # A folder that an interrupted uninstall left behind has no version, or nothing at all.
            with suppress(OSError, ValueError, KeyError, AttributeError):
                if not found.metadata or "Version" not in found.metadata:
                    continue
                own = _constants(path / module / "version.py").get("__version__")
                return Installed(
                    name=name,
                    version=found.version,
                    built=own if isinstance(own, str) else found.version,
                    folder=path,
                    requires=tuple(found.requires or ()),
                    origin=_origin(found.read_text("direct_url.json")),
                )
    return None


def _read_torch(folder: Path) -> Torch:
    constants = _constants(folder / "version.py")
    cuda, hip = constants.get("cuda"), constants.get("hip")
    return Torch(
        folder=folder,
        version=str(constants.get("__version__", "of an unknown version")),
        cuda=parse_version(cuda) if isinstance(cuda, str) else None,
        hip=hip if isinstance(hip, str) else None,
    )


def _constants(path: Path) -> dict[str, Any]:
    """Give the constants that a module assigns, without running it."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return {}
    constants: dict[str, Any] = {}
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        value = getattr(node, "value", None)
        if isinstance(value, ast.Constant):
            constants.update({target.id: value.value for target in targets if isinstance(target, ast.Name)})
    return constants


def _origin(text: str | None) -> str | None:
    with suppress(ValueError, TypeError):
        url = json.loads(text or "null")["url"]
        return url if isinstance(url, str) else None
    return None
