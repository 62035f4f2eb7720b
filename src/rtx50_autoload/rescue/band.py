"""Which keys a query may see, where that is a band along the diagonal: arithmetic, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["FULL", "Band", "Causal", "Trimmed", "Window", "band_of"]

#: How the diagonal lies where there are not as many queries as keys.
Causal = Literal["top-left", "bottom-right"]

#: How many keys to the left and to the right of the diagonal are seen; None or -1 is all of them.
Window = tuple["int | None", "int | None"]


@dataclass(frozen=True, slots=True)
class Trimmed:
    """A band, and the part of the queries and keys that it concerns.

    Attributes:
        first_row: the first query that sees a key.
        last_row: one behind the last query that sees a key; not above `first_row` where no query sees any.
        first_key: the first key that is seen.
        last_key: one behind the last key that is seen.
        band: the band among these.

    """

    first_row: int
    last_row: int
    first_key: int
    last_key: int
    band: Band


@dataclass(frozen=True, slots=True)
class Band:
    """Query i sees key j where `i + low <= j <= i + high`; None is no limit."""

    low: int | None
    high: int | None

    def among(self, queries: int, keys: int) -> Band:
        """Return the same band without the limits that have no effect among so many queries and keys."""
        return Band(
            None if self.low is not None and self.low <= 1 - queries else self.low,
            None if self.high is not None and self.high >= keys - 1 else self.high,
        )

    def trim(self, queries: int, keys: int) -> Trimmed:
        """Leave out the queries that see no key and the keys that no query sees."""
        first_row = max(0, -self.high) if self.high is not None else 0
        last_row = min(queries, keys - self.low) if self.low is not None else queries
        first_key = max(0, first_row + self.low) if self.low is not None else 0
        last_key = min(keys, last_row + self.high) if self.high is not None else keys
        moved = self.moved(first_row, first_key)
        return Trimmed(
            first_row, last_row, first_key, last_key, moved.among(last_row - first_row, last_key - first_key)
        )

    def moved(self, first_row: int, first_key: int) -> Band:
        """Return the same band in the part that begins with this query and this key."""
        shift = first_row - first_key
        return Band(
            None if self.low is None else self.low + shift,
            None if self.high is None else self.high + shift,
        )

    def flash_window(self, queries: int, keys: int) -> tuple[int, int] | None:
        """Return the band as flash's kernel takes it: relative to the diagonal that ends at the last query and key.

        The kernel drops a limit that reaches as far as there are keys, although it may still have an effect where there
        are more queries than keys. Such a band it cannot have, and None is returned.
        """
        diagonal = keys - queries
        left = -1 if self.low is None else diagonal - self.low
        right = -1 if self.high is None else self.high - diagonal
        dropped = right >= keys or (right == -1 and left != -1 and queries > keys + 1)
        return None if dropped else (left, right)


#: Every query sees every key.
FULL = Band(None, None)


def band_of(causal: Causal | None, window: Window | None, queries: int, keys: int) -> Band:
    """Return the band of a causal mask and a window around its diagonal.

    The diagonal ends at the last query and the last key, except where the mask is causal from the top left.
    """
    diagonal = 0 if causal == "top-left" else keys - queries
    left, right = window or (None, None)
    if causal is not None:
        right = 0
    return Band(
        None if left is None or left < 0 else diagonal - left,
        None if right is None or right < 0 else diagonal + right,
    ).among(queries, keys)
