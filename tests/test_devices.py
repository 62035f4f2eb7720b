"""The device survey in a fresh interpreter, over a library that stands in for the driver's."""

import contextlib
import ctypes
import json
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

import rig
from rtx50_autoload.evidence import devices, nvml
from rtx50_autoload.evidence.devices import Device, Survey, survey
from rtx50_autoload.settings import SimulatedDevice

SOURCE = Path(devices.__file__).parents[2]

SURVEY = """
import dataclasses, json, sys
from rtx50_autoload.evidence.devices import survey
print(json.dumps(dataclasses.asdict(survey(time_limit=float(sys.argv[1])))))
"""

A = "GPU-aaaaaaaa-0000-0000-0000-000000000000"
B = "GPU-bbbbbbbb-0000-0000-0000-000000000000"
MIG_1 = "MIG-11111111-0000-0000-0000-000000000000"
MIG_2 = "MIG-22222222-0000-0000-0000-000000000000"

RTX_5090 = {"COUNT": "1", "NAME_0": "NVIDIA GeForce RTX 5090", "UUID_0": A, "BUS_0": "00000000:01:00.0"}


@pytest.fixture(scope="session")
def build(tmp_path_factory):
    """Compile the stand-in and return its folder."""
    missing = "needs gcc (or cc) and Linux to build a stand-in for the NVIDIA driver's library"
    if not sys.platform.startswith("linux"):
        pytest.skip(missing)

    def build(*options):
        folder = rig.build_driver(tmp_path_factory.mktemp("driver"), *options)
        return folder or pytest.skip(missing)

    return build


@pytest.fixture(scope="session")
def driver(build):
    return build()


@pytest.fixture(scope="session")
def driver_without_mig(build):
    return build("-DWITHOUT_MIG")


def python(code, *arguments, driver=None, fake=(), environ=()):
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("CUDA_", "FAKE_NVML_"))}
    libraries = filter(None, [driver and str(driver), clean.get("LD_LIBRARY_PATH")])
    clean |= {"PYTHONPATH": str(SOURCE), "LD_LIBRARY_PATH": os.pathsep.join(libraries)}
    clean |= {f"FAKE_NVML_{name}": value for name, value in dict(fake).items()} | dict(environ)
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, env=clean, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def fresh_survey(driver, fake=(), time_limit=60, **environ):
    answer = json.loads(python(SURVEY, str(time_limit), driver=driver, fake=fake, environ=environ))
    answer["devices"] = tuple(
        Device(**{**device, "capability": tuple(device["capability"])}) for device in answer["devices"]
    )
    return Survey(**answer)


def test_nvml_names_a_device(driver):
    assert fresh_survey(driver, RTX_5090 | {"DRIVER": "580.159.04"}) == Survey(
        (Device(0, "NVIDIA GeForce RTX 5090", (12, 0), "nvml", A),), "580.159.04", "NVML names 1 GPU."
    )


def test_two_gpus_keep_their_own_capabilities(driver):
    two = {"COUNT": "2", "CAPABILITY_0": "8.9", "BUS_0": "1", "BUS_1": "2"}
    found = fresh_survey(driver, two, CUDA_DEVICE_ORDER="PCI_BUS_ID")
    assert [(device.index, device.capability) for device in found.devices] == [(0, (8, 9)), (1, (12, 0))]
    assert found.reason == "NVML names 2 GPUs."

    found = fresh_survey(driver, two)
    assert [(device.index, device.capability) for device in found.devices] == [(0, (12, 0)), (1, (8, 9))]
    assert "guess" in found.reason


def test_masked_devices_are_numbered_as_cuda_numbers_them(driver):
    two = {"COUNT": "2", "UUID_0": A, "UUID_1": B}
    found = fresh_survey(driver, two, CUDA_VISIBLE_DEVICES="GPU-bb")
    assert [(device.index, device.uuid) for device in found.devices] == [(0, B)]
    assert found.reason == "NVML names 2 GPUs; CUDA_VISIBLE_DEVICES='GPU-bb' shows 1 of them."


def test_hidden_devices_are_said_to_be_hidden(driver):
    assert fresh_survey(driver, RTX_5090, CUDA_VISIBLE_DEVICES="") == Survey(
        (), "580.0", "NVML names 1 GPU; CUDA_VISIBLE_DEVICES='' hides them all."
    )


def test_a_partitioned_gpu_shows_its_first_instance_with_the_gpus_capability(driver):
    fake = RTX_5090 | {"CAPABILITY_0": "10.0", "MIG_0": f"- 7/0/{MIG_1} 9/0/{MIG_2} -"}
    (device,) = fresh_survey(driver, fake).devices
    assert (device.uuid, device.capability) == (MIG_1, (10, 0))
    for named in (MIG_2, f"MIG-{A}/9/0"):
        (device,) = fresh_survey(driver, fake, CUDA_VISIBLE_DEVICES=named).devices
        assert device.uuid == MIG_2


def test_mig_mode_without_instances_is_no_device(driver):
    found = fresh_survey(driver, RTX_5090 | {"MIG_0": ""})
    assert found.devices == ()
    assert "MIG mode without instances" in found.reason


def test_a_driver_that_does_not_know_mig_is_enough(driver_without_mig):
    assert len(fresh_survey(driver_without_mig, RTX_5090).devices) == 1


def test_what_a_gpu_does_not_tell_is_left_out(driver):
    fake = {"COUNT": "1", "ERROR_nvmlDeviceGetMigMode": "3", "ERROR_nvmlSystemGetDriverVersion": "999"}
    found = fresh_survey(driver, fake)
    assert found == Survey((Device(0, "Fake GPU", (12, 0), "nvml", None),), None, "NVML names 1 GPU.")


@pytest.mark.parametrize(
    ("fake", "reason"),
    [
        ({"ERROR_nvmlInitWithFlags": "9"}, "installed but not loaded"),
        ({"ERROR_nvmlInitWithFlags": "18"}, "differ in version"),
        ({"ERROR_nvmlInitWithFlags": "4"}, "no permission"),
        ({"ERROR_nvmlInitWithFlags": "17"}, "operating system blocks"),
        ({"ERROR_nvmlInitWithFlags": "13"}, "too old"),
        ({"ERROR_nvmlInitWithFlags": "999"}, "(NVML error 999: an error of a later driver)"),
        ({"ERROR_nvmlInitWithFlags": "777"}, "(NVML error 777: an error of a later driver)"),
        ({"ERROR_nvmlDeviceGetCount_v2": "15"}, "is lost"),
        ({"COUNT": "1", "ERROR_nvmlDeviceGetHandleByIndex_v2_0": "15"}, "GPU 0 could not be read: the GPU is lost"),
        (
            {"COUNT": "1", "ERROR_nvmlDeviceGetCudaComputeCapability": "13"},
            "the NVIDIA driver is too old",
        ),
        ({"COUNT": "0"}, "finds no GPU"),
    ],
)
def test_a_driver_that_cannot_answer_is_a_reason(driver, fake, reason):
    found = fresh_survey(driver, fake)
    assert found.devices == ()
    assert reason in found.reason
    assert found.reason.endswith(".")


def test_one_lost_gpu_does_not_hide_the_other(driver):
    fake = {"COUNT": "2", "UUID_1": B, "ERROR_nvmlDeviceGetHandleByIndex_v2_0": "15"}
    found = fresh_survey(driver, fake)
    assert [device.uuid for device in found.devices] == [B]
    assert "GPU 0 could not be read: the GPU is lost" in found.reason


def test_no_driver_is_a_reason():
    with contextlib.suppress(OSError):
        ctypes.CDLL("libnvidia-ml.so.1")
        pytest.skip("this machine has an NVIDIA driver")
    found = fresh_survey(None)
    assert found.devices == ()
    assert found.reason.startswith("No NVIDIA driver is installed here")


def test_a_library_that_is_no_library_is_a_reason(tmp_path):
    (tmp_path / "libnvidia-ml.so.1").write_text("not a library")
    found = fresh_survey(tmp_path)
    assert found.devices == ()
    assert "NVML cannot be loaded" in found.reason
    assert "libnvidia-ml.so.1: " in found.reason


def test_a_hanging_driver_is_left_alone_and_does_not_hold_the_process(driver):
    found = fresh_survey(driver, RTX_5090 | {"HANG": "1"}, time_limit=0.05)
    assert found == Survey((), None, "The NVIDIA driver did not answer within 0.05 seconds.")


@pytest.mark.parametrize(
    "fake", [RTX_5090, {"ERROR_nvmlDeviceGetCount_v2": "999"}, {"ERROR_nvmlShutdown": "999", **RTX_5090}]
)
def test_nvml_is_left_again(driver, tmp_path, fake):
    log = tmp_path / "log"
    fresh_survey(driver, {**fake, "LOG": str(log)})
    calls = log.read_text().split()
    assert (calls[0], calls[-1]) == ("nvmlInitWithFlags", "nvmlShutdown")


def test_nvml_is_not_left_where_it_was_not_entered(driver, tmp_path):
    log = tmp_path / "log"
    fresh_survey(driver, {"ERROR_nvmlInitWithFlags": "9", "LOG": str(log)})
    assert log.read_text().split() == ["nvmlInitWithFlags"]


#: Waits until the system has put a thread away that Python has joined, which takes a moment.
AT_MOST = """
import time
end = time.monotonic() + 10
while len(os.listdir("/proc/self/task")) > {} and time.monotonic() < end:
    time.sleep(0.01)
"""


def test_cuda_is_not_touched_and_a_fork_works_on(driver):
    # Of ours: the driver's own NVML loads libcuda, without initialising it, which the stand-in does not.
    code = """
import os, sys, threading, warnings
warnings.simplefilter("error")  # from Python 3.12 on a fork beside threads is a DeprecationWarning
from rtx50_autoload.evidence.devices import survey
first = survey(time_limit=60)
assert len(first.devices) == 1, first
assert threading.active_count() == 1
"""
    code += AT_MOST.format(1 if sys.version_info >= (3, 12) else 2)
    code += """
assert len(os.listdir("/proc/self/task")) == (1 if sys.version_info >= (3, 12) else 2)
with open("/proc/self/maps") as maps:
    assert "libcuda" not in maps.read()
assert "torch" not in sys.modules
child = os.fork()
if child == 0:
    os._exit(0 if survey(time_limit=60) == first else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
    assert python(code, driver=driver, fake=RTX_5090) == ""


@pytest.mark.parametrize(
    ("before", "threads"),
    [
        ("", 1),
        ("threading.Thread(target=threading.Event().wait, daemon=True).start()", 2),
        ("import ctypes; ctypes.CDLL('libnvidia-ml.so.1').nvmlInitWithFlags(0)", 3),
        ("sys.executable = '/opt/game/engine'", 2),
        ("sys.executable = '/nowhere/python3'", 2),
        ("sys.executable = '/bin/false/python'", 2),
        ("subprocess.Popen = None", 2),
    ],
)
@pytest.mark.skipif(sys.version_info < (3, 12), reason="before Python 3.12 a fork beside threads is no warning")
def test_the_driver_leaves_its_thread_in_this_process_only_where_no_other_one_can_ask(driver, before, threads):
    code = f"""
import os, subprocess, sys, threading
from rtx50_autoload.evidence.devices import survey
{before}
found = len(survey(time_limit=60).devices)
{AT_MOST.format(threads)}
print(found, len(os.listdir("/proc/self/task")))
"""
    assert python(code, driver=driver, fake=RTX_5090) == f"1 {threads}\n"


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="from Python 3.12 on another process asks")
def test_before_python_3_12_the_driver_is_asked_in_this_process(driver):
    code = f"""
import os
from rtx50_autoload.evidence.devices import survey
found = len(survey(time_limit=60).devices)
{AT_MOST.format(2)}
print(found, len(os.listdir("/proc/self/task")))
"""
    assert python(code, driver=driver, fake=RTX_5090) == "1 2\n"


def test_importing_the_room_loads_no_wrapper():
    code = "import sys, rtx50_autoload.evidence.devices; print({'torch', 'ctypes'} & set(sys.modules))"
    assert python(code).strip() == "set()"


def test_simulated_devices_replace_all_others_and_nothing_is_asked(monkeypatch):
    monkeypatch.setattr(nvml, "read", None)
    found = survey([SimulatedDevice("A", (12, 0)), SimulatedDevice("B", (8, 9))], {"CUDA_VISIBLE_DEVICES": ""})
    assert found == Survey(
        (Device(0, "A", (12, 0), "simulated", None), Device(1, "B", (8, 9), "simulated", None)),
        None,
        "The devices are simulated.",
    )


def test_a_python_without_ctypes_is_a_reason(monkeypatch):
    monkeypatch.delitem(sys.modules, "rtx50_autoload.evidence.nvml_reading", raising=False)
    monkeypatch.delitem(sys.modules, "rtx50_autoload.evidence.nvml_library", raising=False)
    monkeypatch.setitem(sys.modules, "ctypes", None)
    # Without its memory of what another test's question has found.
    monkeypatch.setattr(nvml, "read", nvml.read.__wrapped__)
    found = survey()
    assert found.devices == ()
    assert "NVML could not be asked (ModuleNotFoundError" in found.reason


class TestTorch:
    """torch is asked only where NVML leaves no device and CUDA is initialised already."""

    @pytest.fixture(autouse=True)
    def _no_driver(self, monkeypatch):
        monkeypatch.setattr(nvml, "read", lambda _: nvml.Reading((), None, ("no driver",)))

    @pytest.fixture
    def torch(self, monkeypatch):
        devices = [
            types.SimpleNamespace(name="A", major=12, minor=0, uuid="aaaaaaaa-0000"),
            types.SimpleNamespace(name="B", major=8, minor=9),  # as torch before 2.5, which has no UUID
        ]
        torch = types.ModuleType("torch")
        torch.version = types.SimpleNamespace(cuda="12.8")
        torch.cuda = types.SimpleNamespace(
            device_count=lambda: len(devices),
            get_device_properties=devices.__getitem__,
            _get_device_properties=devices.__getitem__,  # torch defines it when it initialises CUDA
        )
        monkeypatch.setitem(sys.modules, "torch", torch)
        return torch

    @pytest.mark.usefixtures("torch")
    def test_it_answers_where_cuda_is_initialised(self):
        assert survey() == Survey(
            (Device(0, "A", (12, 0), "torch", "GPU-aaaaaaaa-0000"), Device(1, "B", (8, 9), "torch", None)),
            None,
            "No driver; torch, whose CUDA is initialised, names 2 devices.",
        )

    def test_it_is_not_asked_before(self, torch):
        del torch.cuda._get_device_properties
        assert survey() == Survey((), None, "No driver.")

    def test_a_torch_without_cuda_is_not_asked(self, torch):
        torch.version.cuda = None
        assert survey() == Survey((), None, "No driver.")

    def test_a_torch_that_is_being_imported_is_not_asked(self, torch):
        del torch.cuda
        assert survey() == Survey((), None, "No driver.")

    def test_what_it_raises_is_a_reason(self, torch):
        def lost(_):
            raise RuntimeError("CUDA error: unspecified launch failure")

        torch.cuda.get_device_properties = lost
        assert survey().devices == ()
        assert "unspecified launch failure" in survey().reason

    def test_it_is_not_imported(self, monkeypatch):
        monkeypatch.delitem(sys.modules, "torch", raising=False)
        assert survey() == Survey((), None, "No driver.")
        assert "torch" not in sys.modules


def test_a_driver_is_absent_where_there_is_no_sign_of_it(driver):
    code = "from rtx50_autoload.evidence import driver; driver._SIGNS = ({!r},); print(driver.is_absent())"
    assert python(code.format("/dev/absent")) == "True\n"
    assert python(code.format("/dev/null")) == "False\n"
    assert python(code.format("/dev/absent"), driver=driver) == "False\n"
