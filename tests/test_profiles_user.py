"""The user's own profiles: whom they come before, and that they are read only where a caller is judged."""

from __future__ import annotations

import json
import os
import sys

import pytest

from probes import ASK_ALL, answers
from profile_files import install, profile

TRUTH, HOPPER = {(12, 0)}, {(9, 0)}
SIMULATED = {"RTX50_SIMULATE": "12.0"}


@pytest.fixture
def own(tmp_path):
    """Where the user's own profiles stand on Linux."""
    folder = tmp_path / "config" / "rtx50-autoload"
    folder.mkdir(parents=True)
    return folder / "profiles.toml"


@pytest.fixture
def environment(tmp_path, own):
    """Variables with a folder of settings and a folder of packages of the test's own."""
    (tmp_path / "site").mkdir()
    return {**SIMULATED, "XDG_CONFIG_HOME": str(own.parents[1]), "PYTHONPATH": str(tmp_path / "site")}


pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="the folder of settings is set by its variable on Linux"
)


@pytest.fixture
def told(with_fake_torch, environment):
    def ask(*callers, **variables):
        result = with_fake_torch.run("-c", ASK_ALL, *callers, env={**environment, **variables}, check=True)
        return answers(result), result.stderr

    return ask


def test_any_module_may_be_named(told, own):
    own.write_text(profile("anything") + profile("torch.nn") + profile("xformers", report="truth"))
    assert told("anything.below", "torch.nn", "torch.fx", "xformers", "flash_attn")[0] == {
        "anything.below": HOPPER,
        "torch.nn": HOPPER,
        "torch.fx": TRUTH,
        "xformers": TRUTH,
        "flash_attn": HOPPER,
    }


def test_the_user_comes_before_the_package_and_the_package_before_what_is_built_in(told, own, tmp_path):
    install(tmp_path / "site", "mylib", profile())
    install(tmp_path / "site", "flash_attn", profile("flash_attn", report="truth"))
    assert told("mylib", "flash_attn")[0] == {"mylib": HOPPER, "flash_attn": TRUTH}
    own.write_text(profile("mylib", report="truth") + profile("flash_attn"))
    assert told("mylib", "flash_attn")[0] == {"mylib": TRUTH, "flash_attn": HOPPER}


def test_the_longest_name_counts_before_whose_it_is(told, own):
    own.write_text(profile("xformers"))
    assert told("xformers.ops._triton")[0] == {"xformers.ops._triton": TRUTH}


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"RTX50_CALLERS": "mylib=true"}, TRUTH),
        ({"RTX50_CALLERS": "mylib=8.9"}, {(8, 9)}),
        ({"RTX50_MODE": "observe"}, TRUTH),
        ({"RTX50_MODE": "masquerade"}, TRUTH),
        ({"RTX50_MASQUERADE": "12.0:8.0"}, {(8, 0)}),
        ({"RTX50_MASQUERADE": "12.1:9.0"}, TRUTH),
    ],
)
def test_settings_keep_their_place_before_profiles(told, own, variables, expected):
    own.write_text(profile(masquerade="'truth'"))
    assert told("mylib", **variables)[0] == {"mylib": expected}


def test_the_switch_switches_them_off(with_fake_torch, environment, own):
    own.write_text("[[")
    env = {**environment, "RTX50_DISABLE": "1", "FAKE_TORCH_DEVICES": "12.0"}
    result = with_fake_torch.run("-c", ASK_ALL, "xformers", env=env, check=True)
    assert (answers(result), result.stderr) == ({"xformers": TRUTH}, "")


def test_a_profile_of_the_users_own_takes_the_built_in_switches_away(with_fake_torch, environment, own):
    code = "import json, rtx50_autoload; print(json.dumps(rtx50_autoload.status()['adjustments']))"
    assert len(json.loads(with_fake_torch.run_code(code, env=environment).stdout)) == 2
    own.write_text(profile("xformers"))
    assert json.loads(with_fake_torch.run_code(code, env=environment).stdout) == []
    own.write_text(profile("xformers") + "adjust = ['xformers-fa3-off']\n")
    (adjustment,) = json.loads(with_fake_torch.run_code(code, env=environment).stdout)
    assert "FlashAttention-3 off" in adjustment["what"]


BAD = {
    "not TOML": "[[",
    "a mistake": profile() + profile("other", report="9.0"),
    "an unknown key": "mode = 'observe'\n" + profile(),
    "too large": "#" * 200_001,
    "not UTF-8": "\udcff",
}


@pytest.mark.parametrize("content", BAD)
def test_what_is_wrong_is_said_once_and_the_rest_holds(told, own, content):
    own.write_bytes(BAD[content].encode("utf-8", "surrogateescape"))
    answer, said = told("xformers", "flash_attn", "__main__", "other", "mylib")
    sound = "[[profile]]" in BAD[content]
    assert answer == {
        "xformers": HOPPER,
        "flash_attn": HOPPER,
        "__main__": TRUTH,
        "other": TRUTH,
        "mylib": HOPPER if sound else TRUTH,
    }
    assert said.count(f"rtx50-autoload: {own}") == 1
    assert "Traceback" not in said
    assert str(own) not in told("xformers", RTX50_QUIET="1")[1]


def test_of_many_mistakes_one_is_said_with_their_number(told, own):
    own.write_text(profile(report="x") * 3)
    said = told("xformers")[1]
    assert said.count(str(own)) == 1
    assert "Mistakes there: 3; `rtx50-autoload profiles` lists them.\n" in said


def test_a_file_of_everybodys_is_ignored(told, own):
    own.write_text(profile())
    own.chmod(0o666)
    answer, said = told("mylib")
    assert answer == {"mylib": TRUTH}
    assert f"{own}: all of it is ignored: everybody on this machine may write to it." in said


def test_a_pipe_is_not_waited_for(told, own):
    os.mkfifo(own)
    answer, said = told("mylib", "xformers")
    assert answer == {"mylib": TRUTH, "xformers": HOPPER}
    assert "it is no regular file" in said


def test_without_a_home_there_are_none(with_fake_torch, as_nobody):
    # Not even a variable says where a home would be.
    code = "import os; [os.environ.pop(each) for each in ('HOME', 'XDG_CONFIG_HOME')]\n" + ASK_ALL
    program = with_fake_torch.home / "program.py"
    program.write_text(code)
    env = with_fake_torch.environment(SIMULATED)
    result = with_fake_torch.run(
        "sh", "-c", f'{as_nobody} "$0" "$@"', with_fake_torch.python, program, "xformers", env=env
    )
    assert answers(result) == {"xformers": HOPPER}


#: Prints how many files of profiles and metadata were opened when torch was there and callers had asked, and by what.
WATCHED = """
import json, sys
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
import torch
for name in ("xformers", "mylib", "torch.cuda"):
    eval("f(0)", {"__name__": name, "f": torch.cuda.get_device_capability})
kept = [each for each in opened if each.endswith(("profiles.toml", "rtx50.toml", "entry_points.txt"))]
loaded = [each for each in sys.modules if each.endswith(("known_profiles", "package_profiles", "profile_schema"))]
print(json.dumps([len(kept), loaded]))
"""
#: On a device of the machine; no library of a driver, whichever machine this is.
ON_A_DEVICE = "from rtx50_autoload.evidence import driver; driver.is_absent = lambda: True\n" + WATCHED


@pytest.fixture
def read(with_fake_torch, environment, own, tmp_path):
    """Tell what is opened and loaded in a program; both files of profiles have something to read."""
    own.write_text(profile())
    install(tmp_path / "site", "mylib", profile())

    def run(code=WATCHED, **variables):
        return json.loads(with_fake_torch.run_code(code, env={**environment, **variables}).stdout)

    return run


def test_nothing_of_profiles_is_read_where_nobody_can_be_told_anything(read):
    # torch looks for entry points itself.
    count, _ = read(RTX50_DISABLE="1", RTX50_SIMULATE="", FAKE_TORCH_DEVICES="8.9")
    assert read(ON_A_DEVICE, RTX50_SIMULATE="", FAKE_TORCH_DEVICES="8.9") == [count, []]
    assert read(RTX50_SIMULATE="8.9")[0] == count
    assert read(RTX50_MODE="observe")[0] == count
    assert read(RTX50_CALLERS="xformers=9.0,mylib=9.0,torch=true")[0] == count


def test_where_somebody_is_judged_they_are_read_once(read):
    count, _ = read(RTX50_DISABLE="1", RTX50_SIMULATE="", FAKE_TORCH_DEVICES="8.9")
    once, loaded = read()
    # The user's file, that of the package and the built-in one; and each package's entry points, that one's twice.
    assert once == 2 * count + 4
    assert len(loaded) == 3


def test_the_import_of_torch_alone_does_not_wait_for_them(read):
    count, _ = read(RTX50_DISABLE="1", RTX50_SIMULATE="", FAKE_TORCH_DEVICES="8.9")
    without_asking = WATCHED.replace('("xformers", "mylib", "torch.cuda")', "()")
    assert read(without_asking) == [count, []]


def test_status_names_whose_profile_it_is_and_what_is_wrong_with_others(with_fake_torch, environment, own, tmp_path):
    install(tmp_path / "site", "mylib", profile() + profile("torch"))
    own.write_text(profile("mine") + profile("other", report="9.0"))
    result = with_fake_torch.run(with_fake_torch.script("rtx50-autoload"), "status", "--json", env=environment)
    status = json.loads(result.stdout)
    reasons = {row["caller"]: row["reason"] for row in status["callers"]}
    assert reasons["mylib"] == "measured by a test (by mylib 1.0)"
    assert reasons["mine"] == f"measured by a test (by {own})"
    assert "(by" not in reasons["xformers"]
    assert [problem.partition(",")[0] for problem in status["problems"]] == [str(own), "mylib 1.0 (mylib/rtx50.toml)"]
    assert result.stderr == ""


def test_a_block_spares_whom_such_a_profile_spares(with_fake_torch, environment, own):
    own.write_text(profile(masquerade="'truth'"))
    code = """
import torch, rtx50_autoload
with rtx50_autoload.masquerade():
    print([eval("f(0)", {"__name__": name, "f": torch.cuda.get_device_capability}) for name in ("mylib", "other")])
"""
    assert with_fake_torch.run_code(code, env=environment).stdout == "[(12, 0), (9, 0)]\n"
