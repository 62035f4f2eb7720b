"""Containers: whether the GPU was handed in, and with what parts of the driver."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rtx50_autoload.evidence.environment.loader import Loader
from rtx50_autoload.evidence.environment.topic import Examined, Given
from rtx50_autoload.evidence.finding import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rtx50_autoload.evidence.environment.place import Place

__all__ = ["examine", "kind", "start"]

#: What NVIDIA's container runtime takes for "no GPU" (Container Toolkit, "Docker: specialized configurations").
_NOTHING = ("", "void", "none")
_STARTS = {
    "docker": "Start the container with --gpus all (the NVIDIA Container Toolkit has to be installed on the host)",
    "podman": "Start the container with --device nvidia.com/gpu=all",
    "kubernetes": "Ask for one in the pod: resources.limits nvidia.com/gpu: 1",
}
_MARKS = (("docker", "/.dockerenv"), ("podman", "/run/.containerenv"))


def kind(place: Place) -> str | None:
    """Name the container that this is: ``kubernetes``, ``docker``, ``podman`` or ``container``; None outside of any."""
    if "KUBERNETES_SERVICE_HOST" in place.environ:
        return "kubernetes"
    for name, mark in _MARKS:
        if place.system(mark).exists():
            return name
    return "container" if "container" in place.environ else None


def start(place: Place) -> str:
    """Say how a container gets a GPU."""
    return _STARTS.get(kind(place) or "", _STARTS["docker"])


def examine(given: Given) -> Examined:
    """Look at what the container was given."""
    place = given.place
    name = kind(place)
    if name is None:
        return Examined((), {"kind": None})
    nodes = sorted(path.name for path in place.system("/dev").glob("nvidia[0-9]*"))
    facts = {
        "kind": name,
        "devices": nodes,
        "NVIDIA_VISIBLE_DEVICES": place.environ.get("NVIDIA_VISIBLE_DEVICES"),
        "NVIDIA_DRIVER_CAPABILITIES": place.environ.get("NVIDIA_DRIVER_CAPABILITIES"),
    }
    return Examined(tuple(_findings(given, name, nodes)), facts)


def _findings(given: Given, name: str, nodes: list[str]) -> Iterator[Finding]:
    place, environ = given.place, given.place.environ
    # In WSL the GPU comes as /dev/dxg.
    if not nodes and not given.survey.devices and not place.system("/dev/dxg").exists():
        visible = environ.get("NVIDIA_VISIBLE_DEVICES")
        yield Finding(
            id="container-without-gpu",
            severity=Severity.ERROR,
            what=f"No GPU was handed into this container ({name}).",
            why=f"There is no /dev/nvidia0 here{_variable(visible)}.",
            next=start(place),
        )
        return
    capabilities = environ.get("NVIDIA_DRIVER_CAPABILITIES", "")
    if capabilities and not {"compute", "all"}.intersection(capabilities.split(",")):
        yield Finding(
            id="container-without-compute",
            severity=Severity.ERROR,
            what=f"This container has the driver without its part for CUDA: NVIDIA_DRIVER_CAPABILITIES={capabilities}.",
            why="CUDA needs the capability named compute.",
            next="Start the container with -e NVIDIA_DRIVER_CAPABILITIES=compute,utility",
        )
    loader = Loader(place)
    if loader.find("libcuda.so.1") and not loader.find("libnvidia-ptxjitcompiler.so.1"):
        yield Finding(
            id="container-without-jit-compiler",
            severity=Severity.WARNING,
            what="The driver's compiler, libnvidia-ptxjitcompiler.so.1, is missing from this container.",
            why="Libraries that reach the RTX 50 series by PTX (xformers does) fail with CUDA error 221 without it.",
            next=start(place),
        )


def _variable(visible: str | None) -> str:
    """Say what NVIDIA_VISIBLE_DEVICES has to do with it, if anything."""
    if visible is None:
        return ", and NVIDIA_VISIBLE_DEVICES is not set"
    return f", and NVIDIA_VISIBLE_DEVICES is {visible!r}" if visible in _NOTHING else ""
