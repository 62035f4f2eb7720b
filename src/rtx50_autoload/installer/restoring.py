"""The files of packages are removed and brought back; never one outside of the environment."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import shutil
from typing import TYPE_CHECKING

from .distribution_files import files_of, present_files

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from .environment import Distribution, Environment
    from .saved_state import KeptFile, SavedState

__all__ = ["bring_back", "differs", "move_aside", "remove", "restore_all"]


def restore_all(names: Iterable[str], state: SavedState, environment: Environment) -> Iterable[str]:
    """Remove what is not as it was, and bring back what was kept; give what has failed."""
    wanted = set(names)
    distributions = environment.distributions()
    others = present_files((each for each in distributions if each.name not in wanted), environment)
    kept = [each for each in state.kept if each.name in wanted and each.files is not None]
    stays = {environment.prefix / file.path for each in kept for file in each.files or ()}
    # Of a package whose files were not kept, what is there in the same version is left.
    for distribution in distributions:
        if distribution.name in wanted and not _is_pinned_only(distribution, state):
            remove(distribution, others | stays, environment)
    for each in kept:
        # The metadata last: a package that has it is taken for a whole one.
        files = sorted(each.files or (), key=lambda file: (file.path.startswith(each.info), file.path))
        yield from (problem for file in files if (problem := bring_back(file, state, environment)))


def _is_pinned_only(distribution: Distribution, state: SavedState) -> bool:
    kept = next((each for each in state.kept if each.name == distribution.name), None)
    return kept is not None and kept.files is None and distribution.version in state.installed[distribution.name]


def remove(distribution: Distribution, keep: set[Path], environment: Environment) -> None:
    """Remove the files of a distribution but those that others have, or that come back; its metadata last."""
    files = [path for path in files_of(distribution, environment) if path not in keep]
    files.sort(key=lambda path: (path.is_relative_to(distribution.info), str(path)))
    folders: set[Path] = set()
    for path in files:
        with contextlib.suppress(OSError):
            path.unlink()
        folders.add(path.parent)
        for byte_code in (
            path.parent.glob(f"__pycache__/{glob.escape(path.stem)}.*.pyc") if path.suffix == ".py" else ()
        ):
            with contextlib.suppress(OSError):
                byte_code.unlink()
            folders.add(byte_code.parent)
    _remove_empty(folders, environment)


def _remove_empty(folders: Iterable[Path], environment: Environment) -> None:
    tops = {*environment.folders, environment.scripts, environment.prefix}
    for folder in sorted(folders, key=lambda path: -len(path.parts)):
        while folder not in tops and environment.holds(folder):
            try:
                folder.rmdir()
            except OSError:
                break
            folder = folder.parent  # noqa: PLW2901 - upwards as long as they are empty


def differs(file: KeptFile, environment: Environment) -> bool:
    """Tell whether what is there is not the file that was kept."""
    path = environment.prefix / file.path
    try:
        status = path.lstat()
    except OSError:
        return True
    if file.link is not None:
        return not path.is_symlink() or str(path.readlink()) != file.link
    return path.is_symlink() or (status.st_size, status.st_mtime_ns) != (file.size, file.changed)


def bring_back(file: KeptFile, state: SavedState, environment: Environment) -> str | None:
    """Put a kept file where it was, and give what hinders it; nothing is put outside of the environment."""
    target = environment.prefix / file.path
    if not differs(file, environment) or not environment.holds(target):
        return None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f".{target.name}.rtx50")
        draft.unlink(missing_ok=True)
        _put(file, state.files / file.path, draft)
        draft.replace(target)
    except OSError as error:
        return f"{file.path} cannot be brought back: {error.strerror or error}"
    return None


def _put(file: KeptFile, source: Path, target: Path) -> None:
    if file.link is not None:
        target.symlink_to(file.link)
        return
    status = source.lstat()
    if (status.st_size, status.st_mtime_ns) != (file.size, file.changed):
        raise OSError(errno.EIO, "the kept file was changed meanwhile")
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def move_aside(path: Path, target: Path) -> None:
    """Move a file or link to another place, and remove the folders that are empty then."""
    with contextlib.suppress(OSError):
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        shutil.move(path, target)
        parent = path.parent
        while not any(parent.iterdir()):
            parent.rmdir()
            parent = parent.parent
