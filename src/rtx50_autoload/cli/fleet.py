"""``doctor --ray``: the examination of every node of a Ray cluster."""

from __future__ import annotations

import argparse
import json
import math
from typing import TYPE_CHECKING, Final

from rtx50_autoload.capability import format_capability
from rtx50_autoload.cli.exit_codes import FINDING, OK
from rtx50_autoload.errors import UsageError

if TYPE_CHECKING:
    from rtx50_autoload.fleet.nodes import Fleet

__all__ = ["add_arguments", "is_meant", "run"]

#: How long a node may take, in seconds.
_NODE_TIMEOUT: Final = 120.0
#: Likewise where it computes on its GPUs: importing torch alone may take minutes from a shared disk.
_NODE_TIMEOUT_WITH_PROBES: Final = 600.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `doctor` needs for a cluster to its parser."""
    parser.add_argument(
        "--ray",
        nargs="?",
        const="auto",
        metavar="ADDRESS",
        help="examine every node of a Ray cluster: the one that this machine belongs to (or RAY_ADDRESS names), "
        "HOST:PORT or ray://HOST:PORT; needs the extra rtx50-autoload[fleet]",
    )
    parser.add_argument(
        "--node-timeout",
        type=_seconds,
        metavar="SECONDS",
        help=f"with --ray: how long a node may take (default: {_NODE_TIMEOUT:g}, with --probe "
        f"{_NODE_TIMEOUT_WITH_PROBES:g})",
    )


def is_meant(arguments: argparse.Namespace) -> bool:
    """Tell whether a cluster is asked about.

    Raises:
        UsageError: an option has no meaning with the others.

    """
    if arguments.ray is None and arguments.node_timeout is not None:
        raise UsageError("--node-timeout is for the nodes of a cluster: it needs --ray")
    if arguments.ray is not None and arguments.html is not None:
        raise UsageError("--html writes the page of one machine; for a cluster take --json")
    return arguments.ray is not None


def run(arguments: argparse.Namespace) -> int:
    """Examine every node and print the result on stdout.

    Returns:
        0 where nothing is wrong, 1 where there is an error or a warning on a node, or a node could not be examined.

    Raises:
        UsageError: no cluster can be reached.

    """
    from rtx50_autoload.cli.fleet_console import show_fleet  # noqa: PLC0415 - a command imports what it needs

    fleet = _examine(arguments).as_json()
    if arguments.json:
        print(json.dumps(fleet, indent=2))  # noqa: T201
    else:
        show_fleet(fleet)
    return OK if fleet["ok"] else FINDING


def _examine(arguments: argparse.Namespace) -> Fleet:
    """Examine, and show on a terminal how far that has come."""
    from rtx50_autoload.cli.progress import show_progress  # noqa: PLC0415
    from rtx50_autoload.fleet.examination import examine_fleet  # noqa: PLC0415

    limit = arguments.node_timeout or (_NODE_TIMEOUT_WITH_PROBES if arguments.probe else _NODE_TIMEOUT)
    with show_progress("Connecting to the Ray cluster") as tell:
        return examine_fleet(
            arguments.ray,
            _for_nodes(arguments),
            limit,
            lambda done, total: tell("Examining nodes", done, total),
        )


def _for_nodes(arguments: argparse.Namespace) -> list[str]:
    """Give the options of `doctor` that hold on each node."""
    words = []
    if arguments.device is not None:
        words += ["--device", format_capability(arguments.device)]
    if arguments.driver is not None:
        words += ["--driver", str(arguments.driver)]
    words += ["--probe"] if arguments.probe else []
    return words + (["--no-cache"] if arguments.no_cache else [])


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return seconds
