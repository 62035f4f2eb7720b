"""What the PCI numbers rule out: sysfs is a folder of the tests', with the numbers of real cards."""

from __future__ import annotations

import pytest

from rtx50_autoload.evidence import pci
from rtx50_autoload.settings import CapabilityMap

H200, RTX_4060, RTX_5090, B200 = "0x2335", "0x28a0", "0x2b85", "0x2901"

PROGRAM = """
from pathlib import Path
from rtx50_autoload.evidence import devices, pci
pci._BOUND = Path({folder!r})
asked = []
def read(time_limit):
    asked.append(time_limit)
    return gpu.Reading((), None, ("there is no driver",))
from rtx50_autoload.evidence import gpu, nvml
nvml.read = read
import torch
print(torch.cuda.get_device_capability(0), len(asked))
"""


def bind(folder, *numbers):
    for index, number in enumerate(numbers):
        device = folder / f"0000:{index:02x}:00.0"
        device.mkdir(parents=True)
        (device / "device").write_text(f"{number}\n")
    for other in ("bind", "module", "new_id"):
        (folder / other).write_text("")
    return folder


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ((H200,), True),
        ((H200, RTX_4060), True),
        ((RTX_5090,), False),
        ((B200,), False),
        ((RTX_4060, RTX_5090), False),
        (("",), False),
        (("soon", H200), False),
        (("0xffff",), False),
    ],
)
def test_only_numbers_of_earlier_generations_rule_it_out(tmp_path, monkeypatch, numbers, expected):
    monkeypatch.setattr(pci, "_BOUND", bind(tmp_path / "nvidia", *numbers))
    assert pci.all_are_older_than_blackwell() is expected


def test_without_a_driver_or_a_gpu_nothing_is_ruled_out(tmp_path, monkeypatch):
    monkeypatch.setattr(pci, "_BOUND", tmp_path / "absent")
    assert not pci.all_are_older_than_blackwell()
    (tmp_path / "empty").mkdir()
    monkeypatch.setattr(pci, "_BOUND", bind(tmp_path / "empty"))
    assert not pci.all_are_older_than_blackwell()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("12.*:9.0", True), ("12.0:9.0,10.0:9.0", True), ("9.0:8.9", False), ("12.0:9.0,9.*:8.9", False)],
)
def test_a_mapping_tells_from_where_on_it_speaks(text, expected):
    assert CapabilityMap.parse(text).begins_at(pci.BLACKWELL) is expected


@pytest.mark.parametrize(
    ("number", "environ", "asked"),
    [(H200, {}, False), (RTX_5090, {}, True), (H200, {"RTX50_MASQUERADE": "9.0:8.9"}, True)],
)
def test_the_driver_is_asked_only_where_a_gpu_may_be_meant(with_fake_torch, tmp_path, number, environ, asked):
    code = PROGRAM.format(folder=str(bind(tmp_path / "nvidia", number)))
    result = with_fake_torch.run_code(code, env={"FAKE_TORCH_DEVICES": "9.0", **environ})
    *_, times = result.stdout.split()
    assert (int(times) > 0) is asked, result.stdout


def test_simulated_devices_are_told_whatever_gpus_there_are(with_fake_torch, tmp_path):
    code = PROGRAM.format(folder=str(bind(tmp_path / "nvidia", H200))) + (
        "print(eval('torch.cuda.get_device_capability(0)', {'__name__': 'xformers', 'torch': torch}))"
    )
    assert with_fake_torch.run_code(code, env={"RTX50_SIMULATE": "12.0"}).stdout.splitlines()[-1] == "(9, 0)"
