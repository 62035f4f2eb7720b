"""Commands that start this Python on a program of ours, whatever lies in the folder where it is started."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

__all__ = ["ISOLATED", "own_command", "python_command"]

#: For a Python whose packages are its environment's alone: neither the working directory nor a variable adds any. What
#: the variables say that are passed over with those, options say.
ISOLATED: Final = ("-I", "-u", "-X", "utf8")

# Not `-m`, which looks in the working directory first, and that may hold anything. So does `-c`, but for this line's
# first statement, which finds `sys` inside the interpreter; `-P` is not known before Python 3.11.
_FIRST: Final = (
    "import sys; n = 2 + int(sys.argv[1]); "
    "sys.path[:] = dict.fromkeys([*sys.argv[2:n], *filter(None, sys.path)]); del sys.argv[1:n]"
)
_OURS: Final = "from rtx50_autoload.cli.main import main; sys.exit(main())"


def own_command(*arguments: str, python: Path | str | None = None) -> list[str]:
    """Give what runs a command of ours as `rtx50-autoload` with these arguments does."""
    return python_command(_OURS, *arguments, python=python)


def python_command(
    program: str, *arguments: str, options: tuple[str, ...] = (), python: Path | str | None = None
) -> list[str]:
    """Give what runs a program where packages are found as in this process, and where installers have put them since.

    Args:
        program: Python code on lines of its own; `sys` is imported already.
        arguments: its `sys.argv[1:]`.
        options: of the interpreter.
        python: the interpreter, by default the one that runs this.

    """
    folders = _folders()
    code = f"{_FIRST}\n{program}"
    return [str(python or sys.executable), *options, "-c", code, str(len(folders)), *folders, *arguments]


def _folders() -> list[str]:
    """Give where modules are found: the folder of the program comes last, and the working directory not at all.

    The first one of `sys.path` is the program's: no module there is to be taken for one of ours or of the standard
    library. Where it is the working directory, Python has put it there by itself.
    """
    first, *rest = [folder for folder in sys.path if isinstance(folder, str)] or [""]
    named = [folder for folder in rest if Path(folder).is_absolute()]
    if Path(first).is_absolute() and not _is_working_directory(first):
        named.append(first)
    # Where it is started from a checkout, that may be the working directory.
    return [*dict.fromkeys((*named, str(Path(__file__).resolve().parent.parent)))]


def _is_working_directory(folder: str) -> bool:
    try:
        return Path(folder).samefile(os.curdir)
    except OSError:  # one of them has been removed
        return False
