"""The nodes of a cluster, and what the examination of each has come to."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from rtx50_autoload import __version__
from rtx50_autoload.commands import Typist
from rtx50_autoload.evidence.finding import Finding, Severity
from rtx50_autoload.fleet.on_node import NOT_INSTALLED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Examined", "Fleet", "Node", "State", "result", "told_apart", "without_answer"]

#: What the document of a node, which may come from another version of us, has to hold.
_KEYS: Final = frozenset({"rtx50_autoload", "libraries", "findings", "judged_for", "devices", "device_reason", "ok"})
#: How much of an id tells nodes of one name apart.
_SHORT: Final = 6


class State(str, Enum):
    """How the examination of a node went."""

    EXAMINED = "examined"
    #: It left the cluster meanwhile.
    DIED = "died"
    #: It gave no answer within the time limit.
    SILENT = "no answer"
    #: Its Python does not know this package.
    NOT_INSTALLED = "not installed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Node:
    """A node as Ray names it.

    Attributes:
        name: what `ray start --node-name` gave it, or its host's name.
        address: its IP address.

    """

    id: str
    name: str
    address: str

    def as_json(self) -> dict[str, Any]:
        """Give the keys and values of `doctor --ray --json`."""
        return {"id": self.id, "name": self.name, "address": self.address}


@dataclass(frozen=True, slots=True)
class Examined:
    """A node and what its examination came to.

    Attributes:
        document: what ``doctor --json`` printed there; None where it did not.
        finding: why there is no document.

    """

    node: Node
    state: State
    document: Mapping[str, Any] | None = None
    finding: Finding | None = None

    @property
    def ok(self) -> bool:
        """Whether it was examined and nothing is wrong."""
        return self.document is not None and bool(self.document["ok"])

    def as_json(self) -> dict[str, Any]:
        """Give the keys and values of `doctor --ray --json`."""
        return {
            **self.node.as_json(),
            "state": self.state.value,
            "ok": self.ok,
            "finding": None if self.finding is None else self.finding.as_json(),
            "document": self.document,
        }


@dataclass(frozen=True, slots=True)
class Fleet:
    """All nodes of a cluster.

    Attributes:
        ray: the version of Ray.
        node_timeout: how long each node had, in seconds.
        nodes: those that were alive when the examination began.
        left_before: those that had gone before; Ray remembers them for a while.

    """

    ray: str
    node_timeout: float
    nodes: Sequence[Examined]
    left_before: Sequence[Node]

    @property
    def ok(self) -> bool:
        """Whether every node was examined and nothing is wrong on any."""
        return all(node.ok for node in self.nodes)

    @property
    def findings(self) -> list[Finding]:
        """What no node by itself can tell."""
        versions: dict[str, list[str]] = {}
        for each in self.nodes:
            if each.document is not None:
                versions.setdefault(str(each.document["rtx50_autoload"]), []).append(each.node.name)
        if len(versions) <= 1:
            return []
        return [
            Finding(
                "node-versions",
                Severity.INFO,
                "The nodes have different versions of rtx50-autoload.",
                "; ".join(f"{version} on {', '.join(names)}" for version, names in sorted(versions.items()))
                + ". What one version finds, another may not know.",
                "Install the same version on all nodes.",
            )
        ]

    def as_json(self) -> dict[str, Any]:
        """Give what `doctor --ray --json` prints."""
        return {
            "rtx50_autoload": __version__,
            "ray": self.ray,
            "node_timeout": self.node_timeout,
            "nodes": [node.as_json() for node in self.nodes],
            "left_before": [node.as_json() for node in self.left_before],
            "findings": [finding.as_json() for finding in self.findings],
            "ok": self.ok,
        }


def result(node: Node, event: Mapping[str, Any], limit: float) -> Examined:
    """Read what the driver tells of one node: its answer, or why there is none.

    Args:
        node: of which it is told.
        event: an event `answer`, `failed` or `silent`.
        limit: how long the node had, in seconds.

    """
    if event["event"] == "answer":
        return _answered(node, event["answer"], limit)
    if not event["alive"]:
        return _died(node)
    if event["event"] == "silent":
        return _silent(node, limit)
    return _unexamined(
        node,
        State.FAILED,
        "Ray could not run the examination on it.",
        _sentence(f"{event['error']}: {_first_line(event['text'])}"),
        "On it, the log of Ray says more: /tmp/ray/session_latest/logs.",
    )


def without_answer(node: Node, limit: float, last_words: str | None) -> Examined:
    """Name a node of which nothing was told.

    Args:
        node: that one.
        limit: how long it had, in seconds.
        last_words: what the process said that speaks with Ray, where it has ended before; None where it was ended.

    """
    if last_words is None:
        return _silent(node, limit)
    return _unexamined(
        node,
        State.FAILED,
        "The connection to the cluster ended before its answer came.",
        _sentence(last_words or "Ray gave no reason"),
        "`ray status` shows whether the head node is up.",
    )


def told_apart(nodes: Sequence[Node]) -> list[Node]:
    """Give the nodes by names that differ: several nodes of one machine have the same."""
    names = [node.name for node in nodes]
    return [
        node if names.count(node.name) == 1 else Node(node.id, f"{node.name} {node.id[:_SHORT]}", node.address)
        for node in nodes
    ]


def _answered(node: Node, answer: Mapping[str, Any], limit: float) -> Examined:
    typist = Typist("posix", Typist("posix", "").quote(answer["python"]))
    if answer["code"] is None:
        return _died(node) if answer["orphaned"] else _silent(node, limit)
    if answer["code"] == NOT_INSTALLED:
        return _unexamined(
            node,
            State.NOT_INSTALLED,
            "rtx50-autoload is not installed on it.",
            f"Ray's workers there run {answer['python']}, which does not know the package.",
            f"On it: {typist.pip('install', 'rtx50-autoload')}",
        )
    try:
        document = json.loads(answer["stdout"])
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, dict) and document.keys() >= _KEYS:
        return Examined(node, State.EXAMINED, document)
    return _unexamined(
        node,
        State.FAILED,
        f"doctor did not come to an end on it: exit code {answer['code']}.",
        _sentence(_last_line(answer["stderr"]) or "It said nothing"),
        f"On it: {typist.run_python('-m', 'rtx50_autoload', 'doctor')}",
    )


def _died(node: Node) -> Examined:
    return _unexamined(
        node,
        State.DIED,
        "It left the cluster during the examination.",
        "Ray does not see it any more: its machine, its Ray processes or the network to it went down.",
        "`ray status` shows whether it is back. On it, the log of Ray says more: /tmp/ray/session_latest/logs.",
    )


def _silent(node: Node, limit: float) -> Examined:
    return _unexamined(
        node,
        State.SILENT,
        f"It gave no answer within {limit:g} seconds.",
        "It is slow or overloaded, has stopped, or cannot be reached. It was told to end the examination.",
        f"Look at its load, or give it more time: --node-timeout {2 * limit:g}",
    )


def _unexamined(node: Node, state: State, what: str, why: str, next_: str) -> Examined:
    finding = Finding(f"node-{state.value.replace(' ', '-')}", Severity.ERROR, what, why, next_)
    return Examined(node, state, finding=finding)


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2]


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."
