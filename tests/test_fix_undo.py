"""The way back: what comes back, what is left alone, and that nothing outside of the environment is touched."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import rig
from fixing import differing, hashes, make_wheel
from rtx50_autoload.installer import restoring, saved_state
from rtx50_autoload.installer.distribution_files import files_of
from rtx50_autoload.installer.environment import Environment
from terminal import at_terminal


def test_what_a_person_has_installed_since_stays(uv_bench):
    uv_bench.plan(uv_bench.install("six==1.16.0"))
    uv_bench.fix("--apply", "--yes")
    uv_bench.put("colorama==0.4.6")
    undone = uv_bench.fix("--undo", "--yes")
    assert undone.returncode == 1
    assert "colorama 0.4.6 was installed after the fix" in undone.stdout
    assert "+ colorama==0.4.6" in undone.stdout
    assert (uv_bench.version("six"), uv_bench.version("colorama")) == ("1.15.0", "0.4.6")


@pytest.fixture
def changed_since(uv_bench, tmp_path):
    """An environment whose fix has changed a package that a person has changed again."""
    for version in ("1.0", "2.0", "3.0"):
        make_wheel(tmp_path, "thing", version, {"thing.py": f"version = {version!r}\n".encode()})
    rig.uv_pip("install", uv_bench.venv, "--no-index", "--find-links", str(tmp_path), "thing==1.0")
    uv_bench.before = uv_bench.freeze()
    uv_bench.plan(uv_bench.install("--find-links", str(tmp_path), "thing==2.0", "six==1.16.0"))
    assert uv_bench.fix("--apply", "--yes").returncode == 0
    rig.uv_pip("install", uv_bench.venv, "--no-index", "--find-links", str(tmp_path), "thing==3.0")
    return uv_bench


def test_a_package_that_a_person_has_changed_since_is_left_alone(changed_since):
    undone = changed_since.fix("--undo", "--yes")
    assert undone.returncode == 1
    assert "thing 3.0 was installed after the fix" in undone.stdout
    assert (changed_since.version("thing"), changed_since.version("six")) == ("3.0", "1.15.0")


def test_a_person_may_have_that_brought_back_too(changed_since):
    with at_terminal(changed_since.venv, *changed_since.arguments("--undo"), env=changed_since.environ) as terminal:
        terminal.expect("Go back? [y/N]")
        terminal.type("y\n")
        terminal.expect("Bring those back too? [y/N]")
        terminal.type("y\n")
        assert terminal.end() == 0
    assert changed_since.is_as_before()


def test_at_a_terminal_it_asks_before_it_goes_back(uv_bench):
    uv_bench.plan(uv_bench.install("six==1.16.0"))
    uv_bench.fix("--apply", "--yes")
    with at_terminal(uv_bench.venv, *uv_bench.arguments("--undo"), env=uv_bench.environ) as terminal:
        terminal.expect("six 1.16.0 goes")
        terminal.expect("Go back? [y/N]")
        terminal.type("\n")
        assert terminal.end() == 1
    assert uv_bench.version("six") == "1.16.0"


def test_an_editable_install_comes_back(uv_bench, tmp_path):
    project = tmp_path / "project"
    (project / "mine").mkdir(parents=True)
    (project / "mine" / "__init__.py").write_text("answer = 42\n", encoding="utf-8")
    (project / "pyproject.toml").write_text(
        '[project]\nname = "mine"\nversion = "1.0"\n[build-system]\nrequires = ["hatchling"]\n'
        'build-backend = "hatchling.build"\n[tool.hatch.build.targets.wheel]\npackages = ["mine"]\n',
        encoding="utf-8",
    )
    rig.uv_pip("install", uv_bench.venv, "-e", str(project))
    uv_bench.before = uv_bench.freeze()
    uv_bench.plan(uv_bench.step(uv_bench.command("uninstall", "mine")))
    assert uv_bench.fix("--apply", "--yes").returncode == 0
    assert not list(uv_bench.venv.site_packages.glob("*mine*"))
    assert uv_bench.fix("--undo", "--yes").returncode == 0
    assert uv_bench.is_as_before()
    uv_bench.venv.run_code("import mine; assert mine.answer == 42")


@pytest.mark.parametrize("way", ["copies", "pins"])
def test_where_no_links_can_be_made_it_comes_back_all_the_same(make_bench, way):
    bench = make_bench("pip" if way == "pins" else "uv")
    bench.plan(
        bench.install("six==1.16.0"), bench.step(bench.command("uninstall", "idna")), way=way, ignore_broken=True
    )
    applied = bench.fix("--apply", "--yes")
    assert bench.version("six") == "1.16.0", rig.describe(applied)
    (state,) = bench.states
    kept = list((state / "files").rglob("six.py"))
    assert [path.stat().st_nlink for path in kept] == ([1] if way == "copies" else [])
    registry = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(bench.wheels)}
    undone = bench.fix("--undo", "--yes", env=registry)
    assert ("has to be downloaded" in undone.stdout) == (way == "pins")
    assert undone.returncode == 0, rig.describe(undone)
    assert bench.is_as_before()


def test_where_it_has_to_download_and_cannot_it_says_so_and_can_be_tried_again(uv_bench, tmp_path):
    uv_bench.plan(uv_bench.step(uv_bench.command("uninstall", "six")), way="pins")
    uv_bench.fix("--apply", "--yes")
    nowhere = {"UV_OFFLINE": "1", "UV_CACHE_DIR": str(tmp_path / "cache")}
    failed = uv_bench.fix("--undo", "--yes", env=nowhere)
    assert failed.returncode == 1
    assert "six==1.15.0 cannot be installed" in failed.stdout
    again = uv_bench.fix("--undo", "--yes", env={"UV_FIND_LINKS": str(uv_bench.wheels), "UV_OFFLINE": "1"})
    assert again.returncode == 0, rig.describe(again)
    assert uv_bench.is_as_before()


@pytest.fixture
def place(tmp_path):
    """An environment of one package, whose RECORD was written by an enemy."""
    site = tmp_path / "env" / "lib" / "site-packages"
    info = site / "bad-1.0.dist-info"
    info.mkdir(parents=True)
    (tmp_path / "env" / "bin").mkdir()
    (tmp_path / "env" / "bin" / "bad").write_text("#!/bin/sh\n", encoding="utf-8")
    (tmp_path / "victim.txt").write_text("precious", encoding="utf-8")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "victim.py").write_text("precious", encoding="utf-8")
    (site / "outside").symlink_to(tmp_path / "folder")
    (site / "bad.py").write_text("good = 1\n", encoding="utf-8")
    (site / "link.py").symlink_to("bad.py")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bad\nVersion: 1.0\n", encoding="utf-8")
    rows = [
        "bad.py",
        "link.py",
        "../../bin/bad",
        "../../../victim.txt",
        str(tmp_path / "victim.txt"),
        "outside/victim.py",
        "bad-1.0.dist-info/METADATA",
        "bad-1.0.dist-info/RECORD",
    ]
    (info / "RECORD").write_text("".join(f"{row},,\n" for row in rows), encoding="utf-8")
    env = tmp_path / "env"
    return Environment(Path(sys.executable), env, (site,), env / "bin")


def names(paths):
    return {path.name for path in paths}


def test_a_record_that_leads_out_of_the_environment_leads_nowhere(place):
    (bad,) = place.distributions()
    assert names(files_of(bad, place)) == {"bad.py", "link.py", "bad", "METADATA", "RECORD"}


def test_nothing_outside_of_the_environment_is_kept_removed_or_written(place, tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    outside = hashes(tmp_path / "folder"), (tmp_path / "victim.txt").read_text(encoding="utf-8")
    saved = saved_state.save(state, place, "links", "bad==1.0\n", ["bad"], [])
    assert "victim" not in str(saved.kept)
    (bad,) = place.distributions()
    restoring.remove(bad, set(), place)
    assert not (place.folders[0] / "bad.py").exists()
    enemy = saved_state.KeptFile("../victim.txt", 0, 0)
    through = saved_state.KeptFile("lib/site-packages/outside/victim.py", 0, 0)
    for file in (enemy, through):
        assert restoring.bring_back(file, saved, place) is None
    assert (hashes(tmp_path / "folder"), (tmp_path / "victim.txt").read_text(encoding="utf-8")) == outside


def test_links_and_commands_come_back_as_they_were(place, tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    before = hashes(place.prefix)
    saved = saved_state.save(state, place, "links", "bad==1.0\n", ["bad"], [])
    (bad,) = place.distributions()
    restoring.remove(bad, set(), place)
    again = saved_state.load(state)
    assert again.kept == saved.kept
    assert not list(restoring.restore_all(["bad"], again, place))
    assert differing(before, hashes(place.prefix)) == []
    assert os.readlink(place.folders[0] / "link.py") == "bad.py"  # noqa: PTH115


def test_a_kept_file_that_was_changed_meanwhile_is_not_passed_off_as_the_old_one(place, tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    saved = saved_state.save(state, place, "copies", "bad==1.0\n", ["bad"], [])
    (saved.files / "lib/site-packages/bad.py").write_text("changed = True\n", encoding="utf-8")
    (place.folders[0] / "bad.py").unlink()
    (problem,) = restoring.restore_all(["bad"], saved, place)
    assert "bad.py" in problem
    assert "changed" in problem
