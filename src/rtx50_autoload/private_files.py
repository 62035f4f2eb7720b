"""Files for their owner's eyes, in folders of their owner alone.

Files are written whole: under another name, then renamed, so that nobody reads a part. What another user has put in
their place is neither read nor written through, be it a folder, a link, a pipe or a file.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import time
from pathlib import Path
from typing import Final

from rtx50_autoload.user_folders import FOLDER

__all__ = [
    "DRAFT",
    "NotPrivateError",
    "check_folder",
    "make_folder",
    "make_missing",
    "read_private",
    "write_private",
]

#: The end of the name under which a file is written; one that stays was left by a writer that was killed.
DRAFT: Final = ".draft"
_TRIES: Final = 10
_PAUSE: Final = 0.02
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class NotPrivateError(PermissionError):
    """A folder or a file is not its user's own; `strerror` says why, a clause."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(errno.EPERM, reason, str(path))


def make_folder(folder: Path) -> None:
    """Make a folder for its owner alone, with those above it that are missing, or see to it that it is one.

    Of the folders that are there, those from this package's own one on are closed to others, if somebody has opened
    them; those above are the user's matter.

    Raises:
        NotPrivateError: another user owns one of this package's folders, or a link in the place of one.
        OSError: it cannot be made.

    """
    check_folder(folder)
    make_missing(folder)
    # Somebody may have been quicker.
    check_folder(folder)
    if sys.platform != "win32":
        for each in _own_part(folder):
            if each.stat().st_mode & _OTHERS:
                each.chmod(0o700)


def make_missing(folder: Path) -> None:
    """Make a folder, and those above it that are missing, for its owner alone.

    Raises:
        OSError: it cannot be made.

    """
    missing = [each for each in (folder, *folder.parents) if not os.path.lexists(each)]
    for each in reversed(missing):
        # Not `parents=True`, which would leave the mode of the upper ones to the umask.
        with contextlib.suppress(FileExistsError):
            each.mkdir(mode=0o700)


def check_folder(folder: Path) -> None:
    """See to it that a folder, where it is there, is its user's own from this package's folder on.

    Raises:
        NotPrivateError: it is not.
        OSError: it cannot be looked at.

    """
    for each in _own_part(folder):
        try:
            status = each.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return  # what is not there can be made, or not: who makes it hears why
        if stat.S_ISLNK(status.st_mode):
            raise NotPrivateError(each, "it is a link to somewhere else")
        if not stat.S_ISDIR(status.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(each))
        _check_owner(each, status)


def read_private(file: Path, longest: int) -> bytes:
    """Read a file of one's own; a link is not followed, and what is no file, such as a pipe, is not waited for.

    Args:
        file: where it is.
        longest: bytes that it may have.

    Raises:
        NotPrivateError: it is another user's.
        ValueError: it is no regular file, or longer.
        OSError: it cannot be read.

    """
    # The link itself tells nothing of what it leads to, on Windows too.
    if file.is_symlink():
        raise ValueError("it is no regular file")
    flags = [getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY")]
    descriptor = os.open(file, os.O_RDONLY | flags[0] | flags[1] | flags[2] | flags[3])
    with os.fdopen(descriptor, "rb") as stream:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is no regular file")
        _check_owner(file, status)
        if status.st_size > longest:
            raise ValueError(f"it has {status.st_size} bytes")
        return stream.read(longest)


def write_private(file: Path, text: str, *, durable: bool = False) -> None:
    """Write a file that only its owner can read, in the place of what it was before.

    Args:
        file: in a folder that exists.
        text: ASCII.
        durable: force it to the disk before its name is taken; otherwise a power cut may leave an empty file.

    Raises:
        OSError: it cannot be written; it is as it was before.

    """
    import tempfile  # noqa: PLC0415 - a program that only reads its settings does not need it

    # mkstemp makes the file readable for its owner only.
    descriptor, name = tempfile.mkstemp(prefix=f".{file.stem}.", suffix=DRAFT, dir=file.parent)
    draft = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii", newline="\n") as stream:
            stream.write(text)
            if durable:
                stream.flush()
                os.fsync(stream.fileno())
        _replace(draft, file)
    except BaseException:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise


def _own_part(folder: Path) -> list[Path]:
    """Give this package's folder and those below it, down to this one."""
    folders = [folder, *folder.parents]
    names = [each.name for each in folders]
    count = names.index(FOLDER) + 1 if FOLDER in names else 1
    return folders[:count][::-1]


def _check_owner(path: Path, status: os.stat_result) -> None:
    if sys.platform != "win32" and status.st_uid != os.geteuid():
        raise NotPrivateError(path, f"it belongs to another user (number {status.st_uid})")


def _replace(draft: Path, file: Path) -> None:
    """Rename a file onto another; on Windows that fails while somebody, such as a virus scanner, has it open."""
    for _ in range(_TRIES - 1):
        with contextlib.suppress(PermissionError):
            draft.replace(file)
            return
        time.sleep(_PAUSE)
    draft.replace(file)
