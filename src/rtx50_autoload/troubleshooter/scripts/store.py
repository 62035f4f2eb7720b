"""Where scripts are kept: one file each, which only their owner can read, and a record of where each came from.

Nothing here runs a script, and nothing removes one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final

from rtx50_autoload import __version__
from rtx50_autoload.errors import RTX50Error, UsageError
from rtx50_autoload.private_files import check_folder, make_folder, read_private
from rtx50_autoload.user_folders import NoHomeError, user_folder

from .extract import LANGUAGES, Script

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = [
    "NoSuchScriptError",
    "SavedScript",
    "ScriptStoreError",
    "load",
    "load_all",
    "open_private",
    "save",
    "scripts_folder",
]

_ID: Final = re.compile(r"[0-9a-f]{8}")
#: Bytes; no answer has as many.
_LARGEST: Final = 2**24
# A name with a line's end in it would not stay in its comment, and the rest of it would be a command.
_NOT_FOR_A_COMMENT: Final = re.compile(r"[^\w .:/@+-]", re.ASCII)


class ScriptStoreError(RTX50Error, OSError):
    """Scripts cannot be read or written where they are kept."""


class NoSuchScriptError(UsageError, LookupError):
    """No script has this id."""


@dataclass(frozen=True, slots=True)
class SavedScript:
    """A script as it lies in its file now.

    Attributes:
        id: eight hexadecimal digits; how a person names it.
        script: all that the file holds, its header included.
        path: the file.
        assistant: who wrote it.
        incident: the id of the incident that it was written for.
        saved: when, in UTC.
        is_changed: whether the file has been changed since.

    """

    id: str
    script: Script
    path: Path
    assistant: str
    incident: str
    saved: datetime
    is_changed: bool = False

    def as_json(self) -> dict[str, Any]:
        """Give the keys and values of one entry of `scripts list --json`."""
        return {
            "id": self.id,
            "language": self.script.language,
            "path": str(self.path),
            "assistant": self.assistant,
            "incident": self.incident,
            "saved": self.saved.isoformat(),
            "changed": self.is_changed,
        }


def scripts_folder() -> Path:
    """Return where scripts and their logs lie for this user.

    Raises:
        ScriptStoreError: this user has no home folder.

    """
    try:
        return user_folder("data") / "scripts"
    except NoHomeError as error:
        raise ScriptStoreError(str(error)) from None


def save(script: Script, assistant: str, incident_id: str) -> SavedScript:
    """Keep a script, with a header that says where it comes from.

    Raises:
        ScriptStoreError: it cannot be written.

    """
    folder = _own_folder()
    assistant, incident_id = (_NOT_FOR_A_COMMENT.sub("_", name) for name in (assistant, incident_id))
    id_ = secrets.token_hex(4)
    saved = datetime.now(timezone.utc).replace(microsecond=0)
    language = LANGUAGES[script.language]
    text = _with_header(
        script,
        [
            f"Saved by rtx50-autoload {__version__} on {saved.isoformat()} as {id_}",
            f"Written by {assistant} for incident {incident_id}",
            "Checked, which proves nothing: read it before you agree to run it",
        ],
    )
    content = text.encode("utf-8", "replace")
    kept = SavedScript(
        id_, Script(language.id, text), folder / f"{id_}{language.extension}", assistant, incident_id, saved
    )
    record = {**kept.as_json(), "sha256": hashlib.sha256(content).hexdigest()}
    _write(kept.path, content)
    _write(folder / f"{id_}.json", json.dumps(record, indent=2).encode())
    return kept


def load(id_: str) -> SavedScript:
    """Read a script.

    Raises:
        NoSuchScriptError: there is none of this id.
        ScriptStoreError: it cannot be read.

    """
    folder = scripts_folder()
    if not _ID.fullmatch(id_) or not (folder / f"{id_}.json").exists():
        raise NoSuchScriptError(f"there is no script {id_!r}; `rtx50-autoload scripts list` lists all")
    try:
        check_folder(folder)
        record = json.loads(read_private(folder / f"{id_}.json", _LARGEST))
        language = LANGUAGES[record["language"]]
        path = folder / f"{id_}{language.extension}"
        content = read_private(path, _LARGEST)
        saved = datetime.fromisoformat(record["saved"])
        if saved.tzinfo is None:
            raise ValueError("it is not told when")  # noqa: TRY301 - as any other damage
        return SavedScript(
            id_,
            Script(language.id, content.decode("utf-8", "replace")),
            path,
            str(record["assistant"]),
            str(record["incident"]),
            saved,
            is_changed=hashlib.sha256(content).hexdigest() != record["sha256"],
        )
    except OSError as error:
        raise ScriptStoreError(f"script {id_} cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ScriptStoreError(f"script {id_} cannot be read: its record {folder / id_}.json is damaged") from error


def load_all() -> tuple[list[SavedScript], list[str]]:
    """Read all scripts, the newest first.

    Returns:
        the scripts, and for each one that cannot be read a sentence that says why.

    """
    scripts: list[SavedScript] = []
    problems: list[str] = []
    for record in sorted(scripts_folder().glob("*.json")):
        if _ID.fullmatch(record.stem):
            try:
                scripts.append(load(record.stem))
            except ScriptStoreError as error:
                problems.append(f"{error}.")
    return sorted(scripts, key=lambda script: (script.saved, script.id), reverse=True), problems


@contextlib.contextmanager
def open_private(path: Path) -> Iterator[int]:
    """Create a file that only its owner can read, and give its descriptor; what is there already is left alone."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _with_header(script: Script, lines: list[str]) -> str:
    comment = LANGUAGES[script.language].comment
    header = "".join(f"{comment} {line}\n" for line in lines)
    first, newline, rest = script.text.partition("\n")
    return f"{first}{newline}{header}{rest}" if first.startswith("#!") else header + script.text


def _own_folder() -> Path:
    folder = scripts_folder()
    try:
        make_folder(folder)
    except OSError as error:
        raise ScriptStoreError(
            f"{error.filename or folder} cannot be made or is not yours: {error.strerror}"
        ) from error
    return folder


def _write(path: Path, content: bytes) -> None:
    """Write a new file: readers see all of it or nothing."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with open_private(draft) as descriptor:
            view = memoryview(content)
            while view:
                view = view[os.write(descriptor, view) :]
        draft.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise ScriptStoreError(f"{path} cannot be written: {error.strerror}") from error
