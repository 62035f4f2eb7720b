"""The text of `pip freeze --all`: what a person compares, and what pip or uv can read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import FixError
from .installer_commands import find_uv, pip_program
from .running import listen_to

if TYPE_CHECKING:
    from .environment import Environment

__all__ = ["freeze", "freeze_command", "installer_of"]


def freeze(environment: Environment) -> str:
    """Ask uv or, where it is not here, pip what is installed.

    Raises:
        FixError: neither is here, or it fails.

    """
    command = freeze_command(environment)
    done = listen_to(command)
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise FixError(f"what is installed cannot be listed ({' '.join(command[-3:])}): {said[0]}")
    return "".join(f"{line}\n" for line in sorted(done.stdout.splitlines(), key=str.lower))


def freeze_command(environment: Environment) -> list[str]:
    """Give what lists the installed packages: uv, or else pip."""
    uv = find_uv()
    python = str(environment.executable)
    return [uv, "pip", "freeze", "--python", python] if uv else [*pip_program(python), "freeze", "--all"]


def installer_of(environment: Environment) -> list[str]:
    """Give what installs packages here: uv, or else pip, up to its verb ``install``."""
    uv = find_uv()
    python = str(environment.executable)
    return [uv, "pip", "install", "--python", python] if uv else [*pip_program(python), "install"]
