"""The commands as a person runs them."""

from __future__ import annotations

import json
import sys

import pytest

import rig
from probes import ASKS

SIMULATED = {"RTX50_SIMULATE": "NVIDIA GeForce RTX 5090:12.0"}
STATUS_KEYS = {
    "active": bool,
    "reason": str,
    "door": str,
    "mode": str,
    "prefix": str,
    "startup_files": list,
    "devices": list,
    "callers": list,
    "adjustments": list,
    "patches": list,
    "settings": dict,
}


def command(venv, *arguments, **options):
    return venv.run(venv.script("rtx50-autoload"), *arguments, **options)


def uninstall(venv):
    rig.tool([sys.executable, "-m", "pip", "--python", str(venv.python), "uninstall", "-qy", "rtx50-autoload"])


def status(venv, **options):
    result = command(venv, "status", "--json", **options)
    return result.returncode, json.loads(result.stdout)


def test_status_json_has_the_promised_shape(installed):
    code, state = status(installed, env=SIMULATED)
    assert code == 0
    assert {name: type(state[name]) for name in STATUS_KEYS} == STATUS_KEYS
    assert state["active"] is True
    assert state["door"] == "pth"
    assert state["mode"] == "auto"
    assert state["devices"] == [
        {"index": 0, "name": "NVIDIA GeForce RTX 5090", "capability": [12, 0], "source": "simulated"}
    ]
    by_caller = {row["caller"]: row["reported"] for row in state["callers"]}
    assert by_caller["xformers"] == by_caller["flash_attn"] == [9, 0]
    assert by_caller["torch"] is by_caller["triton"] is by_caller["flash_attn.cute"] is None
    assert all(row["reason"] for row in state["callers"])
    assert [(row["library"], row["state"]) for row in state["adjustments"]] == [
        ("xformers", "when xformers.ops.fmha.dispatch is imported"),
        ("xformers", "when xformers.ops.fmha.cutlass is imported"),
    ]
    assert [(file["present"], file["matches_record"]) for file in state["startup_files"]] == [(True, True)] * 2


def test_status_of_a_switched_off_process_says_why_and_exits_with_1(installed):
    code, state = status(installed, env={"RTX50_DISABLE": "1"})
    assert (code, state["active"], state["door"]) == (1, False, None)
    assert "RTX50_DISABLE" in state["reason"]


def test_status_where_start_up_files_are_not_run_says_so(installed):
    result = installed.run(
        "-S",
        "-c",
        f"""
import sys
sys.path.append({str(installed.site_packages)!r})
from rtx50_autoload.cli.main import main
import os
os.environ["TORCH_DEVICE_BACKEND_AUTOLOAD"] = "0"
sys.exit(main(["status", "--json"]))
""",
    )
    state = json.loads(result.stdout)
    assert (result.returncode, state["active"], state["door"]) == (1, False, None)
    assert "-S" in state["reason"]


def test_status_after_torch_was_imported_lists_the_patches_and_who_asked(either_torch):
    code = (
        ASKS
        + """
import rtx50_autoload
asks("xformers.ops.fmha.common")
print(json.dumps(rtx50_autoload.status()))
"""
    )
    state = json.loads(either_torch.run_code(code, env=SIMULATED).stdout)
    assert {patch["target"]: patch["state"] for patch in state["patches"]}.items() >= {
        "torch.cuda.get_device_capability": "applied",
        "torch.cuda._CudaDeviceProperties.major": "applied",
        "torch.cuda._CudaDeviceProperties.minor": "applied",
    }.items()
    asked = [row for row in state["callers"] if row["caller"] == "xformers.ops.fmha.common"]
    assert [row["reported"] for row in asked] == [[9, 0]]


def test_status_shows_a_changed_start_up_file(make_venv):
    venv = make_venv()
    file = venv.site_packages / "rtx50_autoload.pth"
    file.unlink()
    file.write_text("# edited by hand\n")
    code, state = status(venv)
    [changed] = [file for file in state["startup_files"] if not file["matches_record"]]
    assert changed["path"].endswith("rtx50_autoload.pth")
    assert changed["present"] is True
    # The second door still opens when torch is imported.
    assert (code, state["door"]) == (0, "torch.backends")
    file.unlink()
    assert [file["present"] for file in status(venv)[1]["startup_files"]].count(False) == 1


def test_the_console_script_and_the_module_print_the_same(installed):
    by_module = installed.run("-m", "rtx50_autoload", "status", "--json", env=SIMULATED)
    assert by_module.stdout == command(installed, "status", "--json", env=SIMULATED).stdout


@pytest.mark.parametrize("width", ["60", "100"])
def test_status_fits_the_terminal(installed, width):
    result = command(installed, "status", env={**SIMULATED, "COLUMNS": width})
    assert result.returncode == 0
    assert not rig.too_wide(result.stdout, int(width))
    assert "Traceback" not in result.stderr
    assert "NVIDIA GeForce RTX 5090" in result.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["frobnicate"],
        ["status", "--nonsense"],
        [],
        ["enable", "--user", "--venv", "x"],
        ["disable", "--venv", "/nowhere"],
    ],
)
def test_wrong_usage_exits_with_2_and_without_a_traceback(installed, arguments):
    result = command(installed, *arguments)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


def test_disable_in_one_environment_leaves_the_other_on(make_venv):
    one, other = make_venv(), make_venv()
    assert command(one, "disable").returncode == 0
    assert status(one)[0] == 1
    assert "enable" in status(one)[1]["reason"]
    assert status(other)[0] == 0
    assert command(one, "enable").returncode == 0
    assert status(one)[0] == 0
    assert not list(one.root.glob("*.toml"))


def test_disable_of_another_environment(make_venv):
    one, other = make_venv(), make_venv()
    assert command(one, "disable", "--venv", str(other.root)).returncode == 0
    assert (status(one)[0], status(other)[0]) == (0, 1)
    assert command(one, "enable", "--venv", str(other.root)).returncode == 0
    assert status(other)[0] == 0


def test_disable_takes_effect_in_programs(make_venv):
    venv = make_venv(torch="fake")
    program = ASKS + "print(asks('xformers')['function'])"
    environment = {"FAKE_TORCH_DEVICES": "12.0"}
    assert venv.run_code(program, env=environment).stdout == "(9, 0)\n"
    command(venv, "disable")
    assert venv.run_code(program, env=environment).stdout == "(12, 0)\n"
    command(venv, "enable")
    assert venv.run_code(program, env=environment).stdout == "(9, 0)\n"


def test_disable_says_who_removes_the_file(make_venv, tmp_path):
    venv = make_venv()
    assert "pip removes the file together with the package" in command(venv, "disable").stdout
    home = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    assert "stays when the package goes" in command(venv, "disable", "--user", env=home).stdout
    bare = make_venv(install=None)
    assert "The file stays when the package goes" in command(venv, "disable", "--venv", str(bare.root)).stdout


def test_status_names_a_setting_that_it_does_not_understand(installed):
    result = command(installed, "status", env={"RTX50_MODE": "lout"})
    assert "RTX50_MODE is 'lout', but allowed are auto, masquerade and observe" in " ".join(result.stdout.split())


def test_disable_for_the_user_and_enable_for_one_environment(make_venv, tmp_path):
    one, other = make_venv(), make_venv()
    home = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    assert command(one, "disable", "--user", env=home).returncode == 0
    assert (status(one, env=home)[0], status(other, env=home)[0]) == (1, 1)
    assert command(one, "enable", env=home).returncode == 0
    assert (status(one, env=home)[0], status(other, env=home)[0]) == (0, 1)
    assert command(one, "enable", "--user", env=home).returncode == 0
    assert status(other, env=home)[0] == 0


@pytest.mark.parametrize("install", ["wheel", "editable"])
@pytest.mark.parametrize("commands", [[], ["disable"], ["disable", "enable"], ["disable", "disable"]])
def test_uninstalling_leaves_nothing_of_ours(make_venv, install, commands):
    venv = make_venv(install=install)
    venv.run_code("import rtx50_autoload.state")
    for name in commands:
        assert command(venv, name).returncode == 0
    uninstall(venv)
    left = [path for path in venv.root.rglob("*") if "rtx50" in path.name.lower()]
    assert left == []


def test_a_settings_file_of_the_users_own_is_not_removed_with_the_package(make_venv):
    venv = make_venv()
    venv.root.joinpath("rtx50-autoload.toml").write_text('# mine\nmode = "observe"\n')
    command(venv, "disable")
    command(venv, "enable")
    uninstall(venv)
    assert venv.root.joinpath("rtx50-autoload.toml").read_text() == '# mine\nmode = "observe"\n'


def test_enable_says_that_the_variable_still_switches_off(make_venv):
    assert "RTX50_DISABLE" in command(make_venv(), "enable", env={"RTX50_DISABLE": "1"}).stdout


def test_demo_shows_what_each_caller_sees(either_torch):
    result = command(either_torch, "demo", "--json")
    demo = json.loads(result.stdout)
    assert result.returncode == 0
    assert set(map(tuple, demo["without"].values())) == {(12, 0)}
    assert demo["with"]["xformers.ops.fmha.common"] == demo["with"]["flash_attn.flash_attn_interface"] == [9, 0]
    assert demo["with"]["__main__"] == demo["with"]["triton.backends.driver"] == [12, 0]
    assert demo["properties"] == {"without": demo["without"], "with": demo["with"]}
    assert demo["torch"].startswith("2.13.0")
    assert len(demo["message"]) == 1


def test_demo_without_torch_says_so_and_shows_the_rest(installed):
    result = command(installed, "demo")
    assert result.returncode == 0
    assert "torch is not installed" in result.stdout
    assert "xformers.ops.fmha.common" in result.stdout.replace("\n", "")
    demo = json.loads(command(installed, "demo", "--json").stdout)
    assert demo["torch"] is None
    assert demo["with"]["xformers.ops.fmha.common"] == [9, 0]


def test_demo_of_a_switched_off_package_says_so(either_torch):
    result = command(either_torch, "demo", env={"RTX50_DISABLE": "1"})
    assert result.returncode == 1
    assert "RTX50_DISABLE" in result.stdout
    assert "Traceback" not in result.stderr


def test_an_internal_fault_of_a_command_shows_no_traceback(installed):
    code = """
import sys
from rtx50_autoload.cli import main
import rtx50_autoload.state
def bug():
    raise ZeroDivisionError("planted")
rtx50_autoload.state.status = bug
sys.exit(main.main(["status"]))
"""
    result = installed.run_code(code, check=False)
    assert (result.returncode, "Traceback" in result.stderr) == (1, False)
    assert "RTX50_DEBUG=1" in result.stderr
    assert "Traceback" in installed.run_code(code, env={"RTX50_DEBUG": "1"}, check=False).stderr


def test_output_into_a_closed_pipe_is_no_fault(installed):
    code = f"""
import subprocess, sys
child = subprocess.Popen([{str(installed.script("rtx50-autoload"))!r}, "status", "--json"],
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
child.stdout.close()
print(child.stderr.read().decode(), child.wait())
"""
    result = installed.run_code(code)
    assert "Traceback" not in result.stdout, sys.version
