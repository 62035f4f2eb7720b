"""Which functions are watched for kernels that cannot be loaded, read from `functions.toml`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from rtx50_autoload.knowledge import read_tables, within

__all__ = ["Broken", "Library", "load_libraries"]


@dataclass(frozen=True, slots=True)
class Broken:
    """A kernel that is not even to be tried; what its fields mean stands at the head of the file."""

    versions: str
    capability: int
    dtypes: tuple[str, ...]
    built: str
    unless: str
    what: str
    source: str


@dataclass(frozen=True, slots=True)
class Library:
    """The functions of one library; what its fields mean stands at the head of the file."""

    name: str
    distribution: str
    module: str
    public: str
    stand_ins: str
    versions: str
    functions: tuple[str, ...]
    cost: str
    broken: tuple[Broken, ...] = ()

    def covers(self, version: str | None) -> bool:
        """Tell whether the arguments of this version's functions are known; None where no distribution tells one."""
        return within(version, self.versions) is not False


@cache
def load_libraries() -> tuple[Library, ...]:
    """Read `functions.toml`.

    Raises:
        TypeError: a key of the file is unknown or missing (the tests read the file, so a release's is sound).

    """
    return tuple(
        Library(
            functions=tuple(entry.pop("functions")),
            broken=tuple(Broken(dtypes=tuple(row.pop("dtypes")), **row) for row in entry.pop("broken", ())),
            **entry,
        )
        for entry in read_tables(__package__, "functions.toml")["library"]
    )
