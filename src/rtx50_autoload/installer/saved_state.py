"""What is kept before a fix: what was installed, and the files of all that it may replace or remove.

The files are hard links where that can be: installers remove and write anew, they do not write into files. So torch
costs no room. Where the home folder is on another file system they are copied, and where there is no room for that
only the versions are kept, which `fix --undo` then has to download.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

from rtx50_autoload.private_files import read_private, write_private

from .distribution_files import files_of, is_complete
from .errors import FixError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .environment import Distribution, Environment

__all__ = [
    "FILES",
    "KeptDistribution",
    "KeptFile",
    "SavedState",
    "Way",
    "forget_files",
    "listed",
    "load",
    "save",
    "way_of_keeping",
]

#: `links` take no room, `copies` do, and of `pins` nothing is kept but the versions.
Way: TypeAlias = Literal["links", "copies", "pins"]

_FILE: Final = "kept.json"
_FREEZE: Final = "freeze.txt"
_LISTING: Final = "listing.txt"
#: Bytes; a hundred for each file of an environment.
_LARGEST: Final = 2**30
#: The folder of the kept files, beside the story.
FILES: Final = "files"
#: What stays free beside copies.
_MARGIN: Final = 500_000_000
_BYTE_CODE: Final = "__pycache__"


@dataclass(frozen=True, slots=True)
class KeptFile:
    """One file, or link, of a distribution; it is told from another by its size and time.

    Attributes:
        path: from the environment's folder.
        link: what it points to, where it is a link.

    """

    path: str
    size: int
    changed: int
    link: str | None = None


@dataclass(frozen=True, slots=True)
class KeptDistribution:
    """One distribution as it was.

    Attributes:
        info: the folder of its metadata, from the environment's folder.
        files: what is kept of it; None where only its version is.

    """

    name: str
    version: str
    info: str
    files: tuple[KeptFile, ...] | None


@dataclass(frozen=True)
class SavedState:
    """What one fix may have to bring back.

    Attributes:
        freeze: what was installed, as pip or uv writes it.
        installed: all versions of all packages, by name.
        kept: those that the fix may replace or remove, and those that this program needs itself.
        touched: the names of those that the fix may replace or remove.

    """

    folder: Path
    way: Way
    freeze: str
    installed: dict[str, list[str]]
    kept: tuple[KeptDistribution, ...] = ()
    touched: tuple[str, ...] = ()
    _listing: set[str] = field(default_factory=set)

    @property
    def files(self) -> Path:
        """The folder in which the files lie as in the environment."""
        return self.folder / FILES

    def was_there(self, path: str) -> bool:
        """Tell whether a path, from the environment's folder, was there, whoever it belonged to."""
        return path in self._listing


def way_of_keeping(environment: Environment, touched: Iterable[str], folder: Path) -> tuple[Way, int]:
    """Find out how files can be kept, and how many bytes that takes; nothing is kept.

    Args:
        environment: where they lie.
        touched: the names of the distributions.
        folder: where they would be kept; it need not exist.

    """
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    names = set(touched)
    if there.stat().st_dev == environment.prefix.stat().st_dev and all(
        each.stat().st_dev == there.stat().st_dev for each in environment.folders if each.exists()
    ):
        return "links", 0
    size = sum(
        path.lstat().st_size
        for each in environment.distributions()
        if each.name in names
        for path in files_of(each, environment)
    )
    return ("copies" if shutil.disk_usage(there).free > size + _MARGIN else "pins"), size


def save(  # noqa: PLR0913, PLR0917 - each is another thing to be kept
    folder: Path, environment: Environment, way: Way, freeze: str, touched: Iterable[str], own: Iterable[str]
) -> SavedState:
    """Keep what the way back needs.

    Args:
        folder: of this fix.
        environment: what may change.
        way: how files are kept; a link that fails becomes a copy.
        freeze: what is installed.
        touched: the names of the distributions that may be replaced or removed.
        own: the names of those that this program needs to run.

    Raises:
        FixError: something cannot be kept; nothing was changed.

    """
    names, needed = set(touched), set(own)
    distributions = environment.distributions()
    installed: dict[str, list[str]] = {}
    for each in distributions:
        installed.setdefault(each.name, []).append(each.version)
    try:
        files = folder / FILES
        files.mkdir(mode=0o700)
        kept = tuple(
            _keep(each, environment, files, way) for each in distributions if each.name in names or each.name in needed
        )
        listing = set(listed(environment))
        state = SavedState(folder, way, freeze, installed, kept, tuple(sorted(names)), listing)
        _write_text(folder / _FREEZE, freeze)
        _write_text(folder / _LISTING, "\n".join(map(_ascii, sorted(listing))))
        document = {
            "way": way,
            "installed": installed,
            "touched": state.touched,
            "kept": [asdict(each) for each in kept],
        }
        write_private(folder / _FILE, json.dumps(document) + "\n", durable=True)
    except OSError as error:
        raise FixError(
            f"what the way back needs cannot be kept in {folder}: {error.strerror or error}. Nothing was changed. Make "
            "room there, or set XDG_STATE_HOME to a folder that you can write."
        ) from error
    return state


def load(folder: Path) -> SavedState:
    """Read what was kept.

    Raises:
        FixError: it cannot be read.

    """
    try:
        document = json.loads(read_private(folder / _FILE, _LARGEST))
        state = SavedState(
            folder,
            document["way"],
            read_private(folder / _FREEZE, _LARGEST).decode(),
            document["installed"],
            tuple(_kept(each) for each in document["kept"]),
            tuple(document["touched"]),
            {json.loads(line) for line in read_private(folder / _LISTING, _LARGEST).splitlines()},
        )
        _check(state)
    except OSError as error:
        raise FixError(f"{error.filename or folder} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FixError(f"{folder / _FILE} is damaged; the packages of before are in {folder / _FREEZE}") from error
    return state


def _check(state: SavedState) -> None:
    """See to it that what was kept can be brought back.

    Raises:
        ValueError: something in it has another form than `save` gives it.

    """
    files = [file for each in state.kept for file in each.files or ()]
    versions = [version for each in state.installed.values() for version in each]
    texts = (*versions, *state.touched, *(file.path for file in files), *(file.link or "" for file in files))
    numbers = (number for file in files for number in (file.size, file.changed))
    if (
        state.way not in get_args(Way)
        or not all(isinstance(text, str) for text in texts)
        or not all(isinstance(number, int) for number in numbers)
    ):
        raise ValueError("it holds what was never kept")


def listed(environment: Environment) -> Iterator[str]:
    """Give every path where packages and their commands lie, byte code left out."""
    for top in (*environment.folders, environment.scripts):
        for parent, folders, names in os.walk(top):
            folders[:] = [name for name in folders if name != _BYTE_CODE]
            links = [name for name in folders if Path(parent, name).is_symlink()]
            yield from (environment.relative(Path(parent, name)) for name in (*names, *links))


def forget_files(folder: Path) -> None:
    """Remove the kept files of a fix; what was installed stays known."""
    shutil.rmtree(folder / FILES, ignore_errors=True)


def _keep(distribution: Distribution, environment: Environment, store: Path, way: Way) -> KeptDistribution:
    info = environment.relative(distribution.info)
    if way == "pins" or not is_complete(distribution):
        return KeptDistribution(distribution.name, distribution.version, info, None)
    files = tuple(_keep_file(path, environment, store, way) for path in files_of(distribution, environment))
    return KeptDistribution(distribution.name, distribution.version, info, files)


def _keep_file(path: Path, environment: Environment, store: Path, way: Way) -> KeptFile:
    relative = environment.relative(path)
    target = store / relative
    status = path.lstat()
    target.parent.mkdir(parents=True, exist_ok=True)
    if stat.S_ISLNK(status.st_mode):
        link = str(path.readlink())
        if not target.is_symlink():
            target.symlink_to(link)
        return KeptFile(relative, status.st_size, status.st_mtime_ns, link)
    if not target.exists():
        _link_or_copy(path, target, way)
    return KeptFile(relative, status.st_size, status.st_mtime_ns)


def _link_or_copy(path: Path, target: Path, way: Way) -> None:
    if way == "links":
        with contextlib.suppress(OSError):
            os.link(path, target)
            return
    shutil.copy2(path, target)


def _kept(document: dict[str, object]) -> KeptDistribution:
    files = document["files"]
    if files is not None:
        if not isinstance(files, list):
            raise TypeError("files is no list")
        files = tuple(KeptFile(**each) for each in files)
    return KeptDistribution(str(document["name"]), str(document["version"]), str(document["info"]), files)


def _ascii(path: str) -> str:
    """Write a path, whatever bytes it has, on one line."""
    return json.dumps(path)


def _write_text(file: Path, text: str) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
