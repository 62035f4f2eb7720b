"""`status --verify`: whether the files of this package are those that were installed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rtx50_autoload.cli.exit_codes import FINDING, OK
from rtx50_autoload.cli.layout import show, show_command
from rtx50_autoload.evidence.integrity import verify
from rtx50_autoload.safe_console import SafeConsole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

__all__ = ["run_verify"]


def run_verify(*, as_json: bool) -> int:
    """Compare, print what came of it, and give the exit code."""
    result = verify()
    if as_json:
        print(json.dumps(result, indent=2))  # noqa: T201
    else:
        console = SafeConsole()
        for line, style in _lines(result):
            show(console, line.lstrip(), 2 if line.startswith(" ") else 0, style=style)
        if result["installations"] and not result["sound"]:
            _show_way_back(console, result["installations"][0])
    return OK if result["sound"] else FINDING


def _lines(result: dict[str, Any]) -> Iterator[tuple[str, str]]:
    installed = result["installations"]
    if not installed:
        yield f"rtx50-autoload is not installed in {result['prefix']}: there is no RECORD to compare with.", "red"
    for number, each in enumerate(installed):
        yield from _installation(each)
        if number:
            yield "  This Python does not import that one: another installation comes first on sys.path.", "yellow"
    for difference in result["beside"]:
        yield f"  added: {difference['path']} ({difference['why']})", "red"


def _show_way_back(console: Console, first: dict[str, Any]) -> None:
    what = f"-e {first['editable']}" if first["editable"] else f"rtx50-autoload=={first['version']}"
    console.print()
    show(console, "Read what differs before you run it. To have the files as they were published:")
    show_command(console, f"python -m pip install --force-reinstall --no-deps {what}")
    show(console, "Added files stay where they are: they are yours to look at and to remove.")


def _installation(each: dict[str, Any]) -> Iterator[tuple[str, str]]:
    name = f"rtx50-autoload {each['version']} in {each['path']}"
    if not each["record"]:
        yield f"{name}: RECORD is missing or damaged, so nothing can be compared.", "red"
        return
    differences = each["differences"]
    if differences:
        yield f"{name}: not as it was installed, files that differ: {len(differences)}.", "bold red"
        for difference in differences:
            yield f"  {difference['state']}: {difference['path']} ({difference['why']})", "red"
    else:
        yield f"{name}: all {each['compared']} recorded files are as they were installed.", "green"
    if each["editable"]:
        yield (
            f"  Editable: the code itself lies in {each['editable']}, and is not recorded. There, git knows.",
            "yellow",
        )
