"""Settings files: reading one, and changing one key of it while all other lines stay as their owner wrote them.

A settings file is flat TOML, ``key = value``. Rather than understand TOML's layout, an edit is proposed line by line
and kept only if the text, parsed again, says exactly what it said before plus the change.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from rtx50_autoload.errors import SettingsFileError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["LARGEST", "Value", "parse_toml", "read_values", "remove_value", "set_value"]

#: What a settings file may hold under a key.
Value: TypeAlias = bool | int | str | list[str]

#: Bytes; every setting with a comment of its own takes a few thousand, and Python is slow at TOML.
LARGEST = 200_000
# A folder that may not be looked into, or cannot be one, holds no file of this user: HOME may be somebody else's.
_NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ELOOP, errno.ENAMETOOLONG}


def read_values(path: Path, *, shared: bool = False) -> dict[str, Any]:
    """Read a settings file; one that does not exist holds nothing.

    Args:
        path: where it is.
        shared: whether it stands in an environment, whose owner is trusted with it: that user's code runs anyway.

    Raises:
        SettingsFileError: the file is there but cannot be read, is not UTF-8 or not TOML, or another user could have
            written it.

    """
    text = _read(path, shared=shared)
    return _parse(path, text) if text else {}


def parse_toml(content: bytes) -> dict[str, Any]:
    """Read the content of a file, of which one byte more than the largest number may have been read.

    Raises:
        ValueError: it is too large, not UTF-8 or not TOML; the text says which, a clause.

    """
    text = _decoded(content)
    try:
        return _loads(text)
    except ValueError as error:
        raise ValueError(f"it is not TOML ({error})") from error


def set_value(path: Path, key: str, value: Value, *, shared: bool = False) -> None:
    """Write ``key = value`` into a settings file, creating the file and its folder where they are missing.

    Other lines and a comment behind the old value stay. A byte order mark, which TOML 1.0 does not know, goes.

    Args:
        path: where it is.
        key: what is set.
        value: to what.
        shared: whether it stands in an environment, and a new one is for other users to read.

    Raises:
        SettingsFileError: the file cannot be read or written, or holds something that this edit would change as well.
        ValueError: the key is not a bare TOML key.

    """
    if re.fullmatch(r"[A-Za-z0-9_-]+", key) is None:
        raise ValueError(f"{key!r} is not a bare TOML key")
    text = _read(path, shared=shared)
    values = _parse(path, text)
    expected = {**values, key: value}
    line = f"{key} = {_literal(value)}"
    proposals = _replacements(text, key, line) if key in values else _additions(text, line)
    _write(path, _proven(path, proposals, expected), shared=shared)


def remove_value(path: Path, key: str, *, shared: bool = False) -> bool:
    """Remove a key from a settings file, and the file itself where nothing is left in it, not even a comment.

    Args:
        path: where it is.
        key: what is removed.
        shared: whether it stands in an environment.

    Returns:
        Whether the key was there.

    Raises:
        SettingsFileError: the file cannot be read or written, or holds something that this edit would change as well.

    """
    text = _read(path, shared=shared)
    expected = _parse(path, text)
    if key not in expected:
        return False
    del expected[key]
    proposals = (before + after for before, _, after in _assignments(text, key))
    _write(path, _proven(path, proposals, expected), shared=shared)
    return True


def _read(path: Path, *, shared: bool) -> str:
    # What is no file, such as a pipe, is not waited for. A link of somebody's dotfiles is followed: the owner counts of
    # what it leads to.
    flags = [getattr(os, name, 0) for name in ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY")]
    try:
        path.stat()
    except OSError as error:
        if error.errno in _NOT_THERE:
            return ""
        raise SettingsFileError(path, f"it cannot be read ({error.strerror})") from error
    try:
        with open(os.open(path, os.O_RDONLY | flags[0] | flags[1] | flags[2]), "rb") as file:  # noqa: PTH123
            reason = _why_not_trusted(path, os.fstat(file.fileno()), shared=shared)
            content = b"" if reason else file.read(LARGEST + 1)
    except OSError as error:
        raise SettingsFileError(path, f"it cannot be read ({error.strerror})") from error
    if reason:
        raise SettingsFileError(path, reason)
    try:
        return _decoded(content)
    except ValueError as error:
        raise SettingsFileError(path, str(error)) from error


def _decoded(content: bytes) -> str:
    if len(content) > LARGEST:
        raise ValueError(f"it is larger than {LARGEST:,} bytes")
    try:
        # Windows PowerShell's `Set-Content -Encoding utf8` starts the file with a byte order mark.
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 ({error.reason} at byte {error.start})") from error


def _why_not_trusted(path: Path, status: os.stat_result, *, shared: bool) -> str | None:
    """Tell why a file is not taken for its user's settings, a clause; None where it is."""
    if not stat.S_ISREG(status.st_mode):
        return "it is no regular file"
    if sys.platform == "win32":
        return None
    folder = path.parent.stat()
    # As git and sudo have it: what one's own user or root has written, and no group is looked at. Also not where root
    # works with the home folder of another user, as some configurations of sudo leave it.
    if status.st_uid not in {0, os.geteuid(), folder.st_uid if shared else 0}:
        return f"it belongs to another user (number {status.st_uid})"
    # Where everybody may write to the environment, as on a disk of Windows under WSL, its file is no worse.
    if status.st_mode & stat.S_IWOTH and not (shared and folder.st_mode & stat.S_IWOTH):
        return "everybody on this machine may write to it"
    return None


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        return _loads(text)
    except ValueError as error:
        raise SettingsFileError(path, f"it is not TOML ({error})") from error


def _values_in(text: str) -> dict[str, Any] | None:
    try:
        return _loads(text)
    except ValueError:
        return None


def _loads(text: str) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib  # noqa: PLC0415 - most environments have no settings file, and need no parser
    else:
        import tomli as tomllib  # noqa: PLC0415 - likewise
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("its arrays are nested too deep") from None


def _literal(value: Value) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_literal, value))}]"
    import json  # noqa: PLC0415 - only a command writes settings

    # JSON's true, false, numbers and strings are TOML's, but that TOML wants U+007F escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _proven(path: Path, proposals: Iterator[str], expected: dict[str, Any]) -> str:
    for text in proposals:
        if _values_in(text) == expected:
            return text
    raise SettingsFileError(path, "it cannot be changed without changing more than that; edit it by hand")


def _assignments(text: str, key: str) -> Iterator[tuple[str, str, str]]:
    """Cut the text around each run of lines that may be the key's assignment: before, it, after."""
    start_of_assignment = re.compile(rf"""\s*(["']?){re.escape(key)}\1\s*=""")
    # Not str.splitlines, which also cuts at characters that may stand within a TOML string.
    lines = re.findall(r"[^\n]*\n|[^\n]+", text)
    for start, line in enumerate(lines):
        if start_of_assignment.match(line):
            for end in range(start + 1, len(lines) + 1):
                yield "".join(lines[:start]), "".join(lines[start:end]), "".join(lines[end:])


def _replacements(text: str, key: str, line: str) -> Iterator[str]:
    for before, old, after in _assignments(text, key):
        yield before + line + _tail(old) + after


def _tail(assignment: str) -> str:
    """Return what stands behind the value on its last line: the space, the comment and the line's end."""
    for hash_mark in re.finditer(r"[ \t]*#", assignment):
        # What stands before a hash mark within a string or an array is no assignment.
        if _values_in(assignment[: hash_mark.start()]) is not None:
            return assignment[hash_mark.start() :]
    return assignment[len(assignment.rstrip()) :]


def _additions(text: str, line: str) -> Iterator[str]:
    newline = "\r\n" if "\r\n" in text else "\n"
    separator = newline if text and not text.endswith("\n") else ""
    yield f"{text}{separator}{line}{newline}"
    # Behind a table's header the line would belong to that table.
    yield f"{line}{newline}{text}"


def _write(path: Path, text: str, *, shared: bool) -> None:
    if path.is_symlink() and sys.platform != "win32" and path.lstat().st_uid not in {0, os.geteuid()}:
        raise SettingsFileError(path, "it is a link of another user, and is not followed")
    # The file that a symbolic link of somebody's dotfiles points to, not the link.
    target = Path(os.path.realpath(path))
    draft = target.with_name(f".{target.name}.{os.urandom(4).hex()}")
    try:
        if not text.strip():
            target.unlink()
            return
        from rtx50_autoload.private_files import make_missing  # noqa: PLC0415 - who reads settings needs nothing of it

        make_missing(target.parent)
        try:
            # Whatever the umask, nobody else may write to it; other users of an environment have to read its file.
            mode = 0o644 if shared else 0o600
            with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:  # noqa: PTH123
                file.write(text.encode())
            if target.exists():
                draft.chmod(target.stat().st_mode)
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)
    except UnicodeEncodeError as error:
        raise SettingsFileError(path, "it cannot hold what is no UTF-8") from error
    except OSError as error:
        raise SettingsFileError(path, f"it cannot be written ({error.strerror})") from error
