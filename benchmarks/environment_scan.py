"""Times `scan` and `doctor` on an environment with 2,000 shared libraries, and the second run from the cache.

    python benchmarks/environment_scan.py

The environment is made for it and deleted: 200 distributions with ten libraries each, of which every second one holds
GPU code (40 modules of 8 images, about as much as xformers) and the others are copies of an extension module of this
Python. Cold: the pages of all files are dropped first (POSIX_FADV_DONTNEED, Linux only), as they are after a restart;
warm: they are in the page cache. Inside: without the start of Python. The exit status is 1 where a second run takes a
tenth of the first one or more.
"""

from __future__ import annotations

import argparse
import importlib.machinery
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from fake_binaries import container, elf, image
from fake_distributions import install

DISTRIBUTIONS, LIBRARIES = 200, 10
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
    """Make the environment, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        site = Path(temporary, "lib", "site-packages")
        size = make_environment(site)
        print(
            f"{DISTRIBUTIONS * LIBRARIES:,} shared libraries of {DISTRIBUTIONS} distributions, {size / 2**20:,.0f} MB"
        )
        print(f"Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        print(f"{'':24}{'first run':>12}{'from cache':>12}{'ratio':>8}")
        ratios = [measure(name, word, site, Path(temporary, "cache")) for name in READERS for word in ("cold", "warm")]
    return int(max(ratios) >= 1 / 10)


def make_environment(site: Path) -> int:
    """Write the distributions and return how many bytes their libraries have."""
    with_code = elf([container(*(image(name, size=4096) for name in IMAGES))] * 40)
    without = next(Path(os.__file__).parent.glob(f"lib-dynload/_json*{importlib.machinery.EXTENSION_SUFFIXES[0]}"))
    contents = (with_code, without.read_bytes())
    for number in range(DISTRIBUTIONS):
        name = f"library-{number}"
        install(site, name, "1", {f"library_{number}/_{index}.so": contents[index % 2] for index in range(LIBRARIES)})
    return sum(map(len, contents)) * DISTRIBUTIONS * LIBRARIES // 2


def measure(name: str, word: str, site: Path, cache: Path) -> float:
    """Print one line; return what part of the first run's time the second one took."""
    cache.unlink(missing_ok=True)
    first = run(name, word, site, cache)
    second = run(name, word, site, cache)
    print(f"{f'{name}, {word}':24}{1000 * first:9,.0f} ms{1000 * second:9,.0f} ms{first / second:7.1f}x")
    return second / first


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
