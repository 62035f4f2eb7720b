"""Which build of torch serves a GPU and a driver, and what is known of toolkits."""

from __future__ import annotations

import pytest

from fake_machine import Machine, survey
from rtx50_autoload.capability import parse_capability
from rtx50_autoload.diagnosis.case import toolkits_for
from rtx50_autoload.evidence.devices import Device
from rtx50_autoload.evidence.environment import advice
from rtx50_autoload.evidence.environment.topic import knowledge
from rtx50_autoload.evidence.environment.torch_builds import build_for, driver_branch, index_url, oldest_driver, serves


@pytest.mark.parametrize(
    ("capability", "branch", "variant"),
    [
        ((12, 0), None, "cu128"),
        ((12, 0), 550, "cu128"),
        ((12, 0), 575, "cu128"),
        ((12, 1), 580, "cu130"),
        ((10, 3), 570, "cu128"),
        ((9, 0), 580, "cu130"),
        ((8, 9), 570, "cu128"),
        ((8, 9), 535, "cu126"),
        ((8, 9), None, "cu126"),
        ((7, 0), 580, "cu126"),
        ((5, 0), None, "cu126"),
    ],
)
def test_the_newest_build_that_the_driver_carries_and_that_has_code_for_the_gpu(capability, branch, variant):
    assert build_for(capability, branch).url == index_url(variant)


@pytest.mark.parametrize("capability", [(3, 5), (11, 0), (99, 0)])
def test_no_build_serves_the_oldest_gpus_and_those_that_nobody_knows(capability):
    assert build_for(capability, 580) is None


@pytest.mark.parametrize(
    ("variant", "capability", "serving"),
    [
        ("cu128", (12, 0), True),
        ("cu129", (12, 0), True),
        ("cu132", (12, 1), True),
        ("cu126", (12, 0), False),
        ("cu118", (12, 0), False),
        ("cu128", (6, 1), False),
        ("cu126", (6, 1), True),
        ("cu132", (6, 1), False),
        ("cpu", (8, 9), False),
        ("rocm6.4", (8, 9), False),
        ("cu118", (8, 9), True),
        # Nothing is written down of it.
        ("cu117", (8, 9), None),
    ],
)
def test_a_variant_serves_the_gpus_that_its_wheels_hold_code_for(variant, capability, serving):
    assert serves(variant, capability) is serving


def test_the_tables_agree_with_each_other():
    versions = knowledge("versions")
    minimum = {row["capability"]: row for row in versions["minimum"]}
    assert toolkits_for((12, 0))["first"] == minimum[12]["cuda"]
    serving = {row["variant"] for row in versions["build"] if "12.0" in row["capabilities"]}
    oldest = [row for row in versions["index"] if row["variant"] in serving][-1]
    assert oldest["cuda"] == minimum[12]["cuda"]
    assert oldest["driver"] == minimum[12]["driver"]
    toolkits = [parse_capability(row["oldest"]) for row in versions["toolkit"]]
    assert toolkits == sorted(toolkits, reverse=True)
    assert oldest_driver(12) == 525


@pytest.mark.parametrize(("version", "branch"), [("570.124.06", 570), ("572.61", 572), (None, None), ("newest", None)])
def test_the_branch_of_a_driver_is_its_first_number(version, branch):
    assert driver_branch(version) == branch


def test_the_advice_of_the_examination_knows_old_gpus_too(tmp_path):
    machine = Machine(tmp_path)
    pascal = survey(Device(0, "NVIDIA GeForce GTX 1080", (6, 1), "nvml", "GPU-2"))

    assert advice.install_torch(machine.place, pascal).endswith(index_url("cu126"))
