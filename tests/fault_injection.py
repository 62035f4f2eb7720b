"""Runs programs with a fault of ours raised at a place, and tells what the programs have lost by it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import rig

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fault_programs import Program

__all__ = ["ERRORS", "Bench", "Result", "lost", "rotate", "sources"]

#: What is raised, in turns.
ERRORS = ("Exception", "OSError", "MemoryError", "RecursionError")

LIBRARIES = rig.FAKES / "libraries_for_faults"
_Place = TypeVar("_Place")
_TESTS = Path(__file__).resolve().parent
_OURS = "rtx50-autoload: "
_TIME_LIMIT = 60.0
_FRAME = re.compile(r'^  File "[^"]*", line .*\n(    .*\n)?', re.MULTILINE)
#: How a line of ours ends: as a sentence, or with a command.
_WHOLE = re.compile(
    r"(\.|`|…|could not answer in its place: .*|At fault: .*|Run: rtx50-autoload (MORE|doctor|explain))$"
)


@dataclass(frozen=True)
class Result:
    """What one run of a program has said; `returncode` is None where it did not end."""

    stdout: str
    stderr: str
    returncode: int | None
    places: list[str] = field(default_factory=list, compare=False)


class Bench:
    """One program in one environment, run by forks of one process (tests/fault_server.py)."""

    def __init__(self, venv: rig.Venv, program: Program, folder: Path, cache: Path, driver: Path | None) -> None:
        environment = venv.environment(program.environment)
        environment["PYTHONHASHSEED"] = "0"
        if driver is not None and program.driver:
            environment["LD_LIBRARY_PATH"] = str(driver)
            environment |= {"FAKE_NVML_COUNT": "1", "FAKE_NVML_NAME_0": "Fake GPU 0"}
        (homes := folder / "homes").mkdir()
        start = f"import sys; sys.path.insert(0, {str(_TESTS)!r}); import fault_server; fault_server.main()"
        self._process = subprocess.Popen(
            [str(venv.python), "-S", "-c", start],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None,
            text=True,
        )
        self._write(
            {
                "program": program.code,
                "environment": {},
                "sources": sorted(sources(venv)),
                "path": [str(LIBRARIES)] if program.libraries else [],
                "cache": str(cache),
                "home": str(homes),
                "time_limit": _TIME_LIMIT,
            }
        )

    def run(self, **request: Any) -> Result:
        """Run the program once; the arguments are those of the server's requests."""
        self._write(request)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the server has ended"
        return Result(**json.loads(line))

    def close(self) -> None:
        """End the server."""
        self._process.communicate()

    def _write(self, value: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(value) + "\n")
        self._process.stdin.flush()


def sources(venv: rig.Venv) -> dict[str, Path]:
    """Give the modules of the installed package, with their files."""
    found = {name: venv.site_packages / f"{name}.py" for name in (rig.HOOK, rig.WATCHING)}
    for file in sorted((venv.site_packages / "rtx50_autoload").rglob("*.py")):
        name = ".".join(file.relative_to(venv.site_packages).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = file
    return found


def lost(program: Program, without: Result, sound: Result, got: Result) -> str | None:
    """Tell what a program has lost by a fault: nothing where all is as without us; None then.

    Args:
        program: what was run.
        without: what it said without us.
        sound: what it said with us and without a fault.
        got: what it said with a fault.

    """
    if got.returncode is None:
        return "it did not end"
    if got.returncode not in {without.returncode, sound.returncode if program.may_be_rescued else without.returncode}:
        return f"its exit code is {got.returncode}, not {without.returncode}"
    lines = [result.stdout.splitlines() for result in (got, without, sound)]
    if len(lines[0]) != len(lines[1]):
        return "its stdout has another number of lines"
    for line, there, ours in zip(*lines, strict=True):
        if line != there and not (program.may_be_rescued and line == ours):
            return f"it has printed {line!r}, not {there!r}"
    theirs, told = _apart(got.stderr)
    if theirs != (others := _apart(without.stderr)[0]):
        return f"its stderr is {theirs!r}, not {others!r}"
    # With less evidence a diagnosis says less, but what it says has to be whole.
    known = {line for note in _apart(sound.stderr)[1] for line in note.splitlines()}
    cut = [line for note in told for line in note.splitlines() if line not in known and not _WHOLE.search(line)]
    return f"it has been told {cut[0]!r}" if cut else None


def _apart(stderr: str) -> tuple[str, list[str]]:
    """Part what was printed into the program's own and our notes; each is all lines of ours that stand together.

    Where an incident is not recorded, its note names another command: they count as the same. On Python 3.10
    an error that is raised again shows more frames, so there they are left out.
    """
    if sys.version_info < (3, 11):
        stderr = _FRAME.sub("", stderr)
    theirs: list[str] = []
    notes: list[list[str]] = []
    before = False
    for line in stderr.splitlines():
        text = line.strip()
        if text.startswith(_OURS):
            if not before:
                notes.append([])
            notes[-1].append(_unnumbered(text))
        else:
            theirs.append(line)
        before = text.startswith(_OURS)
    return "\n".join(theirs), ["\n".join(note) for note in notes]


def _unnumbered(line: str) -> str:
    line = re.sub(r"Why: `rtx50-autoload incidents show \w+`\. ", "", line)
    return re.sub(r"incidents show [\w-]+|\bdoctor$|\bexplain$", "MORE", line)


def rotate(places: Iterable[_Place]) -> list[tuple[_Place, str]]:
    """Give each place one of the errors, in turns."""
    return [(place, ERRORS[number % len(ERRORS)]) for number, place in enumerate(places)]
