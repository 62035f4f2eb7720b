"""Why nothing was changed, or why something could not be brought back."""

from __future__ import annotations

from rtx50_autoload.errors import RTX50Error, UsageError

__all__ = ["BusyError", "FixError", "NoTerminalError", "NotAllowedError", "NothingToUndoError", "ScriptFileError"]


class FixError(RTX50Error):
    """Something hinders a fix or its way back; the text says what, and whether anything was changed."""


class NotAllowedError(FixError):
    """Packages are not to be installed here, or not in this way; nothing was changed."""


class BusyError(FixError):
    """Another process changes this environment; nothing was changed."""


class NothingToUndoError(FixError):
    """No fix was applied to this environment, or the last one has been undone already."""


class NoTerminalError(UsageError):
    """Nobody is there who could read what would change and say yes."""


class ScriptFileError(UsageError, OSError):
    """The script cannot be written."""
