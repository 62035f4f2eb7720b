"""What a person sees at the terminal. stdout carries results only; every width from 60 columns up is readable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from rtx50_autoload import __version__
from rtx50_autoload.safe_console import SafeConsole

from .layout import show
from .tables import plain_table, show_table

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["show_demo", "show_status"]

_Value = list[int] | None


def show_status(state: dict[str, Any]) -> None:
    """Print what `rtx50_autoload.status()` gives."""
    console = SafeConsole()
    word = Text("on", "bold green") if state["active"] else Text("off", "bold red")
    show(console, Text.assemble(f"rtx50-autoload {__version__} is ", word, f" in {state['prefix']}"))
    show(console, _sentence(state["reason"]))
    console.print()
    _show_devices(console, state)
    if state["active"]:
        told = [row for row in state["callers"] if row["reported"] is not None]
        if told:
            console.print()
            _show_told(console, told)
            console.print()
            show(console, "Everyone else is told the truth: your code, code generators, all that is not named here.")
        for adjustment in state["adjustments"]:
            show(console, f"{adjustment['library']}: {adjustment['what']} - {adjustment['state']}")
        for row in state["stand_ins"]:
            _show_stand_in(console, row)
    console.print()
    for patch in state["patches"]:
        error = f" ({patch['error']})" if patch["error"] else ""
        show(console, f"{patch['target']}: {patch['state']}{error}")
    if state["error_hooks"]:
        show(console, f"Errors are heard of through {', '.join(state['error_hooks'])}.")
    _show_files(console, state)
    for problem in state["problems"]:
        show(console, problem, style="yellow")
    for module, error in state["failed_imports"].items():
        show(console, f"{module} could not be imported: {error}", style="red")
    for fault in state["faults"]:
        show(console, f"internal fault: {fault}", style="red")


def show_demo(result: dict[str, Any]) -> None:
    """Print what `demo` found out."""
    console = SafeConsole()
    name, _, capability = result["device"].rpartition(":")
    show(console, f"A simulated {name} (compute capability {capability}).")
    if result["torch"] is None:
        show(console, "torch is not installed here, so nothing was asked: this is what would be told.", style="yellow")
        show(console, "Next: `pip install torch`")
    else:
        show(console, f"torch {result['torch']} was asked by code of each name; no program here imports us.")
    console.print()
    rows = []
    for caller, without in result["without"].items():
        with_us = result["with"][caller]
        style = "green" if with_us != without else ""
        who = "your own script" if caller == "__main__" else caller
        rows.append((who, _capability(without), Text(_capability(with_us), style), result["reasons"][caller]))
    show_table(console, ("caller", "without us", "with us", "why"), rows)
    console.print()
    for line in result["message"]:
        show(console, f"Said once on stderr: {line}")
    show(console, "'Without us' is the same simulated card with RTX50_MODE=observe: everyone is told the truth.")
    if not result["active"]:
        show(console, f"The package is off: {result['reason']}", style="bold red")


def _show_told(console: Console, rows: list[dict[str, Any]]) -> None:
    told = [(row["caller"], _capability(row["device"]), _capability(row["reported"]), row["reason"]) for row in rows]
    show_table(console, ("caller", "device", "told", "why"), told)


def _show_devices(console: Console, state: dict[str, Any]) -> None:
    if not state["devices"]:
        show(console, f"No device: {_sentence(state['device_reason'])}")
        return
    table = plain_table()
    for column in ("device", "name", "capability", "known from"):
        table.add_column(column)
    for device in state["devices"]:
        table.add_row(str(device["index"]), device["name"], _capability(device["capability"]), device["source"])
    console.print(table)


def _show_stand_in(console: Console, row: dict[str, Any]) -> None:
    show(console, f"{row['library']}: {row['stand_in']} (RTX50_RESCUE) - {row['state']}")
    for function in row["functions"]:
        reasons = "; ".join(function["reasons"])
        show(console, f"{function['function']} is answered by it: {reasons}", 2, style="yellow")
        show(console, f"{function['calls']} calls so far. {_sentence(row['cost'])}", 2)


def _show_files(console: Console, state: dict[str, Any]) -> None:
    door = {
        "pth": "the start-up file",
        "torch.backends": "torch's entry point",
        "api": "activate() in the program",
        None: "none",
    }
    show(console, f"Way in: {door[state['door']]}")
    for file in state["startup_files"]:
        verdict = "missing" if not file["present"] else "as installed" if file["matches_record"] else "changed"
        show(console, f"{verdict}: {file['path']}", 2, style="" if file["matches_record"] else "red")
    first, *others = state["installations"] or [None]
    for other in others:
        twice = f"{first['version']} in {first['path']} is used, {other['version']} in {other['path']} is not."
        show(console, f"Installed twice: {twice}", style="yellow")


def _capability(value: _Value) -> str:
    return "-" if value is None else f"{value[0]}.{value[1]}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")
