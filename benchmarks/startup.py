"""Count the instructions that our start-up file adds to every start of Python, beside those of well-known packages.

    python benchmarks/startup.py [--python INTERPRETER ...]

Instructions are counted by valgrind, not seconds: the count of one program is the same again and again, on a busy
machine too. Each row is an environment with one package's start-up file and nothing else, counted against an empty
environment in the same run, with byte code there already. Prints a table and leaves no file; needs valgrind, and uv
with access to a package registry for the packages to compare with. Exits with 1 where ours is above the ceiling.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OURS = (ROOT / "rtx50_autoload.pth", ROOT / "src" / "_rtx50_autoload_importlib_bootstrap.py")

#: Instructions that we may add on the Python that the ceiling was set for.
CEILING = 1_400_000
CEILING_ON = (3, 11)

#: The last virtualenv to put a start-up file into every environment; 2 ms were reason enough to stop.
VIRTUALENV = "virtualenv==20.29.3"


def environment(**changes: str) -> dict[str, str]:
    """Give an environment in which Python always takes the same way."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH") if name in os.environ}
    return {**kept, "PYTHONHASHSEED": "0", **changes}


def count(python: Path, **changes: str) -> int:
    """Count the instructions of `python -c pass`."""
    env = environment(**changes)
    if "PYTHONDONTWRITEBYTECODE" not in env:
        subprocess.run([python, "-c", "pass"], env=env, check=True)  # writes the byte code
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={os.devnull}", python, "-c", "pass"]
    result = subprocess.run(command, env=env, check=True, capture_output=True, text=True)
    collected = re.search(r"Collected\s*:\s*(\d+)", result.stderr)
    if collected is None:
        raise RuntimeError(f"valgrind has counted nothing:\n{result.stderr}")
    return int(collected[1])


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

    subprocess.run([find_uv_bin(), "pip", "install", "--quiet", "--no-deps", *arguments], check=True)


def measure(interpreter: str, folder: Path, *, only_ours: bool) -> dict[str, int]:
    """Give what each package adds to the start of an interpreter."""
    python, _ = make_venv(interpreter, folder / "bare")
    bare = count(python)
    rows = {}

    python, site_packages = make_venv(interpreter, folder / "ours")
    for file in OURS:
        shutil.copy(file, site_packages)
    rows["rtx50-autoload, without byte code"] = count(python, PYTHONDONTWRITEBYTECODE="1") - bare
    rows["rtx50-autoload"] = count(python) - bare
    rows["rtx50-autoload, RTX50_DISABLE=1"] = count(python, RTX50_DISABLE="1") - bare

    if not only_ours:
        for package in ("setuptools", "coverage"):
            python, site_packages = make_venv(interpreter, folder / package)
            uv_install("--python", python, package)
            (pth,) = site_packages.glob("*.pth")
            rows[f"{package}, {pth.name}"] = count(python) - bare
        python, site_packages = make_venv(interpreter, folder / "virtualenv")
        uv_install("--python", python, "--target", folder / "target", VIRTUALENV)
        shutil.copy(folder / "target" / "virtualenv" / "create" / "via_global_ref" / "_virtualenv.py", site_packages)
        (site_packages / "_virtualenv.pth").write_text("import _virtualenv", encoding="utf-8")
        rows[f"{VIRTUALENV}, _virtualenv.pth"] = count(python) - bare
    return {"empty environment, in all": bare, **rows}


def show(version: str, rows: dict[str, int]) -> None:
    """Print the table of one interpreter."""
    bare, *rest = rows.items()
    print(f"\nPython {version}: instructions added to `python -c pass`")
    print(f"  {bare[0]:<44} {bare[1] / 1e6:>8.2f} M")
    for name, added in sorted(rest, key=lambda row: row[1]):
        print(f"  {name:<44} {added / 1e6:>+8.2f} M   {added / bare[1]:>6.1%}")


def main() -> int:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", action="append", metavar="INTERPRETER", help="again for more; default: this one")
    parser.add_argument("--only-ours", action="store_true", help="without the packages to compare with")
    parser.add_argument("--json", action="store_true", help="print the counts as JSON")
    options = parser.parse_args()
    if shutil.which("valgrind") is None:
        print("valgrind is not on the PATH", file=sys.stderr)
        return 2

    results, verdict = {}, 0
    for interpreter in options.python or [sys.executable]:
        code = "import sys; print('.'.join(map(str, sys.version_info[:3])))"
        asked = subprocess.run([interpreter, "-c", code], check=True, capture_output=True, text=True)
        version = asked.stdout.strip()
        with tempfile.TemporaryDirectory() as folder:
            rows = results[version] = measure(interpreter, Path(folder), only_ours=options.only_ours)
        if not options.json:
            show(version, rows)
        ours = rows["rtx50-autoload"]
        if tuple(map(int, version.split(".")[:2])) == CEILING_ON and ours > CEILING:
            verdict = 1
            print(f"\nTOO MUCH: {ours:,} instructions on {version}, the ceiling is {CEILING:,}", file=sys.stderr)
    if options.json:
        print(json.dumps(results))
    return verdict


if __name__ == "__main__":
    raise SystemExit(main())
