"""What becomes of a script in an assistant's answer: read, checked, kept, shown - and run only as a step of its own."""

from __future__ import annotations

from .check import Check, check
from .danger import Finding
from .extract import LANGUAGES, Language, Script, extract
from .store import NoSuchScriptError, SavedScript, ScriptStoreError, load, load_all, save, scripts_folder

__all__ = [
    "LANGUAGES",
    "Check",
    "Finding",
    "Language",
    "NoSuchScriptError",
    "SavedScript",
    "Script",
    "ScriptStoreError",
    "check",
    "extract",
    "load",
    "load_all",
    "save",
    "scripts_folder",
]
