"""Settings files that somebody else could have written are ignored, and that is said."""

from __future__ import annotations

import os
import stat
import sys

import pytest

from rtx50_autoload import settings
from rtx50_autoload.errors import SettingsFileError
from rtx50_autoload.settings_file import remove_value, set_value

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="owners and modes are those of POSIX")
SOMEBODY, SOMEBODY_ELSE = 54321, 54322
as_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="files of other users: only root can make them"
)


@pytest.fixture
def prefix(tmp_path):
    folder = tmp_path / "venv"
    folder.mkdir()
    return folder


@pytest.fixture
def user_file(tmp_path):
    folder = tmp_path / "config"
    folder.mkdir()
    return folder / "config.toml"


def write(path, text='mode = "observe"\n'):
    path.write_text(text)
    path.chmod(0o644)
    return path


def give(path, owner=SOMEBODY):
    os.chown(path, owner, owner)


@pytest.fixture
def load(prefix, user_file):
    def load():
        loaded = settings.load({}, prefix, user_file)
        return loaded.mode, loaded.problems

    return load


def test_files_of_ones_own_are_read(load, prefix, user_file):
    write(user_file)
    assert load() == ("observe", ())
    write(prefix / settings.ENVIRONMENT_FILE, 'mode = "masquerade"')
    assert load() == ("masquerade", ())


@as_root
def test_the_users_file_of_another_user_is_ignored_by_root_too(load, user_file):
    # What `sudo` leaves where it keeps HOME.
    give(write(user_file))
    give(user_file.parent)
    assert load() == ("auto", (f"{user_file} is ignored: it belongs to another user (number {SOMEBODY}).",))


def test_the_users_file_of_another_user_is_ignored(load, user_file, monkeypatch):
    # Where nobody can make files of others, another user reads ours.
    write(user_file)
    if user_file.stat().st_uid == 0:
        pytest.skip("what root has written holds for everybody; the test as root stands above")
    monkeypatch.setattr(os, "geteuid", lambda: SOMEBODY)
    assert load()[0] == "auto"


def test_what_root_has_written_holds_for_everybody(load, user_file, monkeypatch):
    write(user_file)
    if user_file.stat().st_uid != 0:
        pytest.skip("the tests are not run by root, who would have to write it")
    monkeypatch.setattr(os, "geteuid", lambda: SOMEBODY)
    assert load() == ("observe", ())


@as_root
def test_the_owner_of_an_environment_may_set_what_holds_in_it_and_nobody_else(load, prefix):
    file = write(prefix / settings.ENVIRONMENT_FILE)
    for path in (prefix, file):
        give(path)
    assert load() == ("observe", ())
    give(file, SOMEBODY_ELSE)
    assert load() == ("auto", (f"{file} is ignored: it belongs to another user (number {SOMEBODY_ELSE}).",))


@pytest.mark.parametrize("which", ["prefix", "user"])
def test_a_file_that_everybody_may_write_to_is_ignored(load, prefix, user_file, which):
    file = user_file if which == "user" else prefix / settings.ENVIRONMENT_FILE
    write(file).chmod(0o666)
    assert load() == ("auto", (f"{file} is ignored: everybody on this machine may write to it.",))
    file.chmod(0o664)
    assert load()[0] == "observe", "a group is its members' matter"


def test_where_everybody_may_write_to_the_environment_its_file_is_no_worse(load, prefix):
    # A disk of Windows under WSL shows every file like that.
    write(prefix / settings.ENVIRONMENT_FILE).chmod(0o777)
    prefix.chmod(0o777)
    assert load()[0] == "observe"


@as_root
def test_a_link_counts_for_what_it_leads_to(load, user_file, tmp_path):
    target = write(tmp_path / "dotfiles.toml")
    user_file.symlink_to(target)
    assert load()[0] == "observe"
    give(target)
    assert load()[0] == "auto"


@pytest.mark.parametrize("what", ["pipe", "folder", "device", "huge"])
def test_what_is_no_file_of_settings_is_ignored_and_not_waited_for(load, user_file, what):
    if what == "pipe":
        os.mkfifo(user_file)
    elif what == "folder":
        user_file.mkdir()
    elif what == "device":
        user_file.symlink_to("/dev/zero")
    else:
        user_file.write_bytes(b"#" * 1_000_001)
    mode, [problem] = load()
    assert mode == "auto"
    assert problem.startswith(f"{user_file} is ignored: it ")


@as_root
def test_nothing_is_written_through_a_link_of_another_user(user_file, tmp_path):
    victim = write(tmp_path / "victim.toml", "a = 1\n")
    user_file.symlink_to(victim)
    os.lchown(user_file, SOMEBODY, SOMEBODY)
    for change in (lambda: set_value(user_file, "disable", value=True), lambda: remove_value(user_file, "a")):
        with pytest.raises(SettingsFileError, match="a link of another user"):
            change()
    assert victim.read_text() == "a = 1\n"


@as_root
def test_a_file_of_another_user_is_not_changed(user_file):
    give(write(user_file))
    with pytest.raises(SettingsFileError, match="belongs to another user"):
        set_value(user_file, "disable", value=True)


def test_what_is_written_can_be_changed_by_its_owner_alone_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        set_value(tmp_path / "config" / "rtx50-autoload" / "config.toml", "disable", value=True)
        set_value(tmp_path / "rtx50-autoload.toml", "disable", value=True, shared=True)
    finally:
        os.umask(before)
    modes = {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in tmp_path.rglob("*")}
    assert modes == {
        "config": "0o700",
        "rtx50-autoload": "0o700",
        "config.toml": "0o600",
        "rtx50-autoload.toml": "0o644",
    }


@as_root
def test_status_names_an_ignored_file_and_the_start_of_python_does_not(with_fake_torch):
    folder = with_fake_torch.home / "config" / "rtx50-autoload"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "config.toml"
    try:
        give(write(file))
        assert with_fake_torch.run_code("").stderr == ""
        said = with_fake_torch.run(with_fake_torch.script("rtx50-autoload"), "status", "--json").stdout
        assert said.count("belongs to another user") == 1
    finally:
        file.unlink()


def test_no_setting_names_a_program_or_an_address():
    # What a settings file can say at most: words, capabilities, and names of assistants that we know ourselves.
    names = [field.name for field in settings.FIELDS]
    assert names == [
        "disable", "mode", "masquerade", "callers", "simulate", "rescue", "ai", "assistant", "check_install",
        "batman_mode", "quiet", "debug",
    ]  # fmt: skip
