"""What is installed in this environment, and which shared libraries belong to it.

The RECORD of a distribution lists its files. It does not list those of an editable install: there the start-up files
that RECORD does list point to the source tree.
"""

from __future__ import annotations

import ast
import csv
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol, TypeAlias
from urllib.parse import urlsplit
from urllib.request import url2pathname

from rtx50_autoload.evidence.gpucode import format_by_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["Installed", "Origin", "editable_roots", "installed_distributions", "is_loadable", "normalised"]

#: How a library came to be known: by its distribution's list of files, by the source tree of an editable install, or by
#: torch's cache of extensions that were compiled when first used.
Origin: TypeAlias = Literal["record", "editable", "torch_extensions"]

#: What a running program can load; static libraries and objects are there for compilers.
_LOADABLE: Final = frozenset({"elf", "pe"})

#: Folders of a source tree that hold what builds leave, beside the library that Python loads.
_NOT_SOURCES: Final = frozenset({"build", "dist", "node_modules", "__pycache__"})


@dataclass(frozen=True, slots=True)
class Installed:
    """One distribution, or one compiled extension."""

    #: As its metadata writes it.
    name: str
    version: str | None
    origin: Origin
    #: The folders that its packages are imported from.
    roots: tuple[Path, ...]
    #: Its shared libraries: the path below such a folder, and the file.
    binaries: tuple[tuple[str, Path], ...]


def normalised(name: str) -> str:
    """Write a distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def is_loadable(name: str) -> bool:
    """Tell by its name whether a file is a library or a program that runs, rather than one to build with."""
    return format_by_name(name.rpartition("/")[2]) in _LOADABLE


def installed_distributions(path: Sequence[str] | None = None) -> Iterator[Installed]:
    """Find the distributions that this Python imports from; of two with one name, the one that it finds first.

    Args:
        path: where to look, by default `sys.path`.

    """
    # Importing it puts a finder on sys.meta_path: only in a process of our own, where somebody asks for this.
    import importlib_metadata  # noqa: PLC0415

    where = {} if path is None else {"path": list(path)}
    seen: set[str] = set()
    for distribution in importlib_metadata.distributions(**where):
        name, version = _name_and_version(distribution)
        if name and normalised(name) not in seen:
            seen.add(normalised(name))
            yield _describe(name, version, distribution)


def editable_roots(distribution: _Distribution) -> tuple[Path, ...]:
    """Give the folders of its project that an editable install may be imported from; none for any other install.

    What its start-up files point to outside its project belongs to somebody else.
    """
    project = _installed_from(distribution)
    if project is None:
        return ()
    trees = _source_trees(distribution, Path(str(distribution.locate_file(""))), _recorded(distribution))
    # Start-up files that are code of their own (meson-python) do not tell where they look.
    roots = dict.fromkeys(root.resolve() for root in (*(tree.root for tree in trees), project / "src"))
    return tuple(root for root in roots if root.is_relative_to(project.resolve()))


class _Distribution(Protocol):
    """What is used of a distribution; importlib_metadata's own type has another name from release to release."""

    @property
    def metadata(self) -> Any: ...  # noqa: ANN401

    @property
    def files(self) -> Iterable[object] | None: ...

    def read_text(self, filename: str, /) -> str | None: ...

    def locate_file(self, path: str, /) -> object: ...


def _name_and_version(distribution: _Distribution) -> tuple[str | None, str | None]:
    try:
        metadata = distribution.metadata
    except (OSError, ValueError):  # a folder without metadata is what an interrupted uninstallation leaves
        return None, None
    return metadata.get("Name"), metadata.get("Version")


def _describe(name: str, version: str | None, distribution: _Distribution) -> Installed:
    root = Path(str(distribution.locate_file("")))
    recorded = _recorded(distribution)
    trees = list(dict.fromkeys(_source_trees(distribution, root, recorded)))
    binaries = {file: root / file for file in recorded if is_loadable(file)}
    for tree in trees:
        binaries.update((path.relative_to(tree.root).as_posix(), path) for path in _loadable_below(tree.folder))
    return Installed(
        name,
        version,
        "editable" if trees else "record",
        tuple(dict.fromkeys((*(tree.root for tree in trees), root))),
        tuple(sorted(binaries.items())),
    )


def _recorded(distribution: _Distribution) -> list[str]:
    """Return the paths in RECORD, or in what older installers write in its place.

    RECORD is read here, since `Distribution.files` asks the disk for each of torch's 13,000 files and leaves out the
    missing ones. A library that is gone is one that cannot be read.
    """
    try:
        text = distribution.read_text("RECORD")
        if text is not None:
            return [row[0] for row in csv.reader(text.splitlines()) if row]
        return [str(file) for file in distribution.files or ()]
    except (ValueError, csv.Error):  # damaged: not UTF-8, or no table
        return []


class _SourceTree(NamedTuple):
    """A folder that holds packages, or one package, of an editable install."""

    folder: Path
    #: Where they are imported from.
    root: Path


def _source_trees(distribution: _Distribution, root: Path, recorded: Iterable[str]) -> Iterator[_SourceTree]:
    found = False
    for file in recorded:
        if "/" not in file and file.endswith((".pth", ".py")):
            for tree in _pointed_to(root / file):
                found = True
                yield tree
    if not found:
        # A build system whose start-up files say it in another way (scikit-build-core, meson-python).
        folder = _installed_from(distribution)
        if folder is not None:
            yield _SourceTree(folder, folder)


def _installed_from(distribution: _Distribution) -> Path | None:
    """Return the project's folder as PEP 610 has it, where the install is editable."""
    try:
        origin = json.loads(distribution.read_text("direct_url.json") or "{}")
        folder = url2pathname(urlsplit(origin["url"]).path) if origin["dir_info"]["editable"] else "\0"
        return None if "\0" in folder else Path(folder)
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
    ):  # no such file, not an editable install, or something else in it
        return None


def _pointed_to(file: Path) -> Iterator[_SourceTree]:
    """Read the folders out of a start-up file of an editable install, without running it."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return
    if file.suffix == ".pth":
        # A line is a folder or, where it begins with "import", code; the folder may be gone.
        places = [Path(line.strip()) for line in text.splitlines() if os.path.isabs(line.strip())]  # noqa: PTH117
        yield from (_SourceTree(place, place) for place in places if place.is_dir())
    elif file.name.startswith("__editable__"):
        packages = [Path(place) for place in _finder_mapping(text)]
        yield from (_SourceTree(place, place.parent) for place in packages if place.is_dir())


def _finder_mapping(source: str) -> list[str]:
    """Return the folders in a finder that setuptools has written (``MAPPING: dict[str, str] = {…}``)."""
    match = re.search(r"^MAPPING\b[^=\n]*=\s*(\{.*\})\s*$", source, re.MULTILINE)
    try:
        mapping = ast.literal_eval(match[1]) if match else {}
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):  # the last two: nested deep
        return []
    return [place for place in mapping.values() if isinstance(place, str)] if isinstance(mapping, dict) else []


def _loadable_below(folder: Path) -> Iterator[Path]:
    """Find the shared libraries in a source tree, without its builds, its hidden folders and its environments."""
    for parent, folders, names in os.walk(folder):
        folders[:] = [
            name
            for name in sorted(folders)
            if name not in _NOT_SOURCES and not name.startswith(".") and not _is_environment(Path(parent, name))
        ]
        yield from (Path(parent, name) for name in names if is_loadable(name))


def _is_environment(folder: Path) -> bool:
    # Path.exists raises where a folder may not be looked into; os.path.exists says that nothing is there.
    return os.path.exists(folder / "pyvenv.cfg")  # noqa: PTH110
