"""`doctor --ray` on real clusters of Ray, several nodes in one machine; the nox session `fleet` runs it.

Every node is a raylet with processes of its own, as `ray.cluster_utils.Cluster` starts them. What is simulated: the
GPUs (RTX50_SIMULATE); the libraries, which are fake distributions; a node without the package, by a `sitecustomize`
that hides it from the workers of that node and their children; and slow or crashing doctors, likewise. Nodes that die
or stop do: their raylet gets SIGKILL or SIGSTOP. Linux only: /proc is the witness.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

from ray.cluster_utils import Cluster

from fake_binaries import container, elf
from fake_distributions import NATIVE, OLD, install, torch_version

# Ray leaves the logs of its processes to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::DeprecationWarning"
)

#: How much longer than the nodes' time limit a command may take that starts Python and Ray, connects and leaves.
SLACK = 30

HIDDEN = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "rtx50_autoload":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hidden())
"""
#: A doctor that leaves its number and waits: `sitecustomize` runs in every Python of the node.
SLOW = """
import os, sys, time
if "doctor" in sys.argv:
    open({marker!r}, "w").write(str(os.getpid()))
    time.sleep(600)
"""
CRASHING = """
import os, sys
if "doctor" in sys.argv:
    print("the last words", file=sys.stderr, flush=True)
    os._exit(3)
"""
TELLING = """
import os, sys
if "doctor" in sys.argv:
    open({marker!r}, "w").write(repr(os.environ.get("CUDA_VISIBLE_DEVICES")))
"""
# Simulates a node of another version of us, with one verdict more.
OTHER_VERSION = """
import json, sys
if "doctor" in sys.argv:
    print(json.dumps({
        "rtx50_autoload": "99.1", "devices": [1], "device_reason": "", "findings": [], "ok": True, "new": 1,
        "judged_for": [{"name": "A GPU", "capability": "13.0"}],
        "libraries": [{"name": "torch", "version": "9", "verdicts": {"13.0": "brand_new"}}],
    }))
    sys.stdout.flush()
    import os
    os._exit(0)
"""


class Rig:
    """A cluster with a head, and the nodes that a test adds."""

    def __init__(self, folder: Path, **head: Any) -> None:
        self.folder = folder
        self._count = 0
        site = self._site(NATIVE)
        self.cluster = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 1, "include_dashboard": False, **self._variables("12.0", site), **head},
        )

    def add(self, capability: str = "12.0", images: list[str] = NATIVE, sitecustomize: str = "", **variables: str):
        """Add a node, whose workers have a torch with these images."""
        site = self._site(images, sitecustomize)
        return self.cluster.add_node(num_cpus=1, **self._variables(capability, site, **variables))

    def marker(self) -> Path:
        self._count += 1
        return self.folder / f"marker{self._count}"

    def _site(self, images: list[str], sitecustomize: str = "") -> Path:
        self._count += 1
        site = self.folder / f"site{self._count}"
        files: dict[str, Any] = {
            "torch/lib/libtorch_cuda.so": elf([container(*images)]),
            "torch/version.py": torch_version(),
        }
        install(site, "torch", "2.8.0+cu128", files)
        if sitecustomize:
            (site / "sitecustomize.py").write_text(sitecustomize, encoding="utf-8")
        return site

    def _variables(self, capability: str, site: Path, **variables: str) -> dict[str, Any]:
        name = {"8.9": "NVIDIA GeForce RTX 4090", "12.0": "NVIDIA GeForce RTX 5090"}[capability]
        home = site.with_suffix(".home")
        home.mkdir()
        own = {"PYTHONPATH": str(site), "RTX50_SIMULATE": f"{name}:{capability}", "HOME": str(home), **variables}
        return {"env_vars": own, "node_name": site.name}


@contextmanager
def running(folder: Path, **head: Any):
    rig = Rig(folder, **head)
    try:
        yield rig
    finally:
        for node in rig.cluster.list_all_nodes():
            with suppress(ProcessLookupError):
                os.kill(raylet(node), signal.SIGCONT)
        rig.cluster.shutdown()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    with running(tmp_path_factory.mktemp("fleet"), ray_client_server_port=23001) as rig:
        yield rig


@pytest.fixture
def rig(shared):
    before = set(shared.cluster.list_all_nodes())
    yield shared
    for node in set(shared.cluster.list_all_nodes()) - before:
        with suppress(ProcessLookupError):
            os.kill(raylet(node), signal.SIGCONT)
        shared.cluster.remove_node(node, allow_graceful=True)
    # A node of the test before that the cluster still takes for alive would be one that dies meanwhile.
    wait_for(lambda: sum(node["Alive"] for node in shared.cluster.global_state.node_table()) == len(before))


class Doctor:
    """A run of the command, and how long it took."""

    def __init__(self, address: str, *options: str) -> None:
        # A driver that is no worker of the rig's: none of the nodes' variables.
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "RTX50_"))}
        command = [sys.executable, "-m", "rtx50_autoload", "doctor", "--ray", address, *options]
        self.start = time.monotonic()
        self.process = subprocess.Popen(
            command,
            env={**environment, "COLUMNS": "88"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def end(self) -> tuple[int, str, str, float]:
        stdout, stderr = self.process.communicate(timeout=200)
        return self.process.returncode, stdout, stderr, time.monotonic() - self.start

    def document(self) -> tuple[dict[str, Any], float]:
        code, stdout, stderr, seconds = self.end()
        assert stderr == ""
        document = json.loads(stdout)
        assert code == (0 if document["ok"] else 1)
        return document, seconds


def raylet(node) -> int:
    return node.all_processes["raylet"][0].process.pid


def states(document: dict[str, Any]) -> dict[str, str]:
    return {node["name"]: node["state"] for node in document["nodes"]}


def wait_for(condition, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def is_running(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    return False


def number_in(marker: Path) -> int:
    wait_for(lambda: marker.exists() and marker.read_text(encoding="ascii"))
    return int(marker.read_text(encoding="ascii"))


def told(what: str, seconds: float) -> None:
    print(f"\nMEASURED {what}: {seconds:.1f} s")


def test_three_nodes_are_examined_and_each_has_its_own_verdict(rig):
    rig.add("12.0", OLD)
    rig.add("12.0", NATIVE)
    document, seconds = Doctor(rig.cluster.address, "--json").document()
    verdicts = [node["document"]["libraries"][0]["verdict"] for node in document["nodes"]]
    assert sorted(verdicts) == ["impossible", "native", "native"]
    assert not document["ok"]
    told("3 nodes examined", seconds)


def test_what_is_shown_names_the_nodes_and_is_nothing_else(rig):
    node = rig.add("12.0", OLD)
    code, stdout, stderr, _ = Doctor(rig.cluster.address).end()
    print(stdout)
    assert (code, stderr) == (1, "")
    assert "2 of 2 nodes examined" in stdout
    assert "impossible" in stdout
    assert f"error on {name_of(node)}: torch 2.8.0+cu128 cannot run on NVIDIA GeForce RTX 5090 (12.0)." in stdout


def name_of(node) -> str:
    return node.node_name if hasattr(node, "node_name") else node._ray_params.node_name


def test_the_options_of_doctor_hold_on_every_node(rig):
    rig.add("8.9", OLD)
    document, _ = Doctor(rig.cluster.address, "--json", "--device", "12.0", "--driver", "570").document()
    for node in document["nodes"]:
        (subject,) = node["document"]["judged_for"]
        assert (subject["capability"], subject["driver"]) == ("12.0", 570)


def test_ray_client_reaches_the_same_nodes(rig):
    rig.add("12.0", OLD)
    document, seconds = Doctor("ray://127.0.0.1:23001", "--json").document()
    assert list(states(document).values()) == ["examined", "examined"]
    told("2 nodes by ray://", seconds)


def test_a_busy_cluster_is_examined_too(rig):
    hog = """
import sys, time, ray
ray.init(address=sys.argv[1], log_to_driver=False)
@ray.remote(num_cpus=1)
def work():
    time.sleep(600)
tasks = [work.remote() for _ in range(4)]
while ray.available_resources().get("CPU", 0):
    time.sleep(0.1)
print("busy", flush=True)
time.sleep(600)
"""
    rig.add()
    process = subprocess.Popen([sys.executable, "-c", hog, rig.cluster.address], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "busy\n"
        document, _ = Doctor(rig.cluster.address, "--json", "--node-timeout", "60").document()
        assert list(states(document).values()) == ["examined", "examined"]
    finally:
        process.kill()
        process.communicate()


def test_a_node_whose_raylet_is_killed_is_named_and_nothing_is_left_on_it(rig):
    marker = rig.marker()
    node = rig.add(sitecustomize=SLOW.format(marker=str(marker)))
    doctor = Doctor(rig.cluster.address, "--json", "--node-timeout", "90")
    child = number_in(marker)
    os.kill(raylet(node), signal.SIGKILL)
    killed = time.monotonic()
    document, seconds = doctor.document()
    told("raylet killed: named after its end", time.monotonic() - killed)
    assert sorted(states(document).values()) == ["died", "examined"]
    assert seconds < 90 - 20
    wait_for(lambda: not is_running(child))


@pytest.mark.parametrize("when", ["before", "during"])
def test_a_node_whose_raylet_stops_is_named_at_the_limit(rig, when):
    marker = rig.marker()
    node = rig.add(sitecustomize=SLOW.format(marker=str(marker)))
    if when == "before":
        os.kill(raylet(node), signal.SIGSTOP)
    doctor = Doctor(rig.cluster.address, "--json", "--node-timeout", "10")
    if when == "during":
        number_in(marker)
        os.kill(raylet(node), signal.SIGSTOP)
    document, seconds = doctor.document()
    told(f"raylet stopped {when}, limit 10 s", seconds)
    by_name = states(document)
    assert by_name.pop(name_of(node)) in {"no answer", "died"}
    assert list(by_name.values()) == ["examined"]
    assert seconds < 10 + SLACK


def test_a_slow_node_is_named_at_the_limit_and_its_doctor_is_ended(rig):
    marker = rig.marker()
    node = rig.add(sitecustomize=SLOW.format(marker=str(marker)))
    document, seconds = Doctor(rig.cluster.address, "--json", "--node-timeout", "10").document()
    told("slow doctor, limit 10 s", seconds)
    by_name = {node["name"]: node for node in document["nodes"]}
    slow = by_name.pop(name_of(node))
    assert (slow["state"], slow["finding"]["id"]) == ("no answer", "node-no-answer")
    assert "within 10 seconds" in slow["finding"]["what"]
    assert [node["state"] for node in by_name.values()] == ["examined"]
    assert seconds < 10 + SLACK
    wait_for(lambda: not is_running(number_in(marker)))


def test_a_stopped_worker_is_named_at_the_limit(rig):
    marker = rig.marker()
    node = rig.add(sitecustomize=SLOW.format(marker=str(marker)))
    doctor = Doctor(rig.cluster.address, "--json", "--node-timeout", "10")
    child = number_in(marker)
    worker = int(Path(f"/proc/{child}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[1])
    os.kill(worker, signal.SIGSTOP)
    document, seconds = doctor.document()
    told("worker stopped, limit 10 s", seconds)
    assert states(document)[name_of(node)] == "no answer"
    assert seconds < 10 + SLACK


def test_a_node_without_the_package_is_named_with_the_command_that_installs_it(rig):
    node = rig.add(sitecustomize=HIDDEN)
    document, _ = Doctor(rig.cluster.address, "--json").document()
    by_name = {node["name"]: node for node in document["nodes"]}
    assert by_name[name_of(node)]["state"] == "not installed"
    assert by_name[name_of(node)]["finding"]["next"] == f"On it: {sys.executable} -m pip install rtx50-autoload"


def test_a_doctor_that_crashes_is_named_with_its_last_words(rig):
    node = rig.add(sitecustomize=CRASHING)
    document, _ = Doctor(rig.cluster.address, "--json").document()
    by_name = {node["name"]: node for node in document["nodes"]}
    assert by_name[name_of(node)]["state"] == "failed"
    assert by_name[name_of(node)]["finding"]["why"] == "the last words."


def test_another_version_on_a_node_is_shown(rig):
    node = rig.add(sitecustomize=OTHER_VERSION)
    _, stdout, _, _ = Doctor(rig.cluster.address).end()
    print(stdout)
    assert f"99.1 on {name_of(node)}" in stdout
    assert "brand new" in stdout


@pytest.mark.parametrize(("overrides", "visible"), [("1", "0"), ("0", "0"), ("1", None)])
def test_the_node_sees_the_gpus_that_ray_was_started_with(rig, overrides, visible):
    marker = rig.marker()
    variables = {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": overrides}
    if visible is not None:
        variables["CUDA_VISIBLE_DEVICES"] = visible
    rig.add(sitecustomize=TELLING.format(marker=str(marker)), **variables)
    Doctor(rig.cluster.address, "--json").document()
    assert marker.read_text(encoding="ascii") == repr(visible)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_goes_on_behind_a_command_that_is_ended(rig, number):
    marker = rig.marker()
    rig.add(sitecustomize=SLOW.format(marker=str(marker)))
    doctor = Doctor(rig.cluster.address, "--json")
    child = number_in(marker)
    os.kill(doctor.process.pid, number)
    code, stdout, _, _ = doctor.end()
    ended = time.monotonic()
    assert (code, stdout) == ((130, "") if number == signal.SIGINT else (-9, ""))
    wait_for(lambda: not is_running(child))
    told(f"{signal.Signals(number).name} to the command: its doctor on the node ended after", time.monotonic() - ended)


def test_nodes_that_had_left_before_are_named_and_no_finding(rig):
    node = rig.add()
    name = name_of(node)
    rig.cluster.remove_node(node, allow_graceful=True)
    wait_for(lambda: sum(node["Alive"] for node in rig.cluster.global_state.node_table()) == 1)
    document, _ = Doctor(rig.cluster.address, "--json").document()
    assert list(states(document).values()) == ["examined"]
    assert name in {node["name"] for node in document["left_before"]}


def test_a_head_that_dies_is_no_reason_to_hang(tmp_path):
    with running(tmp_path) as rig:
        marker = rig.marker()
        node = rig.add(sitecustomize=SLOW.format(marker=str(marker)))
        doctor = Doctor(rig.cluster.address, "--json", "--node-timeout", "20")
        number_in(marker)
        for processes in rig.cluster.head_node.all_processes.values():
            for each in processes:
                each.process.kill()
        document, seconds = doctor.document()
        told("head killed, limit 20 s", seconds)
        assert states(document)[name_of(node)] != "examined"
        assert seconds < 20 + SLACK


def test_an_address_where_no_cluster_is_ends_with_2_and_the_next_step():
    code, stdout, stderr, seconds = Doctor("127.0.0.1:1").end()
    told("no cluster at the address", seconds)
    assert (code, stdout) == (2, "")
    assert "no Ray cluster can be reached at 127.0.0.1:1" in stderr
    assert "Next: `ray status`" in stderr
    assert "Traceback" not in stderr
