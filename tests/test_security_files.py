"""Files and folders of ours: for their owner alone, and never what somebody else has put in their place."""

from __future__ import annotations

import dataclasses
import os
import stat
import sys
from pathlib import Path

import pytest

import rig
from rtx50_autoload import private_files
from rtx50_autoload.diagnosis import incident_files
from rtx50_autoload.private_files import NotPrivateError, check_folder, make_folder, read_private, write_private

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="owners and modes are those of POSIX")
SOMEBODY = 54321
as_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="files of other users: only root can make them"
)
CREATIONS = Path(__file__).with_name("creations.py")
ERROR = "RuntimeError: CUDA error: no kernel image is available for execution on the device"
#: A program that fails with an error that is recorded, and one that keeps an answer and a script.
CRASH = f"import rtx50_autoload\nwith rtx50_autoload.guard():\n    raise RuntimeError({ERROR!r})\n"
KEEP = """
from rtx50_autoload.troubleshooter import consult, kept_answers
from rtx50_autoload.troubleshooter.scripts import save
from rtx50_autoload.troubleshooter.scripts.extract import Script
with consult._alone():
    kept_answers.keep_answer(kept_answers.KeptAnswer("0" * 12, "2026-11-22T00:00:00", "claude", None, "x", ()))
    save(Script("bash", "true"), "claude", "none")
"""


def mode(path):
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture
def umask():
    before = os.umask(0)
    yield os.umask
    os.umask(before)


def created(venv, tmp_path, *program, env=None, ok=(0, 1)):
    """Run a program, and give what it has created and is still there, with modes."""
    listing = tmp_path / "list"
    listing.unlink(missing_ok=True)
    result = venv.run(venv.python, CREATIONS, listing, *program, env=env, cwd=tmp_path)
    assert result.returncode in ok, rig.describe(result)
    assert "internal fault" not in result.stderr
    paths = {Path(os.fsdecode(line)) for line in listing.read_bytes().splitlines()}
    return {path: mode(path) for path in paths if os.path.lexists(path) and not path.is_relative_to("/dev")}


def test_whatever_a_command_creates_is_its_owners_alone(with_fake_torch, tmp_path, umask):
    venv = with_fake_torch
    venv = dataclasses.replace(venv, coverage=False)  # which writes files of its own
    umask(0)
    program = venv.script("rtx50-autoload")
    error, keep, crash, newer = (tmp_path / name for name in ("error.txt", "keep.py", "crash.py", "versions.toml"))
    error.write_text(ERROR)
    keep.write_text(KEEP)
    crash.write_text(CRASH)
    facts = Path(private_files.__file__).with_name("evidence") / "environment" / "versions.toml"
    text = facts.read_text(encoding="utf-8")
    day = next(line for line in text.splitlines() if line.startswith("dated"))
    newer.write_text(text.replace(day, 'dated = "2026-11-23"', 1))
    home = tmp_path / "home"
    homes = {f"XDG_{name}_HOME": str(home / name.lower()) for name in ("STATE", "DATA", "CACHE", "CONFIG")}
    env = {**homes, "HOME": str(home), "RTX50_SIMULATE": "12.0"}
    found: dict[Path, int] = {}
    for words in (
        (program, "status"),
        (program, "doctor", "--json"),
        (program, "scan", venv.site_packages),
        (program, "explain", error),
        (crash,),
        (program, "incidents"),
        (program, "plan"),
        (program, "plan", "--refresh-facts", newer),
        (program, "fix"),
        (keep,),
        (program, "troubleshoot", "--last", "--show-prompt"),
        (program, "disable", "--user"),
    ):
        found |= created(venv, tmp_path, *words, env=env)
    # What pip and uv keep for themselves is theirs.
    ours = {path: bits for path, bits in found.items() if "rtx50-autoload" in path.parts}
    names = {path.name for path in ours}
    assert {
        "incidents",
        "answers",
        "scripts",
        "images.json",
        "versions.toml",
        "consultation.lock",
        "config.toml",
    } <= names
    wrong = {str(path): oct(bits) for path, bits in ours.items() if bits & 0o077}
    assert not wrong
    for path in home.rglob("*"):
        assert not mode(path) & 0o077 or "rtx50-autoload" not in path.parts, path
    outside = [path for path in found if not path.is_relative_to(tmp_path) and not path.is_relative_to("/tmp")]  # noqa: S108
    assert not [path for path in outside if "__pycache__" not in path.parts and path.name != "COVERAGE"]
    print(f"created by commands with umask 000: {len(ours)} files and folders, none open to others")  # noqa: T201


def test_whatever_a_fix_creates_is_its_owners_alone(uv_bench, umask):
    umask(0)
    uv_bench.plan(uv_bench.install("six==1.16.0"))
    assert uv_bench.fix("--apply", "--yes").returncode == 0
    [state] = uv_bench.states
    top = next(folder for folder in state.parents if folder.name == "rtx50-autoload")
    for path in [top, *top.rglob("*")]:
        if "files" in path.relative_to(top).parts and path.name != "files":
            continue  # the packages' files are as they were, behind the folders above
        assert not mode(path) & 0o077, path


def test_missing_folders_are_made_for_their_owner_whatever_the_umask(tmp_path, umask):
    umask(0)
    folder = tmp_path / "state" / "rtx50-autoload" / "incidents"
    make_folder(folder)
    assert {mode(each) for each in (folder, *folder.parents[:2])} == {0o700}


def test_a_folder_that_was_opened_to_others_is_closed_again(tmp_path):
    top = tmp_path / "state" / "rtx50-autoload"
    top.mkdir(parents=True)
    top.parent.chmod(0o755)
    top.chmod(0o777)
    make_folder(top / "incidents")
    assert (mode(top), mode(top.parent)) == (0o700, 0o755)


@pytest.mark.parametrize("level", ["rtx50-autoload", "rtx50-autoload/incidents"])
def test_a_link_in_the_place_of_a_folder_is_not_followed(tmp_path, level):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    link = tmp_path / level
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(elsewhere)
    folder = tmp_path / "rtx50-autoload" / "incidents" / "more"
    for call in (make_folder, check_folder):
        with pytest.raises(NotPrivateError, match="it is a link to somewhere else"):
            call(folder)
    assert not list(elsewhere.iterdir())


@as_root
@pytest.mark.parametrize("level", ["rtx50-autoload", "rtx50-autoload/incidents"])
def test_a_folder_of_another_user_is_not_used(tmp_path, level):
    top = tmp_path / "rtx50-autoload"
    (top / "incidents").mkdir(parents=True)
    os.chown(tmp_path / level, SOMEBODY, SOMEBODY)
    for call in (make_folder, check_folder):
        with pytest.raises(NotPrivateError, match=f"belongs to another user .number {SOMEBODY}."):
            call(top / "incidents")


def test_one_who_is_not_the_owner_does_not_use_it(tmp_path, monkeypatch):
    # Where nobody can make folders of others, another user looks at ours.
    folder = tmp_path / "rtx50-autoload"
    make_folder(folder)
    write_private(folder / "file", "text")
    monkeypatch.setattr(os, "geteuid", lambda: SOMEBODY)
    with pytest.raises(NotPrivateError):
        check_folder(folder)
    with pytest.raises(NotPrivateError):
        read_private(folder / "file", 100)


@as_root
def test_a_store_in_a_folder_for_everybody_is_used_by_its_maker_alone(installed, tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    variables = {"XDG_STATE_HOME": str(shared)}
    crash = tmp_path / "crash.py"
    crash.write_text(CRASH)
    installed.run(installed.python, crash, env=variables)
    [theirs] = shared.iterdir()
    for path in (theirs, *theirs.rglob("*")):
        os.chown(path, SOMEBODY, SOMEBODY)
    before = sorted(theirs.rglob("*"))
    assert any(path.suffix == ".json" for path in before)
    # Another user, root even, neither writes there nor reads what lies there.
    result = installed.run(installed.python, crash, env=variables)
    assert ERROR in result.stderr
    assert sorted(theirs.rglob("*")) == before
    listed = installed.run(installed.script("rtx50-autoload"), "incidents", env=variables)
    assert f"belongs to another user (number {SOMEBODY})" in listed.stderr
    assert listed.returncode == 1


@pytest.mark.parametrize("what", ["pipe", "link", "folder", "device"])
def test_what_is_no_file_is_neither_read_nor_waited_for(tmp_path, what):
    file = tmp_path / "file"
    secret = tmp_path / "secret"
    secret.write_text("{}")
    match what:
        case "pipe":
            os.mkfifo(file)
        case "link":
            file.symlink_to(secret)
        case "folder":
            file.mkdir()
        case "device":
            file = Path("/dev/zero")
    with pytest.raises((ValueError, OSError)):
        read_private(file, 1000)


def test_a_pipe_in_the_place_of_any_file_of_ours_stops_nobody(with_fake_torch, tmp_path):
    home = tmp_path / "home"
    homes = {f"XDG_{name}_HOME": str(home / name.lower()) for name in ("STATE", "DATA", "CACHE", "CONFIG")}
    env = {**homes, "RTX50_SIMULATE": "12.0"}
    top = "rtx50-autoload"
    for place in (
        f"config/{top}/config.toml",
        f"cache/{top}/images.json",
        f"data/{top}/versions.toml",
        f"data/{top}/scripts/01234567.json",
        f"state/{top}/incidents/0123456789ab.json",
        f"state/{top}/answers/0123456789ab.json",
    ):
        (home / place).parent.mkdir(parents=True, mode=0o700)
        os.mkfifo(home / place)
    program = with_fake_torch.script("rtx50-autoload")
    for words in (["status"], ["doctor", "--json"], ["plan"], ["incidents"], ["scripts", "list"]):
        result = with_fake_torch.run(program, *words, env=env, timeout=60)
        assert result.returncode in {0, 1}, rig.describe(result)
        assert "Traceback" not in result.stderr
        assert "internal fault" not in result.stderr
    imported = with_fake_torch.run_code("import torch; print(torch.cuda.get_device_capability())", env=env, timeout=60)
    assert imported.stdout == "(12, 0)\n"
    assert "config.toml is ignored: it is no regular file." in imported.stderr


def test_a_file_is_written_beside_a_link_in_its_place_and_not_through_it(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("as it was")
    file = tmp_path / "file"
    file.symlink_to(victim)
    write_private(file, "new")
    assert (victim.read_text(), file.read_text(), file.is_symlink()) == ("as it was", "new", False)
    os.link(victim, tmp_path / "hard")
    write_private(tmp_path / "hard", "new")
    assert (victim.read_text(), mode(file)) == ("as it was", 0o600)


def test_a_lock_is_not_opened_through_a_link(tmp_path):
    place = tmp_path / "rtx50-autoload" / "incidents"
    make_folder(place)
    victim = tmp_path / "victim"
    victim.write_text("as it was")
    (place / ".lock").symlink_to(victim)
    try:
        with incident_files.locked(place):
            pass
    except OSError:
        pass
    assert victim.read_text() == "as it was"


def test_a_story_that_was_put_there_by_a_link_is_not_followed_back(uv_bench):
    uv_bench.plan(uv_bench.install("six==1.16.0"))
    assert uv_bench.fix("--apply", "--yes").returncode == 0
    [state] = uv_bench.states
    for name in ("journal.json", "kept.json"):
        file, planted = state / name, state.with_name(name)
        file.rename(planted)
        file.symlink_to(planted)
        result = uv_bench.fix("--undo", "--yes")
        assert result.returncode == 1
        assert "Traceback" not in result.stderr
        assert uv_bench.version("six") == "1.16.0"
        planted.replace(file)
    assert uv_bench.fix("--undo", "--yes").returncode == 0
