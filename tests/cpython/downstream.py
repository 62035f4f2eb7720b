"""Let the tests of packages whose business is importing judge the package: none may come out worse with it.

    python tests/cpython/downstream.py WHEEL [--markdown FILE]

The columns are those of `suites.py`, on the Python that runs this. A test that comes out otherwise is run again by
itself before it counts.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

import outcome
from suites import COLUMNS, Environment, environment

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HEAD = "| tests of | tests | passed: without | inactive | wrapped | new failures |\n|---|---|---|---|---|---|\n"


@dataclass(frozen=True, slots=True)
class Suite:
    """The tests of one package."""

    requirement: str
    needs: tuple[str, ...]
    tests: tuple[str, ...]

    def fetch(self, folder: Path) -> Path:
        """Give the unpacked source archive."""
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
        subprocess.run([*command, "--dest", folder, self.requirement], check=True, env=environment())
        (archive,) = folder.glob("*.tar.gz")
        with tarfile.open(archive) as file:
            file.extractall(folder, filter="data")
        return folder / archive.name.removesuffix(".tar.gz")

    def run(self, made: Environment, source: Path, *only: str) -> outcome.Outcome:
        """Run the tests, or one of them."""
        report = made.folder / "report.xml"
        report.unlink(missing_ok=True)
        options = (
            "-q",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:randomly",
            "--junit-xml",
            str(report),
            "--rootdir",
            str(source),
        )
        done = made.run("-m", "pytest", *options, *(str(source / test) for test in self.tests), *only)
        return outcome.read_report(report, done.stdout)

    def judge(self, wheel: Path, temporary: Path) -> tuple[str, list[str]]:
        """Run the tests in each environment; give the line of the table and the new failures."""
        outcomes, made = {}, {}
        for column in COLUMNS:
            folder = temporary / column
            folder.mkdir()
            source = self.fetch(folder)
            made[column] = Environment(column, source)
            made[column].make(sys.executable, wheel)
            made[column].install("pytest", *self.needs, source)
            outcomes[column] = self.run(made[column], source)
        if not outcomes["without"].named("passed"):
            raise RuntimeError(f"no test has passed without us:\n{outcomes['without'].output}")
        new = []
        for column in ("inactive", "wrapped"):
            for name, state in sorted(outcome.suspects(outcomes["without"], outcomes[column]).items()):
                here, there = (
                    self.run(made[each], made[each].folder, "-k", name.rpartition(".")[2].partition("[")[0])
                    for each in (column, "without")
                )
                if here.results.get(name) != there.results.get(name) or name not in here.results:
                    new.append(f"{name} {state} ({column})")
                    print(f"  NEW: {new[-1]}\n{here.output}", flush=True)
        passed = [str(len(each.named("passed"))) for each in outcomes.values()]
        tests = str(len(outcomes["without"].results))
        found = ", ".join(f"`{name}`" for name in new) or "**none**"
        return f"| {' | '.join([self.requirement.replace('==', ' '), tests, *passed, found])} |", new


def main() -> int:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table here")
    options = parser.parse_args()
    entries = tomllib.loads(Path(__file__).with_name("downstream.toml").read_text(encoding="utf-8"))["suite"]
    lines, new = [], []
    for entry in entries:
        suite = Suite(entry["requirement"], tuple(entry["needs"]), tuple(entry["tests"]))
        with tempfile.TemporaryDirectory() as temporary:
            line, found = suite.judge(options.wheel.resolve(), Path(temporary))
        print(line, flush=True)
        lines.append(line)
        new += found
    if options.markdown:
        options.markdown.write_text(HEAD + "\n".join(lines) + "\n", encoding="utf-8")
    print(f"{len(new)} new failures in the tests of {len(lines)} packages")
    return 1 if new else 0


if __name__ == "__main__":
    raise SystemExit(main())
