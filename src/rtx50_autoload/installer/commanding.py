"""The commands of pip and uv for one environment: run as they are, and typed by a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rtx50_autoload.commands import Typist
from rtx50_autoload.evidence.environment.torch_builds import index_url
from rtx50_autoload.installer.plan import Command

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rtx50_autoload.commands import Shell
    from rtx50_autoload.installer.machine import Machine, Package

__all__ = ["again_options", "pip_command", "type_command", "type_line", "typed_lines", "way_back"]

#: Their versions name the variant in every index of torch's but PyPI.
_NAMES_VARIANT: Final = ("torch", "torchvision", "torchaudio")


def pip_command(machine: Machine, verb: str, *arguments: str) -> Command:
    """Do with packages what a command of pip does, in the environment of a machine and in no other."""
    if machine.installer == "uv":
        return Command(("uv", "pip", verb, "--python", machine.executable, *arguments))
    # A bare `pip` may belong to another Python; an application's own has no other way.
    confirmed = ("-y", *arguments) if verb == "uninstall" else arguments
    return Command((machine.executable, "-m", "pip", verb, *confirmed))


def again_options(machine: Machine, package: str) -> tuple[str, ...]:
    """Give what makes an installer exchange a package for the same version of it, and nothing else."""
    once = ("--reinstall-package", package) if machine.installer == "uv" else ("--force-reinstall",)
    return (*once, "--no-deps")


def type_command(machine: Machine, command: Command) -> str:
    """Write a command as it is typed in the shell of a machine."""
    return type_line(machine, *command.arguments)


def typed_lines(arguments: Sequence[str], environ: Mapping[str, str], system: str) -> list[str]:
    """Write a command and the variables that are set for it alone as they are typed in the shell of a system."""
    typist = Typist("cmd" if system == "windows" else "posix", "")
    line = typist.line(*arguments)
    if system == "windows":
        return [*(typist.set_variable(name, value) for name, value in environ.items()), line]
    return [" ".join((*(f"{name}={typist.quote(value)}" for name, value in environ.items()), line))]


def type_line(machine: Machine, *words: str) -> str:
    """Write the words of a command as they are typed in the shell of a machine."""
    shell: Shell = "cmd" if machine.system == "windows" else "posix"
    return Typist(shell, "").line(*words)


def way_back(machine: Machine, before: Sequence[tuple[str, Package | None]]) -> str:
    """Say how packages become again what they were.

    Args:
        machine: where they are.
        before: by name, torch first where it is among them; None where there was none.

    """
    there = [(name, package) for name, package in before if package is not None]
    if not there:
        names = [name for name, _ in before]
        return f"Remove it: `{type_command(machine, pip_command(machine, 'uninstall', *names))}`"
    if made_here := next((package.origin for _, package in there if package.origin), None):
        return f"Install what was there from where it came from, {made_here}."
    # Every variant has an index of its own; PyPI has what names none.
    variant = next((package.variant for name, package in there if package.variant), None)
    where = () if variant is None else ("--index-url", index_url(variant))
    pins = (f"{name}=={package if name in _NAMES_VARIANT else package.version}" for name, package in there)
    return f"Install what was there: `{type_command(machine, pip_command(machine, 'install', *pins, *where))}`"
