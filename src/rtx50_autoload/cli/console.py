"""What a person sees at the terminal. stdout carries results only; every width from 60 columns up is readable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from rtx50_autoload import __version__
from rtx50_autoload.safe_console import SafeConsole

from .tables import plain_table

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["show_demo", "show_status"]

_Value = list[int] | None


def show_status(state: dict[str, Any]) -> None:
    """Print what `rtx50_autoload.status()` gives."""
    console = SafeConsole()
    word = Text("on", "bold green") if state["active"] else Text("off", "bold red")
    console.print(Text.assemble(f"rtx50-autoload {__version__} is ", word, f" in {state['prefix']}"))
    console.print(_sentence(state["reason"]))
    console.print()
    console.print(_devices(state))
    if state["active"]:
        told = [row for row in state["callers"] if row["reported"] is not None]
        if told:
            console.print()
            console.print(_told_table(told))
            console.print()
            console.print("Everyone else is told the truth: your code, code generators, all that is not named here.")
        for adjustment in state["adjustments"]:
            console.print(f"{adjustment['library']}: {adjustment['what']} - {adjustment['state']}")
        for row in state["stand_ins"]:
            _show_stand_in(console, row)
    console.print()
    for patch in state["patches"]:
        error = f" ({patch['error']})" if patch["error"] else ""
        console.print(f"{patch['target']}: {patch['state']}{error}")
    if state["error_hooks"]:
        console.print(f"Errors are heard of through {', '.join(state['error_hooks'])}.")
    _show_files(console, state)
    for problem in state["problems"]:
        console.print(Text(problem, "yellow"))
    for module, error in state["failed_imports"].items():
        console.print(Text(f"{module} could not be imported: {error}", "red"))
    for fault in state["faults"]:
        console.print(Text(f"internal fault: {fault}", "red"))


def show_demo(result: dict[str, Any]) -> None:
    """Print what `demo` found out."""
    console = SafeConsole()
    name, _, capability = result["device"].rpartition(":")
    console.print(f"A simulated {name} (compute capability {capability}).")
    if result["torch"] is None:
        console.print(Text("torch is not installed here, so nothing was asked: this is what would be told.", "yellow"))
        console.print("Next: pip install torch")
    else:
        console.print(f"torch {result['torch']} was asked by code of each name; no program here imports us.")
    console.print()
    table = plain_table()
    table.add_column("caller", overflow="fold")
    table.add_column("without us")
    table.add_column("with us")
    table.add_column("why", ratio=1)
    for caller, without in result["without"].items():
        with_us = result["with"][caller]
        style = "green" if with_us != without else ""
        who = "your own script" if caller == "__main__" else caller
        table.add_row(who, _capability(without), Text(_capability(with_us), style), result["reasons"][caller])
    console.print(table)
    console.print()
    for line in result["message"]:
        console.print(f"Said once on stderr: {line}")
    console.print("'Without us' is the same simulated card with RTX50_MODE=observe: everyone is told the truth.")
    if not result["active"]:
        console.print(Text(f"The package is off: {result['reason']}", "bold red"))


def _told_table(rows: list[dict[str, Any]]) -> Table:
    table = plain_table()
    table.add_column("caller", overflow="fold")
    table.add_column("device")
    table.add_column("told")
    table.add_column("why")
    for row in rows:
        table.add_row(row["caller"], _capability(row["device"]), _capability(row["reported"]), row["reason"])
    return table


def _devices(state: dict[str, Any]) -> Table | str:
    if not state["devices"]:
        return f"No device: {_sentence(state['device_reason'])}"
    table = plain_table()
    for column in ("device", "name", "capability", "known from"):
        table.add_column(column)
    for device in state["devices"]:
        table.add_row(str(device["index"]), device["name"], _capability(device["capability"]), device["source"])
    return table


def _show_stand_in(console: Console, row: dict[str, Any]) -> None:
    console.print(f"{row['library']}: {row['stand_in']} (RTX50_RESCUE) - {row['state']}")
    for function in row["functions"]:
        reasons = "; ".join(function["reasons"])
        console.print(Text(f"  {function['function']} is answered by it: {reasons}", "yellow"))
        console.print(f"  {function['calls']} calls so far. {_sentence(row['cost'])}")


def _show_files(console: Console, state: dict[str, Any]) -> None:
    door = {
        "pth": "the start-up file",
        "torch.backends": "torch's entry point",
        "api": "activate() in the program",
        None: "none",
    }
    console.print(f"Way in: {door[state['door']]}")
    for file in state["startup_files"]:
        verdict = "missing" if not file["present"] else "as installed" if file["matches_record"] else "changed"
        console.print(Text(f"  {file['path']}: {verdict}", "" if file["matches_record"] else "red"))
    first, *others = state["installations"] or [None]
    for other in others:
        twice = f"{first['version']} in {first['path']} is used, {other['version']} in {other['path']} is not."
        console.print(Text(f"Installed twice: {twice}", "yellow"))


def _capability(value: _Value) -> str:
    return "-" if value is None else f"{value[0]}.{value[1]}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")
