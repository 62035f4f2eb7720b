"""Build the package several times in unlike surroundings, and compare every byte: `python check_builds.py [FOLDER]`.

What is built is what git tracks. The build tools are those of `.ci/build-constraints.txt`, each checked by its hash.
The archives are left in FOLDER if one is given. Needs `build` and `uv` in the environment that runs this.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).resolve().parent.parent.parent
CONSTRAINTS = ROOT / ".ci" / "build-constraints.txt"
#: 2001-09-09, long before any file here was written.
LONG_AGO = 1_000_000_000


@dataclass
class Surroundings:
    """One way to build."""

    name: str
    tool: Literal["uv", "build"]
    umask: int
    environment: dict[str, str]
    modified: int | None = None
    from_sdist: bool = False
    found: dict[str, str] = field(default_factory=dict)


WAYS = (
    Surroundings("checkout", "uv", 0o022, {"TZ": "UTC", "LC_ALL": "C"}),
    Surroundings(
        "checkout-in-another-folder-with-a-long-name",
        "build",
        0o077,
        {
            "TZ": "Asia/Kathmandu",
            "LC_ALL": "C.UTF-8",
            "USER": "somebody",
            "HOSTNAME": "elsewhere",
            "PYTHONHASHSEED": "7",
        },
        modified=LONG_AGO,
    ),
    Surroundings("source-archive", "uv", 0o002, {"TZ": "America/St_Johns", "PYTHONHASHSEED": "1"}, from_sdist=True),
    Surroundings("source archive", "build", 0o027, {"TZ": "Pacific/Apia", "PYTHONUTF8": "1"}, from_sdist=True),
)


def main() -> int:
    """Build in each way and compare."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        outputs = []
        for way in WAYS:
            source = folder / way.name
            if way.from_sdist:
                unpack(next(outputs[0].glob("*.tar.gz")), source)
            else:
                copy_tracked(source, way.modified)
            outputs.append(build(way, source, folder / f"{way.name} built"))
            way.found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in outputs[-1].iterdir()}
            print(f"{way.tool}, from: {way.name}, umask {way.umask:03o}, {way.environment}")
        for path in sorted(WAYS[0].found):
            print(f"{WAYS[0].found[path]}  {path}")
        unlike = [way for way in WAYS if way.found != WAYS[0].found]
        for way in unlike:
            print(f"NOT the same from {way.name} with {way.tool}: {way.found}")
        if not unlike:
            print(f"{len(WAYS)} builds, {len(WAYS[0].found)} archives each, all the same")
            if sys.argv[1:]:
                shutil.copytree(outputs[0], sys.argv[1], dirs_exist_ok=True)
    return 1 if unlike else 0


def copy_tracked(target: Path, modified: int | None) -> None:
    """Copy what git tracks, as it is in the work tree, with today's modes under our own umask."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout  # noqa: S607
    for name in filter(None, os.fsdecode(listed).split("\0")):
        copy = target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy)
        if modified is not None:
            copy.chmod(0o700 if os.access(copy, os.X_OK) else 0o600)
            os.utime(copy, (modified, modified))


def unpack(archive: Path, target: Path) -> None:
    """Unpack a source archive without its top folder."""
    with tarfile.open(archive) as opened:
        opened.extractall(target.with_suffix(".unpacked"), filter="data")
    (top,) = target.with_suffix(".unpacked").iterdir()
    top.rename(target)


def build(way: Surroundings, source: Path, output: Path) -> Path:
    """Build both archives from a source tree."""
    kept = {name: value for name, value in os.environ.items() if name not in ("SOURCE_DATE_EPOCH", "VIRTUAL_ENV")}
    environment = {**kept, "PIP_CONSTRAINT": str(CONSTRAINTS), **way.environment}
    if way.tool == "uv":
        options = ("--build-constraint", str(CONSTRAINTS), "--require-hashes", "--quiet", "--out-dir", str(output))
        command = [sys.executable, "-m", "uv", "build", *options, str(source)]
    else:
        command = [sys.executable, "-m", "build", "--outdir", str(output), str(source)]
    done = subprocess.run(command, env=environment, umask=way.umask, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{command}\n{done.stdout}{done.stderr}")
    (output / ".gitignore").unlink(missing_ok=True)  # uv's own
    return output


if __name__ == "__main__":
    sys.exit(main())
