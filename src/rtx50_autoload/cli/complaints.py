"""How a command says on stderr what is wrong. Without rich, which may be what is broken."""

from __future__ import annotations

import sys

from rtx50_autoload.folding import folded
from rtx50_autoload.printable import printable

__all__ = ["complain"]


def complain(text: str, program: str = "rtx50-autoload") -> None:
    """Say what is wrong: as one line that a program can find, or for a person between words."""
    # Without a console there is none; `print` would take stdout then, which is for results.
    if sys.stderr is not None:
        print(folded(printable(f"{program}: {text}"), sys.stderr), file=sys.stderr)  # noqa: T201
