"""What the shells themselves, and shellcheck where it is there, say of a script. None of them runs it."""

from __future__ import annotations

import json
import os
import re
import subprocess
from typing import TYPE_CHECKING, Final

from rtx50_autoload.search_path import find_program

from .danger import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .extract import Script

__all__ = ["shellcheck", "syntax_errors"]

_TIMEOUT: Final = 20

# Reads the script from its input and gives its parser's errors as lines.
_POWERSHELL_PARSER: Final = (
    "$errors = $null; "
    "[void][System.Management.Automation.Language.Parser]::"
    "ParseInput([Console]::In.ReadToEnd(), [ref]$null, [ref]$errors); "
    "$errors | ForEach-Object { 'line ' + $_.Extent.StartLineNumber + ': ' + $_.Message }"
)


def syntax_errors(script: Script) -> tuple[str, tuple[str, ...]] | None:
    """Ask the script's shell whether it can read the script.

    Returns:
        what was asked, and its errors; None where the shell is not here, does not answer, or cannot be asked.

    """
    return _PARSERS[script.language](script.text)


def shellcheck(script: Script) -> tuple[Finding, ...] | None:
    """Give what shellcheck notes; None where it is not installed, does not answer, or does not know the language."""
    program = find_program("shellcheck")
    if program is None or script.language != "bash":
        return None
    result = _run([program, "--norc", "--shell=bash", "--severity=warning", "--format=json1", "-"], script.text)
    try:
        comments = json.loads(result.stdout if result else "")["comments"]
        return tuple(
            Finding(int(comment["line"]), f"SC{comment['code']}", "note", f"shellcheck: {comment['message']}")
            for comment in comments
        )
    except (ValueError, TypeError, KeyError):
        return None


def _bash(text: str) -> tuple[str, tuple[str, ...]] | None:
    # On Windows `bash` may be the one of WSL, which starts a whole system.
    program = find_program("bash") if os.name == "posix" else None
    result = _run([program, "--norc", "--noprofile", "-n"], text) if program else None
    if result is None:
        return None
    lines = [re.sub(r"^.*?: line (\d+): ", r"line \1: ", line) for line in result.stderr.splitlines() if line.strip()]
    if result.returncode and not lines:
        lines = ["it cannot be read"]
    return "bash -n", tuple(lines)


def _powershell(text: str) -> tuple[str, tuple[str, ...]] | None:
    program = find_program("pwsh") or find_program("powershell")
    if program is None:
        return None
    result = _run([program, "-NoLogo", "-NoProfile", "-NonInteractive", "-Command", _POWERSHELL_PARSER], text)
    if result is None or result.returncode:
        return None
    return "the parser of PowerShell", tuple(line for line in result.stdout.splitlines() if line.strip())


def _run(command: Sequence[str], text: str) -> subprocess.CompletedProcess[str] | None:
    try:
        return subprocess.run(  # noqa: S603 - the shell's own program, told to read and not to run
            command,
            input=text,
            env=_clean_environment(),
            capture_output=True,
            check=False,
            encoding="utf-8",
            errors="replace",
            timeout=_TIMEOUT,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None


def _clean_environment() -> dict[str, str]:
    """Give nothing that makes a shell run something first, such as BASH_ENV or an exported function."""
    kept = ("PATH", "SYSTEMROOT", "TEMP", "TMP", "USERPROFILE", "LOCALAPPDATA", "PSMODULEPATH", "HOME")
    return {**{name: os.environ[name] for name in kept if name in os.environ}, "LC_ALL": "C.UTF-8"}


_PARSERS: Final[Mapping[str, Callable[[str], tuple[str, tuple[str, ...]] | None]]] = {
    "bash": _bash,
    "powershell": _powershell,
    # No program reads a batch file without running it.
    "batch": lambda _: None,
}
