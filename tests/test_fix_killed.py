"""A fix is killed, anywhere: the next one says where it stopped, and everything can be brought back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

import rig
from fixing import differing, hashes, make_wheel

#: So many that pip is still at it when it is killed.
_FILES = 1200


def start(bench):
    environ = bench.venv.environment(bench.environ)
    return subprocess.Popen(
        bench.arguments("--apply", "--yes"), env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )


def wait_for(condition, process):
    deadline = time.monotonic() + rig.TIMEOUT
    while not condition():
        assert time.monotonic() < deadline
        assert process.poll() is None, "it has ended before it could be killed"
        time.sleep(0.002)


def big_wheels(bench, tmp_path):
    """Make two versions of a package with many files, and install the first one."""
    for version in ("1.0", "2.0"):
        files = {f"bigone/m{number}.py": f"version = {version!r}\n".encode() for number in range(_FILES)}
        make_wheel(tmp_path, "bigone", version, files)
    rig.uv_pip("install", bench.venv, "--no-index", "--find-links", str(tmp_path), "bigone==1.0")
    bench.before = bench.freeze()
    return hashes(bench.venv.site_packages)


def running_command(bench):
    try:
        story = json.loads((bench.states[-1] / "journal.json").read_text(encoding="ascii"))
    except (IndexError, OSError):
        return None
    return next((c["pid"] for step in story["steps"] for c in step["commands"] if c["status"] == "running"), None)


def test_killed_between_steps_it_says_where_and_goes_back(uv_bench):
    uv_bench.plan(uv_bench.install("six==1.16.0"), uv_bench.install("colorama"), die_at=2)
    assert uv_bench.fix("--apply", "--yes").returncode == -signal.SIGKILL
    assert uv_bench.version("six") == "1.16.0"
    for options in ((), ("--json",)):
        shown = uv_bench.fix(*options)
        said = " ".join((shown.stderr if options else shown.stdout).split())
        assert "The last fix stopped in step 2 of 2 (Do colorama), less than a minute ago" in said
        assert "fix --undo" in said
    assert json.loads(shown.stdout)["last_fix"]["status"] == "running"
    assert uv_bench.fix("--undo", "--yes").returncode == 0
    assert uv_bench.is_as_before()
    assert "The last fix stopped" not in uv_bench.fix().stdout


def test_killed_before_the_first_step_the_fix_before_can_still_be_undone(uv_bench):
    uv_bench.plan(uv_bench.install("six==1.16.0"))
    assert uv_bench.fix("--apply", "--yes").returncode == 0
    uv_bench.plan(uv_bench.install("colorama"), die_at=1)
    assert uv_bench.fix("--apply", "--yes").returncode == -signal.SIGKILL
    assert "before it changed anything" in uv_bench.fix().stdout
    undone = uv_bench.fix("--undo", "--yes")
    assert undone.returncode == 0
    assert "comes back, from the kept files" in undone.stdout
    assert uv_bench.is_as_before()


def test_killed_inside_pip_the_way_back_repairs_what_pip_has_left(make_bench, tmp_path):
    bench = make_bench("pip")
    before = big_wheels(bench, tmp_path)
    bench.plan(bench.install("--find-links", str(tmp_path), "bigone==2.0"))
    process = start(bench)
    package = bench.venv.site_packages / "bigone"
    wait_for(lambda: any(bench.venv.site_packages.glob("~*")) and (package / "m100.py").exists(), process)
    process.kill()
    process.wait()
    wait_until_gone(running_command(bench))
    assert hashes(bench.venv.site_packages) != before
    said = " ".join(bench.fix().stdout.split())
    assert "The last fix stopped in step 1 of 1" in said
    undone = bench.fix("--undo", "--yes")
    assert undone.returncode == 0, rig.describe(undone)
    assert bench.is_as_before()
    assert differing(before, hashes(bench.venv.site_packages)) == []
    assert not list(bench.venv.site_packages.glob("~*"))


def test_killed_inside_uv_the_way_back_repairs_what_uv_has_left(uv_bench, tmp_path):
    before = big_wheels(uv_bench, tmp_path)
    uv_bench.plan(uv_bench.install("--find-links", str(tmp_path), "bigone==2.0"))
    process = start(uv_bench)
    changed = uv_bench.venv.site_packages / "bigone" / "m0.py"
    there = changed.stat().st_ino
    wait_for(lambda: not changed.exists() or changed.stat().st_ino != there, process)
    process.kill()
    process.wait()
    wait_until_gone(running_command(uv_bench))
    undone = uv_bench.fix("--undo", "--yes")
    assert undone.returncode == 0, rig.describe(undone)
    assert uv_bench.is_as_before()
    assert differing(before, hashes(uv_bench.venv.site_packages)) == []


def test_the_way_back_may_be_killed_too(uv_bench, tmp_path):
    before = big_wheels(uv_bench, tmp_path)
    uv_bench.plan(uv_bench.install("--find-links", str(tmp_path), "bigone==2.0", "six==1.16.0"))
    assert uv_bench.fix("--apply", "--yes").returncode == 0
    process = subprocess.Popen(
        uv_bench.arguments("--undo", "--yes"),
        env=uv_bench.venv.environment(uv_bench.environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    changed = uv_bench.venv.site_packages / "bigone" / "m0.py"
    wait_for(lambda: not changed.exists() or "1.0" in changed.read_text(encoding="utf-8"), process)
    process.kill()
    process.wait()
    assert "The way back from the last fix was stopped" in " ".join(uv_bench.fix().stdout.split())
    assert uv_bench.fix("--undo", "--yes").returncode == 0
    assert uv_bench.is_as_before()
    assert differing(before, hashes(uv_bench.venv.site_packages)) == []


def test_to_try_again_it_goes_back_first(uv_bench):
    uv_bench.plan(uv_bench.install("six==1.16.0"), uv_bench.install("colorama"), die_at=2)
    uv_bench.fix("--apply", "--yes")
    uv_bench.plan(uv_bench.install("six==1.16.0"), uv_bench.install("colorama"))
    again = uv_bench.fix("--apply", "--yes")
    assert again.returncode == 0, rig.describe(again)
    assert (uv_bench.version("six"), uv_bench.version("colorama")) == ("1.16.0", "0.4.6")
    assert uv_bench.fix("--undo", "--yes").returncode == 0
    assert uv_bench.is_as_before()


def test_interrupted_by_the_person_it_ends_what_runs(make_bench, tmp_path):
    bench = make_bench("pip")
    before = big_wheels(bench, tmp_path)
    bench.plan(bench.install("--find-links", str(tmp_path), "bigone==2.0"))
    process = start(bench)
    wait_for(lambda: any(bench.venv.site_packages.glob("~*")), process)
    process.send_signal(signal.SIGINT)
    assert process.wait(rig.TIMEOUT) == 130
    story = json.loads((bench.states[-1] / "journal.json").read_text(encoding="ascii"))
    assert story["status"] == "interrupted"
    assert bench.fix("--undo", "--yes").returncode == 0
    assert bench.is_as_before()
    assert differing(before, hashes(bench.venv.site_packages)) == []


def wait_until_gone(pid):
    """Wait for the end of a process that is not our child; what nobody waits for stays as a zombie."""
    deadline = time.monotonic() + rig.TIMEOUT
    while pid is not None and is_running(pid):
        assert time.monotonic() < deadline, "it works on although the fix is dead"
        time.sleep(0.05)


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:  # noqa: PTH123
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_nothing_of_it_is_left_where_others_look(uv_bench):
    uv_bench.plan(uv_bench.install("six==1.16.0"))
    there = {path.name for path in uv_bench.venv.site_packages.iterdir()}
    uv_bench.fix("--apply", "--yes")
    added = {path.name for path in uv_bench.venv.site_packages.iterdir()} - there
    assert added - {"__pycache__"} == {"six-1.16.0.dist-info"}
    assert os.listdir(uv_bench.venv.home / "state") == ["rtx50-autoload"]  # noqa: PTH208
