"""Run CPython's own tests of import with the hook around every import, and without it: not one more may fail.

    python tests/cpython/suites.py WHEEL [--python INTERPRETER ...]

For each interpreter two environments are made, one empty and one with the wheel and `wrap_everything.pth`, which makes
the hook watch every module. Both run the same suites. Prints each test that fails in the second one only and exits
with 1 if there is any. Interpreters that come without CPython's tests are named and left out.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

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

PROBE = """
import sys
print("_rtx50_autoload_importlib_bootstrap" in sys.modules)
import _wrap_everything_probe
print(getattr(_wrap_everything_probe, "told", False))
"""


@dataclass
class Outcome:
    """What the suites of one environment came to."""

    exit_code: int
    results: dict[str, str]
    output: str

    @property
    def bad(self) -> dict[str, str]:
        """The tests that failed."""
        return {name: state for name, state in self.results.items() if state in {"failure", "error"}}

    def summary(self) -> str:
        """Say how many tests there were."""
        skipped = sum(state == "skipped" for state in self.results.values())
        return f"{len(self.results)} tests, {skipped} skipped, {len(self.bad)} failed, exit code {self.exit_code}"


def environment() -> dict[str, str]:
    """Give an environment that changes nothing about Python."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "RTX50_", "COV"))}


def available(python: str) -> list[str]:
    """Give those of the suites that an interpreter has."""
    code = f"import test, pathlib; p = pathlib.Path(test.__file__).parent; print(*[s for s in {SUITES!r} \
if (p / s).exists() or (p / (s + '.py')).exists()])"
    result = subprocess.run([python, "-c", code], check=False, capture_output=True, text=True, env=environment())
    names = result.stdout.split()
    return names if "test_importlib" in names else []


def make_venv(python: str, folder: Path, wheel: Path | None) -> Path:
    """Make an environment; with a wheel, one where the hook is around every import."""
    subprocess.run([python, "-m", "venv", "--without-pip", folder], check=True, env=environment())
    interpreter = folder / "bin" / "python"
    if wheel is not None:
        from uv import find_uv_bin  # noqa: PLC0415 - not needed without a wheel

        # Without what we depend on: nothing of it is used here, and a test of importlib.metadata lists what is there.
        command = [find_uv_bin(), "pip", "install", "--quiet", "--no-deps", "--python", interpreter, wheel]
        subprocess.run(command, check=True, env=environment())
        code = "import sysconfig; print(sysconfig.get_path('purelib'))"
        where = subprocess.run([interpreter, "-c", code], check=True, capture_output=True, text=True, env=environment())
        for name in ("wrap_everything.pth", "wrap_everything.py"):
            shutil.copy(HERE / name, where.stdout.strip())
    return interpreter


def wraps_everything(interpreter: Path, folder: Path) -> list[str]:
    """Tell whether the hook is there, and whether it watches a module that nobody named."""
    (folder / "_wrap_everything_probe.py").write_text("")
    result = subprocess.run(
        [interpreter, "-c", PROBE], cwd=folder, check=True, capture_output=True, text=True, env=environment()
    )
    return result.stdout.split()


def run_suites(interpreter: Path, suites: list[str], folder: Path) -> Outcome:
    """Run the suites and read what each test came to."""
    report = folder / "report.xml"
    command = [interpreter, "-m", "test", "-j2", "--timeout", "300", "--junit-xml", report, *suites]
    result = subprocess.run(
        command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder, env=environment()
    )
    results = {}
    if report.exists():
        for case in ET.parse(report).iter("testcase"):  # noqa: S314 - written by the line above
            state = next((child.tag for child in case if child.tag in {"failure", "error", "skipped"}), "passed")
            results[case.get("name", "")] = state
    return Outcome(result.returncode, results, result.stdout)


def judge(python: str, wheel: Path) -> bool:
    """Compare the suites with and without the hook; tell whether there is no new failure."""
    code = "import sys; print('.'.join(map(str, sys.version_info[:3])))"
    version = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    suites = available(python)
    if not suites:
        print(f"Python {version}: comes without CPython's tests, left out", flush=True)
        return True
    print(f"Python {version}: {len(suites)} suites, without {sorted(set(SUITES) - set(suites)) or 'none'}", flush=True)
    outcomes = {}
    with tempfile.TemporaryDirectory() as temporary:
        for label, package in (("without", None), ("with", wheel)):
            folder = Path(temporary) / label
            interpreter = make_venv(python, folder / "venv", package)
            shown, expected = wraps_everything(interpreter, folder), ["True", "True"] if package else ["False", "False"]
            if shown != expected:
                print(f"  {label} the hook: it is not what it should be: {shown}")
                return False
            outcomes[label] = run_suites(interpreter, suites, folder)
            print(f"  {label:<7} the hook: {outcomes[label].summary()}", flush=True)
    without, with_hook = outcomes["without"], outcomes["with"]
    new = {name: state for name, state in with_hook.bad.items() if name not in without.bad}
    lost = [name for name in without.results if name not in with_hook.results]
    skipped = [
        name for name, state in with_hook.results.items() if state == "skipped" != without.results.get(name, state)
    ]
    for name, state in new.items():
        print(f"  NEW {state.upper()}: {name}")
    for name in lost:
        print(f"  NOT RUN: {name}")
    for name in skipped:
        print(f"  skipped with the hook only: {name}")
    good = bool(without.results) and not new and not lost and (with_hook.exit_code == 0 or without.exit_code != 0)
    if not good:
        print(*with_hook.output.splitlines()[-60:], sep="\n")
    return good


def main() -> int:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--python", action="append", metavar="INTERPRETER", help="again for more; default: this one")
    options = parser.parse_args()
    verdicts = [judge(python, options.wheel.resolve()) for python in options.python or [sys.executable]]
    print("no new failure" if all(verdicts) else "NEW FAILURES")
    return 0 if all(verdicts) else 1


if __name__ == "__main__":
    raise SystemExit(main())
