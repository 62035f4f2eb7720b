"""What each tool finds out, as values that JSON knows. Nothing is changed, and nothing is kept."""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from rtx50_autoload.capability import format_capability, parse_capability
from rtx50_autoload.errors import UsageError
from rtx50_autoload.evidence.imagecache import ImageCache
from rtx50_autoload.evidence.verdict import FINDINGS, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from rtx50_autoload.capability import Capability
    from rtx50_autoload.evidence.scan import ScanResult
    from rtx50_autoload.evidence.verdict import Target

__all__ = ["TOOLS", "Document"]

Document: TypeAlias = dict[str, Any]


class _ReadOnlyCache(ImageCache):
    """What earlier commands have read from binaries; what is read now is not kept."""

    def save(self) -> None:
        """Keep nothing: a tool that says that it reads does not write."""


def doctor(device: str | None = None, library: str | None = None) -> Document:
    """Give what `doctor --json` prints, of the binaries only those of one library.

    Raises:
        UsageError: the device is no compute capability, or no such library is listed.

    """
    from rtx50_autoload.evidence.doctor import examine  # noqa: PLC0415 - a tool imports what it needs

    document = examine(_capability(device), cache=_ReadOnlyCache()).as_json()
    if library is None:
        for each in document["libraries"]:
            each["binaries"] = len(each["binaries"])
        return document
    document["libraries"] = [_named(document["libraries"], library)]
    # What may have to be cut is cut at its end.
    document["libraries"][0]["binaries"].sort(key=lambda binary: Verdict(binary["verdict"]) not in FINDINGS)
    return document


def scan(paths: Sequence[str], device: str | None = None) -> Document:
    """Give what `scan --json` prints with the reason of each verdict, and how many there are of each.

    Below a folder, binaries without GPU code are only counted.

    Raises:
        UsageError: a path does not exist, or is not one to be scanned; the device is no compute capability.

    """
    from rtx50_autoload.evidence.subject import subjects, survey_devices  # noqa: PLC0415

    subject = subjects(survey_devices(), _capability(device))[0]
    given = dict.fromkeys(map(_path, paths))
    results = [result for path in given for result in _scan(path, subject.target)]
    shown = [
        result
        for result in results
        if result.judgement.verdict is not Verdict.NO_GPU_CODE or Path(result.path) in given
    ]
    shown.sort(key=lambda result: result.judgement.verdict not in FINDINGS)
    return {
        "judged_for": subject.as_json(),
        "counts": Counter(result.judgement.verdict.value for result in results),
        "results": [{**result.as_json(), "reason": result.judgement.reason} for result in shown],
    }


def explain(text: str, environment: Mapping[str, Any] | None = None) -> Document:
    """Give what is known of an error: the keys of `Diagnosis.as_json`."""
    from rtx50_autoload import explaining  # noqa: PLC0415

    return explaining.explain(text, environment).as_json()


def plan(run: Sequence[str] = (), build: Sequence[str] = ()) -> Document:
    """Give what `plan --json` prints, and what it was made for.

    Raises:
        UsageError: nothing is known of a package that is wanted.

    """
    from rtx50_autoload.installer.goals import goals_for  # noqa: PLC0415
    from rtx50_autoload.installer.here import machine_here  # noqa: PLC0415
    from rtx50_autoload.installer.planner import make_plan  # noqa: PLC0415

    machine = machine_here()
    return {
        "judged_for": {
            "gpus": [
                {"name": gpu.name, "capability": format_capability(gpu.capability) if gpu.capability else None}
                for gpu in machine.gpus
            ],
            "driver": machine.driver,
            "system": machine.system,
            "python": machine.python,
            "executable": machine.executable,
        },
        "plan": make_plan(machine, goals_for(run, build)).as_json(),
    }


def probe() -> Document:
    """Give what `doctor --probe --json` says of the computations, and the findings about them."""
    from rtx50_autoload.evidence import probe as probes  # noqa: PLC0415
    from rtx50_autoload.evidence.probe_findings import findings  # noqa: PLC0415

    report = probes.probe()
    return {**report.as_json(), "findings": [finding.as_json() for finding in findings(report)]}


#: What a name of a tool stands for.
TOOLS: Final[Mapping[str, Callable[..., Document]]] = {
    "doctor": doctor,
    "scan": scan,
    "explain": explain,
    "plan": plan,
    "probe": probe,
}


def _capability(device: str | None) -> Capability | None:
    try:
        return None if device is None else parse_capability(device)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _named(libraries: Sequence[Document], wanted: str) -> Document:
    from rtx50_autoload.evidence.installed import normalised  # noqa: PLC0415

    for library in libraries:
        if normalised(library["name"]) == normalised(wanted):
            return library
    there = ", ".join(library["name"] for library in libraries) or "none at all"
    raise UsageError(f"no library with GPU code is called {wanted!r} here; there is {there}")


def _path(text: str) -> Path:
    if "\0" in text:
        raise UsageError(f"{text!r} is no path")
    # A shell would have put the home folder in the place of "~"; answers write "<home>".
    text = re.sub(r"\A<home>(?=[/\\]|\Z)", "~", text)
    path = Path(os.path.expanduser(text))  # noqa: PTH111 - Path.expanduser raises where there is no such folder
    if _is_special(path):
        raise UsageError(f"{path} is neither a file nor a folder")
    return path


def _scan(path: Path, target: Target) -> Iterator[ScanResult]:
    from rtx50_autoload.evidence.scan import find_files, scan_file  # noqa: PLC0415

    cache = _ReadOnlyCache()
    for file in find_files([path]):
        if not _is_special(file):
            yield from scan_file(file, target, cache, named=file == path)


def _is_special(path: Path) -> bool:
    """Tell whether this is a device, a pipe or a socket: merely to open some of them does something."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
