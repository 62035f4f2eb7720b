"""The process that speaks with Ray: it connects, starts one task for each node, and tells line by line what comes.

Ray may hang where nobody answers, writes to where it likes, and ends its own process where a cluster goes away. So it
has a process of its own, which can be ended. A request comes as a line of JSON on stdin, events leave as lines of JSON
on stdout.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import IO, Any, Final

__all__ = ["COMMAND", "main"]

#: The arguments of Python that start it; those behind them are where it looks for packages. Not `-m`: that would look
#: in the working directory first.
COMMAND: Final = ("-c", "import sys; sys.path[:] = sys.argv[1:]; from rtx50_autoload.fleet.driver import main; main()")

#: How long it may take until a cluster has noticed that the node of a broken worker is gone, in seconds.
_NOTICED: Final = 5.0
#: How often the nodes are looked at while nothing comes, in seconds.
_LOOK: Final = 1.0


def main() -> None:
    """Answer one request: `address`, the `arguments` of doctor, and the `limit` for all nodes, in seconds."""
    # The events alone go to stdout; what Ray prints there goes where errors go.
    wire = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    request = json.loads(sys.stdin.readline())
    # Nothing of this process is told to Ray's makers.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray  # noqa: PLC0415 - it reads the variable
    except ImportError as error:
        _write(wire, "missing", text=str(error))
        return
    _Cluster(ray, wire).examine(request)


class _Cluster:
    """A Ray cluster, and the wire to who asked."""

    def __init__(self, ray: Any, wire: IO[str]) -> None:  # noqa: ANN401 - Ray is optional
        self._ray = ray
        self._wire = wire

    def examine(self, request: dict[str, Any]) -> None:
        ray = self._ray
        try:
            ray.init(address=request["address"], log_to_driver=False, logging_level="error")
        except Exception as error:  # noqa: BLE001 - which errors Ray raises differs between its versions
            self._tell("refused", error=type(error).__name__, text=str(error))
            return
        nodes = ray.nodes()
        self._tell("nodes", ray=ray.__version__, nodes=[_described(node) for node in nodes])
        # Counted from here on for every node: all of them begin at once.
        deadline = time.monotonic() + request["limit"]
        self._collect(self._start([node["NodeID"] for node in nodes if node["Alive"]], request), deadline)
        self._tell("end")
        ray.shutdown()

    def _start(self, node_ids: list[str], request: dict[str, Any]) -> dict[Any, str]:
        """Start one task for each node that is alive; give the node of each task."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy  # noqa: PLC0415 - Ray is optional

        from rtx50_autoload import process_groups  # noqa: PLC0415 - behind the environment that Ray reads
        from rtx50_autoload.fleet import on_node  # noqa: PLC0415

        # By their code and not by their names, which a node without the package could not import.
        for module in (on_node, process_groups):
            self._ray.cloudpickle.register_pickle_by_value(module)
        # No CPU and no GPU is asked for: a busy node is examined, too.
        task = self._ray.remote(num_cpus=0, max_retries=0)(on_node.run_doctor)
        return {
            task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node_id, soft=False)).remote(
                request["arguments"], request["limit"]
            ): node_id
            for node_id in node_ids
        }

    def _collect(self, tasks: dict[Any, str], deadline: float) -> None:
        """Tell what comes until the deadline, end what has not come by then, and name it."""
        broken: dict[str, tuple[str, str]] = {}
        waiting = list(tasks)
        while waiting and (left := deadline - time.monotonic()) > 0:
            done, waiting = self._ray.wait(waiting, num_returns=1, timeout=min(left, _LOOK))
            for task in done:
                problem = self._tell_answer(task, tasks[task], deadline)
                if problem is not None:
                    broken[tasks[task]] = problem
            if not done:
                # A task may go on waiting for its node long after the cluster has noticed that the node is gone.
                alive = self._alive()
                for task in [task for task in waiting if tasks[task] not in alive]:
                    waiting.remove(task)
                    self._tell("silent", id=tasks[task], alive=False)
        for task in waiting:
            self._ray.cancel(task, force=True)
        alive = self._still_alive(set(broken)) if broken or waiting else set()
        for node_id, (error, text) in broken.items():
            self._tell("failed", id=node_id, alive=node_id in alive, error=error, text=text)
        for task in waiting:
            self._tell("silent", id=tasks[task], alive=tasks[task] in alive)

    def _tell_answer(self, task: Any, node_id: str, deadline: float) -> tuple[str, str] | None:  # noqa: ANN401
        """Tell what a task gave, or return the type and the text of its error."""
        try:
            answer = self._ray.get(task, timeout=max(deadline - time.monotonic(), 0.1))
        except Exception as error:  # noqa: BLE001 - which errors Ray raises differs between its versions
            return type(error).__name__, str(error)
        self._tell("answer", id=node_id, answer=answer)
        return None

    def _still_alive(self, doubted: set[str]) -> set[str]:
        """Give the nodes that are alive; a cluster learns of the end of a node a bit later than of its tasks'."""
        deadline = time.monotonic() + _NOTICED
        while doubted <= (alive := self._alive()) and doubted and time.monotonic() < deadline:
            time.sleep(0.2)
        return alive

    def _alive(self) -> set[str]:
        return {node["NodeID"] for node in self._ray.nodes() if node["Alive"]}

    def _tell(self, event: str, **what: Any) -> None:  # noqa: ANN401 - what JSON knows
        _write(self._wire, event, **what)


def _write(wire: IO[str], event: str, **what: Any) -> None:  # noqa: ANN401 - what JSON knows
    wire.write(json.dumps({"event": event, **what}) + "\n")
    wire.flush()


def _described(node: dict[str, Any]) -> dict[str, Any]:
    """Give what we need of a node, as versions of Ray differ in the rest."""
    address = node.get("NodeManagerAddress", "")
    name = node.get("NodeName")
    return {
        "id": node["NodeID"],
        # A name that was given by `ray start --node-name`; without one, Ray says the address there.
        "name": name if name and name != address else node.get("NodeManagerHostname") or address,
        "address": address,
        "alive": bool(node["Alive"]),
    }
