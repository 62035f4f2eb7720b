"""Count the instructions that our start-up file adds to every start of Python, beside those of well-known packages.

    python benchmarks/startup.py [--python INTERPRETER ...]

Instructions are counted by valgrind, not seconds: the count of one program is the same again and again, on a busy
machine too. Each row is an environment with one package's start-up file and nothing else, counted against an empty
environment in the same run, with byte code there already where nothing else is said. Needs valgrind, and uv with access
to a package registry for the packages to compare with. Exits with 1 where ours is above the ceiling.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import report

ROOT = Path(__file__).resolve().parent.parent
HOOK = "_rtx50_autoload_importlib_bootstrap"
OURS = (ROOT / "rtx50_autoload.pth", *(ROOT / "src" / f"{HOOK}{part}.py" for part in ("", "_watching")))

#: Instructions that we may add on the Python that the ceiling was set for.
CEILING = 1_200_000
CEILING_ON = (3, 11)


@dataclass(frozen=True)
class Other:
    """A package to compare with.

    Attributes:
        name: as the table calls it.
        requirement: what is installed.
        statement: what is run where the package has no start-up file of its own.
        variables: what has to be set; `{site}` is where the package lies.
        needs_dependencies: whether it does its work only with what it requires.
        heavy: counting takes a minute or so: on one Python only.

    """

    name: str
    requirement: str
    statement: str = "pass"
    variables: tuple[tuple[str, str], ...] = ()
    needs_dependencies: bool = False
    heavy: bool = False


OTHERS = (
    Other("setuptools: distutils-precedence.pth", "setuptools"),
    Other("coverage, idle", "coverage"),
    Other("autowrapt, idle", "autowrapt", needs_dependencies=True),
    Other("rtx50-compat 3.0.2, imported, no torch", "rtx50-compat==3.0.2", "import rtx50_compat"),
    Other("pip-system-certs", "pip-system-certs", needs_dependencies=True, heavy=True),
    Other(
        "ddtrace-run",
        "ddtrace",
        variables=(("PYTHONPATH", "{site}/ddtrace/bootstrap"),),
        needs_dependencies=True,
        heavy=True,
    ),
)
#: The last virtualenv to put a start-up file into every environment; 2 ms were reason enough to stop.
VIRTUALENV = "virtualenv==20.29.3"


def environment(**changes: str) -> dict[str, str]:
    """Give an environment in which Python always takes the same way."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH") if name in os.environ}
    return {**kept, "PYTHONHASHSEED": "0", **changes}


def count(python: Path, statement: str = "pass", **changes: str) -> int:
    """Count the instructions of `python -c STATEMENT`."""
    env = environment(**changes)
    program = [python, "-c", statement]
    if "PYTHONDONTWRITEBYTECODE" not in env:
        subprocess.run(program, env=env, check=True, capture_output=True)  # writes the byte code
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={os.devnull}", "--trace-children=no", *program]
    result = subprocess.run(command, env=env, check=True, capture_output=True, text=True)
    collected = re.findall(r"Collected\s*:\s*(\d+)", result.stderr)
    if not collected:
        raise RuntimeError(f"valgrind has counted nothing:\n{result.stderr}")
    return int(collected[-1])


def make_venv(interpreter: str, folder: Path) -> tuple[Path, Path]:
    """Make an empty environment; give its interpreter and its site-packages."""
    subprocess.run([interpreter, "-m", "venv", "--without-pip", folder], env=environment(), check=True)
    python = folder / "bin" / "python"
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    where = subprocess.run([python, "-c", code], env=environment(), check=True, capture_output=True, text=True)
    return python, Path(where.stdout.strip())


def uv_install(*arguments: str | Path) -> None:
    """Install with uv, in the surroundings of who runs this."""
    from uv import find_uv_bin

    subprocess.run([find_uv_bin(), "pip", "install", "--quiet", *arguments], check=True)


def count_others(interpreter: str, folder: Path, *, heavy: bool) -> dict[str, int]:
    """Count what other packages' starts take in all."""
    rows = {}
    for other in OTHERS:
        if other.heavy and not heavy:
            continue
        python, site = make_venv(interpreter, folder / other.requirement)
        uv_install("--python", python, *([] if other.needs_dependencies else ["--no-deps"]), other.requirement)
        variables = {name: value.format(site=site) for name, value in other.variables}
        rows[other.name] = count(python, other.statement, **variables)
    python, site = make_venv(interpreter, folder / "virtualenv")
    uv_install("--python", python, "--no-deps", "--target", folder / "target", VIRTUALENV)
    shutil.copy(folder / "target" / "virtualenv" / "create" / "via_global_ref" / "_virtualenv.py", site)
    (site / "_virtualenv.pth").write_text("import _virtualenv", encoding="utf-8")
    rows[f"{VIRTUALENV}: _virtualenv.pth"] = count(python)
    return rows


def measure(interpreter: str, folder: Path, *, only_ours: bool, heavy: bool) -> dict[str, int]:
    """Give what an empty environment takes, and what each package adds to that."""
    python, _ = make_venv(interpreter, folder / "bare")
    bare = count(python)
    rows = {}

    python, site = make_venv(interpreter, folder / "ours")
    for file in OURS:
        shutil.copy(file, site)
    rows["rtx50-autoload, without byte code"] = count(python, PYTHONDONTWRITEBYTECODE="1")
    rows["rtx50-autoload"] = count(python)
    rows["rtx50-autoload, RTX50_DISABLE=1"] = count(python, RTX50_DISABLE="1")

    if not only_ours:
        python, site = make_venv(interpreter, folder / "floor")
        (site / "floor.pth").write_text(f"import {HOOK}; {HOOK}.install()", encoding="utf-8")
        (site / f"{HOOK}.py").write_text("def install():\n    pass\n", encoding="utf-8")
        rows["the floor: a module that does nothing, without byte code"] = count(python, PYTHONDONTWRITEBYTECODE="1")
        rows["the floor: a module that does nothing"] = count(python)
        rows.update(count_others(interpreter, folder, heavy=heavy))
    return {"an empty environment, in all": bare, **{name: total - bare for name, total in rows.items()}}


def table(results: dict[str, dict[str, int]]) -> list[tuple[str, ...]]:
    """Give a row for each package, the cheapest first, and a column for each Python."""
    (bare, *names) = dict.fromkeys(name for rows in results.values() for name in rows)
    names.sort(key=lambda name: max(rows.get(name, 0) for rows in results.values()))
    cells = [(bare, *(f"{rows[bare] / 1e6:.2f} M" for rows in results.values()))]
    for name in names:
        added = (rows.get(name) for rows in results.values())
        cells.append((name, *("" if count is None else f"{count / 1e6:+,.2f} M" for count in added)))
    return cells


def main() -> int:
    """Run."""
    parser = report.arguments(__doc__)
    parser.add_argument("--python", action="append", metavar="INTERPRETER", help="again for more; default: this one")
    parser.add_argument("--only-ours", action="store_true", help="without the packages to compare with")
    options = parser.parse_args()
    if shutil.which("valgrind") is None:
        print("valgrind is not on the PATH", file=sys.stderr)
        return 2

    results: dict[str, dict[str, int]] = {}
    verdict = 0
    for interpreter in options.python or [sys.executable]:
        code = "import sys; print('.'.join(map(str, sys.version_info[:3])))"
        asked = subprocess.run([interpreter, "-c", code], check=True, capture_output=True, text=True)
        version = asked.stdout.strip()
        ceiling = tuple(map(int, version.split(".")[:2])) == CEILING_ON
        with tempfile.TemporaryDirectory() as folder:
            rows = results[version] = measure(interpreter, Path(folder), only_ours=options.only_ours, heavy=ceiling)
        if ceiling and rows["rtx50-autoload"] > CEILING:
            verdict = 1
            print(f"TOO MUCH: {rows['rtx50-autoload']:,} on {version}, the ceiling is {CEILING:,}", file=sys.stderr)
    report.Result(
        "startup",
        "Instructions added to `python -c pass`",
        "nox -s bench_startup",
        ("start-up file", *results),
        table(results),
        results,
    ).finish(options.results)
    return verdict


if __name__ == "__main__":
    raise SystemExit(main())
