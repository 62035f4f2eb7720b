"""What commands print with `--json` has the form that docs/schemas gives: programs of others read it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest

import rig
from fake_binaries import container, elf, image
from rtx50_autoload.evidence.probe_report import ProbeError, ProbeReport, ProbeResult, State
from rtx50_autoload.installer.journal import CommandEntry, Journal, StepEntry
from rtx50_autoload.installer.plan import Change, Plan
from rtx50_autoload.installer.resolution import Resolution
from rtx50_autoload.installer.undoing import Undoing, Undone
from rtx50_autoload.installer.verification import Verification
from rtx50_autoload.troubleshooter.assistants import Found, load_knowledge
from test_docs_blocks import INCIDENT, SIMULATED

SCHEMAS = {
    path.stem: json.loads(path.read_text(encoding="utf-8")) for path in (rig.ROOT / "docs" / "schemas").glob("*.json")
}
MACHINES = rig.ROOT / "tests" / "machines"
CRASH = str(rig.ROOT / "docs" / "recorded" / "crash.txt")
SCRIPT = """
from rtx50_autoload.troubleshooter.scripts import Script, save
print(save(Script("bash", "sudo rm -r /opt/x\\npip install torch\\n"), "claude", "a1b2c3d4").id)
"""
#: Calls in an environment with the stand-in for torch, without a GPU; the rest is made below.
CALLS = [
    ("status", "status"),
    ("status-verify", "status --verify"),
    ("demo", "demo"),
    ("doctor", "doctor"),
    ("doctor", "doctor --device 8.9 --driver 570.124.06"),
    ("scan", "scan torch"),
    ("check-build", "check-build torch --device 12.0"),
    ("check-build", "check-build flash-attn --device 12.0"),
    ("explain", f"explain {CRASH}"),
    ("explain", f"explain {MACHINES / 'mac.toml'}"),
    *(("plan", f"plan --machine {MACHINES / name}") for name in ("mac.toml", "vllm-pins-torch.toml", "two-5090.toml")),
    ("plan", "plan --build flash-attn"),
    ("fix", "fix"),
    ("incidents-list", "incidents list"),
    ("incidents-show", "incidents show last"),
    ("profiles", "profiles"),
    ("profiles-check", f"profiles --check {rig.ROOT / 'src' / 'rtx50_autoload' / 'masquerading' / 'profiles.toml'}"),
    ("profiles-check", f"profiles --check {MACHINES / 'mac.toml'}"),
    ("assistants", "assistants"),
    ("scripts-list", "scripts list"),
    ("scripts-show", "scripts show ID"),
    ("troubleshoot", f"troubleshoot {CRASH}"),
    ("troubleshoot", "troubleshoot --last"),
]
STORY = Journal(
    Path("/state"),
    "/venv",
    7,
    "2026-11-23T08:00:00+00:00",
    goals=["run torch"],
    steps=[
        StepEntry("install-torch", "Install torch.", [CommandEntry(["pip"], "failed", 8, None, None, 1, "log", "x")])
    ],
)
PLAN = Plan((), "nothing", "Nothing to do.", "2026-11-22")


@pytest.fixture(scope="module")
def venv(_make_session_venv):
    """An environment in which an error was recorded, and a script kept."""
    venv = _make_session_venv(torch="fake", coverage=False)
    venv.run_code(INCIDENT)
    venv.script_id = venv.run_code(SCRIPT).stdout.strip()
    return venv


def check(document, name):
    validator = jsonschema.Draft202012Validator(SCHEMAS[name], format_checker=jsonschema.FormatChecker())
    problems = [f"{'/'.join(map(str, each.absolute_path))}: {each.message}" for each in validator.iter_errors(document)]
    assert not problems, problems


@pytest.mark.parametrize("name", SCHEMAS)
def test_each_schema_is_one_and_the_page_links_it(name):
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name])
    assert f"<schemas/{name}.json>" in (rig.ROOT / "docs" / "json.md").read_text(encoding="utf-8")


def test_every_command_with_json_has_a_schema(venv):
    with_json = set()
    for words in [[], ["incidents"], ["scripts"]]:
        named = venv.run(venv.script("rtx50-autoload"), *words, "--help", check=True, env={"COLUMNS": "200"}).stdout
        for word in re.findall(r"(?m)^    ([a-z][a-z-]+)(?: |$)", named):
            shown = venv.run(venv.script("rtx50-autoload"), *words, word, "--help", check=True).stdout
            if "--json" in shown:
                with_json.add("-".join([*words, word]))
    assert with_json - {"incidents"} == {*SCHEMAS} - {"status-verify", "doctor-ray", "profiles-check"}


@pytest.mark.parametrize(("name", "call"), CALLS, ids=lambda value: str(value).replace(str(rig.ROOT), ""))
@pytest.mark.parametrize("env", [SIMULATED, {}], ids=["simulated", "no GPU"])
def test_what_a_command_prints_has_its_form(venv, name, call, env):
    words = [venv.script_id if word == "ID" else word for word in call.split()]
    result = venv.run(venv.script("rtx50-autoload"), *words, "--json", env=env, cwd=venv.site_packages)
    check(json.loads(result.stdout), name)


def test_scan_prints_a_list_of_binaries(venv, tmp_path):
    (tmp_path / "lib.so").write_bytes(elf([container("sm_90", image("compute_80"))]))
    result = venv.run(venv.script("rtx50-autoload"), "scan", tmp_path, "--json")
    document = json.loads(result.stdout)
    assert document
    check(document, "scan")


def test_a_cluster_has_its_form_with_real_documents_of_its_nodes(venv):
    printed = venv.run(venv.script("rtx50-autoload"), "doctor", "--json").stdout
    answer = {"code": 1, "stdout": printed, "stderr": "", "python": "/venv/bin/python", "orphaned": False}
    nodes = [{"name": "gpu-1", "answer": answer}, {"name": "gpu-2", "error": "NodeDiedError", "gone": True}]
    env = {"PYTHONPATH": str(rig.FAKES / "cluster"), "FAKE_RAY_NODES": json.dumps(nodes)}
    fleet = json.loads(venv.run("-m", "rtx50_autoload", "doctor", "--ray", "--json", env=env).stdout)
    assert [node["state"] for node in fleet["nodes"]] == ["examined", "died"]
    check(fleet, "doctor-ray")


def test_a_benchmark_that_was_measured_has_its_form():
    measured = (rig.ROOT / "benchmarks" / "results" / "bench-h200.json").read_text(encoding="utf-8")
    check(json.loads(measured), "bench")


def test_what_needs_a_gpu_or_changes_packages_has_its_form(venv):
    """The parts of documents that no command here comes to, made from the classes that print them."""
    error = ProbeError("RuntimeError", "no kernel image is available", 209)
    failed = ProbeResult("torch-matmul", "torch", "A product.", State.FAILS, error, 1.5, float("inf"), 0.1)
    report = ProbeReport((failed,), "Run here.", "2026-11-23T08:00:00+00:00", device="NVIDIA H200", capability=(9, 0))
    doctor = json.loads(venv.run(venv.script("rtx50-autoload"), "doctor", "--json").stdout)
    check(doctor | {"probes": json.loads(json.dumps(report.as_json()))}, "doctor")
    resolution = Resolution((), (Change("torch", "2.5.1", None),), ("torch",), ("x requires torch",), ("why",))
    applied = {
        "plan": PLAN.as_json(),
        "resolution": resolution.as_json(),
        "fix": STORY.as_json(),
        "verification": Verification(("a",), (), ("b",), "c").as_json(),
    }
    check(applied, "fix")
    undoing = Undoing(STORY, None, ("a",), (), (), (), ())
    check({"undo": undoing.as_json(), "undone": Undone(3, ("-a",), ("b",)).as_json()}, "fix")
    check({"undo": None, "reason": "nothing was changed"}, "fix")
    found = [Found(each, "/bin/x", version="1.0", models=("m",)).as_json() for each in load_knowledge().programs]
    check({"chosen": ["claude"], "assistants": found, "not_found": [], "left_out": {"amp": "no option"}}, "assistants")
