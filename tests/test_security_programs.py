"""Programs that somebody may have planted where they are looked for by name."""

from __future__ import annotations

import os
import stat
import sys

import pytest

from rtx50_autoload.evidence.environment.place import Place, Python
from rtx50_autoload.installer import installer_commands
from rtx50_autoload.search_path import absolute_path, find_program, path_folders, why_not_started
from rtx50_autoload.troubleshooter.assistants import load_knowledge
from rtx50_autoload.troubleshooter.programs import find_programs
from rtx50_autoload.troubleshooter.scripts import runner, syntax
from rtx50_autoload.troubleshooter.scripts.extract import Script
from traps import Trap, leading_here

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="owners and modes are those of POSIX")
#: Another user's number; that there is an account of it does not matter.
SOMEBODY, SOMEBODY_ELSE = 54321, 54322
as_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="files of other users: only root can make them"
)


def program(folder, name="claude", mode=0o755):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text("#!/bin/sh\n")
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    "path", ["", ".", ":", "./:..", "bin", "~/bin", '"."', "/absolute:.:", ".:/absolute"], ids=repr
)
def test_a_folder_that_depends_on_where_one_stands_is_never_looked_in(path):
    assert path_folders({"PATH": path}) in ([], ["/absolute"])
    assert absolute_path({"PATH": path}) in ("", "/absolute")
    assert path_folders({}) == []


@pytest.mark.parametrize("name", ["uv", "bash", "shellcheck", "pwsh", "nvcc", "nvidia-smi", "gcc", "git"])
def test_a_program_in_the_working_directory_is_found_by_nobody(name, tmp_path, monkeypatch):
    trap = Trap(tmp_path / "trap")
    monkeypatch.chdir(trap.folder)
    monkeypatch.setenv("PATH", os.pathsep.join(["", ".", "./"]))
    assert find_program(name) is None
    assert Place(Python.running()).find_program(name) is None
    monkeypatch.setattr(installer_commands.sysconfig, "get_path", lambda _: str(tmp_path / "nothing"))
    assert installer_commands.find_uv() is None
    with pytest.raises(runner.ScriptNotRunnableError):
        runner.command(type("Saved", (), {"script": Script("bash", "true"), "path": tmp_path})())
    assert syntax.syntax_errors(Script("bash", "true")) is None
    assert syntax.shellcheck(Script("bash", "true")) is None


def test_an_assistant_in_the_working_directory_is_none(tmp_path, monkeypatch):
    trap = Trap(tmp_path / "trap")
    monkeypatch.chdir(trap.folder)
    environ = {**leading_here({}), "HOME": str(tmp_path / "home")}
    where = [found.where for found in find_programs(load_knowledge(), environ)]
    assert not [each for each in where if each.startswith(str(trap.folder))]


@pytest.mark.parametrize("sticky", [0, stat.S_ISVTX], ids=["plain", "sticky"])
def test_a_folder_that_everybody_may_write_to_is_passed_over(tmp_path, sticky):
    open_ = program(tmp_path / "open")
    open_.parent.chmod(0o777 | sticky)
    own = program(tmp_path / "own")
    assert why_not_started(str(open_)) == "everybody on this machine may write to its folder"
    assert find_program("claude", [str(open_.parent), str(own.parent)]) == str(own)
    assert find_program("claude", [str(open_.parent)]) is None


def test_a_program_that_everybody_may_change_is_passed_over(tmp_path):
    assert why_not_started(str(program(tmp_path / "bin", mode=0o777))) == "everybody on this machine may change it"


def test_a_link_is_judged_by_where_it_leads_too(tmp_path):
    target = program(tmp_path / "open")
    target.parent.chmod(0o1777)
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "claude").symlink_to(target)
    assert why_not_started(str(folder / "claude")) == "everybody on this machine may write to its folder"


def test_a_folder_of_a_group_is_its_owners_matter(tmp_path):
    shared = program(tmp_path / "shared", mode=0o775)
    shared.parent.chmod(0o775)
    assert why_not_started(str(shared)) is None


@as_root
def test_what_a_third_user_has_put_into_a_folder_of_a_group_is_passed_over(tmp_path):
    planted = program(tmp_path / "shared")
    planted.parent.chmod(0o775)
    os.chown(planted, SOMEBODY, SOMEBODY)
    assert why_not_started(str(planted)) == (
        f"it belongs to another user (number {SOMEBODY}) than you and the owner of its folder"
    )
    os.chown(planted.parent, SOMEBODY_ELSE, SOMEBODY_ELSE)
    assert why_not_started(str(planted))


@as_root
def test_a_link_of_a_third_user_is_passed_over(tmp_path):
    target = program(tmp_path / "own")
    folder = tmp_path / "shared"
    folder.mkdir(mode=0o775)
    (folder / "claude").symlink_to(target)
    os.lchown(folder / "claude", SOMEBODY, SOMEBODY)
    assert why_not_started(str(folder / "claude"))


@as_root
def test_what_the_owner_of_a_folder_has_put_there_may_be_started(tmp_path):
    # A cluster's software belongs to the user who installs it: whoever has its folder on PATH trusts that user.
    module = program(tmp_path / "apps")
    for path in (module, module.parent):
        os.chown(path, SOMEBODY, SOMEBODY)
    assert why_not_started(str(module)) is None


def test_the_rule_does_not_depend_on_who_owns_the_machine(tmp_path, monkeypatch):
    # Where nobody can make files of others, another user looks at ours.
    own = program(tmp_path / "own")
    monkeypatch.setattr(os, "geteuid", lambda: SOMEBODY)
    assert why_not_started(str(own)) is None
    assert own.stat().st_uid == own.parent.stat().st_uid != SOMEBODY


def test_a_planted_assistant_is_shown_with_the_reason_and_never_ready(tmp_path):
    planted = program(tmp_path / "open")
    planted.parent.chmod(0o777)
    environ = {"PATH": str(planted.parent), "HOME": str(tmp_path / "home"), "ANTHROPIC_API_KEY": "k"}
    [found] = [each for each in find_programs(load_knowledge(), environ) if each.name == "claude"]
    assert (found.ready, found.command) == (False, ())
    assert found.reason == "Claude Code is not started from here: everybody on this machine may write to its folder."
    own = program(tmp_path / "home" / ".local" / "bin")
    [found] = [each for each in find_programs(load_knowledge(), environ) if each.name == "claude"]
    assert found.where == str(own), "the next one is looked for"
