"""Whether what was built runs on a GPU, read from its binaries, and what went wrong where it does not."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from rtx50_autoload.capability import format_capability
from rtx50_autoload.evidence.arch import Code, JitSwitches
from rtx50_autoload.evidence.assessment import assess
from rtx50_autoload.evidence.installed import installed_distributions, normalised
from rtx50_autoload.evidence.scan import scan_file
from rtx50_autoload.evidence.subject import Subject
from rtx50_autoload.evidence.torch_build import torch_build
from rtx50_autoload.evidence.verdict import FINDINGS, Target, Verdict
from rtx50_autoload.installer.build_faults import asked_for, build_again, misses, without_code
from rtx50_autoload.own_python import python_command

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rtx50_autoload.capability import Capability
    from rtx50_autoload.evidence.installed import Installed
    from rtx50_autoload.evidence.scan import ScanResult
    from rtx50_autoload.evidence.torch_build import TorchBuild

__all__ = ["BuildCheck", "check_build"]

_UNDEFINED: Final = re.compile(r"undefined symbol: (\S+)")
#: Loads libraries as `import` does, all symbols at once, beside torch's own.
_LOAD: Final = """
import ctypes, os, torch
for file in sys.argv[1:]:
    try:
        ctypes.CDLL(file, os.RTLD_NOW)
    except OSError as error:
        print(error)
"""
_LOAD_SECONDS: Final = 180


@dataclass(frozen=True, slots=True)
class BuildCheck:
    """What was found.

    Attributes:
        package: as it was asked for.
        version: of what is installed; None where nothing is.
        verdicts: what each GPU can do with it, by capability: ``{"12.0": "native"}``.
        architectures: the GPU code in its binaries, ``("sm_120", "compute_120")``.
        problem: what went wrong, in sentences; None where it runs on every GPU.
        next: what a person can do about it; None likewise.

    """

    package: str
    version: str | None
    verdicts: Mapping[str, str]
    architectures: tuple[str, ...]
    problem: str | None = None
    next: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the keys and values that `check-build --json` prints."""
        return {
            "package": self.package,
            "version": self.version,
            "verdicts": dict(self.verdicts),
            "architectures": list(self.architectures),
            "problem": self.problem,
            "next": self.next,
        }


def check_build(
    package: str,
    capabilities: Sequence[Capability],
    log: str | None = None,
    environ: Mapping[str, str] | None = None,
    path: Sequence[str] | None = None,
) -> BuildCheck:
    """Judge an installed package for GPUs; where one cannot run it, say what the build was asked for instead.

    Args:
        package: its name.
        capabilities: of the GPUs.
        log: what the build printed.
        environ: the variables that the build saw, by default those of this process.
        path: where to look for distributions, by default `sys.path`.

    """
    environ = os.environ if environ is None else environ
    distributions = {normalised(each.name): each for each in installed_distributions(path)}
    built = distributions.get(normalised(package))
    if built is None:
        return BuildCheck(
            package,
            None,
            {},
            (),
            f"{package} is not installed in this Python: the build did not end well, or went into another one.",
            "Look at the first error in what the build printed: rtx50-autoload explain FILE",
        )
    torch = torch_build(distributions["torch"]) if "torch" in distributions else None
    results = _read(built, capabilities[0])
    verdicts = {
        capability: assess(
            built, results, Subject(Target(capability, None, JitSwitches()), "a GPU", "as asked for"), torch
        ).judgement
        for capability in capabilities
    }
    inside = _inside(results.values())
    # A build names the GPUs: PTX for others is not what was asked for, though the driver makes something of it.
    wrong = {*FINDINGS, Verdict.NO_GPU_CODE, Verdict.JIT}
    failing = [each for each, judgement in verdicts.items() if judgement.verdict in wrong]
    problem = None
    if not inside and not any(judgement.verdict in FINDINGS for judgement in verdicts.values()):
        problem = without_code(built, torch, log, environ)
    elif failing and verdicts[failing[0]].verdict is Verdict.UNREADABLE:
        problem = f"A binary of {built.name} cannot be read: {verdicts[failing[0]].reason}."
    elif failing:
        problem = f"{misses(built, {each: verdicts[each] for each in failing}, inside)} {asked_for(log, environ)}"
    elif symbol := _undefined_symbol(built, torch):
        problem = (
            f"{built.name} {built.version} was built for another torch than the one here"
            f"{f' ({torch.version})' if torch else ''}: the loader does not find {symbol} in it."
        )
    return BuildCheck(
        package,
        built.version,
        {format_capability(each): judgement.verdict.value for each, judgement in verdicts.items()},
        inside,
        problem,
        problem and build_again(package, capabilities),
    )


def _read(built: Installed, capability: Capability) -> dict[str, ScanResult]:
    found = {}
    for name, file in built.binaries:
        for result in scan_file(file, Target(capability), named=False):
            if result.judgement.verdict is not Verdict.NO_GPU_CODE:
                found[name] = result
    return found


def _inside(results: Iterable[ScanResult]) -> tuple[str, ...]:
    names = {
        (code is Code.PTX, len(name), name): name
        for result in results
        for code in (Code.SASS, Code.PTX)
        for name in result.code.images(code)
    }
    return tuple(names[key] for key in sorted(names))


def _undefined_symbol(built: Installed, torch: TorchBuild | None) -> str | None:
    """Let a child load the libraries; what else keeps them from loading, such as a missing driver, says nothing."""
    if torch is None or os.name == "nt":
        return None
    files = [str(file) for _, file in built.binaries]
    try:
        child = subprocess.run(  # noqa: S603 - this very Python, with a program of ours
            python_command(_LOAD, *files),
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_LOAD_SECONDS,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "RTX50_DISABLE": "1"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = _UNDEFINED.search(child.stdout)
    return match[1] if match else None
