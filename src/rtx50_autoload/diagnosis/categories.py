"""The categories of diagnoses in words, read from `categories.toml`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from rtx50_autoload.knowledge import read_tables

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Category", "load_categories"]


@dataclass(frozen=True, slots=True)
class Category:
    """One category; what its fields mean stands at the head of the file."""

    title: str
    mended_by: str


@cache
def load_categories() -> Mapping[str, Category]:
    """Read `categories.toml`: the categories by their names.

    Raises:
        TypeError: a key of the file is unknown or missing (the tests read the file, so a release's is sound).

    """
    tables = read_tables(__package__, "categories.toml")["category"]
    return MappingProxyType({name: Category(**entry) for name, entry in tables.items()})
