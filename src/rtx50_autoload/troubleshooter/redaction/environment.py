"""The few environment variables that a failure may depend on, instead of all of them."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from rtx50_autoload.knowledge import read_tables
from rtx50_autoload.settings import FIELDS

from .text import redact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .identity import Identity

__all__ = ["environment_facts"]


def environment_facts(environ: Mapping[str, str], identity: Identity | None = None) -> dict[str, str]:
    """Give the variables of the list in `variables.toml`, and our own settings, with redacted values.

    A prefix such as ``NVIDIA_`` is no reason to show a variable: ``NVIDIA_API_KEY`` has it too. Of ``PATH`` only the
    entries that name CUDA or a Python environment are given.
    """
    allowed, path_words = _allowed()
    facts = {}
    for name in sorted(environ.keys() & allowed):
        value = environ[name]
        if name == "PATH":
            separator = ";" if ";" in value else ":"
            entries = [entry for entry in value.split(separator) if any(word in entry.lower() for word in path_words)]
            value = separator.join(entries)
        if value:
            facts[name] = redact(value, identity).text
    return facts


@cache
def _allowed() -> tuple[frozenset[str], tuple[str, ...]]:
    tables = read_tables(__package__, "variables.toml")
    return frozenset([*tables["variables"], *(field.variable for field in FIELDS)]), tuple(tables["path_words"])
