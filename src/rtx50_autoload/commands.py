"""How commands are typed: for the shell of an operating system, and with the tool that installs packages there."""

from __future__ import annotations

import re
import shlex
import subprocess
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

__all__ = ["Shell", "Typist", "split_step"]

#: `cmd` is Windows' Command Prompt. `any` is for where the system is not known: what both shells read alike.
Shell: TypeAlias = Literal["posix", "cmd", "any"]

#: What cmd takes for its own outside of quotation marks: the first two would write files.
_SPECIAL_IN_CMD: Final = set("<>|&^()")
#: What a POSIX shell replaces even between double quotation marks.
_REPLACED: Final = set('"$`\\!')
#: How a sentence begins, and no command.
_SENTENCE: Final = re.compile(r"[A-Z][a-z]+ ")


@dataclass(frozen=True, slots=True)
class Typist:
    """Writes commands as they have to be typed.

    Attributes:
        shell: which one reads them.
        python: how the Python in question is called, quoted where it has to be.
        uses_uv: packages are installed with uv, not with the pip of that Python.

    """

    shell: Shell
    python: str
    uses_uv: bool = False

    def line(self, *words: str) -> str:
        """Write the words of a command."""
        return " ".join(map(self.quote, words))

    def quote(self, word: str) -> str:
        """Write one word so that the shell takes it as it is."""
        if self.shell == "cmd":
            quoted = subprocess.list2cmdline([word])
            return f'"{word}"' if quoted == word and _SPECIAL_IN_CMD.intersection(word) else quoted
        # Where both ways would do, double quotation marks: cmd knows no others, and a word may hold single ones.
        prefers_double = shlex.quote(word) != word and (self.shell == "any" or "'" in word)
        return f'"{word}"' if prefers_double and not _REPLACED.intersection(word) else shlex.quote(word)

    def run_python(self, *arguments: str) -> str:
        """Start the Python in question."""
        return f"{self.python} {self.line(*arguments)}"

    def pip(self, verb: str, *arguments: str) -> str:
        """Do with packages what a command of pip does; never by a bare ``pip``, which may be another Python's."""
        if not self.uses_uv:
            confirmed = ("-y", *arguments) if verb == "uninstall" else arguments
            return self.run_python("-m", "pip", verb, *confirmed)
        if verb == "cache":
            return self.line("uv", "cache", "clean")
        return f"{self.line('uv', 'pip', verb)} --python {self.python} {self.line(*arguments)}".rstrip()

    def set_variable(self, name: str, value: str) -> str:
        """Set a variable in the terminal."""
        # cmd takes all behind the sign of equality, quotation marks too.
        return f"set {name}={value}" if self.shell == "cmd" else f"export {name}={shlex.quote(value)}"

    def unset_variable(self, name: str) -> str:
        """Remove a variable from the terminal."""
        return f"set {name}=" if self.shell == "cmd" else f"unset {name}"

    def prepend(self, name: str, folder: str) -> str:
        """Put a folder before those that a variable such as ``PATH`` names."""
        if self.shell == "cmd":
            return f"set {name}={folder};%{name}%"
        # An empty entry would be the current folder.
        return f'export {name}={shlex.quote(folder)}"${{{name}:+:${name}}}"'

    def prepend_package_folder(self, name: str, folder: str) -> str:
        """Put a folder of the installed packages before those that a variable names; for POSIX shells."""
        packages = self.run_python("-c", "import sysconfig; print(sysconfig.get_path('purelib'))")
        return f'export {name}="$({packages})/{folder}${{{name}:+:${name}}}"'


def split_step(step: str) -> tuple[str, str]:
    """Tell what a step says from the command in it, which stands at its end or is all of it.

    Returns:
        the sentence up to its colon, and the command. Either is empty where there is none.

    """
    sentence, colon, command = step.rpartition(": ")
    if step.rstrip().endswith(".") or (not colon and _SENTENCE.match(step)):
        return step, ""
    return sentence + colon.rstrip(), command
