"""A real Ray cluster on this machine; the nox session `many` runs it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile

import psutil
import pytest
from programs import ACTIVE, TELLS, speeches

QUIET = {"RAY_USAGE_STATS_ENABLED": "0"}

CLUSTER = """
import ray
from ray.cluster_utils import Cluster
size = {"num_cpus": 2, "object_store_memory": 100_000_000}
if __name__ == "__main__":
    here = tell()
    cluster = Cluster(initialize_head=True, head_node_args={**size, "include_dashboard": False})
    cluster.add_node(**size)
    ray.init(address=cluster.address)
    assert len(ray.nodes()) == 2
    task, actor = ray.remote(tell), ray.remote(type("Asks", (), {"tell": tell}))
    tasks = ray.get([task.remote() for _ in range(12)])
    actors = [actor.remote() for _ in range(2)]
    acted = ray.get([each.tell.remote() for each in actors])
    off = {"env_vars": {"RTX50_DISABLE": "1"}}
    disabled = ray.get([task.options(runtime_env=off).remote(), actor.options(runtime_env=off).remote().tell.remote()])
    time.sleep(2)  # until what the workers have printed has come here
    print(json.dumps([here[1], differ(tasks, 2), differ(acted, 2), [told for _, told in disabled]]))
    ray.shutdown()
    cluster.shutdown()
"""
SWITCHED_OFF = ["AssertionError", "AssertionError", False]


def test_tasks_and_actors_of_two_nodes_are_told_what_the_driver_is_told_and_the_driver_says_it(bench):
    result = bench.program(CLUSTER, **QUIET)
    assert json.loads(result.stdout.splitlines()[-1]) == [ACTIVE, [], [], [SWITCHED_OFF] * 2]
    assert speeches(result) == 1, result.stderr
    assert "internal fault" not in result.stderr


def test_a_cluster_that_a_disabled_driver_starts_is_disabled(bench):
    result = bench.program(CLUSTER, RTX50_DISABLE="1", **QUIET)
    assert json.loads(result.stdout.splitlines()[-1]) == [SWITCHED_OFF, [], [], [SWITCHED_OFF] * 2]
    assert "rtx50" not in result.stderr


FAILS = """
import ray
if __name__ == "__main__":
    ray.init("local", num_cpus=2, object_store_memory=100_000_000, include_dashboard=False)
    ray.get(ray.remote(fail).remote())
"""


def test_an_error_of_a_task_is_counted_once_and_told_once(bench):
    result = bench.program(FAILS, check=False, **QUIET)
    assert "no kernel image" in result.stderr
    assert result.stderr.count("Run: rtx50-autoload incidents show") == 1, result.stderr
    assert bench.counts() == [1]


WITH_PIP = """
import ray
if __name__ == "__main__":
    here = tell()
    size = {"num_cpus": 2, "object_store_memory": 100_000_000, "include_dashboard": False}
    ray.init("local", runtime_env={"pip": ["iniconfig"]}, **size)
    def tell_prefix():
        import sys
        return sys.prefix
    answers = ray.get([ray.remote(tell).remote() for _ in range(4)])
    prefix = ray.get(ray.remote(tell_prefix).remote())
    time.sleep(2)
    print(json.dumps([here[1], differ(answers, 1), prefix != sys.prefix]))
"""


def test_workers_in_an_environment_that_ray_makes_are_activated(bench):
    result = bench.program(WITH_PIP, **QUIET)
    assert json.loads(result.stdout.splitlines()[-1]) == [ACTIVE, [], True]
    assert speeches(result) == 1, result.stderr


SUBMITTED = """
import ray
if __name__ == "__main__":
    here = tell()
    ray.init()
    answers = ray.get([ray.remote(tell).remote() for _ in range(4)])
    time.sleep(2)
    print("ANSWER" + json.dumps([here[1], differ(answers, 1)]))
"""


@pytest.fixture
def head(bench):
    """A cluster that `ray start` has started, with the environment of that command."""
    port, dashboard = "6397", "8297"
    # A short path: it is part of the names of sockets.
    with tempfile.TemporaryDirectory(prefix="r", ignore_cleanup_errors=True) as folder:
        options = ("--num-cpus=2", "--object-store-memory=100000000", f"--temp-dir={folder}", "--disable-usage-stats")
        command = ("ray", "start", "--head", f"--port={port}", f"--dashboard-port={dashboard}", *options)
        # Its processes stay, and would keep a pipe open.
        subprocess.run(command, env=bench.environment, cwd=bench.folder, stdout=subprocess.DEVNULL, check=True)
        yield f"127.0.0.1:{port}", f"http://127.0.0.1:{dashboard}"
        # Not `ray stop`, which ends every cluster of the machine.
        for process in psutil.process_iter(["cmdline"]):
            if any(folder in argument for argument in process.info["cmdline"] or ()):
                process.kill()


def test_the_program_of_a_submitted_job_speaks_and_its_workers_do_not(bench, head):
    address, dashboard = head
    (bench.folder / "program.py").write_text(TELLS + SUBMITTED, encoding="utf-8")
    command = (sys.executable, str(bench.folder / "program.py"))
    result = bench.run("ray", "job", "submit", "--address", dashboard, "--", *command, RAY_ADDRESS=address, **QUIET)
    (answer,) = [line for line in result.stdout.splitlines() if line.startswith("ANSWER")]
    assert json.loads(answer.removeprefix("ANSWER")) == [ACTIVE, []]
    assert speeches(result) == 1, result.stdout


def test_workers_have_the_environment_of_ray_start_and_not_the_drivers(bench, head):
    code = SUBMITTED.replace("ray.init()", f"ray.init(address={head[0]!r})").replace(
        "differ(answers, 1)", "answers[0][1]"
    )
    result = bench.program(code, RTX50_DISABLE="1", **QUIET)
    (answer,) = [line for line in result.stdout.splitlines() if line.startswith("ANSWER")]
    assert json.loads(answer.removeprefix("ANSWER")) == [SWITCHED_OFF, ACTIVE]
    assert speeches(result) == 0, result.stderr
