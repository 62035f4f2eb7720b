"""Scans files, folders and wheels: which GPU code each binary holds and what a device can do with it."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rtx50_autoload.errors import UsageError
from rtx50_autoload.evidence.arch import Code
from rtx50_autoload.evidence.gpucode import GpuCode, format_by_name, read_gpu_code
from rtx50_autoload.evidence.positioned import open_source
from rtx50_autoload.evidence.verdict import Judgement, Outcome, Target, judge
from rtx50_autoload.evidence.wheel import read_wheel

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rtx50_autoload.evidence.imagecache import Binaries, ImageCache

__all__ = ["NoSuchPathError", "NotABinaryError", "ScanResult", "find_files", "scan", "scan_file"]

_WHEEL_SUFFIX: Final = ".whl"
_MEMBER_SEPARATOR: Final = "!"


class NoSuchPathError(UsageError, FileNotFoundError):
    """A path to be scanned does not exist."""


class NotABinaryError(UsageError, ValueError):
    """A file to be scanned is no ELF, PE or ar file, no wheel, and not named like one."""


@dataclass(frozen=True)
class ScanResult:
    """One binary and the verdict on it."""

    #: As it was given, or found below a given folder; of a wheel's member the wheel's path, ``!``, the member's path.
    path: str
    code: GpuCode
    judgement: Judgement
    is_wheel_member: bool = False

    def judged_for(self, target: Target) -> ScanResult:
        """Return the same binary with the verdict for another device."""
        inside = self.path.rpartition(_MEMBER_SEPARATOR)[2] if self.is_wheel_member else self.path
        return replace(self, judgement=judge(self.code, target, os.path.basename(inside)))  # noqa: PTH119 - a member's too

    def as_json(self) -> dict[str, Any]:
        """Return the result as ``scan --json`` prints it."""
        modules = self.judgement.modules
        newest, driver = self.code.newest_ptx, self.judgement.driver_min
        return {
            "path": self.path,
            "format": "wheel-member" if self.is_wheel_member else self.code.format,
            "size": self.code.size,
            "sass": self.code.images(Code.SASS),
            "ptx": self.code.images(Code.PTX),
            "ptx_isa_max": None if newest is None else f"{newest[0]}.{newest[1]}",
            "modules": {outcome.value: modules.get(outcome, 0) for outcome in Outcome},
            "verdict": self.judgement.verdict.value,
            "driver_min": None if driver is None else str(driver),
        }


def find_files(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield the files to be scanned: those given, and those below given folders that may be binaries or wheels.

    Below a folder a file counts by its name; a name without a suffix may be a program. A link is followed where it
    leads out of the folder, as some installers link whole packages; otherwise its target is met by itself. A folder
    that cannot be listed is yielded too, and found unreadable by whoever opens it.

    Raises:
        NoSuchPathError: a given path does not exist.

    """
    for path in paths:
        try:
            is_folder = stat.S_ISDIR(path.stat().st_mode)
        except FileNotFoundError as error:
            raise NoSuchPathError(f"{path} does not exist") from error
        except OSError:
            is_folder = False
        if is_folder:
            yield from _below(path)
        else:
            yield path


def _below(folder: Path) -> Iterator[Path]:
    root = Path(os.path.realpath(folder))
    unlistable: list[Path] = []
    for parent, folders, names in os.walk(folder, onerror=lambda error: unlistable.append(Path(error.filename))):
        folders.sort()
        for name in sorted(names):
            if name.endswith(_WHEEL_SUFFIX) or "." not in name or format_by_name(name):
                path = Path(parent, name)
                if not path.is_symlink() or _leads_out_of(root, path):
                    yield path
    yield from unlistable


def _leads_out_of(root: Path, link: Path) -> bool:
    try:
        target = Path(os.path.realpath(link))
        return target.is_file() and not target.is_relative_to(root)
    except OSError:
        return False  # some of /proc, and what lies in folders of others, may not even be looked at


def scan(paths: Iterable[Path], target: Target, cache: ImageCache | None = None) -> Iterator[ScanResult]:
    """Scan files, folders and wheels against a device; binaries without GPU code are results too.

    Raises:
        NoSuchPathError: a given path does not exist.
        NotABinaryError: a given file is not one to be scanned.

    """
    given = dict.fromkeys(paths)
    try:
        for path in find_files(given):
            yield from scan_file(path, target, cache, named=path in given)
    finally:
        if cache is not None:
            cache.save()


def scan_file(path: Path, target: Target, cache: ImageCache | None = None, *, named: bool = True) -> list[ScanResult]:
    """Scan one file or wheel.

    Args:
        path: the file.
        target: the device to judge against.
        cache: where to look first; the caller saves it.
        named: somebody named this very file; one that turns out to be no binary is then an error rather than no result.

    Raises:
        NotABinaryError: the file is not one to be scanned, and was named.

    """
    binaries = _binaries(path, cache)
    if not binaries and named and path.suffix != _WHEEL_SUFFIX:
        format_ = format_by_name(path.name)
        if format_ is None:
            raise NotABinaryError(f"{path} is neither an ELF, PE or ar file nor a wheel")
        problem = "it is neither an ELF, a PE nor an ar file, whatever its name says"
        binaries = (("", GpuCode(format_, path.stat().st_size, problem=problem)),)
    is_wheel = path.suffix == _WHEEL_SUFFIX
    return [
        ScanResult(
            f"{path}{_MEMBER_SEPARATOR}{member}" if member else str(path),
            code,
            judge(code, target, (member or path.name).rpartition("/")[2]),
            is_wheel,
        )
        for member, code in binaries
    ]


def _binaries(path: Path, cache: ImageCache | None) -> Binaries:
    try:
        status = path.stat()
        binaries = None if cache is None else cache.get(path, status)
        if binaries is None:
            binaries = _read(path)
            if cache is not None:
                cache.put(path, status, binaries)
    except OSError as error:
        return (("", GpuCode(format_by_name(path.name) or "elf", 0, problem=str(error))),)
    return binaries


def _read(path: Path) -> Binaries:
    if path.suffix == _WHEEL_SUFFIX:
        return tuple(read_wheel(path))
    with open_source(path) as source:
        code = read_gpu_code(source)
    return () if code is None else (("", code),)
