"""Profiles that other packages bring: read from files that their entry points name, without importing any of them.

An entry point of the group `rtx50_autoload.profiles` has the value ``package:file.toml``. That is the way of an object
reference, so every tool that builds packages takes it, and it names a file beside the package's modules.

A package speaks for modules of its own alone; those of a built-in profile are left to the package that they are from.
"""

from __future__ import annotations

import csv
import re
from configparser import ConfigParser
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from importlib.machinery import EXTENSION_SUFFIXES
from typing import TYPE_CHECKING, Any, Final

from rtx50_autoload.settings_file import LARGEST, parse_toml

from .profile_schema import read_profiles
from .profiles import Origin, Problem, Profiles, load_profiles

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .profiles import Profile

__all__ = ["GROUP", "package_profiles"]

GROUP: Final = "rtx50_autoload.profiles"
_VALUE: Final = re.compile(r"([^\W\d]\w*(?:\.[^\W\d]\w*)*)\s*:\s*([^\W\d]\w*\.toml)")


def package_profiles() -> Profiles:
    """Read the profiles of all installed packages; what is wrong with one of them does not concern the others."""
    profiles: list[Profile] = []
    problems: list[Problem] = []
    for name in _declaring():
        try:
            # Not the one that was found: another of that name may stand before it, and is the one that is imported.
            package = _Package(metadata.distribution(name))
            for point, value in _entry_points(package.distribution):
                found = _profiles_of(package, point, value)
                profiles += found.listed
                problems += found.problems
        except Exception as error:  # noqa: BLE001, PERF203 - metadata that others have written fails in many ways
            what = f"its metadata cannot be read ({type(error).__name__}: {error})"
            problems.append(Problem(Origin("package", package=name), "", what))
    contested = [*_contested(profiles)]
    refused = {profile for profile, _ in contested}
    problems += [problem for _, problem in contested]
    return Profiles(tuple(profile for profile in profiles if profile not in refused), tuple(problems))


def _declaring() -> list[str]:
    """Give the names of the packages that bring profiles."""
    names: dict[str, None] = {}
    for distribution in metadata.distributions():
        # What an interrupted uninstallation leaves fails in many ways. Most packages have no such file, and it is not
        # read as entry points: one that is malformed would fail those of all others.
        with suppress(Exception):
            if GROUP in (distribution.read_text("entry_points.txt") or ""):
                names.setdefault(distribution.metadata["Name"])
    return [name for name in names if name]


def _entry_points(distribution: metadata.Distribution) -> list[tuple[str, str]]:
    """Give names and values of the group's entry points.

    Not `Distribution.entry_points`: where a program has imported importlib_metadata, that is this package's, which
    from version 10 on fails for all of them if the value of one is malformed.
    """
    parser = ConfigParser(delimiters="=", interpolation=None, strict=False)
    # Names as they stand there, not in small letters.
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(distribution.read_text("entry_points.txt") or "")
    return parser.items(GROUP) if parser.has_section(GROUP) else []


@dataclass
class _Package:
    """A distribution, and which modules and files are its own."""

    distribution: metadata.Distribution

    @cached_property
    def title(self) -> str:
        return f"{self.distribution.metadata['Name']} {self.distribution.version}"

    @cached_property
    def recorded(self) -> frozenset[str]:
        # Read here: `Distribution.files` asks the disk for each of them.
        rows = csv.reader((self.distribution.read_text("RECORD") or "").splitlines())
        return frozenset(row[0] for row in rows if row)

    @cached_property
    def source_folders(self) -> tuple[Path, ...]:
        """Where the modules of an editable install lie; no RECORD lists them."""
        from rtx50_autoload.evidence.installed import editable_roots  # noqa: PLC0415 - few are installed in that way

        return editable_roots(self.distribution)

    def find(self, file: str) -> Any:  # noqa: ANN401 - a Path, or a path in an archive of the standard library
        """Give where a file of its own lies, None where it has none of this name."""
        if file in self.recorded:
            return self.distribution.locate_file(file)
        return next((folder / file for folder in self.source_folders if (folder / file).is_file()), None)

    def owns(self, module: str) -> bool:
        """Tell whether the module is one of its own, or lies in a package of its own."""
        path = module.replace(".", "/")
        above = [path[:end] for end, sign in enumerate(path) if sign == "/"]
        files = [f"{path}{suffix}" for suffix in (".py", *EXTENSION_SUFFIXES)]
        files += [f"{package}/__init__.py" for package in (path, *above)]
        return any(self.find(file) is not None for file in files)

    def why_not_for(self, module: str) -> str | None:
        """Tell why the package may not speak for a module; None where it may."""
        from packaging.utils import canonicalize_name  # noqa: PLC0415 - where a package brings a profile

        own = self.distribution.metadata["Name"]
        built_in = Profiles(load_profiles()).of(module)
        if built_in and canonicalize_name(built_in.distribution or "") != canonicalize_name(own):
            why = f"{module!r} has a built-in profile, that of {built_in.library}"
        elif not self.owns(module):
            why = f"{own} has installed no module {module!r}"
        else:
            return None
        return f"{why}; a package speaks for its own modules alone, and a person in their own profiles.toml for any"


def _profiles_of(package: _Package, point: str, value: str) -> Profiles:
    match = _VALUE.fullmatch(value.strip())
    if match is None:
        what = f"{value!r} names no file; write its package and its name, such as mylib:rtx50_profiles.toml"
        origin = Origin("package", package=package.title)
        return Profiles((), (Problem(origin, f"entry point {point!r}", what),))
    file = f"{match[1].replace('.', '/')}/{match[2]}"
    origin = Origin("package", file, package.title)
    try:
        read = read_profiles(_read(package, file), origin)
    except (OSError, ValueError) as error:
        return Profiles((), (Problem(origin, "", f"all of it is ignored: {error}"),))
    wrong = [
        (profile, Problem(origin, f"profile {profile.library!r}", why))
        for profile in read.listed
        for why in map(package.why_not_for, profile.modules)
        if why
    ]
    refused = {profile for profile, _ in wrong}
    return Profiles(
        tuple(profile for profile in read.listed if profile not in refused),
        (*read.problems, *(problem for _, problem in wrong)),
    )


def _read(package: _Package, file: str) -> dict[str, Any]:
    """Read a file of a package, in a folder or in an archive.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not there, too large, not UTF-8 or not TOML.

    """
    place = package.find(file)
    # A pipe would be waited for.
    if place is None or not place.is_file():
        raise ValueError("the package has no such file; have it built into the wheel, beside the modules")
    with place.open("rb") as stream:
        content = stream.read(LARGEST + 1)
    return parse_toml(content)


def _contested(profiles: list[Profile]) -> Iterator[tuple[Profile, Problem]]:
    """Give those that speak for a module for which another one speaks, too: neither can be known to be right."""
    speakers: dict[str, list[Profile]] = {}
    for profile in profiles:
        for module in profile.modules:
            speakers.setdefault(module, []).append(profile)
    for module, several in speakers.items():
        for profile in several if len(several) > 1 else ():
            others = " and ".join(other.origin.place for other in several if other is not profile)
            what = f"{others} has a profile for {module!r}, too, so neither holds; one of them has to go"
            yield profile, Problem(profile.origin, f"profile {profile.library!r}", what)
