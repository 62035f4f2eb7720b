"""A plan as a script for a person to read, keep and run: for POSIX shells, or for PowerShell."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from rtx50_autoload import __version__

from .errors import ScriptFileError
from .freezing import freeze_command
from .resolution import steps_to_do

if TYPE_CHECKING:
    from collections.abc import Callable

    from .environment import Environment
    from .plan import Command, Plan, Step

__all__ = ["Language", "language_of", "script", "write_script"]

Language: TypeAlias = Literal["sh", "powershell"]
_TEMPLATES: Final = {"sh": "script.sh.in", "powershell": "script.ps1.in"}


def language_of(file: Path) -> Language:
    """Choose the language by the name of the file or, where that does not tell, by the system."""
    if file.suffix.lower() == ".ps1":
        return "powershell"
    return "powershell" if os.name == "nt" and file.suffix.lower() != ".sh" else "sh"


def script(plan: Plan, environment: Environment, language: Language) -> str:
    """Write the steps of a plan in a language; what a person has to do stops the script."""
    quote = shlex.quote if language == "sh" else quote_for_powershell
    steps = [_step(number, step, language, quote) for number, step in enumerate(steps_to_do(plan), start=1)]
    template = Template(Path(__file__).with_name(_TEMPLATES[language]).read_text(encoding="utf-8"))
    call = "" if language == "sh" else "& "
    return template.substitute(
        version=__version__,
        summary=_comment(plan.summary),
        python=quote(str(environment.executable)),
        prefix=quote(str(environment.prefix)),
        freeze=call + " ".join(map(quote, freeze_command(environment))),
        steps="\n".join(steps),
    )


def write_script(file: Path, text: str) -> None:
    """Write a script; a file that is there is left alone.

    Raises:
        ScriptFileError: it is there, or cannot be written.

    """
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o700)
        # Windows PowerShell takes a file without this mark for one in the system's old encoding.
        encoding = "utf-8-sig" if file.suffix.lower() == ".ps1" else "utf-8"
        with os.fdopen(descriptor, "w", encoding=encoding, newline="\n") as stream:
            stream.write(text)
    except FileExistsError:
        raise ScriptFileError(f"{file} exists, and is left as it is: give another name, or remove it") from None
    except OSError as error:
        raise ScriptFileError(f"{file} cannot be written: {error.strerror}") from error


def quote_for_powershell(word: str) -> str:
    """Write a word so that PowerShell takes it as it is; it knows five characters as single quotation marks."""
    return "'" + "".join(each * 2 if each in "'\u2018\u2019\u201a\u201b" else each for each in word) + "'"


def _step(number: int, step: Step, language: Language, quote: Callable[[str], str]) -> str:
    lines = [f"# Step {number}: {_comment(step.what)}", f"# Why: {_comment(step.why)}"]
    if step.back:
        lines.append(f"# Back: {_comment(step.back)}")
    say = "printf '%s\\n' " if language == "sh" else "Write-Output "
    lines.append(say + quote(f"Step {number}: {_line(step.what)}"))
    lines += [_command(command, language, quote) for command in step.commands]
    if step.by_hand:
        lines += [say + quote(f"By hand: {_line(each)}") for each in step.by_hand]
        lines.append(say + quote("Do that, and then run `rtx50-autoload fix` again. The script ends here."))
        lines.append("exit 3")
    elif step.check:
        lines.append(say + quote(f"Check: {_line(step.check)}"))
    return "\n".join(lines) + "\n"


def _command(command: Command, language: Language, quote: Callable[[str], str]) -> str:
    words = " ".join(map(quote, command.arguments))
    if language == "sh":
        variables = "".join(f"{name}={quote(value)} " for name, value in command.environ.items())
        return f"env {variables}{words}" if variables else words
    lines = [f"$env:{name} = {quote(value)}" for name, value in command.environ.items()]
    lines += [f"& {words}", "if ($LASTEXITCODE -ne 0) { exit $LASTEXITCODE }"]
    lines += [f"Remove-Item Env:{name}" for name in command.environ]
    return "\n".join(lines)


def _line(text: str) -> str:
    return " ".join(text.split())


def _comment(text: str) -> str:
    """Write a text on one line, so that all of it stays behind the sign of a comment."""
    return "".join(each if each.isprintable() else " " for each in _line(text))
