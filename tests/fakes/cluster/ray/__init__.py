"""A stand-in for Ray, for tests of what `doctor --ray` makes of what a cluster answers.

It fakes: `init`, which connects, refuses or hangs as FAKE_RAY says ("", "refuses", "hangs": then it makes the file
FAKE_RAY_STARTED first); `nodes`; tasks with a node affinity, which run nowhere: what comes of them stands in
FAKE_RAY_NODES, a JSON list of nodes, each with a `name` and, beside that, an `answer` of `run_doctor`, an `error` (the
name of one of Ray's exceptions; with `gone`, the node is no longer alive then), `ends` (the process ends, as Ray's does
where the head node goes away), or nothing, which is a task that never ends. A node with `left` was gone before. It
knows nothing of resources, retries or objects.
"""

import json
import os
import time
from pathlib import Path

__version__ = "99.0"

_nodes = json.loads(os.environ.get("FAKE_RAY_NODES", "[]"))
_gone = {node["name"] for node in _nodes if node.get("left")}


class cloudpickle:
    @staticmethod
    def register_pickle_by_value(module):
        print("Ray prints here what it likes:", module.__name__)


def init(address, log_to_driver, logging_level):
    print("Connecting to", address)
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    if os.environ.get("FAKE_RAY") == "refuses":
        raise ConnectionError("nobody is there")
    if os.environ.get("FAKE_RAY") == "hangs":
        Path(os.environ["FAKE_RAY_STARTED"]).touch()
        time.sleep(600)


def shutdown():
    pass


def nodes():
    return [
        {"NodeID": f"id-of-{node['name']}", "Alive": node["name"] not in _gone, "NodeManagerHostname": node["name"]}
        for node in _nodes
    ]


def remote(**options):
    assert options == {"num_cpus": 0, "max_retries": 0}
    return lambda function: _Task()


class _Task:
    def options(self, scheduling_strategy):
        assert not scheduling_strategy.soft
        (self.node,) = (node for node in _nodes if f"id-of-{node['name']}" == scheduling_strategy.node_id)
        return self

    def remote(self, arguments, limit):
        return _Reference({**self.node, "arguments": arguments})


class _Reference:
    def __init__(self, node):
        self.node = node


def wait(references, num_returns, timeout):
    for reference in references:
        if reference.node.get("ends"):
            os.write(2, b"The head node is gone\n")
            os._exit(1)
        if "answer" in reference.node or "error" in reference.node:
            return [reference], [other for other in references if other is not reference]
    time.sleep(timeout)
    return [], references


def get(reference, timeout):
    node = reference.node
    if "error" in node:
        if node.get("gone"):
            _gone.add(node["name"])
        raise type(node["error"], (Exception,), {})("what Ray says\nand more of it")
    return {**node["answer"], "stderr": node["answer"].get("stderr", str(node["arguments"]))}


def cancel(reference, force):
    assert force
