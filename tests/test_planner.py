"""What holds of every plan, whatever the machine."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtx50_autoload.diagnosis.situation import Gpu
from rtx50_autoload.installer.describe import read_goals, read_machine
from rtx50_autoload.installer.goals import goals_for
from rtx50_autoload.installer.machine import Machine, Package
from rtx50_autoload.installer.planner import make_plan

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MACHINES = sorted((Path(__file__).parent / "machines").glob("*.toml"))

GPUS = [
    Gpu("NVIDIA GeForce RTX 5090", (12, 0), "nvidia"),
    Gpu("NVIDIA GB10", (12, 1), "nvidia"),
    Gpu("NVIDIA GeForce RTX 4090", (8, 9), "nvidia"),
    Gpu("NVIDIA GeForce GTX 1080 Ti", (6, 1), "nvidia"),
    Gpu("Tesla K80", (3, 7), "nvidia"),
    Gpu(None, None, "nvidia"),
    Gpu("AMD Radeon RX 7900 XTX", None, "amd"),
]
TORCHES = [
    Package("2.15.0", "cu132"),
    Package("2.13.0", "cu130"),
    Package("2.9.1", "cu128"),
    Package("2.9.1"),
    Package("2.8.0", "cpu"),
    Package("2.6.0", "cu124"),
    Package("1.13.1", "cu117"),
    Package("2.8.0", "rocm6.4"),
    Package("2.12.0.dev20260301", "cu130"),
    Package("2.9.0a0+gitabcdef0", origin="editable file:///src/pytorch"),
    Package("99.0", "cu999"),
    Package("no version"),
    Package("2.9.1+cu128.mine"),
]
OTHERS = {
    "torchvision": [Package("0.24.1", "cu128", ("torch==2.9.1",)), Package("0.21.0", "cu124", ("torch==2.6.0",))],
    "xformers": [Package("0.0.35", None, ("torch>=2.10",)), Package("0.0.29.post3", None, ("torch==2.6.0",))],
    "flash-attn": [Package("2.7.2.post1+cu12torch2.5cxx11abiFALSE", None, ("torch",))],
    "bitsandbytes": [Package("0.43.3"), Package("0.50.2")],
    "numpy": [Package("1.26.4"), Package("2.3.4")],
    "some-app": [Package("1.0", None, ("torch<2.9", "not a requirement", "numpy<2; python_version < '3.11'"))],
}


@st.composite
def machines(draw):
    packages = {name: package for name, each in OTHERS.items() if (package := draw(st.sampled_from([None, *each])))}
    hidden = {}
    if torch := draw(st.sampled_from([None, *TORCHES])):
        packages["torch"] = torch
        if draw(st.booleans()):
            hidden["torch"] = draw(st.sampled_from(TORCHES))
    kind = draw(st.sampled_from(["venv", "conda", "embedded", "system"]))
    return Machine(
        gpus=tuple(draw(st.lists(st.sampled_from(GPUS), max_size=3))),
        driver=draw(st.sampled_from([None, "470.256.02", "550.144.03", "572.16", "580.95.05", "595.10"])),
        system=draw(st.sampled_from(["linux", "wsl", "windows", "macos"])),
        processor=draw(st.sampled_from(["x86_64", "aarch64"])),
        python=draw(st.sampled_from(["3.8", "3.9", "3.10", "3.12", "3.13t", "3.14", "3.15", "3.16"])),
        executable=draw(st.sampled_from(["/home/me/my venv/bin/python", r"C:\\ai (1)\\python.exe"])),
        kind=kind,
        installer=draw(st.sampled_from(["uv", "pip"])) if kind in ("venv", "system") else "pip",
        container=draw(st.sampled_from([None, "docker", "podman", "kubernetes", "container"])),
        externally_managed=kind == "system" and draw(st.booleans()),
        packages=packages,
        hidden=hidden,
        toolkit=draw(st.sampled_from([None, "12.4", "12.8", "13.0"])),
        compiler=draw(st.sampled_from([None, ("gcc", 13), ("msvc", 1944)])),
    )


goals = st.builds(
    goals_for,
    st.lists(st.sampled_from(["torch", "xformers", "bitsandbytes", "flash-attn", "torchvision"]), max_size=2),
    st.lists(st.sampled_from(["flash-attn", "xformers", "something-else"]), max_size=1),
)


def texts(plan):
    for step in plan.steps:
        yield from (step.what, step.why, step.back, step.check, *step.by_hand)
    for each in plan.unsolved:
        yield from (each.what, each.why, each.next)
    yield plan.summary


def assert_sound(plan, machine):
    """Check what no plan may do, and what every one has to."""
    ids = [step.id for step in plan.steps]
    made = any(step.id == "new-environment" for step in plan.steps)
    for step in plan.steps:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", step.id)
        assert step.commands or step.by_hand, step
        assert step.what
        assert step.why
        for command in step.commands:
            words = command.arguments
            assert not {"sudo", "--break-system-packages", "--user", "--target", "--extra-index-url"} & set(words)
            python = words[words.index("--python") + 1] if words[0] == "uv" else words[0]
            # In the environment in question, or in the one that was made for it.
            assert python.startswith("rtx50-venv") if made else python == machine.executable
        # Both take the version that is there for the right one, whatever it was built for.
        same = [change.package for change in step.changes if change.before == change.after]
        words = {word for command in step.commands for word in command.arguments}
        assert not same or words & {"--force-reinstall", "--reinstall-package"}
    assert len(ids) == len(set(ids))
    assert plan.outcome == ("steps" if ids else "impossible" if plan.outcome == "impossible" else "nothing")
    assert plan.outcome != "impossible" or plan.unsolved
    assert not ids or ids[-1] == "check"
    for text in texts(plan):
        assert text.isascii(), text
        assert "{" not in text
        assert "None" not in text, text
        assert "  " not in text, text
    json.dumps(plan.as_json())


@settings(deadline=None, max_examples=300)
@given(machine=machines(), wanted=goals)
def test_no_machine_gets_a_plan_that_does_what_none_may(machine, wanted):
    assert_sound(make_plan(machine, wanted), machine)


@pytest.mark.parametrize("installer", ["pip", "uv"])
@pytest.mark.parametrize("file", MACHINES, ids=lambda file: file.stem)
def test_uv_and_pip_lead_to_the_same(file, installer):
    description = tomllib.loads(file.read_text(encoding="utf-8"))
    machine = read_machine(description)
    wanted = read_goals(description) or goals_for((), ())
    plan = make_plan(replace(machine, installer=installer), wanted)
    assert_sound(plan, machine)
    # Where pip is missing, uv does without.
    ids = [[step.id for step in each.steps if step.id != "install-pip"] for each in (plan, make_plan(machine, wanted))]
    assert ids[0] == ids[1]


def test_what_is_wanted_and_cannot_be_had_is_not_said_to_be_there():
    machine = Machine(gpus=(GPUS[0],), driver="580.95.05", packages={"torch": Package("2.9.1", "cu130")})
    plan = make_plan(replace(machine, system="wsl"), goals_for(["triton-windows"], []))
    assert plan.outcome == "impossible"
    assert [each.id for each in plan.unsolved] == ["library-left-out"]
    assert "triton-windows" in plan.summary


def test_what_cannot_be_had_is_told_apart_from_what_the_steps_lead_to():
    machine = Machine(
        gpus=(GPUS[1],), driver="580.95.05", processor="aarch64", packages={"torch": Package("2.9.1", "cpu")}
    )
    plan = make_plan(machine, goals_for(["bitsandbytes", "triton-windows"], []))
    assert plan.summary.endswith("to have bitsandbytes run on NVIDIA GB10. Not triton-windows: see what remains.")


@settings(deadline=None, max_examples=200)
@given(machine=machines())
def test_once_the_steps_are_done_there_is_nothing_left_to_do(machine):
    plan = make_plan(machine)
    changes = {change.package: change.after for step in plan.steps for change in step.changes}
    if plan.outcome != "steps" or any(step.by_hand and step.id != "check" for step in plan.steps):
        return
    packages = {name: package for name, package in machine.packages.items() if name not in changes}
    for name, after in changes.items():
        version, _, variant = after.partition("+")
        if re.fullmatch(r"[\d.]+(post\d+)?", version):
            packages[name] = Package(version, variant or None)
    again = make_plan(replace(machine, packages=packages))
    left = [step.id for step in again.steps if step.id != "check" and not step.id.startswith("build-")]
    assert left in ([], ["install-build-tools"])
