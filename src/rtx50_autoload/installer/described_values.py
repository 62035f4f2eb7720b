"""Values of a description, each refused with what would do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from rtx50_autoload.errors import UsageError

if TYPE_CHECKING:
    import re
    from collections.abc import Collection

__all__ = [
    "MachineError",
    "as_list",
    "as_table",
    "read_choice",
    "read_size",
    "read_switch",
    "read_text",
    "read_whole",
    "refuse_unknown",
]

_GIB: Final = 2**30


class MachineError(UsageError):
    """A description of a machine holds what cannot be understood."""


def read_choice(table: Mapping[str, Any], name: str, allowed: Collection[str], prefix: str = "") -> str | None:
    """Read one of several words."""
    value = table.get(name)
    if value is not None and value not in allowed:
        raise MachineError(f'"{prefix}{name}" has to be one of {", ".join(allowed)}; not {value!r}')
    return value


def read_text(table: Mapping[str, Any], name: str, pattern: re.Pattern[str], example: str) -> str | None:
    """Read a text of a form."""
    value = table.get(name)
    if value is None or (isinstance(value, str) and pattern.fullmatch(value)):
        return value
    raise MachineError(f'"{name}" has to be a text such as {example}; not {value!r}')


def read_switch(table: Mapping[str, Any], name: str) -> bool | None:
    """Read true or false."""
    value = table.get(name)
    if value is None or isinstance(value, bool):
        return value
    raise MachineError(f'"{name}" has to be true or false, not {value!r}')


def read_size(table: Mapping[str, Any], name: str) -> int | None:
    """Read a number of GiB as bytes."""
    value = table.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
        raise MachineError(f'"{name}" has to be a number above 0, not {value!r}')
    return int(value * _GIB)


def read_whole(table: Mapping[str, Any], name: str) -> int | None:
    """Read a whole number above 0."""
    value = table.get(name)
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value
    raise MachineError(f'"{name}" has to be a whole number above 0, not {value!r}')


def as_table(value: object, name: str) -> Mapping[str, Any]:
    """Give a value as keys and values."""
    if isinstance(value, Mapping):
        return value
    raise MachineError(f"{name} has to be a table of keys and values, not {value!r}")


def as_list(value: object, name: str) -> list[Any]:
    """Give a value as a list."""
    if isinstance(value, list):
        return value
    raise MachineError(f'"{name}" has to be a list, not {value!r}')


def refuse_unknown(table: Mapping[str, Any], known: Collection[str], prefix: str) -> None:
    """Refuse keys that mean nothing here."""
    for key in table:
        if key not in known:
            raise MachineError(f'"{prefix}{key}" is not known here; there is {", ".join(sorted(known))}')
