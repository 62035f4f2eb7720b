"""How numbers are shown to people."""

from __future__ import annotations

__all__ = ["three_digits"]


def three_digits(number: float) -> str:
    """Write a positive number with three digits, or with all those before the point: 1.25, 20.0, 1234."""
    if round(number, 1) >= 100:  # noqa: PLR2004 - three digits before the point
        return f"{number:.0f}"
    return f"{number:.1f}" if round(number, 2) >= 10 else f"{number:.2f}"  # noqa: PLR2004 - likewise, two
