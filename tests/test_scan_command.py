"""`scan` as a person types it."""

from __future__ import annotations

import json

import pytest

from fake_binaries import container, elf, image
from rtx50_autoload.cli import scan
from rtx50_autoload.cli.command_parser import CommandParser
from rtx50_autoload.errors import UsageError
from rtx50_autoload.evidence.devices import Device, Survey


@pytest.fixture(autouse=True)
def _no_devices(monkeypatch, tmp_path):
    for name in ("CUDA_DISABLE_PTX_JIT", "CUDA_DISABLE_JIT", "CUDA_FORCE_PTX_JIT", "CUDA_FORCE_JIT"):
        monkeypatch.delenv(name, raising=False)
    set_devices(monkeypatch, reason="NVML is not there.")
    monkeypatch.setattr("rtx50_autoload.evidence.imagecache.cache_file", lambda: tmp_path / "cache" / "images.json")
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def libraries(tmp_path):
    folder = tmp_path / "libraries"
    folder.mkdir()
    (folder / "native.so").write_bytes(elf([container("sm_90", "sm_120")]))
    (folder / "host.so").write_bytes(elf())
    return folder


def set_devices(monkeypatch, *devices, driver=None, reason=""):
    monkeypatch.setattr("rtx50_autoload.evidence.devices.survey", lambda _simulated: Survey(devices, driver, reason))


def run(*arguments):
    parser = CommandParser()
    scan.add_parser(parser.add_subparsers())
    parsed = parser.parse_args(["scan", *map(str, arguments)])
    return parsed.run(parsed)


def test_nothing_wrong_is_0(libraries, capsys):
    assert run(libraries) == 0
    out = capsys.readouterr().out
    assert "native.so" in out
    assert "1 module with SASS for 12.0" in out
    assert "host.so" not in out
    assert "1 native, 1 no gpu code" in out


@pytest.mark.parametrize("data", [elf([container("sm_80", "sm_90")]), elf([container("sm_120")])[:300]])
def test_a_finding_is_1(libraries, data):
    (libraries / "bad.so").write_bytes(data)
    assert run(libraries) == 1


def test_json_is_the_list_of_all_binaries(libraries, capsys):
    assert run("--json", libraries, "--device", "9.0") == 0
    found = json.loads(capsys.readouterr().out)
    assert [(entry["path"], entry["verdict"]) for entry in found] == [
        (str(libraries / "host.so"), "no_gpu_code"),
        (str(libraries / "native.so"), "native"),
    ]


@pytest.mark.parametrize(("device", "status"), [("12.0", 0), ("12.1", 0), ("10.0", 1), ("8.9", 1)])
def test_the_device_asked_for_decides(libraries, device, status):
    assert run(libraries, "--device", device) == status


def test_the_driver_asked_for_decides_about_ptx(tmp_path):
    path = tmp_path / "ptx.so"
    path.write_bytes(elf([container(image("compute_80", isa=(9, 0)))]))
    assert run(path, "--driver", "580.65.06") == 0
    assert run(path, "--driver", "570.124.06") == 1


def test_the_environments_switches_count(libraries, monkeypatch):
    monkeypatch.setenv("CUDA_FORCE_PTX_JIT", "1")
    assert run(libraries) == 1


def test_the_first_device_here_is_the_default(libraries, monkeypatch, capsys):
    device = Device(0, "NVIDIA GeForce RTX 4090", (8, 9), "nvml", None)
    set_devices(monkeypatch, device, driver="570.124.06")
    assert run(libraries) == 1
    assert "compute capability 8.9, driver 570: device 0, NVIDIA GeForce RTX 4090" in capsys.readouterr().out


def test_a_simulated_device_counts_as_here(libraries, monkeypatch, capsys):
    monkeypatch.undo()
    monkeypatch.setenv("RTX50_SIMULATE", "NVIDIA GeForce RTX 5090:12.0")
    assert run(libraries, "--no-cache") == 0
    assert "device 0, NVIDIA GeForce RTX 5090" in " ".join(capsys.readouterr().out.split())


def test_without_a_device_it_says_why_it_judges_for_12_0(libraries, capsys):
    assert run(libraries) == 0
    assert "12.0: an RTX 50-series GPU, since there is no device: NVML is not there." in capsys.readouterr().out


def test_a_path_that_is_not_there_is_an_error_of_usage(tmp_path):
    with pytest.raises(UsageError, match="does not exist"):
        run(tmp_path / "nowhere")


@pytest.mark.parametrize("arguments", [["--device", "120", "."], ["--driver", "new", "."], []])
def test_arguments_that_cannot_be_read_are_2(arguments, capsys):
    with pytest.raises(SystemExit) as exit_:
        run(*arguments)
    assert exit_.value.code == 2
    assert "usage" in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "kept"), [([], True), (["--no-cache"], False)])
def test_what_was_read_is_kept_unless_told_otherwise(libraries, tmp_path, arguments, kept):
    run(libraries, *arguments)
    assert (tmp_path / "cache" / "images.json").exists() is kept
