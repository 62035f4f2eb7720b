"""CUDA_VISIBLE_DEVICES and CUDA_DEVICE_ORDER, beside the answers of a real driver."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtx50_autoload.evidence.gpu import Gpu, MigInstance
from rtx50_autoload.evidence.visibility import view

A = "GPU-bc9d33d5-ccc0-bbd0-ffc2-f2bf1d48a643"
B = "GPU-f6e1bdd9-87ed-bb43-9a97-193ec0597799"
DIGITS = A[4:].replace("-", "")


def gpu(index, uuid=None, capability=(9, 0), bus_id=None, instances=None):
    return Gpu(index, f"GPU {index}", capability, uuid, bus_id or f"00000000:0{index}:00.0", instances)


def shown(gpus, environ):
    return [device.instance.uuid if device.instance else device.gpu.index for device in view(gpus, environ).shown]


def masked(gpus, mask):
    return shown(gpus, {"CUDA_VISIBLE_DEVICES": mask})


TWO = (gpu(0, A), gpu(1, B))

# What cuDeviceGetCount and cuDeviceGetUuid answered on driver 580.159.04 with two H200, MIG mode off.
DRIVER_ANSWERS = {
    "": [],
    " ": [],
    "0": [0],
    "1": [1],
    "1,0": [1, 0],
    "0,0": [],
    "0,0,1": [],
    "1,0,1": [],
    "1,1,2": [],
    "0,5,0": [0],
    "0,2,1": [0],
    "2,0": [],
    "0,1,2,3": [0, 1],
    "0,-1,1": [0],
    "0,-1,0": [0],
    "-1": [],
    "-1,0": [],
    "-0": [0],
    "0,-0": [],
    "0, 1": [0, 1],
    " 0": [0],
    "0 ,1": [0, 1],
    "\t1": [1],
    "\n1": [1],
    "+1": [1],
    "+ 1": [],
    "- 1": [],
    "--1": [],
    "01": [1],
    "00,1": [0, 1],
    "0" * 40: [0],
    "0x1": [0],
    "0,0x0": [],
    "1e0": [1],
    "0.5": [0],
    "0-1": [0],
    "0;1": [0],
    "0 1": [0],
    "1gpu": [1],
    "1gpu2,0": [1, 0],
    "0,,1": [0],
    "0, ,1": [0],
    ",0": [],
    "0,": [0],
    "99999999999": [],
    "4294967295": [],
    "18446744073709551616": [],
    "NoDevFiles": [],
    "0,NoDevFiles": [0],
    "all": [],
    "none": [],
    '"0"': [],
    "[0]": [],
    A: [0],
    f"{B},{A}": [1, 0],
    A[:12]: [0],
    A[:13]: [0],
    A[:5]: [0],
    "GPU-": [],
    "GPU": [],
    "GPU-,0": [],
    "GPU-zz": [],
    A.lower().replace("gpu", "GPU"): [0],
    f"GPU-{A[4:].upper()}": [0],
    f"gpu-{A[4:]}": [],
    A[4:]: [],
    f"GPU-{DIGITS}": [0],
    f"GPU-{DIGITS[:10]}": [0],
    f"{A[:6]}-{A[6:]}": [0],
    f"{A}0": [0],
    f"{A};{B}": [0],
    f"{A[:12]}zz": [],
    f"{A[:12]}/0": [],
    f"{A[:7]} {A[7:]}": [],
    f"{A},1": [0],
    f"{A},0": [0],
    f"0,{B}": [0],
    f"1,{A}": [1],
    f"{A},{A}": [],
    f"{A},{A[:12]}": [],
    f"{A[:12]},{A[:12]}": [],
    f"{B},{A},{A},foo": [],
    f"{A},foo,{B}": [0],
    f"{A[:12]},{A[:13]}zz,{B}": [0],
    f"{A}, {B}": [0],
    f"{A} ,{B}": [0, 1],
    f" {A}": [],
    f"MIG-{A}": [],
    f"MIG-{A}/0/0": [],
    f"{A},MIG-{B}/0/0": [0],
    f"MIG-{A[4:]}": [0],
    f"MIG-{A[4:12]}": [0],
    f"MIG-{A[4:]}/0/0": [0],
    f"MIG-{A[4:]},MIG-{B[4:]}": [0, 1],
    f"MIG-{A[4:]},{A}": [],
    f"0,MIG-{A[4:]}": [0],
    "MIG-": [],
}


@pytest.mark.parametrize(("mask", "devices"), DRIVER_ANSWERS.items())
def test_a_mask_shows_what_the_driver_shows(mask, devices):
    assert masked(TWO, mask) == devices


# Likewise with one H100.
@pytest.mark.parametrize(
    ("mask", "devices"), {"GPU-": [], "GPU--": [0], "MIG-": [], "MIG--": [0], "GPU": [], "0,GPU-": [0]}.items()
)
def test_a_mask_shows_what_the_driver_shows_of_one_gpu(mask, devices):
    assert masked((gpu(0, A),), mask) == devices


def test_without_a_mask_every_gpu_is_shown():
    assert view(TWO, {}).notes == ()
    assert shown(TWO, {}) == [0, 1]


def test_an_abbreviation_of_two_uuids_is_invalid():
    gpus = (gpu(0, "GPU-aa10"), gpu(1, "GPU-aa20"))
    assert masked(gpus, "GPU-aa2") == [1]
    assert masked(gpus, "GPU-aa2,GPU-aa") == [1]
    assert masked(gpus, "GPU-aa") == []


@pytest.mark.parametrize(
    ("mask", "note"),
    [("0", "shows 1 of them"), ("", "hides them all"), ("0,0", "names a device twice, so CUDA shows none")],
)
def test_the_mask_is_named(mask, note):
    assert view(TWO, {"CUDA_VISIBLE_DEVICES": mask}).notes == (f"CUDA_VISIBLE_DEVICES={mask!r} {note}",)


class TestOrder:
    OLD_AND_NEW = (
        gpu(0, "GPU-a", (8, 9), "00000000:C1:00.0"),
        gpu(1, "GPU-b", (8, 9), "00000000:01:00.0"),
        gpu(2, "GPU-c", (12, 0), "00000000:81:00.0"),
    )

    def test_pci_order_is_the_bus_ids_and_certain(self):
        environ = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
        assert shown(self.OLD_AND_NEW, environ) == [1, 2, 0]
        assert shown(self.OLD_AND_NEW, environ | {"CUDA_VISIBLE_DEVICES": "2,1"}) == [0, 2]
        assert view(self.OLD_AND_NEW, environ).notes == ()

    @pytest.mark.parametrize("environ", [{}, {"CUDA_DEVICE_ORDER": "FASTEST_FIRST"}])
    def test_the_default_order_is_a_guess_where_capabilities_differ(self, environ):
        assert shown(self.OLD_AND_NEW, environ) == [2, 1, 0]
        assert "guess" in view(self.OLD_AND_NEW, environ).notes[0]

    def test_no_guess_is_needed_where_the_mask_names_uuids(self):
        assert not any("guess" in n for n in view(self.OLD_AND_NEW, {"CUDA_VISIBLE_DEVICES": "GPU-a,GPU-c"}).notes)
        assert masked(self.OLD_AND_NEW, "GPU-a,GPU-c") == [0, 2]

    @pytest.mark.parametrize("order", ["", " ", "PCI_BUS_ID ", "pci_bus_id", "PCI_BUS", "FASTEST_FIRST,", "x"])
    def test_the_driver_shows_nothing_for_another_order(self, order):
        # cuInit returned 101, invalid device, for each of them.
        seen = view(TWO, {"CUDA_DEVICE_ORDER": order})
        assert seen.shown == ()
        assert repr(order) in seen.notes[0]


class TestMig:
    FIRST, SECOND = (
        MigInstance("MIG-11111111-0000-0000-0000-000000000000", 1, 0),
        MigInstance("MIG-22222222-0000-0000-0000-000000000000", 2, 0),
    )
    GPUS = (gpu(0, A), gpu(1, B, instances=(FIRST, SECOND)))

    @pytest.mark.parametrize("mask", ["1", B, "0,1", FIRST.uuid, FIRST.uuid[:7], f"MIG-{B}/1/0", f"{FIRST.uuid},{A}"])
    def test_the_first_instance_is_all_that_cuda_shows(self, mask):
        assert masked(self.GPUS, mask) == [self.FIRST.uuid]
        assert "MIG" in view(self.GPUS, {"CUDA_VISIBLE_DEVICES": mask}).notes[-1]

    @pytest.mark.parametrize("mask", [SECOND.uuid, f"MIG-{B}/2/0", f"MIG-{B[:12]}/2/0,{FIRST.uuid}"])
    def test_another_instance_has_to_be_named(self, mask):
        assert masked(self.GPUS, mask) == [self.SECOND.uuid]

    @pytest.mark.parametrize("mask", [f"MIG-{B}/3/0", f"MIG-{B}/1/1", f"MIG-{B}", "MIG-3", f"MIG-{B[4:]}"])
    def test_an_instance_that_is_not_there_ends_the_list(self, mask):
        assert masked(self.GPUS, mask) == []

    def test_an_instance_named_in_two_ways_is_named_twice(self):
        assert masked(self.GPUS, f"{self.FIRST.uuid},MIG-{B}/1/0") == []

    def test_the_name_that_old_drivers_give_is_understood(self):
        path = f"MIG-{B}/7/0"
        assert masked((gpu(0, B, instances=(MigInstance(path, 7, 0),)),), path) == [path]

    def test_mig_mode_without_instances_is_no_device(self):
        gpus = (gpu(0, A, instances=()), gpu(1, B))
        assert shown(gpus, {}) == [1]
        assert "without instances" in view(gpus, {}).notes[0]


entries = st.sampled_from(["0", "1", "2", "-1", " 1", "", A, B, A[:8], "GPU-", f"MIG-{A}/0/0", "x"])


@settings(deadline=None)
@given(
    mask=st.lists(entries).map(",".join) | st.text(max_size=20),
    order=st.sampled_from([None, "PCI_BUS_ID", "FASTEST_FIRST", "x"]),
)
def test_no_mask_shows_a_gpu_twice_or_one_that_is_not_there(mask, order):
    environ = {"CUDA_VISIBLE_DEVICES": mask} | ({"CUDA_DEVICE_ORDER": order} if order else {})
    devices = shown(TWO, environ)
    assert len(set(devices)) == len(devices)
    assert set(devices) <= {0, 1}
    assert shown((), environ) == []
