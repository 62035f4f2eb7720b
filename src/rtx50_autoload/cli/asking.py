"""A question to the person at the terminal."""

from __future__ import annotations

import sys

__all__ = ["ask", "has_terminal", "is_agreed"]


def has_terminal() -> bool:
    """Tell whether somebody is there who reads what is printed and can answer."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def is_agreed(question: str) -> bool:
    """Ask for a yes; anything else is a no."""
    return ask(f"{question} [y/N] ").lower() in {"y", "yes"}


def ask(question: str) -> str:
    """Ask, and give the answer."""
    if sys.platform != "win32":
        import termios  # noqa: PLC0415

        # What was typed or pasted before the question is no answer to it.
        termios.tcflush(sys.stdin, termios.TCIFLUSH)
    print(question, end="", flush=True)  # noqa: T201
    return sys.stdin.readline().strip()
