"""The examination of a cluster as seen from outside of Ray: no longer than it may take, whatever happens to Ray."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, Final

from rtx50_autoload.errors import UsageError
from rtx50_autoload.fleet.driver import COMMAND
from rtx50_autoload.fleet.nodes import Fleet, Node, result, told_apart, without_answer
from rtx50_autoload.process_groups import end_gently, release_guard, start_guard

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rtx50_autoload.fleet.nodes import Examined

__all__ = ["NoClusterError", "examine_fleet"]

#: How long it may take to reach the cluster, in seconds; Ray's client gives up after 30.
_CONNECTING: Final = 45.0
#: How much later than the nodes' time limit the driver may tell of the last one, in seconds.
_TELLING: Final = 15.0
#: How long the driver may take to leave the cluster after each signal, in seconds.
_GRACE: Final = 2.0
#: How much of the end of the driver's stderr is kept, in bytes.
_TAIL: Final = 8000


class NoClusterError(UsageError, ConnectionError):
    """There is no Ray, or no cluster at the address."""


def examine_fleet(
    address: str, arguments: Sequence[str], limit: float, on_progress: Callable[[int, int], None] | None = None
) -> Fleet:
    """Run ``doctor`` on every node of a Ray cluster, on all at once.

    Args:
        address: as `ray.init` takes it: ``auto``, ``host:port`` or ``ray://host:port``. No cluster is ever started.
        arguments: the words behind ``doctor`` on each node, ``--json`` left out.
        limit: how long each node may take, in seconds.
        on_progress: told how many nodes are done, and how many there are.

    Raises:
        NoClusterError: Ray is not installed, or no cluster can be reached.

    """
    if "local" in {address, os.environ.get("RAY_ADDRESS") if address == "auto" else None}:
        raise NoClusterError("`local` would start a cluster on this machine only; `doctor` without --ray examines it")
    driver = _Driver({"address": address, "arguments": ["--json", *arguments], "limit": limit})
    try:
        first = driver.receive(time.monotonic() + _CONNECTING)
        if first is None or first["event"] != "nodes":
            raise _unreached(address, first, driver)
        nodes = [Node(each["id"], each["name"], each["address"]) for each in first["nodes"] if each["alive"]]
        gone = [Node(each["id"], each["name"], each["address"]) for each in first["nodes"] if not each["alive"]]
        examined = _collect(driver, told_apart(nodes), limit, on_progress or (lambda _done, _all: None))
    finally:
        driver.close()
    return Fleet(first["ray"], limit, examined, gone)


def _collect(
    driver: _Driver, nodes: Sequence[Node], limit: float, on_progress: Callable[[int, int], None]
) -> list[Examined]:
    """Take what the driver tells, and name the nodes of which it tells nothing."""
    deadline = time.monotonic() + limit + _TELLING
    by_id = {node.id: node for node in nodes}
    results: dict[str, Examined] = {}
    on_progress(0, len(nodes))
    while (event := driver.receive(deadline)) is not None and event["event"] != "end":
        results[event["id"]] = result(by_id[event["id"]], event, limit)
        on_progress(len(results), len(nodes))
    last_words = driver.last_words() if len(results) < len(nodes) else None
    examined = [results.get(node.id) or without_answer(node, limit, last_words) for node in nodes]
    return sorted(examined, key=lambda each: each.node.name)


def _unreached(address: str, event: dict[str, Any] | None, driver: _Driver) -> NoClusterError:
    if event is not None and event["event"] == "missing":
        return NoClusterError(f"`doctor --ray` needs Ray ({event['text']}): pip install 'rtx50-autoload[fleet]'")
    if event is not None:
        reason = f"{event['error']}: {event['text'].strip()}"
    else:
        words = driver.last_words()
        reason = f"no answer within {_CONNECTING:g} seconds" if words is None else f"Ray ended: {words}"
    where = "" if address == "auto" else f" at {address}"
    return NoClusterError(
        f"no Ray cluster can be reached{where}. {reason}\n"
        "Next: `ray status` on a node of the cluster shows whether it is up. On one of its nodes, `doctor --ray` finds "
        "it by itself; from another machine: doctor --ray ray://HEAD:10001"
    )


class _Driver:
    """The process that speaks with Ray, and its certain end."""

    def __init__(self, request: dict[str, Any]) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - this interpreter and our own program
            [sys.executable, *COMMAND, *filter(None, sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # A group of its own, to be ended with all that it has started. Ctrl+C reaches us alone.
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
        self._guard = start_guard(self._process.pid)
        self._events: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._tail = b""
        self._readers = [
            threading.Thread(target=self._read_events, args=(self._process.stdout,), daemon=True),
            threading.Thread(target=self._read_errors, args=(self._process.stderr,), daemon=True),
        ]
        for reader in self._readers:
            reader.start()
        # One that has ended already says so by its silence.
        with suppress(OSError), self._process.stdin as stdin:  # type: ignore[union-attr]
            stdin.write(json.dumps(request).encode() + b"\n")

    def receive(self, deadline: float) -> dict[str, Any] | None:
        """Wait for the next event; None where there is none by the deadline, or will be none."""
        with suppress(queue.Empty):
            return self._events.get(timeout=max(deadline - time.monotonic(), 0))
        return None

    def last_words(self) -> str | None:
        """Give the last line that it said before it ended by itself; None where it still runs."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(0.5)
            self._readers[1].join(_GRACE)
            return self._tail.decode("utf-8", "replace").strip().rpartition("\n")[2]
        return None

    def close(self) -> None:
        """End it; interrupted, it leaves the cluster, which ends the tasks."""
        end_gently(self._process, _GRACE)
        if self._guard is not None:
            release_guard(self._guard)
        for reader in self._readers:
            reader.join(_GRACE)

    def _read_events(self, stdout: IO[bytes]) -> None:
        with stdout:
            for line in stdout:
                # A start-up file may print, too, before the driver has taken its stdout for itself.
                with suppress(ValueError, RecursionError):
                    event = json.loads(line)
                    if isinstance(event, dict) and "event" in event:
                        self._events.put(event)
        self._events.put(None)

    def _read_errors(self, stderr: IO[bytes]) -> None:
        with stderr:
            for piece in iter(lambda: os.read(stderr.fileno(), 1 << 16), b""):
                self._tail = (self._tail + piece)[-_TAIL:]
