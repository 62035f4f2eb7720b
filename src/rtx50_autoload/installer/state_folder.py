"""Where fixes keep what they need for the way back, and who works on an environment."""

from __future__ import annotations

import hashlib
import os
import secrets
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rtx50_autoload.private_files import make_folder
from rtx50_autoload.user_folders import FOLDER

from .errors import BusyError, FixError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from filelock import BaseFileLock

    from .environment import Environment

__all__ = ["exclusive", "folder_of", "is_busy", "new_folder"]

_LOCK: Final = ".lock"


def folder_of(environment: Environment) -> Path:
    """Return the folder for the fixes of one environment.

    Raises:
        FixError: this user has no home folder.

    """
    key = hashlib.sha256(os.fsencode(os.path.realpath(environment.prefix))).hexdigest()[:16]
    path = _user_folder() / "fixes" / key
    if not path.is_absolute():
        raise FixError("this user has no home folder; set HOME, or XDG_STATE_HOME on Linux")
    return path


def _user_folder() -> Path:
    try:
        import platformdirs  # noqa: PLC0415 - it may be what a fix has broken
    except ImportError:
        # The way back has to be found without any other package.
        base = os.environ.get("XDG_STATE_HOME") or os.environ.get("LOCALAPPDATA")
        return Path(base or "~/.local/state").expanduser() / FOLDER
    try:
        return platformdirs.user_state_path(FOLDER, appauthor=False)
    except RuntimeError as error:
        raise FixError("this user has no home folder; set HOME, or XDG_STATE_HOME on Linux") from error


def new_folder(environment: Environment) -> Path:
    """Make the folder for one fix, for the eyes of its owner; names sort by time.

    Raises:
        FixError: it cannot be made.

    """
    now = datetime.now(timezone.utc)
    folder = folder_of(environment) / f"{now:%Y%m%dT%H%M%S%f}-{secrets.token_hex(2)}"
    _make(folder.parent)
    try:
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise _unusable(folder, error) from error
    return folder


@contextmanager
def exclusive(environment: Environment) -> Iterator[None]:
    """Keep other fixes away from the environment inside the block.

    Raises:
        BusyError: another one works there.
        FixError: the folder for it cannot be made.

    """
    from filelock import Timeout  # noqa: PLC0415 - it may be what a fix has broken

    _make(folder_of(environment))
    lock = _lock(environment)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise BusyError(
            f"another fix works on {environment.prefix} at this moment; nothing was changed, wait until it has ended"
        ) from None
    except OSError as error:
        raise _unusable(folder_of(environment), error) from error
    try:
        yield
    finally:
        lock.release()


def is_busy(environment: Environment) -> bool:
    """Tell whether a fix works on the environment at this moment."""
    try:
        with exclusive(environment):
            return False
    except BusyError:
        return True


def _lock(environment: Environment) -> BaseFileLock:
    from filelock import FileLock  # noqa: PLC0415

    return FileLock(folder_of(environment) / _LOCK, mode=0o600)


def _make(folder: Path) -> None:
    try:
        make_folder(folder)
    except OSError as error:
        raise _unusable(folder, error) from error


def _unusable(folder: Path, error: OSError) -> FixError:
    return FixError(
        f"what the way back needs cannot be kept in {folder}: {error.strerror or error}. Nothing was changed. Make "
        "room there, or set XDG_STATE_HOME to a folder that you can write."
    )
