"""`enable` and `disable`: one key of a settings file, and who removes that file in the end."""

from __future__ import annotations

import csv
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import _rtx50_autoload_importlib_bootstrap as hook
from rtx50_autoload import settings, settings_file
from rtx50_autoload.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["switch"]

_KEY = "disable"


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

    """
    prefix = _environment(venv)
    user_file = settings.user_settings_file()
    file = user_file if user else prefix / settings.ENVIRONMENT_FILE
    existed = file.exists()
    if not on:
        settings_file.set_value(file, _KEY, value=True)
    else:
        settings_file.remove_value(file, _KEY)
        if not user and settings.load({}, prefix).disable:
            # The user's own file switches off everywhere; what stands in the environment's file comes first.
            settings_file.set_value(file, _KEY, value=False)
    if not user:
        _own(prefix, file, existed=existed)
    yield from _result(on=on, place="all your environments" if user else str(prefix), file=file)


def _result(*, on: bool, place: str, file: Path) -> Iterator[str]:
    yield f"rtx50-autoload is {'on' if on else 'off'} for {place}."
    if file.exists():
        yield f"That stands in {file}; pip removes an environment's file together with the package, upgrades included."
    if on and hook.disabled():
        yield "But RTX50_DISABLE is set in this environment: unset it, too."


def _environment(venv: str | None) -> Path:
    if venv is None:
        return Path(sys.prefix)
    prefix = Path(os.path.abspath(os.path.expanduser(venv)))  # noqa: PTH100, PTH111 - a venv's link is not followed
    if not (prefix / "pyvenv.cfg").is_file() and not (prefix / "conda-meta").is_dir():
        raise UsageError(f"{prefix} is no environment: it has neither pyvenv.cfg nor conda-meta; give its top folder")
    return prefix


def _own(prefix: Path, file: Path, *, existed: bool) -> None:
    """List the file in the RECORD of our installation there, so that uninstalling removes it; or take it off again.

    A file that a person had put there before is theirs and is not listed.
    """
    for record in _records(prefix):
        entry = Path(os.path.relpath(file, record.parent.parent)).as_posix()
        text = record.read_text(encoding="utf-8")
        lines = [line for line in text.splitlines() if next(csv.reader([line]), [""])[0] != entry]
        if file.exists() and (not existed or len(lines) < len(text.splitlines())):
            lines.append(f"{entry},,")
        if lines != text.splitlines():
            record.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _records(prefix: Path) -> Iterator[Path]:
    """Give our RECORD in an environment, as POSIX and Windows lay it out."""
    for pattern in ("lib/python*/site-packages", "Lib/site-packages"):
        yield from prefix.glob(f"{pattern}/rtx50_autoload-*.dist-info/RECORD")
