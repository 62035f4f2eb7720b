"""What the suites of one environment came to, and what two of them have to say about the package."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

#: From the best to the worst: a name that is reported more than once is as bad as its worst report.
STATES = ("skipped", "passed", "failed")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What each test came to."""

    results: dict[str, str]
    output: str

    def named(self, state: str) -> set[str]:
        """Give the tests of one state."""
        return {name for name, found in self.results.items() if found == state}


@dataclass(frozen=True, slots=True)
class Known:
    """A test that is known to come out otherwise because of the package."""

    test: str
    state: str
    columns: tuple[str, ...]
    reason: str
    pythons: tuple[str, ...] = ()

    def covers(self, name: str, state: str, column: str, python: str) -> bool:
        """Tell whether this is the test in question."""
        version = ".".join(python.split(".")[:2])
        return (
            state == self.state
            and column in self.columns
            and (not self.pythons or version in self.pythons)
            and f".{self.test}." in f".{name}."
        )


def load_known() -> list[Known]:
    """Read the tests that are known."""
    text = Path(__file__).with_name("known.toml").read_text(encoding="utf-8")
    return [
        Known(**{key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()})
        for entry in tomllib.loads(text).get("known", [])
    ]


def read_report(report: Path, output: str) -> Outcome:
    """Read the report that a runner of tests writes; where there is none, no test has run."""
    results: dict[str, str] = {}
    if report.exists():
        for case in ET.parse(report).iter("testcase"):  # noqa: S314 - written by the tests just run
            tags = {child.tag for child in case}
            state = "failed" if tags & {"failure", "error"} else "skipped" if "skipped" in tags else "passed"
            # pytest gives the name in two parts, CPython's runner in one.
            name = ".".join(filter(None, (case.get("classname"), case.get("name"))))
            results[name] = max(results.get(name, state), state, key=STATES.index)
    return Outcome(results, output)


def suspects(without: Outcome, with_us: Outcome) -> dict[str, str]:
    """Give the tests that fail, are left out or do not run with the package only."""
    found = dict.fromkeys(with_us.named("failed") - without.named("failed"), "failed")
    found |= dict.fromkeys(with_us.named("skipped") & (without.named("passed") | without.named("failed")), "skipped")
    return found | dict.fromkeys(without.results.keys() - with_us.results.keys(), "not run")
