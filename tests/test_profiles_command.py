"""`profiles` as a person types it."""

from __future__ import annotations

import json
import sys

import pytest

import rig
from profile_files import install, profile
from rtx50_autoload.masquerading.profiles import load_profiles

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="the folder of settings is set by its variable on Linux"
)


@pytest.fixture
def own(tmp_path):
    (tmp_path / "config" / "rtx50-autoload").mkdir(parents=True)
    return tmp_path / "config" / "rtx50-autoload" / "profiles.toml"


@pytest.fixture
def site(tmp_path):
    (tmp_path / "site").mkdir()
    return tmp_path / "site"


@pytest.fixture
def profiles(installed, own, site, tmp_path):
    def run(*arguments, **variables):
        env = {
            "XDG_CONFIG_HOME": str(own.parents[1]),
            "PYTHONPATH": str(site),
            # Wide enough for a path of pytest's in a cell.
            "COLUMNS": "600",
            "LC_ALL": "C.UTF-8",
            **variables,
        }
        return installed.run(installed.script("rtx50-autoload"), "profiles", *arguments, env=env, cwd=tmp_path)

    return run


def rows(result):
    return {line.split()[0]: line for line in result.stdout.splitlines() if line[:1].isalpha()}


def test_the_built_in_ones_alone_are_no_finding(profiles, own):
    result = profiles()
    assert (result.returncode, result.stderr) == (0, "")
    listed = rows(result)
    assert all(module in listed for profile in load_profiles() for module in profile.modules)
    assert listed["apex"].split()[1:5] == ["-", "the", "truth", "built-in"]
    assert f"Your own profiles: {own}" in result.stdout


def test_all_are_listed_with_whose_they_are_and_what_is_told(profiles, own, site):
    install(site, "mylib", profile(distribution="'mylib'"), version="1.2")
    own.write_text(profile("mine") + profile("xformers", report="truth"))
    result = profiles()
    listed = rows(result)
    assert result.returncode == 0
    assert listed["mylib"].split()[1:5] == ["1.2", "9.0", "mylib", "1.2"]
    assert listed["mine"].split()[1:5] == ["-", "9.0", "your", "own"]
    # The last of that name is the built-in one.
    assert f"replaced by {own}" in listed["xformers"]
    # Not only where a card is.
    assert profiles(RTX50_SIMULATE="8.9").stdout == result.stdout


def test_a_profile_that_is_not_valid_is_a_finding(profiles, own, site):
    install(site, "sloppy", profile("torch"))
    own.write_text(profile("mine", report="9.0"))
    result = profiles()
    assert (result.returncode, result.stderr) == (1, "")
    assert "sloppy 1.0 (sloppy/rtx50.toml), profile 'torch': 'torch' has a built-in profile" in result.stdout
    assert f"{own}, profile 1 ('mine'): rule 1: 'report' is or holds '9.0'" in result.stdout.replace("\n", "")


def test_the_settings_hold_for_what_is_told(profiles):
    told = json.loads(profiles("--json", RTX50_MODE="observe", RTX50_SIMULATE="12.0").stdout)
    assert told["mode"] == "observe"
    assert {module["reported"] for each in told["profiles"] for module in each["modules"]} == {None}


def test_the_json_has_the_published_keys(profiles, own, site):
    install(site, "mylib", profile() + profile("torch"), version="1.2")
    own.write_text(profile("xformers"))
    document = json.loads(profiles("--json").stdout)
    assert document.keys() == {"capability", "mode", "user_file", "profiles", "problems"}
    assert document["user_file"] == str(own)
    first, second, *built_in = document["profiles"]
    assert first["origin"] == {"kind": "user", "file": str(own), "package": None}
    assert second == {
        "library": "mylib",
        "origin": {"kind": "package", "file": "mylib/rtx50.toml", "package": "mylib 1.2"},
        "modules": [
            {
                "module": "mylib",
                "replaced_by": None,
                "reported": [9, 0],
                "reason": "measured by a test (by mylib 1.2)",
            }
        ],
        "distribution": None,
        "installed": None,
        "masquerade": "target",
        "rule": {
            "versions": "",
            "report": "target",
            "adjust": [],
            "reason": "measured by a test",
            "source": "a test",
        },
    }
    assert built_in[0]["modules"][0]["replaced_by"] == str(own)
    (problem,) = document["problems"]
    assert problem.keys() == {"file", "package", "entry", "what", "text"}
    assert (problem["package"], problem["entry"]) == ("mylib 1.2", "profile 'torch'")


def test_a_file_is_checked_wherever_it_lies(profiles, tmp_path):
    file = tmp_path / "draft.toml"
    file.write_text(profile("numpy") + profile("second"))
    assert profiles("--check", "draft.toml").stdout == "Valid in draft.toml: numpy, second.\n"
    file.write_text(profile("numpy") + profile("second", report="9.0"))
    result = profiles("--check", "draft.toml", "--json")
    document = json.loads(result.stdout)
    assert result.returncode == 1
    assert document.keys() == {"file", "profiles", "problems"}
    assert document["profiles"] == ["numpy"]
    assert document["problems"][0]["entry"] == "profile 2 ('second')"
    file.write_bytes(b"\xff")
    assert profiles("--check", "draft.toml").returncode == 1


def test_no_file_and_no_such_option_are_wrong_usage(profiles):
    result = profiles("--check", "nowhere.toml")
    assert (result.returncode, result.stdout) == (2, "")
    assert "there is no file nowhere.toml" in result.stderr
    assert profiles("--all").returncode == 2


@pytest.mark.parametrize("width", [60, 80, 200])
def test_it_fits_the_terminal(profiles, own, width):
    own.write_text(profile("mine") + profile("xformers") + profile("x", report="9.0"))
    result = profiles(COLUMNS=str(width))
    assert not rig.too_wide(result.stdout, width)


def test_names_of_others_do_not_steer_the_terminal(profiles, own, site):
    install(site, "mylib", profile(library='"\\u001b[2J\\u202e"', adjust="['\\u001b[2J']"))
    own.write_text(profile(reason='"\\u001b]0;x\\u0007"').replace("reason = 'measured by a test'\n", ""))
    for arguments in ((), ("--check", str(own))):
        stdout = profiles(*arguments).stdout
        assert "\x1b" not in stdout
        assert "\u202e" not in stdout
