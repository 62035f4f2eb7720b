# ruff: noqa: T201 - a script prints
"""Reads released wheels and compares every number with the ground truth in ``gpu_images.json``.

    python tests/truth/check_wheels.py            # fetch what is missing, compare, delete what was fetched
    python tests/truth/check_wheels.py --keep DIR # keep the wheels there

The truth was taken with NVIDIA's cuobjdump (image counts) and by an independent prototype (what becomes of each module
on six devices). Wheels above the limit of ``--largest`` are named and left out.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rtx50_autoload.evidence.imagecache import ImageCache
from rtx50_autoload.evidence.scan import scan_file
from rtx50_autoload.evidence.verdict import Outcome, Target

if TYPE_CHECKING:
    from collections.abc import Iterator

_TRUTH = Path(__file__).with_name("gpu_images.json")
#: Where the truth contradicts its own rule: what follows from the rule, and why. Compared as strictly as the rest.
_DEVIATIONS = Path(__file__).with_name("deviations.json")

#: The truth tells more apart than the verdict needs: modules that do not count, and two ways to be for other GPUs.
_OUTCOMES = {
    "native": Outcome.NATIVE,
    "jit": Outcome.JIT,
    "missing": Outcome.MISSING,
    "arch_specific_other": Outcome.OTHER_GPU,
    "single_generation_other": Outcome.OTHER_GPU,
}
_NOT_COUNTED = {"empty", "unregistered"}

#: How the truth words what the whole binary is worth on 12.0.
_VERDICTS = {
    r"native": "native",
    r"ptx-jit": "jit",
    r"ptx-jit PARTIAL .*": "partial",
    r"impossible.*": "impossible",
    r"no registered code": "unknown",
}

_WHEEL_NAME = re.compile(
    r"(?P<name>[^-]+)-(?P<version>[^-]+)-(?P<python>[^-]+)-(?P<abi>[^-]+)-(?P<platform>[^-]+)\.whl"
)


def main() -> int:
    """Compare, print a table, and return 1 where anything differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, help="look for the wheels in this folder first and keep them there")
    parser.add_argument("--largest", type=float, default=600, help="in MB, of the binaries of one wheel (default: 600)")
    parser.add_argument("--only", default="", help="only wheels whose file name contains this")
    arguments = parser.parse_args()

    wheels: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for entry in json.loads(_TRUTH.read_text(encoding="utf-8")):
        if arguments.only in entry["wheel_file"]:
            wheels[entry["wheel_file"]].append(entry)

    deviations = json.loads(_DEVIATIONS.read_text(encoding="utf-8"))
    counts: Counter[str] = Counter()
    for wheel, entries in wheels.items():
        unpacked = sum(entry["size"] for entry in entries) / 1e6
        if unpacked > arguments.largest:
            print(f"left out: {wheel} ({unpacked:,.0f} MB of binaries)")
            counts["left out"] += len(entries)
            continue
        with tempfile.TemporaryDirectory() as temporary:
            path = _fetch(wheel, arguments.keep or Path(temporary))
            for entry, by_device in _scans(path, entries):
                name = f"{wheel}!{entry['member']}"
                deviation = deviations.get(name)
                differences = list(_differences(entry, by_device, deviation))
                word = "DIFFERS" if differences else "deviates" if deviation else "same"
                counts[word] += 1
                print(f"{word:9}{entry['images']:5} images  {name}")
                for line in [deviation["why"]] if deviation else []:
                    print(f"         {line}")
                for difference in differences:
                    print(f"         {difference}")
    print(", ".join(f"{count} {word}" for word, count in sorted(counts.items())))
    return 1 if counts["DIFFERS"] or not counts["same"] else 0


def _fetch(wheel: str, folder: Path) -> Path:
    path = folder / wheel
    match = _WHEEL_NAME.fullmatch(wheel)
    if not path.exists() and match is not None:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        command += ["--dest", str(folder), "--python-version", "3.12", "--platform", match["platform"].split(".")[0]]
        subprocess.run([*command, f"{match['name']}=={match['version']}"], check=True)
    return path


def _scans(path: Path, entries: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], dict[str, dict[str, Any]]]]:
    """Yield each entry with what `scan --json` says of it for each of its devices."""
    with tempfile.TemporaryDirectory() as temporary:
        cache = ImageCache(Path(temporary, "images.json"))  # one wheel is judged for six devices
        for entry in entries:
            by_device = {}
            for device in entry["units_by_cc"]:
                target = Target(divmod(int(device), 10))
                results = {result.path: result for result in scan_file(path, target, cache)}
                by_device[device] = results[f"{path}!{entry['member']}"].as_json()
            yield entry, by_device


def _differences(
    entry: dict[str, Any], by_device: dict[str, dict[str, Any]], deviation: dict[str, Any] | None
) -> Iterator[str]:
    found = by_device["120"]
    isas = [tuple(map(int, isa.split("."))) for each in entry["ptx_isa"].values() for isa in each]
    expected = {
        "size": entry["size"],
        "sass": entry["sass_counts"],
        "ptx": entry["ptx_counts"],
        "ptx_isa_max": ".".join(map(str, max(isas))) if isas else None,
        "verdict": next(
            verdict for wording, verdict in _VERDICTS.items() if re.fullmatch(wording, entry["verdict_sm120"])
        ),
    }
    for key, value in expected.items():
        if found[key] != value:
            yield f"{key}: {found[key]} instead of {value}"
    for device, units in entry["units_by_cc"].items():
        modules = _modules(units) if deviation is None else Counter(deviation["modules"][device])
        if Counter(by_device[device]["modules"]) != modules:
            yield f"modules on {device}: {by_device[device]['modules']} instead of {dict(modules)}"


def _modules(units: dict[str, int]) -> Counter[str]:
    modules: Counter[str] = Counter()
    for word, count in units.items():
        if word not in _NOT_COUNTED:
            modules[_OUTCOMES[word].value] += count
    return modules


if __name__ == "__main__":
    sys.exit(main())
