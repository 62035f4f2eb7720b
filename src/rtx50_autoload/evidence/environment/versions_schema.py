"""What a file of facts about versions may hold: each table, each key, and what its values look like.

Such a file may come from anywhere. Its values end up in commands that a plan shows, so each has a narrow form.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Final

from rtx50_autoload.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["FactsFileError", "check", "dated"]


class FactsFileError(UsageError):
    """A file of facts cannot be used; the facts are what they were before."""


@dataclass(frozen=True, slots=True)
class _Form:
    """What a value has to look like; `what` says it in words."""

    what: str
    fits: Callable[[Any], bool]
    optional: bool = False

    def __invert__(self) -> _Form:
        return _Form(self.what, self.fits, optional=True)


def _text(what: str, pattern: str) -> _Form:
    regex = re.compile(pattern)
    return _Form(what, lambda value: isinstance(value, str) and regex.fullmatch(value) is not None)


def _number(what: str, first: int, last: int) -> _Form:
    return _Form(what, lambda value: type(value) is int and first <= value <= last)


def _list(of: _Form, *, least: int = 1) -> _Form:
    fits = of.fits
    return _Form(
        f"a list of {least} to 40, each {of.what}",
        lambda value: isinstance(value, list) and least <= len(value) <= 40 and all(map(fits, value)),  # noqa: PLR2004
    )


def _one_of(*words: str) -> _Form:
    return _Form(f"one of {', '.join(words)}", lambda value: isinstance(value, str) and value in words)


_PLATFORMS: Final = ("linux-x86_64", "linux-aarch64", "windows-x86_64")
_RANGE: Final = r"(?:==|!=|>=|<=|<|>|~=)\d[\w.]{0,20}"
_SAID: Final = _text("a sentence of printable ASCII, at most 500 characters", r"[\x20-\x7e]{1,500}")
_RELEASE: Final = _text(
    "an exact version such as 2.9.1 or 3.5.1.post24", r"\d{1,3}(?:\.\d{1,3}){1,3}(?:\.post\d{1,3})?"
)
_LINE: Final = _text("a version such as 2.14 or 2.12.1", r"\d{1,2}\.\d{1,3}(?:\.\d{1,3})?")
_PAIR: Final = _text("two numbers such as 12.8", r"\d{1,2}\.\d{1,2}")
_CAPABILITY: Final = _text("a compute capability such as 12.0", r"\d{1,2}\.\d")
_VERSIONS: Final = _text("a range such as >=2.10,<2.12", rf"{_RANGE}(?:,{_RANGE}){{0,4}}")
_VARIANT: Final = _text("a variant such as cu128", r"cu\d{2,3}")
_PACKAGE: Final = _text("a normalised name such as flash-attn", r"[a-z0-9]+(?:-[a-z0-9]+)*")
_PYTHON: Final = _text("a Python such as 3.12 or 3.13t", r"3\.\d{1,2}t?")
_MAJOR: Final = _number("a number such as 12", 1, 99)
_BRANCH: Final = _number("a driver branch such as 570", 300, 2000)
_BYTES: Final = _number("a number of bytes", 1, 10**12)
#: What an index gives is run: a file of facts does not choose whose.
_URL: Final = _text(
    "an address of PyTorch's own such as https://download.pytorch.org/whl/cu128",
    r"https://download\.pytorch\.org(?:/[A-Za-z0-9][A-Za-z0-9._-]{0,63}){1,8}/?",
)
_PYPI: Final = _Form(
    "a table of platforms, each with a variant or cpu",
    lambda value: (
        isinstance(value, dict)
        and all(key in _PLATFORMS and (each == "cpu" or _VARIANT.fits(each)) for key, each in value.items())
    ),
)

#: Every table is a list of rows, and none may be missing.
_TABLES: Final[Mapping[str, Mapping[str, _Form]]] = {
    "minimum": {"capability": _MAJOR, "driver": _BRANCH, "cuda": _PAIR, "triton": _PAIR},
    "runtime": {"cuda": _number("a number such as 13", 8, 99), "driver": _BRANCH},
    "index": {
        "variant": _VARIANT,
        "cuda": _PAIR,
        "driver": _BRANCH,
        "own_driver": _BRANCH,
        "offered": _one_of("always", "same-release", "never"),
        "url": _URL,
    },
    "build": {
        "variant": _VARIANT,
        "platforms": _list(_one_of(*_PLATFORMS)),
        "first": _LINE,
        "last": _LINE,
        "capabilities": _list(_CAPABILITY),
    },
    "torch": {
        "version": _RELEASE,
        "pythons": _list(_PYTHON),
        "pypi": _PYPI,
        "torchvision": _RELEASE,
        "torchvision_pypi": ~_RELEASE,
        "torchaudio": _RELEASE,
        "triton": _RELEASE,
        "triton_windows": ~_RELEASE,
        "download": ~_BYTES,
        "installed": ~_BYTES,
    },
    "stable": {
        "package": _PACKAGE,
        "version": _VERSIONS,
        "torch": _VERSIONS,
        "pythons": ~_list(_PYTHON),
        "variants": ~_list(_VARIANT),
    },
    "built-for": {"package": _PACKAGE, "below": ~_RELEASE},
    "xformers": {
        "version": _RELEASE,
        "torch": _VERSIONS,
        "variants": _list(_VARIANT),
        "pypi": _PAIR,
        "platforms": _list(_one_of(*_PLATFORMS)),
        "pythons": _list(_PYTHON, least=0),
    },
    "bitsandbytes": {
        "first": _RELEASE,
        "last": _RELEASE,
        "cudas": _list(_PAIR),
        "platforms": _list(_one_of(*_PLATFORMS)),
    },
    "source-build": {"package": _PACKAGE, "version": _RELEASE, "first": _RELEASE},
    "known-bad": {"package": _PACKAGE, "version": _VERSIONS, "capability": ~_MAJOR, "what": _SAID},
    "universal": {"package": _PACKAGE, "version": _RELEASE},
    "numpy": {"torch": _VERSIONS, "numpy": _VERSIONS, "last": _RELEASE},
    "toolkit": {"oldest": _CAPABILITY, "first": _PAIR, "last": ~_PAIR},
}
_MOST_ROWS: Final = 500


def check(tables: Mapping[str, Any]) -> None:
    """See to it that tables can be used as facts.

    Raises:
        FactsFileError: a table, a key or a value is missing or has another form than it must have.

    """
    dated(tables)
    if strange := [name for name in tables if name not in (*_TABLES, "dated")]:
        raise FactsFileError(f"[[{strange[0]}]] is no table of facts: {', '.join(_TABLES)} are")
    for name, forms in _TABLES.items():
        rows = tables.get(name)
        if not isinstance(rows, list) or not 0 < len(rows) <= _MOST_ROWS:
            raise FactsFileError(f"[[{name}]] has to be a table of 1 to {_MOST_ROWS} rows")
        for number, row in enumerate(rows, 1):
            for complaint in _complaints(row, {**forms, "source": _SAID}):
                raise FactsFileError(f"row {number} of [[{name}]]: {complaint}")
    for complaint in _contradictions(tables):
        raise FactsFileError(complaint)


def dated(tables: Mapping[str, Any]) -> date:
    """Give the day of the facts.

    Raises:
        FactsFileError: there is none.

    """
    try:
        return date.fromisoformat(tables["dated"])
    except (KeyError, TypeError, ValueError):
        raise FactsFileError('`dated` has to be the day of the facts, such as "2026-11-22"') from None


def _complaints(row: object, forms: Mapping[str, _Form]) -> Iterator[str]:
    if not isinstance(row, dict):
        yield "it has to be a table"
        return
    for key, form in forms.items():
        if key not in row and not form.optional:
            yield f"`{key}` is missing: {form.what}"
        elif key in row and not form.fits(row[key]):
            yield f"`{key}` has to be {form.what}"
    for key in row:
        if key not in forms:
            yield f"{key!a} is no key of this table: {', '.join(forms)} are"


def _contradictions(tables: Mapping[str, Any]) -> Iterator[str]:
    variants = [row["variant"] for row in tables["index"]]
    if len(set(variants)) < len(variants):
        yield "[[index]] names a variant twice"
    if not any(row["offered"] == "always" for row in tables["index"]):
        yield '[[index]] has no variant that is offered "always"'
    used = {row["variant"] for row in tables["build"]}
    used.update(variant for row in tables["xformers"] for variant in row["variants"])
    if unknown := sorted(used - set(variants)):
        yield f"{unknown[0]} is used, but [[index]] has no row for it"
    if unused := [variant for variant in variants if variant not in used]:
        yield f"{unused[0]} is in [[index]], but [[build]] has no row for it"
    versions = [_key(row["version"]) for row in tables["torch"]]
    if versions != sorted(set(versions), reverse=True):
        yield "[[torch]] has to name each release once, the newest first"
    for number, row in enumerate(tables["build"], 1):
        if _key(row["first"]) > _key(row["last"]):
            yield f"row {number} of [[build]]: `first` comes after `last`"


def _key(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)))
