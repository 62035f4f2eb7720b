"""How a command says on stderr what is wrong. Without rich, which may be what is broken."""

from __future__ import annotations

import os
import sys
from itertools import pairwise

from rtx50_autoload.printable import printable

from .folding import breaks

__all__ = ["complain"]


def complain(text: str, program: str = "rtx50-autoload") -> None:
    """Say what is wrong: as one line that a program can find, or for a person between words."""
    for line in printable(f"{program}: {text}").split("\n"):
        places = [0, len(line)]
        if sys.stderr is not None and sys.stderr.isatty():
            places[1:1] = breaks(line, os.get_terminal_size(sys.stderr.fileno()).columns)
        for start, end in pairwise(places):
            print(line[start:end].rstrip(), file=sys.stderr)  # noqa: T201
