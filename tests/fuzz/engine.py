"""Runs one target under atheris; `run.py` starts it as a process of its own for each.

    python tests/fuzz/engine.py TARGET CORPUS FINDINGS SECONDS

A finding does not end the run: of each kind, by the exception and the place that raised it, the shortest input is kept.
"""

from __future__ import annotations

import signal
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import atheris

if TYPE_CHECKING:
    from types import FrameType

    from target import Target

#: Seconds of processor time that one input may take, instrumented.
_LIMIT = 10.0
#: Seconds by the clock, for what is no longer interrupted. Not 0: atheris ends a run then that is late by a second.
_WALL_LIMIT = 200
_MEMORY_MIB = 2048


class TooLongError(BaseException):
    """One input takes too long; no `except Exception` of the code under test may swallow it."""


def _too_long(_signal: int, _frame: FrameType | None) -> None:
    raise TooLongError(f"more than {_LIMIT:g} seconds")


class Findings:
    """The shortest input of each kind of failure."""

    def __init__(self, folder: Path, target: str) -> None:
        self._folder, self._target = folder, target
        self._shortest: dict[tuple[str, ...], tuple[int, Path]] = {}

    def add(self, data: bytes, error: BaseException) -> None:
        """Keep an input, unless a shorter one of its kind is kept already."""
        frames = traceback.extract_tb(error.__traceback__)[2:]
        # What takes too long is interrupted anywhere.
        kind = (type(error).__name__, *(() if isinstance(error, TooLongError) else (str(frames[-1:]),)))
        number, file = len(self._shortest), None
        if kind in self._shortest:
            length, file = self._shortest[kind]
            if length <= len(data):
                return
        file = file or self._folder / f"{self._target}-{number}"
        self._shortest[kind] = len(data), file
        file.write_bytes(data)
        text = "".join(traceback.format_exception(error))
        file.with_suffix(".txt").write_text(text, encoding="utf-8", errors="backslashreplace")


def main() -> None:
    """Fuzz until the time is over."""
    name, corpus, findings_folder, seconds = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
    with atheris.instrument_imports(include=["rtx50_autoload"]):
        from targets import TARGETS  # noqa: PLC0415 - what is imported here is instrumented

        target = TARGETS[name]
        findings = Findings(findings_folder, name)
        signal.signal(signal.SIGVTALRM, _too_long)

        def one_input(data: bytes) -> None:
            signal.setitimer(signal.ITIMER_VIRTUAL, _LIMIT)
            try:
                target.check(data)
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is a finding
                findings.add(data, error)
            finally:
                signal.setitimer(signal.ITIMER_VIRTUAL, 0)

        # What is imported by functions only, when they are called, has to be instrumented too.
        for number, seed in enumerate(target.seeds()):
            (corpus / f"seed-{number}").write_bytes(seed)
            one_input(seed)
    options = [
        f"-max_len={target.longest}",
        f"-max_total_time={seconds}",
        f"-rss_limit_mb={_MEMORY_MIB}",
        f"-artifact_prefix={findings_folder}/{name}-",
        f"-timeout={_WALL_LIMIT}",
        "-print_final_stats=1",
    ]
    if target.dictionary:
        options.append(f"-dict={_dictionary(target, corpus.parent / f'{name}.dict')}")
    atheris.Setup([sys.argv[0], *options, str(corpus)], one_input)
    atheris.Fuzz()


def _dictionary(target: Target, file: Path) -> Path:
    lines = ('"' + "".join(f"\\x{byte:02x}" for byte in piece) + '"\n' for piece in target.dictionary)
    file.write_text("".join(lines), encoding="ascii")
    return file


if __name__ == "__main__":
    main()
