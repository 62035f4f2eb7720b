"""`doctor` as a person types it, on fake distributions beside the installed package."""

from __future__ import annotations

import html
import json
import os
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from fake_binaries import container, elf
from fake_distributions import JIT, NATIVE, OLD, install, torch_version

RTX_5090 = {"RTX50_SIMULATE": "NVIDIA GeForce RTX 5090:12.0"}


@pytest.fixture
def site(tmp_path):
    folder = tmp_path / "site"
    folder.mkdir()
    return folder


#: The command on a machine that has no faults of its own; those are looked at in test_environment.py.
ON_A_SOUND_MACHINE = """
import sys
from rtx50_autoload.cli.main import main
from rtx50_autoload.evidence.environment import examination
examination.examine = lambda survey: examination.Environment((), {})
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def doctor(installed, site):
    def run(*arguments, **variables):
        env = {"PYTHONPATH": str(site), "COLUMNS": "200", **RTX_5090, **variables}
        return installed.run("-c", ON_A_SOUND_MACHINE, "doctor", *arguments, env=env)

    return run


def test_what_means_the_same_is_one_paragraph(installed, site):
    on_a_bare_machine = """
import sys
from rtx50_autoload.cli.main import main
from rtx50_autoload.evidence.environment import advice, examination
from rtx50_autoload.evidence.finding import Finding, Severity
found = [(f"{name}-missing", Severity.INFO, f"{name} is not installed.", advice.ONLY_FOR_BUILDING, "") for name in
         ("nvcc", "g++")]
examination.examine = lambda survey: examination.Environment(tuple(Finding(*each) for each in found), {})
sys.exit(main(sys.argv[1:]))
"""
    result = installed.run("-c", on_a_bare_machine, "doctor", env={"PYTHONPATH": str(site), **RTX_5090})
    assert result.stdout.count("info: ") == result.stdout.count("Only building") == 1
    assert "info: nvcc is not installed. g++ is not installed.\n" in result.stdout


def test_the_faults_of_the_machine_are_among_the_findings(installed):
    env = {**RTX_5090, "TORCH_CUDA_ARCH_LIST": "9.0"}
    result = installed.run(installed.script("rtx50-autoload"), "doctor", "--json", env=env)
    document = json.loads(result.stdout)
    assert "arch-list-hopper" in {finding["id"] for finding in document["findings"]}
    assert document["environment"]["architectures"]
    assert result.returncode == 1


def put(site, name="torch", version="2.5.1", images=OLD, file="lib/libtorch_cuda.so"):
    install(site, name, version, {f"{name}/{file}": elf([container(*images)]), f"{name}/version.py": torch_version()})


def test_no_part_of_a_step_is_cut_off_in_a_narrow_terminal(installed):
    env = {**RTX_5090, "COLUMNS": "40"}
    result = installed.run(installed.script("rtx50-autoload"), "doctor", env=env)
    assert str(installed.python) in "".join(result.stdout.split())


def test_the_json_has_the_published_keys(site, doctor):
    put(site)
    result = doctor("--json")
    document = json.loads(result.stdout)
    assert result.returncode == 1
    assert document.keys() >= {"devices", "libraries", "findings", "ok"}
    assert document["ok"] is False
    assert document["devices"] == [
        {"index": 0, "name": "NVIDIA GeForce RTX 5090", "capability": [12, 0], "source": "simulated"}
    ]
    (torch,) = document["libraries"]
    assert (torch["name"], torch["version"], torch["verdict"]) == ("torch", "2.5.1", "impossible")
    assert torch["reason"] == "1 module with nothing that loads on 12.0"
    (binary,) = torch["binaries"]
    assert binary["path"] == str(site / "torch/lib/libtorch_cuda.so")
    assert binary["sass"] == {"sm_80": 1, "sm_90": 1}
    (finding,) = document["findings"]
    assert finding.keys() == {"id", "severity", "what", "why", "next"}
    assert (finding["id"], finding["severity"]) == ("torch-impossible", "error")
    assert finding["what"] == "torch 2.5.1 cannot run on NVIDIA GeForce RTX 5090 (12.0)."
    assert "compiled for sm_80, sm_90, and this GPU needs sm_120" in finding["why"]
    assert "CUDA 12.8" in finding["next"]


def test_nothing_wrong_is_0(site, doctor):
    put(site, images=NATIVE)
    put(site, "lib", "1", JIT)
    result = doctor()
    assert result.returncode == 0
    assert "Nothing wrong found." in result.stdout
    assert "Next" not in result.stdout


def test_a_warning_alone_is_1_too(site, doctor):
    install(site, "lib", "1", {f"{name}.so": elf([container(*held)]) for name, held in {"a": OLD, "b": NATIVE}.items()})
    result = doctor("--json")
    assert result.returncode == 1
    assert [finding["severity"] for finding in json.loads(result.stdout)["findings"]] == ["warning"]


def test_what_is_shown_leads_from_the_library_to_the_next_step(site, doctor):
    put(site)
    shown = doctor().stdout
    landmarks = (
        "Judged for",
        "torch 2.5.1",
        "impossible: ",
        "error: torch 2.5.1",
        "1 error found.",
        "Next:",
        "1. Install",
    )
    places = [shown.index(landmark) for landmark in landmarks]
    assert places == sorted(places)


@pytest.mark.parametrize("width", [60, 80, 200])
def test_it_fits_the_terminal(site, doctor, width):
    put(site)
    put(site, "a-library-with-a-long-name", "1.0.0.post20251122+cu128", OLD)
    result = doctor(COLUMNS=str(width))
    assert max(map(len, result.stdout.splitlines())) <= width
    assert result.stderr == ""


def test_every_device_here_is_judged_for(site, doctor):
    put(site)
    devices = "NVIDIA GeForce RTX 4090:8.9,NVIDIA GeForce RTX 5090:12.0,NVIDIA GeForce RTX 5080:12.0"
    result = doctor("--json", RTX50_SIMULATE=devices)
    document = json.loads(result.stdout)
    assert document["libraries"][0]["verdicts"] == {"8.9": "native", "12.0": "impossible"}
    assert "on NVIDIA GeForce RTX 5090 (12.0)." in document["findings"][0]["what"]
    assert "8.9" in doctor(RTX50_SIMULATE=devices).stdout


def test_another_device_can_be_asked_about(site, doctor):
    put(site)
    document = json.loads(doctor("--json", "--device", "9.0").stdout)
    assert (document["ok"], document["libraries"][0]["verdict"]) == (True, "native")


def test_without_a_device_it_says_so_and_judges_for_12_0(site, doctor):
    put(site)
    # Where the tests run on a machine with a GPU, CUDA is shown none of them.
    shown = doctor(RTX50_SIMULATE="", CUDA_VISIBLE_DEVICES="").stdout
    assert "No GPU can be seen" in shown
    assert "Judged for an RTX 50-series GPU of compute capability 12.0." in shown


def test_the_driver_that_ptx_needs_is_the_next_step(site, doctor):
    put(site, "lib", "1", JIT)
    document = json.loads(doctor("--json", "--device", "12.0", "--driver", "550.54").stdout)
    assert document["findings"][0]["next"] == "Install NVIDIA driver 570 or later."


@pytest.mark.parametrize(("variable", "images"), [("CUDA_FORCE_PTX_JIT", NATIVE), ("CUDA_DISABLE_PTX_JIT", JIT)])
def test_a_variable_that_is_in_the_way_is_the_next_step(site, doctor, variable, images):
    put(site, "lib", "1", images)
    document = json.loads(doctor("--json", **{variable: "1"}).stdout)
    assert document["findings"][0]["next"].startswith(f"Unset {variable} ")


def test_a_damaged_library_is_installed_again(site, doctor):
    install(site, "lib", "1", {"lib/a.so": elf([container(*NATIVE)])[:300]})
    (finding,) = json.loads(doctor("--json").stdout)["findings"]
    assert finding["id"] == "lib-unreadable"
    assert finding["next"].endswith("--force-reinstall --no-deps lib==1")


@pytest.mark.parametrize(
    ("cuda", "file", "found"),
    [(None, "libtorch_cpu.so", "torch-cpu-only"), ("12.6", "libtorch_cuda.so", "torch-cuda-too-old")],
)
def test_what_the_environment_says_of_torch_is_not_said_twice(installed, site, cuda, file, found):
    code = elf([container(*OLD)]) if "cuda" in file else elf()
    install(site, "torch", "2.8.0", {f"torch/lib/{file}": code, "torch/version.py": torch_version(cuda)})
    env = {**RTX_5090, "PYTHONPATH": str(site)}
    result = installed.run(installed.script("rtx50-autoload"), "doctor", "--json", env=env)
    ids = {finding["id"] for finding in json.loads(result.stdout)["findings"]}
    assert found in ids
    assert not {"torch-impossible", "torch-no-gpu-code"} & ids


@pytest.mark.parametrize("arguments", [["--device", "120"], ["--driver", "new"], ["path"], ["--html"]])
def test_wrong_usage_is_2(doctor, arguments):
    result = doctor(*arguments)
    assert (result.returncode, "usage" in result.stderr) == (2, True)


def test_a_page_that_cannot_be_written_is_2(site, doctor, tmp_path):
    put(site)
    result = doctor("--html", tmp_path / "nowhere" / "page.html")
    assert (result.returncode, "Traceback" in result.stderr) == (2, False)
    assert "page.html cannot be written: No such file" in result.stderr


class Page(HTMLParser):
    """Collects what a browser would load or run, and the text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text += data


HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(2)>&amp;'\x1b[31m"


@pytest.fixture
def page(site, doctor, tmp_path):
    def make(**library):
        put(site, **library)
        result = doctor("--html", tmp_path / "page.html")
        assert "Traceback" not in result.stderr
        return (tmp_path / "page.html").read_text(encoding="utf-8"), result

    return make


def test_the_page_needs_nothing_beside_itself(page):
    text, _ = page()
    found = Page(text)
    assert not {"script", "link", "img", "iframe", "object"} & set(found.tags)
    assert not {"src", "href", "srcset", "data"} & {name for name, _ in found.attributes}
    assert "url(" not in text
    assert "@import" not in text
    assert "http" not in text
    assert ("name", "viewport") in found.attributes


def test_the_page_says_what_the_terminal_says(page):
    text, result = page()
    shown = Page(text).text
    assert "torch 2.5.1 cannot run on NVIDIA GeForce RTX 5090 (12.0)." in shown
    assert "Install a torch built with CUDA 12.8" in shown
    assert "impossible" in shown
    assert "1 error found" in result.stdout
    assert "1 error found" in shown


def test_the_picture_has_a_text_and_a_column_for_this_gpu(page):
    text, _ = page()
    picture = ET.fromstring(re.search(r"<svg[^>]*role=.*?</svg>", text, re.DOTALL)[0])  # noqa: S314 - our own
    assert "torch" in picture.find("title").text
    assert "torch/lib/libtorch_cuda.so: sm_80, sm_90; impossible." in picture.find("desc").text
    assert [label.text for label in picture.findall("text")] == ["80", "90", "120"]
    (own,) = (label for label in picture.findall("text") if "own" in label.get("class"))
    assert own.text == "120"


def test_a_hostile_name_is_text(page):
    text, result = page(file=f"lib/{HOSTILE.replace('/', '')}libtorch_cuda.so")
    assert not {"script", "img"} & set(Page(text).tags)
    assert not any(name.startswith("on") for name, _ in Page(text).attributes)
    assert "\x1b" not in text + result.stdout
    assert html.escape(r"\x1b[31m") in text


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere every file name is Unicode")
def test_a_name_that_is_no_unicode_can_be_shown(site, doctor, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    Path(os.fsdecode(os.fsencode(source) + b"/\xff.so")).write_bytes(elf([container(*OLD)]))
    install(site, "lib", "1", {"lib.pth": f"{source}\n"})
    for arguments in (["--json"], [], ["--html", tmp_path / "page.html"]):
        result = doctor(*arguments)
        assert (result.returncode, "Traceback" in result.stderr) == (1, False)
    assert r"\udcff.so" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_probing_without_torch_says_why_nothing_was_computed(doctor):
    result = doctor("--probe", "--json")
    document = json.loads(result.stdout)
    assert document["probes"]["results"] == []
    assert "torch is not installed" in document["probes"]["reason"]
    assert "probe-not-run" in {finding["id"] for finding in document["findings"]}
