"""The errors that this package raises on purpose."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["MappingError", "NoSuchDeviceError", "RTX50Error", "SettingsFileError", "UsageError"]


class RTX50Error(Exception):
    """The base of all errors that this package raises on purpose."""


class SettingsFileError(RTX50Error, OSError):
    """A settings file could not be read, or not be changed without touching more than was asked.

    The file is as it was before.
    """

    #: The settings file.
    path: Path
    #: Why, as a clause without a full stop.
    reason: str

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(reason)
        self.path = path
        self.filename = str(path)
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"

    def __reduce__(self) -> tuple[type[SettingsFileError], tuple[Path, str]]:
        return type(self), (self.path, self.reason)


class UsageError(RTX50Error):
    """A command was given something that it cannot work with."""


class MappingError(RTX50Error, ValueError):
    """A text is no mapping of capabilities."""


class NoSuchDeviceError(RTX50Error, IndexError):
    """No device has this index."""

    #: The index asked for.
    index: int
    #: How many devices there are.
    count: int

    def __init__(self, index: int, count: int) -> None:
        super().__init__(index, count)
        self.index = index
        self.count = count

    def __str__(self) -> str:
        return f"there is no device {self.index}: {self.count} can be seen, numbered from 0"
