"""What a person sees of a scan at the terminal."""

from __future__ import annotations

import os
from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING

from rich.text import Text

from rtx50_autoload.capability import format_capability
from rtx50_autoload.cli.layout import show
from rtx50_autoload.cli.progress import with_progress
from rtx50_autoload.cli.tables import show_table
from rtx50_autoload.cli.verdict_styles import STYLES
from rtx50_autoload.evidence.arch import Code
from rtx50_autoload.evidence.scan import find_files, scan_file
from rtx50_autoload.evidence.verdict import Verdict
from rtx50_autoload.report.words import verdict_word
from rtx50_autoload.safe_console import SafeConsole

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from rtx50_autoload.evidence.imagecache import ImageCache
    from rtx50_autoload.evidence.scan import ScanResult
    from rtx50_autoload.evidence.subject import Subject
    from rtx50_autoload.evidence.verdict import Target

__all__ = ["scan_with_progress", "show_results"]


def scan_with_progress(paths: Iterable[Path], target: Target, cache: ImageCache | None) -> list[ScanResult]:
    """Scan, with a progress bar on stderr where that is a terminal.

    Raises:
        UsageError: a path does not exist, or is not one to be scanned.

    """
    given = dict.fromkeys(paths)
    results: list[ScanResult] = []
    try:
        for file in with_progress(find_files(given)):
            results += scan_file(file, target, cache, named=file in given)
    finally:
        if cache is not None:
            cache.save()
    return results


def show_results(results: Sequence[ScanResult], subject: Subject) -> None:
    """Print the binaries with GPU code and how many there are of each verdict."""
    console = SafeConsole()
    target = subject.target
    driver = "" if target.driver is None else f", driver {target.driver}"
    show(console, f"Judged for compute capability {format_capability(target.capability)}{driver}: {subject.reason}.")
    shown = [result for result in results if result.judgement.verdict is not Verdict.NO_GPU_CODE]
    for place, group in groupby(shown, lambda result: _split(result)[0]):
        console.print()
        show(console, place, style="bold")
        show_table(console, ("binary", "verdict", "why", "GPU code"), [_row(result) for result in group], notes=2)
    console.print()
    counts = Counter(result.judgement.verdict for result in results)
    summary = ", ".join(f"{counts[verdict]} {verdict_word(verdict.value)}" for verdict in Verdict if counts[verdict])
    show(console, f"Binaries: {summary or 'none found'}.")


def _row(result: ScanResult) -> tuple[str | Text, ...]:
    verdict = result.judgement.verdict
    images = " ".join((*result.code.images(Code.SASS), *result.code.images(Code.PTX)))
    word = Text(verdict_word(verdict.value), STYLES[verdict])
    return _split(result)[1], word, result.judgement.reason, images or "-"


def _split(result: ScanResult) -> tuple[str, str]:
    """Return the wheel or the folder that a binary is in, and its name there."""
    if result.is_wheel_member:
        wheel, _, member = result.path.partition("!")
        return wheel, member or "-"
    return os.path.split(result.path)
