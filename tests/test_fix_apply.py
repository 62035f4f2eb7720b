"""A plan is applied: what is found beforehand, what runs, what stops it, and what is told of it."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

import rig
from fixing import differing, hashes, make_wheel
from terminal import at_terminal


def test_a_plan_is_applied_and_undone_and_freeze_says_the_same(bench):
    bench.plan(
        bench.install("six==1.16.0", "colorama"),
        bench.step(bench.command("uninstall", "idna"), bench.command("install", "idna==2.10")),
        bench.step(bench.command("uninstall", "requests")),
    )
    applied = bench.json("--apply", "--yes")
    assert applied["fix"]["status"] == "done", applied
    assert (bench.version("six"), bench.version("colorama"), bench.version("requests")) == ("1.16.0", "0.4.6", None)
    undone = bench.fix("--undo", "--yes")
    assert undone.returncode == 0, rig.describe(undone)
    assert f"As before: {len(bench.before.splitlines())} packages" in undone.stdout
    assert bench.is_as_before()


def test_every_file_is_as_before_and_the_restored_packages_run(uv_bench):
    before = hashes(uv_bench.venv.site_packages)
    uv_bench.plan(uv_bench.install("six==1.16.0", "urllib3==1.26.18", "--reinstall"))
    assert uv_bench.json("--apply", "--yes")["fix"]["status"] == "done"
    (state,) = uv_bench.states
    kept = hashes(state / "files")
    assert all(
        before[path.partition("site-packages/")[2]] == value for path, value in kept.items() if "site-packages/" in path
    )
    assert uv_bench.fix("--undo", "--yes").returncode == 0
    assert differing(before, hashes(uv_bench.venv.site_packages)) == []
    uv_bench.venv.run_code("import six, urllib3; assert six.__version__ == '1.15.0'")


def test_what_other_packages_require_is_found_before_anything_is_touched(bench):
    bench.plan(bench.install("six==1.16.0"), bench.install("urllib3==2.2.1"))
    result = bench.fix("--apply", "--yes")
    assert result.returncode == 1
    assert "requests" in result.stdout
    assert "urllib3" in result.stdout
    assert "Nothing was changed" in " ".join(result.stdout.split())
    assert bench.is_as_before()
    assert not bench.states


def test_what_was_broken_before_is_no_conflict_of_the_plan(uv_bench):
    # requests 2.25.1 requires chardet and certifi, which are not installed.
    uv_bench.plan(uv_bench.install("six==1.16.0"))
    assert uv_bench.json("--apply", "--yes")["resolution"]["broken"] == []


def test_a_package_that_does_not_exist_stops_it_before_anything_is_touched(uv_bench):
    uv_bench.plan(uv_bench.install("six==1.16.0"), uv_bench.install("six==99"))
    result = uv_bench.fix("--apply", "--yes")
    assert result.returncode == 1
    assert "six==99" in result.stderr
    assert "nothing was changed: Do six==99." in result.stderr
    assert uv_bench.is_as_before()
    assert not uv_bench.states


def test_a_later_step_is_tried_with_what_the_earlier_ones_leave(uv_bench):
    uv_bench.plan(uv_bench.step(uv_bench.command("uninstall", "requests")), uv_bench.install("urllib3==2.2.1"))
    applied = uv_bench.json("--apply", "--yes")
    assert applied["resolution"]["broken"] == []
    assert uv_bench.version("urllib3") == "2.2.1"


def test_it_installs_what_the_dry_run_found(uv_bench):
    uv_bench.plan(uv_bench.install("colorama"))
    applied = uv_bench.json("--apply", "--yes")
    (command,) = applied["fix"]["steps"][0]["commands"]
    constraint = command["arguments"][command["arguments"].index("--constraint") + 1]
    assert Path(constraint).read_text(encoding="utf-8") == "colorama==0.4.6\n"


def test_the_first_failure_stops_it_and_says_how_to_go_back(uv_bench, tmp_path):
    broken = make_wheel(tmp_path, "brokenwheel", "1.0", {"brokenwheel.py": b""})
    uv_bench.plan(
        uv_bench.install("six==1.16.0"),
        uv_bench.step(uv_bench.command("install", "--find-links", str(tmp_path), "brokenwheel")),
        uv_bench.install("colorama"),
        # Between the dry run and the installation.
        spoil=str(broken),
        spoil_at=2,
    )
    result = uv_bench.fix("--apply", "--yes")
    assert result.returncode == 1
    assert "Step 2 of 3 failed" in result.stdout
    assert "fix --undo" in result.stdout
    assert "step-2-1.log" in result.stdout
    assert uv_bench.version("six") == "1.16.0"
    assert uv_bench.version("colorama") is None
    shown = uv_bench.fix()
    assert "The last fix stopped in step 2 of 3" in " ".join(shown.stdout.split())
    assert uv_bench.fix("--undo", "--yes").returncode == 0
    assert uv_bench.is_as_before()


def test_without_a_terminal_nothing_runs_and_it_says_what_to_do(uv_bench):
    uv_bench.plan(uv_bench.install("six==1.16.0"))
    for option in ("--apply", "--undo"):
        result = uv_bench.fix(option)
        assert result.returncode == 2
        assert f"fix {option} --yes" in result.stderr
    assert uv_bench.is_as_before()


def test_yes_alone_is_wrong_usage(uv_bench):
    uv_bench.plan()
    assert uv_bench.fix("--yes").returncode == 2


@pytest.mark.parametrize(("answer", "version"), [("\n", "1.15.0"), ("n\n", "1.15.0"), ("y\n", "1.16.0")])
def test_at_a_terminal_it_shows_the_plan_and_asks(uv_bench, answer, version):
    uv_bench.plan(uv_bench.install("six==1.16.0"))
    with at_terminal(uv_bench.venv, *uv_bench.arguments("--apply"), env=uv_bench.environ) as terminal:
        terminal.expect("Do six==1.16.0.")
        terminal.expect("six 1.15.0 -> 1.16.0")
        terminal.expect("Do it? [y/N]")
        terminal.type(answer)
        terminal.end()
    assert uv_bench.version("six") == version


def test_a_plan_is_shown_without_anything_being_kept(uv_bench):
    uv_bench.plan(uv_bench.install("six==1.16.0"))
    result = uv_bench.fix()
    assert result.returncode == 1
    assert "Do six==1.16.0." in result.stdout
    assert "rtx50-autoload fix --apply" in result.stdout
    assert not (uv_bench.venv.home / "state").exists()


def test_where_there_is_nothing_to_do_it_says_so(uv_bench):
    uv_bench.plan()
    assert uv_bench.fix().returncode == 0
    assert uv_bench.fix("--apply", "--yes").returncode == 0
    assert uv_bench.json("--undo", "--yes")["undo"] is None


def test_a_step_by_hand_ends_it_and_comes_before_all_that_follows(uv_bench):
    by_hand = uv_bench.step(by_hand=["Restart the computer."])
    uv_bench.plan(uv_bench.install("six==1.16.0"), by_hand, uv_bench.install("colorama"))
    result = uv_bench.fix("--apply", "--yes")
    assert result.returncode == 1
    assert "Restart the computer." in result.stdout
    assert (uv_bench.version("six"), uv_bench.version("colorama")) == ("1.16.0", None)


def test_a_step_may_run_code_of_the_plan_and_the_way_back_removes_what_it_has_added(uv_bench):
    before = hashes(uv_bench.venv.root)
    code = "import pathlib, six; pathlib.Path(six.__file__).with_name('six-link').symlink_to('six.py')"
    step = uv_bench.step(uv_bench.command("install", "six==1.16.0"), [str(uv_bench.venv.python), "-c", code])
    uv_bench.plan(step)
    applied = uv_bench.json("--apply", "--yes")
    assert applied["fix"]["status"] == "done", applied
    assert (uv_bench.venv.site_packages / "six-link").is_symlink()
    assert uv_bench.fix("--undo", "--yes").returncode == 0
    assert not (uv_bench.venv.site_packages / "six-link").is_symlink()
    assert differing(before, hashes(uv_bench.venv.root)) == []


def test_where_a_person_has_to_begin_nothing_is_changed(uv_bench):
    uv_bench.plan(uv_bench.step(by_hand=["Restart the computer."]), uv_bench.install("six==1.16.0"))
    result = uv_bench.fix("--apply", "--yes")
    assert result.returncode == 1
    assert "Restart the computer." in result.stdout
    assert uv_bench.is_as_before()


def test_variables_that_lead_elsewhere_lead_nowhere(make_bench, tmp_path):
    bench = make_bench("pip")
    elsewhere = {"PIP_TARGET": str(tmp_path / "t"), "PIP_PREFIX": str(tmp_path / "p"), "UV_TARGET": str(tmp_path / "u")}
    bench.plan(bench.install("six==1.16.0"))
    applied = bench.json("--apply", "--yes", env={**elsewhere, "PIP_USER": "1", "UV_SYSTEM_PYTHON": "1"})
    assert applied["fix"]["status"] == "done"
    assert bench.version("six") == "1.16.0"
    assert not list(tmp_path.iterdir())


def test_where_pip_is_missing_it_says_how_to_get_it(uv_bench):
    uv_bench.plan(uv_bench.step([str(uv_bench.venv.python), "-m", "pip", "install", "six==1.16.0"]))
    result = uv_bench.fix("--apply", "--yes")
    assert result.returncode == 1
    assert "-m ensurepip" in result.stderr
    assert uv_bench.is_as_before()


def test_a_configuration_of_pip_that_leads_elsewhere_stops_it(make_bench, tmp_path):
    bench = make_bench("pip")
    config = bench.venv.home / "config" / "pip"
    config.mkdir(parents=True)
    (config / "pip.conf").write_text(f"[install]\ntarget = {tmp_path / 'elsewhere'}\n", encoding="utf-8")
    bench.plan(bench.install("six==1.16.0"))
    result = bench.fix("--apply", "--yes")
    assert result.returncode == 1
    assert "`target`" in result.stderr
    assert bench.is_as_before()
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    ("machine", "words"), [({"externally_managed": True}, "PEP 668"), ({"kind": "system"}, "the system's Python")]
)
def test_a_protected_environment_is_left_alone(uv_bench, machine, words):
    if machine.get("kind") == "system" and os.geteuid():
        pytest.skip("only root is kept out of the system's Python")
    uv_bench.plan(uv_bench.install("six==1.16.0"), machine=machine)
    result = uv_bench.fix("--apply", "--yes")
    assert result.returncode == 1
    assert words in " ".join(result.stderr.split())
    assert uv_bench.is_as_before()


def test_where_the_way_back_cannot_be_kept_nothing_is_touched(uv_bench, tmp_path):
    (tmp_path / "a-file").write_text("", encoding="utf-8")
    uv_bench.plan(uv_bench.install("six==1.16.0"))
    result = uv_bench.fix("--apply", "--yes", env={"XDG_STATE_HOME": str(tmp_path / "a-file")})
    assert result.returncode == 1
    assert "Nothing was changed" in result.stderr
    assert "XDG_STATE_HOME" in result.stderr
    assert uv_bench.is_as_before()


def test_what_is_kept_is_for_its_owner_alone(uv_bench):
    uv_bench.plan(uv_bench.install("six==1.16.0"))
    uv_bench.fix("--apply", "--yes")
    (state,) = uv_bench.states
    assert state.stat().st_mode & 0o077 == 0
    assert state.parent.stat().st_mode & 0o077 == 0
    ours = [path for path in state.iterdir() if path.is_file()]
    assert {path.name for path in ours} >= {"journal.json", "freeze.txt", "plan.json", "kept.json", "step-1-1.log"}
    assert all(path.stat().st_mode & 0o077 == 0 for path in ours)


def test_only_the_last_fix_keeps_files(uv_bench):
    uv_bench.plan(uv_bench.install("six==1.16.0"))
    uv_bench.fix("--apply", "--yes")
    uv_bench.plan(uv_bench.install("colorama"))
    uv_bench.fix("--apply", "--yes")
    first, second = uv_bench.states
    assert not (first / "files").exists()
    assert (first / "freeze.txt").exists()
    assert (second / "files").is_dir()


def test_two_at_once_do_not_work_on_one_environment(uv_bench):
    uv_bench.plan(uv_bench.install("six==1.16.0"), pause_at=1)
    environ = uv_bench.venv.environment(uv_bench.environ)
    first = subprocess.Popen(
        uv_bench.arguments("--apply", "--yes"), env=environ, stdout=subprocess.PIPE, stdin=subprocess.PIPE
    )
    try:
        wait_for(lambda: any((state / "listing.txt").exists() for state in uv_bench.states))
        wait_for(lambda: json.loads((uv_bench.states[-1] / "journal.json").read_text())["status"] == "running")
        for option in ("--apply", "--undo"):
            second = uv_bench.fix(option, "--yes")
            assert second.returncode == 1
            assert f"process {first.pid}" in second.stderr
    finally:
        first.communicate(b"\n", timeout=rig.TIMEOUT)
    assert first.returncode == 0
    assert uv_bench.version("six") == "1.16.0"


def test_it_survives_that_its_own_packages_go(uv_bench):
    own = ("rich", "packaging", "filelock", "platformdirs", "pygments", "markdown-it-py", "mdurl")
    uv_bench.plan(
        uv_bench.step(uv_bench.command("uninstall", *own)), uv_bench.install("six==1.16.0"), ignore_broken=True
    )
    result = uv_bench.fix("--apply", "--yes")
    assert "All steps have been run" in result.stdout, rig.describe(result)
    assert uv_bench.version("rich") is None
    undone = uv_bench.venv.run("-m", "rtx50_autoload", "fix", "--undo", "--yes", env=uv_bench.environ)
    assert undone.returncode == 0, rig.describe(undone)
    assert uv_bench.is_as_before()


def test_an_upgrade_of_what_it_uses_itself_is_no_hindrance(uv_bench):
    uv_bench.plan(uv_bench.install("packaging==24.0"), verify=True)
    result = uv_bench.fix("--apply", "--yes")
    assert result.returncode == 0, rig.describe(result)
    assert "Verified" in result.stdout
    assert uv_bench.fix("--undo", "--yes").returncode == 0
    assert uv_bench.is_as_before()


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
