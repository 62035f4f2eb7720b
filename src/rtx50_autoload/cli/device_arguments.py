"""``--device`` and ``--driver``: what the commands that judge binaries judge them for."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from rtx50_autoload.capability import parse_capability
from rtx50_autoload.evidence.arch import driver_branch

if TYPE_CHECKING:
    from rtx50_autoload.capability import Capability

__all__ = ["add_device_arguments", "capability"]


def add_device_arguments(parser: argparse.ArgumentParser, default: str) -> None:
    """Add both to a command's parser.

    Args:
        parser: the command's.
        default: what is judged for without them, as a clause.

    """
    parser.add_argument(
        "--device",
        type=capability,
        metavar="CAPABILITY",
        help=f"the compute capability to judge for, such as 12.0 (default: {default})",
    )
    parser.add_argument(
        "--driver",
        type=_driver,
        metavar="VERSION",
        help="the driver to judge for, such as 570.124.06 (default: the one here; with --device, any)",
    )


def capability(text: str) -> Capability:
    """Read a capability as the type of an argument."""
    try:
        return parse_capability(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _driver(text: str) -> int:
    try:
        return driver_branch(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
