"""Whether an assistant may be asked here and now, by whom, and why not."""

from __future__ import annotations

import os
import sys
import threading
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal, TypeAlias

from rtx50_autoload import job
from rtx50_autoload.knowledge import read_tables

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rtx50_autoload.settings import AiConsent

__all__ = ["Consent", "Occasion", "consent", "load_surroundings"]

#: What leads to the question: an error that ends the program, or a command that a person has typed.
Occasion: TypeAlias = Literal["crash", "command"]

_NOT_SET = frozenset({"", "0", "false", "no", "off"})


@dataclass(frozen=True, slots=True)
class Consent:
    """Whether an assistant may be asked.

    Attributes:
        answer: ``yes``, ``ask`` (the person at the terminal first), ``no``.
        reason: why, as a clause that follows "because".
        person: whether somebody is at the terminal, who can be asked.

    """

    answer: Literal["yes", "ask", "no"]
    reason: str
    person: bool = False


@dataclass(frozen=True, slots=True)
class Surrounding:
    """Where a process runs; what its fields mean stands at the head of `surroundings.toml`."""

    what: str
    explicit: bool
    variables: tuple[str, ...]
    source: str

    def sign(self, environ: Mapping[str, str]) -> str | None:
        """Give the variable by which a process knows that it runs there."""
        for name in self.variables:
            if environ.get(name, "").lower() not in _NOT_SET:
                return name
        return None


@cache
def load_surroundings() -> tuple[Surrounding, ...]:
    """Read `surroundings.toml`.

    Raises:
        TypeError: a key of the file is unknown or missing (the tests read the file, so a release's is sound).

    """
    return tuple(
        Surrounding(variables=tuple(entry.pop("variables")), **entry)
        for entry in read_tables(__package__, "surroundings.toml")["surrounding"]
    )


def consent(setting: AiConsent, occasion: Occasion, environ: Mapping[str, str] | None = None) -> Consent:
    """Decide whether an assistant may be asked.

    Args:
        setting: what RTX50_AI says.
        occasion: what leads to the question.
        environ: the environment variables, by default the process's.

    """
    environ = os.environ if environ is None else environ
    reason = "RTX50_AI is off" if setting == "off" else _hindrance(occasion, environ)
    if reason is not None:
        return Consent("no", reason)
    person = _at_terminal()
    if setting == "auto":
        return Consent("yes", "RTX50_AI is auto", person)
    if person:
        return Consent("ask", "RTX50_AI is ask", person)
    return Consent("no", "there is nobody at a terminal to ask, and RTX50_AI is not auto")


def _hindrance(occasion: Occasion, environ: Mapping[str, str]) -> str | None:
    """Give what speaks against asking from this process, as a clause; None where nothing does."""
    for surrounding in load_surroundings():
        sign = surrounding.sign(environ)
        if sign and (surrounding.explicit or occasion == "crash"):
            return f"this runs {surrounding.what} ({sign} is set)"
    if occasion == "crash" and (job.rank(environ) is not None or job.is_worker(environ)):
        return "this is one process of a job"
    if occasion == "crash" and threading.current_thread() is not threading.main_thread():
        return "the error came in a thread beside the main one"
    return None


def _at_terminal() -> bool:
    """Tell whether a person sees the question and can answer it."""
    try:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            return False
        # The system stops a program that reads from the terminal in the background (`python train.py &`).
        return os.name == "nt" or os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (AttributeError, ValueError):  # a program without them (pythonw), or one that has closed them
        return False
    except OSError:  # not the terminal of this session, as within some containers and tests
        return True
