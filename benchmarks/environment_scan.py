"""Times `scan` and `doctor` on environments with many shared libraries, and the second run from the cache.

    python benchmarks/environment_scan.py

Each environment is made for it and deleted: distributions with ten libraries each, of which every second one holds GPU
code (40 modules of 8 images, about as much as xformers, where nothing else is said) and the others are copies of an
extension module of this Python. Cold: the pages of all files are dropped first (POSIX_FADV_DONTNEED, Linux only), as
they are after a restart; warm: they are in the page cache. All without the start of Python. The exit status is 1 where
a second run on the largest environment takes a tenth of the first one or more.
"""

from __future__ import annotations

import importlib.machinery
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import report
from fake_binaries import container, elf, image
from fake_distributions import install

LIBRARIES = 10
#: How many distributions, and how many modules of eight images in a library that has any.
LARGEST = (200, 40)
MORE_LIBRARIES = ((25, 40), (50, 40), (100, 40), LARGEST)
MORE_IMAGES = ((50, 10), (50, 20), (50, 40), (50, 80))
IMAGES = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120", "compute_120")

#: Run in a fresh interpreter with the cache's file, so that nothing is left from the run before.
READERS = {
    "scan": """
from rtx50_autoload.evidence.scan import scan
from rtx50_autoload.evidence.verdict import Target
found = lambda: list(scan([site], Target((12, 0)), ImageCache(cache)))
""",
    "doctor": """
from rtx50_autoload.evidence.inventory import take_inventory
from rtx50_autoload.evidence.subject import Subject
from rtx50_autoload.evidence.verdict import Target
subject = Subject(Target((12, 0)), "a GPU", "")
found = lambda: take_inventory((subject,), ImageCache(cache), path=[str(site)]).libraries
""",
}
TIMED = """
import importlib_metadata, json, packaging.version, sys, time
from pathlib import Path
from rtx50_autoload.evidence.imagecache import ImageCache
site, cache = map(Path, sys.argv[1:])
{reader}
start = time.perf_counter()
number = len(found())
print(json.dumps([time.perf_counter() - start, number]))
"""


def main() -> int:
    """Make the environments, measure, print."""
    options = report.arguments(__doc__).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        size = make_environment(Path(folder, "site-packages"), *LARGEST)
        measured = {
            f"{name}, {word}": measure(name, word, Path(folder)) for name in READERS for word in ("cold", "warm")
        }
    report.Result(
        "scan-environment",
        f"{LARGEST[0] * LIBRARIES:,} shared libraries of {LARGEST[0]} distributions, {size / 2**20:,.0f} MB",
        "nox -s bench_environment",
        ("", "first run", "from the cache", "ratio"),
        [(name, *map(milliseconds, both), f"{both[0] / both[1]:.1f}") for name, both in measured.items()],
        measured,
    ).finish(options.results)
    growth = dict.fromkeys((*MORE_LIBRARIES, *MORE_IMAGES), 0.0)
    for shape in growth:
        with tempfile.TemporaryDirectory() as folder:
            make_environment(Path(folder, "site-packages"), *shape)
            growth[shape] = run("scan", "warm", Path(folder, "site-packages"), Path(folder, "cache"))
    report.Result(
        "scan-growth",
        "How the time of a scan grows, warm, without the cache",
        "nox -s bench_environment",
        ("", "time", "for one library"),
        [
            (
                f"{number * LIBRARIES:,} libraries, {modules * len(IMAGES)} images in every second one",
                milliseconds(seconds),
                f"{1e3 * seconds / (number * LIBRARIES):.2f} ms",
            )
            for (number, modules), seconds in growth.items()
        ],
        {f"{number} distributions, {modules} modules": seconds for (number, modules), seconds in growth.items()},
    ).finish(options.results)
    return int(any(second >= first / 10 for first, second in measured.values()))


def milliseconds(seconds: float) -> str:
    """Write a time."""
    return f"{1000 * seconds:,.0f} ms"


def make_environment(site: Path, distributions: int, modules: int) -> int:
    """Write the distributions and return how many bytes their libraries have."""
    with_code = elf([container(*(image(name, size=4096) for name in IMAGES))] * modules)
    without = next(Path(os.__file__).parent.glob(f"lib-dynload/_json*{importlib.machinery.EXTENSION_SUFFIXES[0]}"))
    contents = (with_code, without.read_bytes())
    for number in range(distributions):
        name = f"library-{number}"
        install(site, name, "1", {f"library_{number}/_{index}.so": contents[index % 2] for index in range(LIBRARIES)})
    return sum(map(len, contents)) * distributions * LIBRARIES // 2


def measure(name: str, word: str, folder: Path) -> tuple[float, float]:
    """Give the seconds of a first run and of a second one, which has the cache."""
    cache = folder / "cache"
    cache.unlink(missing_ok=True)
    site = folder / "site-packages"
    return run(name, word, site, cache), run(name, word, site, cache)


def run(name: str, word: str, site: Path, cache: Path) -> float:
    """Return the seconds that one run took in a process of its own."""
    if word == "cold":
        drop_pages(site)
    command = [sys.executable, "-c", TIMED.format(reader=READERS[name]), str(site), str(cache)]
    seconds, found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    if not found:
        raise RuntimeError(f"{name} found nothing")
    return float(seconds)


def drop_pages(folder: Path) -> None:
    """Drop the contents of all files from the page cache."""
    os.sync()
    for file in filter(Path.is_file, folder.rglob("*")):
        with file.open("rb") as stream:
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


if __name__ == "__main__":
    sys.exit(main())
