"""Knowledge that grows is data: TOML beside the module that reads it, with the ranges of versions that it holds for."""

from __future__ import annotations

import sys
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["fill_fragments", "read_tables", "within"]


def read_tables(package: str, name: str) -> dict[str, Any]:
    """Read a TOML file that lies in a package of ours."""
    return tomllib.loads(files(package).joinpath(name).read_text(encoding="utf-8"))


def fill_fragments(pattern: str, fragments: Mapping[str, str]) -> str:
    """Put into a regular expression the pieces that it names as ``%name%``; one may name those that come after it."""
    for name, fragment in fragments.items():
        pattern = pattern.replace(f"%{name}%", fragment)
    return pattern


def within(version: str | None, versions: str) -> bool | None:
    """Tell whether a version lies in a range (PEP 440, ``">=0.0.33,<0.0.36"``; the empty range holds all).

    Source builds carry development and local versions; they count like the release that they lead to.

    Returns:
        None where the range says something and the version is not known, or is none.

    """
    if not versions:
        return True
    if version is None:
        return None
    from packaging.specifiers import SpecifierSet  # noqa: PLC0415 - only where a version has to be compared
    from packaging.version import InvalidVersion, Version  # noqa: PLC0415

    try:
        return SpecifierSet(versions, prereleases=True).contains(Version(version))
    except InvalidVersion:
        return None
