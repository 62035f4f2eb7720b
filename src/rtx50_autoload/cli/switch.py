"""`enable` and `disable`: one key of a settings file, and who removes that file in the end."""

from __future__ import annotations

import csv
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import importlib_metadata

import _rtx50_autoload_importlib_bootstrap as hook
from rtx50_autoload import settings, settings_file
from rtx50_autoload.errors import UsageError
from rtx50_autoload.evidence.installations import DISTRIBUTION

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["switch"]

_KEY = "disable"
_SITE_PACKAGES = ("lib/python*/site-packages", "Lib/site-packages")


def switch(*, on: bool, venv: str | None = None, user: bool = False) -> Iterator[str]:
    """Switch the package on or off in an environment, or for the user, and say what holds now.

    Args:
        on: whether it is to act.
        venv: the environment's folder; the one that runs this where None.
        user: all environments of the user instead.

    Yields:
        lines for a person.

    Raises:
        UsageError: `venv` is no environment.
        SettingsFileError: the settings file cannot be read or written.
        NoHomeError: the user has no home folder, and so no file.

    """
    prefix = _environment(venv)
    file = settings.user_settings_file() if user else prefix / settings.ENVIRONMENT_FILE
    existed = file.exists()
    if not on:
        settings_file.set_value(file, _KEY, value=True, shared=not user)
    else:
        settings_file.remove_value(file, _KEY, shared=not user)
        if not user and settings.load({}, prefix).disable:
            # The user's own file switches off everywhere; what stands in the environment's file comes first.
            settings_file.set_value(file, _KEY, value=False, shared=True)
    word = "on" if on else "off"
    if user:
        yield f"rtx50-autoload is {word} for all your environments, but for those whose own file says otherwise."
        if file.exists():
            yield f"That stands in {file}, which stays when the package goes."
    else:
        owned = _own(prefix, file, existed=existed)
        yield f"rtx50-autoload is {word} for {prefix}."
        if file.exists():
            yield f"That stands in {file}."
            yield (
                "pip removes the file together with the package, also when it upgrades the package."
                if owned
                else "The file stays when the package goes."
            )
    if on and hook.disabled():
        yield "But RTX50_DISABLE is set in this environment: unset it, too."


def _environment(venv: str | None) -> Path:
    if venv is None:
        return Path(sys.prefix)
    prefix = Path(os.path.abspath(os.path.expanduser(venv)))  # noqa: PTH100, PTH111 - a venv's link is not followed
    if not (prefix / "pyvenv.cfg").is_file() and not (prefix / "conda-meta").is_dir():
        raise UsageError(f"{prefix} is no environment: it has neither pyvenv.cfg nor conda-meta; give its top folder")
    return prefix


def _own(prefix: Path, file: Path, *, existed: bool) -> bool:
    """List the file in the RECORD of our installation there, so that uninstalling removes it; or take it off again.

    A file that a person had put there before is theirs and is not listed.

    Returns:
        whether it is listed now: never where the package is installed elsewhere (for the user, in a base environment).

    """
    owned = False
    for record in _records(prefix):
        entry = Path(os.path.relpath(file, record.parent.parent)).as_posix()
        text = record.read_text(encoding="utf-8")
        lines = [line for line in text.splitlines() if next(csv.reader([line]), [""])[0] != entry]
        if file.exists() and (not existed or len(lines) < len(text.splitlines())):
            lines.append(f"{entry},,")
            owned = True
        if lines != text.splitlines():
            _replace(record, "\n".join(lines) + "\n")
    return owned


def _replace(record: Path, text: str) -> None:
    """Write a new file in the place of the old one, which may be a link, or shared with an installer's cache."""
    draft = record.with_name(f".RECORD.{os.urandom(4).hex()}")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:  # noqa: PTH123
            file.write(text.encode())
        draft.chmod(record.stat().st_mode)
        draft.replace(record)
    finally:
        draft.unlink(missing_ok=True)


def _records(prefix: Path) -> Iterator[Path]:
    """Give our RECORD in an environment, as POSIX and Windows lay it out."""
    places = [str(place) for pattern in _SITE_PACKAGES for place in prefix.glob(pattern)]
    for distribution in importlib_metadata.distributions(name=DISTRIBUTION, path=places):
        files = (Path(str(file.locate())) for file in distribution.files or ())
        yield from (file for file in files if file.name == "RECORD")
