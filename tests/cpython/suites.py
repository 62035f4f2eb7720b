"""Let CPython's own tests of import judge the package: not one more may fail with it.

    python tests/cpython/suites.py WHEEL [--python INTERPRETER ...] [--markdown FILE]

For each interpreter the same suites run in three environments: an empty one, one with the package and nothing that it
would act on, and one where the hook watches every module (`wrap_everything.pth`). A test that comes out worse with the
package is run again by itself, with it and without it; it is a new failure only if it fails with it both times and not
without it. Exits with 1 if there is any that `known.toml` does not give a reason for. Interpreters that come without
CPython's tests are named and left out.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import outcome
import table
from outcome import Outcome
from uv import find_uv_bin

HERE = Path(__file__).resolve().parent

# Left out: test_venv, of which two tests fail in any environment, and test_multiprocessing_spawn, which takes minutes.
# test_reload is not there on every version; CPython tests reloading in test_importlib too.
SUITES = [
    "test_importlib",
    "test_import",
    "test_pkgutil",
    "test_runpy",
    "test_warnings",
    "test_reload",
    "test_site",
    "test_inspect",
    "test_zipimport",
    "test_zipimport_support",
    "test_modulefinder",
    "test_module",
    "test_cmd_line",
    "test_cmd_line_script",
    "test_threaded_import",
    "test_frozen",
    "test_pyclbr",
    "test_doctest",
    "test_embed",
    "test_sys",
    "test_audit",
    "test_interpreters",
]

# What an environment of each column shows of the hook: whether it is there, and whether it tells of every module.
COLUMNS = {"without": ["False", "False"], "inactive": ["True", "False"], "wrapped": ["True", "True"]}

PROBE = """
import sys
print("_rtx50_autoload_importlib_bootstrap" in sys.modules)
import _wrap_everything_probe
print(getattr(_wrap_everything_probe, "told", False))
"""

ABOUT = """
import json, pathlib, sys, sysconfig, test
folder = pathlib.Path(test.__file__).parent
version = ".".join(map(str, sys.version_info[:3])) + ("t" if sysconfig.get_config_var("Py_GIL_DISABLED") else "")
print(version, *[suite for suite in {suites!r} if (folder / suite).exists() or (folder / (suite + ".py")).exists()])
"""


def environment() -> dict[str, str]:
    """Give an environment that changes nothing about Python."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "RTX50_", "COV"))}


def about(python: str) -> tuple[str, list[str]]:
    """Give an interpreter's version, and those of the suites that it has."""
    code = ABOUT.format(suites=SUITES)
    result = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True, env=environment())
    version, *suites = result.stdout.split()
    return version, suites if "test_importlib" in suites else []


@dataclass(frozen=True, slots=True)
class Environment:
    """An environment of one column."""

    column: str
    folder: Path

    @property
    def interpreter(self) -> Path:
        """Its Python."""
        return self.folder / "venv" / "bin" / "python"

    def make(self, python: str, wheel: Path) -> None:
        """Make it.

        Raises:
            RuntimeError: the hook is not as this column has it.

        """
        subprocess.run([python, "-m", "venv", "--without-pip", self.folder / "venv"], check=True, env=environment())
        if self.column != "without":
            # Without what we depend on: it is not used here, and a test of importlib.metadata lists what is there.
            self.install("--no-deps", wheel)
        if self.column == "wrapped":
            site_packages = self.run("-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip()
            for name in ("wrap_everything.pth", "wrap_everything.py"):
                shutil.copy(HERE / name, site_packages)
        (self.folder / "_wrap_everything_probe.py").write_text("")
        shown = self.run("-c", PROBE).stdout.split()
        if shown != COLUMNS[self.column]:
            raise RuntimeError(f"the hook is not as it should be in {self.column}: {shown}")

    def install(self, *arguments: str | Path) -> None:
        """Install packages."""
        command = [find_uv_bin(), "pip", "install", "--quiet", "--python", self.interpreter, *arguments]
        subprocess.run(command, check=True, env=environment())

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run its Python."""
        return subprocess.run(
            [self.interpreter, *arguments],
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            cwd=self.folder,
            env=environment(),
        )

    def run_suites(self, *arguments: str) -> Outcome:
        """Run suites, or what the arguments choose of them, and read what each test came to."""
        report = self.folder / "report.xml"
        report.unlink(missing_ok=True)
        done = self.run("-m", "test", "--timeout", "300", "--junit-xml", report, *arguments)
        return outcome.read_report(report, done.stdout)

    def run_alone(self, name: str, suites: list[str]) -> Outcome:
        """Run one test by itself."""
        suite = next(suite for suite in sorted(suites, key=len, reverse=True) if f"{suite}." in name)
        return self.run_suites("--match", name, suite)


def judge(python: str, wheel: Path) -> table.Row | None:
    """Run the suites in each environment and compare them; None where the interpreter has no suites."""
    version, suites = about(python)
    if not suites:
        print(f"Python {version}: comes without CPython's tests, left out", flush=True)
        return None
    print(f"Python {version}: {len(suites)} suites, without {sorted(set(SUITES) - set(suites)) or 'none'}", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        environments = {column: Environment(column, Path(temporary) / column) for column in COLUMNS}
        outcomes = {}
        for column, made in environments.items():
            made.make(python, wheel)
            outcomes[column] = result = made.run_suites("-j2", *suites)
            counts = ", ".join(f"{len(result.named(state))} {state}" for state in outcome.STATES)
            print(f"  {column:<9} {len(result.results)} tests: {counts}", flush=True)
        if not outcomes["without"].results:
            raise RuntimeError(f"no test has run:\n{outcomes['without'].output}")
        found = Findings(version, suites, environments)
        for column in ("inactive", "wrapped"):
            for name, state in sorted(outcome.suspects(outcomes["without"], outcomes[column]).items()):
                found.sort(column, name, state)
    failed = {column: len(result.named("failed")) for column, result in outcomes.items()}
    return table.Row(version, len(suites), len(outcomes["without"].results), failed, found.new, found.remarks())


class Findings:
    """What is to be said of the tests that came out worse with the package."""

    def __init__(self, python: str, suites: list[str], environments: dict[str, Environment]) -> None:
        self.python = python
        self.suites = suites
        self.environments = environments
        self.new: list[str] = []
        self.known: dict[str, Counter[str]] = {}

    def sort(self, column: str, name: str, state: str) -> None:
        """Put a test where it belongs."""
        reason = next(
            (each.reason for each in outcome.load_known() if each.covers(name, state, column, self.python)), None
        )
        if reason is None:
            here, there = (self.environments[each].run_alone(name, self.suites) for each in (column, "without"))
            if here.results.get(name) != there.results.get(name) or name not in here.results:
                self.new.append(f"{name} {state} ({column})")
                print(f"  NEW, {column}: {name} {state}\n{here.output}", flush=True)
                return
            reason = "came out alike when run again alone"
            print(f"  {column}: {name} {state}, but {here.results[name]} alone, as without", flush=True)
        self.known.setdefault(reason, Counter())[column] += 1

    def remarks(self) -> list[str]:
        """Say what else there is to say."""
        return [
            f"{', '.join(f'{count} {column}' for column, count in counts.items())}: {reason}"
            for reason, counts in self.known.items()
        ]


def main() -> int:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--python", action="append", metavar="INTERPRETER", help="again for more; default: this one")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table here; others' lines stay")
    options = parser.parse_args()
    rows = []
    for python in options.python or [sys.executable]:
        row = judge(python, options.wheel.resolve())
        if row is not None:
            rows.append(row)
            print(row.line(), flush=True)
            if options.markdown:
                table.write(options.markdown, [row])
    new = sum(len(row.new) for row in rows)
    print(f"{new} new failures on {len(rows)} Pythons")
    return 1 if new or not rows else 0


if __name__ == "__main__":
    raise SystemExit(main())
