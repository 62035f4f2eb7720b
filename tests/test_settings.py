"""Settings: which layer wins, what a bad one says, and how a file is edited."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as property_settings
from hypothesis import strategies as st

from rtx50_autoload import settings_file
from rtx50_autoload.errors import RTX50Error, SettingsFileError
from rtx50_autoload.settings import (
    ENVIRONMENT_FILE,
    FIELDS,
    CapabilityMap,
    SimulatedDevice,
    as_dict,
    load,
    user_settings_file,
)


@pytest.fixture
def read(tmp_path):
    """Load settings from variables and the two files' texts, from nowhere else."""

    def read(environ=(), environment_file=None, user_file=None):
        user_path = tmp_path / "config.toml"
        for path, text in ((tmp_path / ENVIRONMENT_FILE, environment_file), (user_path, user_file)):
            if text is not None:
                path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load(dict(environ), tmp_path, user_path)

    return read


def test_defaults_are_those_of_the_design(read):
    settings = read()
    assert settings.problems == ()
    assert set(settings.sources.values()) == {"default"}
    assert {name: entry["value"] for name, entry in as_dict(settings).items()} == {
        "disable": False,
        "mode": "auto",
        "masquerade": "12.*:9.0",
        "callers": [],
        "simulate": [],
        "rescue": "1",
        "ai": "ask",
        "assistant": [],
        "check_install": False,
        "batman_mode": False,
        "quiet": False,
        "debug": False,
    }


def test_layers_win_in_order_of_nearness(read, tmp_path):
    nothing, user, environment, everything = (
        read(),
        read(user_file='mode = "observe"\nai = "off"\ndebug = true\n'),
        read(environment_file='mode = "masquerade"\nai = "auto"\n'),
        read(environ={"RTX50_MODE": "auto"}),
    )
    assert [s.mode for s in (nothing, user, environment, everything)] == ["auto", "observe", "masquerade", "auto"]
    assert (everything.ai, everything.debug) == ("auto", True)
    assert {name: everything.sources[name] for name in ("mode", "ai", "debug", "quiet")} == {
        "mode": "environment",
        "ai": str(tmp_path / ENVIRONMENT_FILE),
        "debug": str(tmp_path / "config.toml"),
        "quiet": "default",
    }


def test_an_empty_variable_is_not_set(read):
    settings = read({"RTX50_MODE": "", "RTX50_DISABLE": ""}, user_file='mode = "observe"\ndisable = true\n')
    assert (settings.mode, settings.disable) == ("observe", True)


@pytest.mark.parametrize(
    ("text", "value"),
    [(text, True) for text in ("1", "true", "YES", " On ")] + [(text, False) for text in ("0", "False", "no", "OFF")],
)
def test_switches_are_words_in_any_case(read, text, value):
    assert read({"RTX50_DISABLE": text}).disable is value
    assert read(user_file=f"quiet = '{text}'").quiet is value


def test_an_empty_switch_in_a_file_is_off(read):
    settings = read(environment_file='debug = ""', user_file="debug = true")
    assert (settings.debug, settings.problems) == (False, ())


@pytest.mark.parametrize(
    ("toml", "field", "value"),
    [
        ("disable = true", "disable", True),
        ("debug = 1", "debug", True),
        ("rescue = 0", "rescue", "0"),
        ("rescue = true", "rescue", "1"),
        ('rescue = "Import"', "rescue", "import"),
        ("simulate = 12.0", "simulate", (SimulatedDevice("simulated device", (12, 0)),)),
        ('simulate = ["A:12.0"]', "simulate", (SimulatedDevice("A", (12, 0)),)),
        ('callers = ["a.b=9.0", "c=true"]', "callers", {"a.b": (9, 0), "c": None}),
        ('callers = "a.b = 9.0, c = True,"', "callers", {"a.b": (9, 0), "c": None}),
        ('assistant = "ollama/qwen3:4b, claude"', "assistant", ("ollama/qwen3:4b", "claude")),
        ('assistant = ["ollama", "claude"]', "assistant", ("ollama", "claude")),
        ('assistant = " "', "assistant", ()),
        ('ai = "off"', "ai", "off"),
        ("ai = false", "ai", "off"),
        ("ai = 0", "ai", "off"),
        ('masquerade = ["12.0:9.0", "12.*:8.9"]', "masquerade", CapabilityMap.parse("12.0:9.0,12.*:8.9")),
    ],
)
def test_files_hold_natural_types(read, toml, field, value):
    settings = read(user_file=toml)
    assert settings.problems == ()
    assert getattr(settings, field) == value


def test_simulated_devices_keep_their_order_and_names(read):
    devices = read({"RTX50_SIMULATE": "NVIDIA GeForce RTX 5090:12.0, 8.9 ,odd:name:10.0"}).simulate
    assert devices == (
        SimulatedDevice("NVIDIA GeForce RTX 5090", (12, 0)),
        SimulatedDevice("simulated device", (8, 9)),
        SimulatedDevice("odd:name", (10, 0)),
    )


class TestCapabilityMap:
    def test_an_exact_rule_beats_a_wildcard_whatever_their_order(self):
        for text in ("12.1:8.9,12.*:9.0", "12.*:9.0,12.1:8.9"):
            capability_map = CapabilityMap.parse(text)
            assert capability_map.target((12, 0)) == (9, 0)
            assert capability_map.target((12, 1)) == (8, 9)
            assert capability_map.target((10, 0)) is None
            assert str(capability_map) == text

    def test_it_is_a_value(self):
        assert CapabilityMap.parse("12.0:9.0") == CapabilityMap.parse(" 12.0 : 9.0 ,")
        assert len({CapabilityMap.parse("12.0:9.0"), CapabilityMap.parse("12.0:9.0")}) == 1

    @pytest.mark.parametrize(
        "text", ["", ",", "12.0", "12.0:", "12:9.0", "*:9.0", "12.*0:9.0", "12.0:9.*", "12.*:9.0,12.*:8.9", "a.*:9.0"]
    )
    def test_what_is_no_map_is_refused(self, text):
        with pytest.raises(ValueError, match=r"."):
            CapabilityMap.parse(text)


BAD = {
    "disable": "perhaps",
    "mode": "fast",
    "masquerade": "12.0=9.0",
    "callers": "my-lib=9.0",
    "simulate": "RTX 5090",
    "rescue": "later",
    "ai": "yes",
    "check_install": "2",
    "batman_mode": "robin",
    "quiet": "very",
    "debug": "-",
}


@pytest.mark.parametrize("field", [field for field in FIELDS if field.name in BAD], ids=lambda field: field.name)
def test_a_bad_value_is_named_and_the_default_holds_not_the_next_layer(read, tmp_path, field):
    bad, name = BAD[field.name], field.name
    default = field.parse(field.default)
    good = {"mode": "observe", "masquerade": "12.0:8.0", "callers": "a=9.0", "simulate": "8.9", "ai": "off"}.get(
        name, "0"
    )
    user_file = f'{name} = "{good}"'

    settings = read({field.variable: bad}, user_file=user_file)
    assert getattr(settings, name) == default
    assert settings.sources[name] == "default"
    assert settings.problems == (
        f"{field.variable} is {bad!r}, but allowed are {field.allowed}: the default {field.default!r} holds.",
    )

    settings = read({}, environment_file=f'{name} = "{bad}"', user_file=user_file)
    assert getattr(settings, name) == default
    assert settings.problems[0].startswith(f"{name!r} in {tmp_path / ENVIRONMENT_FILE} is {bad!r}, but allowed are")


@pytest.mark.parametrize("toml", ["mode = {a = 1}", "mode = 1979-05-27", "callers = {mylib = '9.0'}", "[mode]\na = 1"])
def test_a_type_that_no_setting_has_is_a_bad_value(read, toml):
    (problem,) = read(user_file=toml).problems
    assert "but allowed are" in problem


@pytest.mark.parametrize("text", ["a=9.0,a=8.0", "a", "a=", "=9.0", "a.=9.0", "a=90"])
def test_what_is_no_caller_is_a_bad_value(read, text):
    assert len(read({"RTX50_CALLERS": text}).problems) == 1


def test_only_variables_that_look_misspelt_are_named(read):
    environ = {"RTX50_DISBALE": "1", "RTX50_CALLER": "a=9.0", "RTX50_HOME": "/", "RTX50_": "1", "RTX5_MODE": "auto"}
    assert read(environ).problems == (
        "RTX50_CALLER is not a setting; perhaps RTX50_CALLERS is meant.",
        "RTX50_DISBALE is not a setting; perhaps RTX50_DISABLE is meant.",
    )


def test_unknown_keys_of_a_file_are_always_named(read, tmp_path):
    path = tmp_path / "config.toml"
    assert read(user_file="colour = 1\nqiuet = true\nquiet = true").problems == (
        f"'colour' in {path} is not a setting.",
        f"'qiuet' in {path} is not a setting; perhaps 'quiet' is meant.",
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"mode = observe", "is not TOML"),
        (b"mode = 'observe'\nmode = 'auto'", "is not TOML"),
        (b"mode = '\xff'", "is not UTF-8"),
        (b"mode = " + b"[" * 100_000, "is not TOML"),
    ],
    ids=["syntax", "twice", "encoding", "depth"],
)
def test_a_broken_file_is_a_problem_and_the_other_layers_hold(read, tmp_path, content, reason):
    settings = read({"RTX50_AI": "off"}, environment_file=content, user_file="debug = true")
    (problem,) = settings.problems
    assert problem.startswith(f"{tmp_path / ENVIRONMENT_FILE} is ignored: it {reason}")
    assert (settings.mode, settings.ai, settings.debug) == ("auto", "off", True)


def test_a_folder_in_the_files_place_is_a_problem(tmp_path):
    (tmp_path / ENVIRONMENT_FILE).mkdir()
    (problem,) = load({}, tmp_path, tmp_path / "none").problems
    assert "cannot be read" in problem


def test_a_file_in_a_folders_place_is_no_file(tmp_path):
    (tmp_path / "file").touch()
    assert load({}, tmp_path / "file", tmp_path / "file" / "config.toml").problems == ()


@pytest.mark.skipif(getattr(os, "geteuid", lambda: 0)() == 0, reason="root may read everything")
def test_an_unreadable_file_is_a_problem(read, tmp_path):
    (tmp_path / ENVIRONMENT_FILE).touch(mode=0)
    assert "cannot be read" in read().problems[0]


def test_a_byte_order_mark_is_read_over(read):
    assert read(user_file=b"\xef\xbb\xbfmode = 'observe'\r\n").mode == "observe"


def test_the_processs_own_environment_and_places_are_the_defaults(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("RTX50_MODE", "observe")
    (tmp_path / ENVIRONMENT_FILE).write_text("debug = true")
    settings = load()
    assert (settings.mode, settings.debug) == ("observe", True)
    assert user_settings_file().name == "config.toml"


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("variable", ["", "  ", "config", "../elsewhere", None])
def test_the_users_file_is_read_wherever_platformdirs_has_it(monkeypatch, tmp_path, variable, relative):
    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "prefix", str(place))
    monkeypatch.setenv("HOME", str(place))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    if variable is not None:
        monkeypatch.setenv("XDG_CONFIG_HOME", variable if relative or not variable.strip() else f"{place}/{variable}")
    assert not load({}).debug
    file = user_settings_file()
    file.parent.mkdir(parents=True)
    file.write_text("debug = true")
    assert load({}).sources["debug"] == str(file)
    assert load({}).debug


def test_where_the_user_has_no_settings_nobody_is_asked_where_they_would_be(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setattr("rtx50_autoload.settings.user_settings_file", pytest.fail)
    assert load({}, tmp_path).problems == ()


def test_settings_survive_pickling(read):
    settings = read({"RTX50_CALLERS": "a=9.0", "RTX50_SIMULATE": "12.0"})
    assert pickle.loads(pickle.dumps(settings)) == settings  # noqa: S301 - our own bytes


def test_importing_settings_loads_no_parser():
    code = (
        "import sys, rtx50_autoload.settings;"
        "print({'tomllib', 'tomli', 'platformdirs', 'difflib', 'json', 'torch'} & set(sys.modules))"
    )
    source = Path(settings_file.__file__).parents[1]
    environ = os.environ | {"PYTHONPATH": str(source)}
    # -S: what the environment's own start-up files import is not ours.
    done = subprocess.run([sys.executable, "-S", "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


capabilities = st.tuples(st.integers(1, 99), st.integers(0, 9))
capability_texts = capabilities.map(lambda pair: f"{pair[0]}.{pair[1]}")
module_names = st.from_regex(r"[a-z_][a-z0-9_]{0,8}(\.[a-z_][a-z0-9_]{0,8}){0,2}", fullmatch=True)
device_names = st.from_regex(r"[A-Za-z][A-Za-z0-9 :()]{0,20}[A-Za-z0-9]", fullmatch=True)


@property_settings(deadline=None)
@given(
    environ=st.fixed_dictionaries(
        {
            "RTX50_MODE": st.sampled_from(["auto", "masquerade", "observe"]),
            "RTX50_RESCUE": st.sampled_from(["0", "1", "import", "provide"]),
            "RTX50_QUIET": st.sampled_from(["yes", "no"]),
            "RTX50_CALLERS": st.dictionaries(module_names, capability_texts | st.just("true"), max_size=3).map(
                lambda callers: ",".join(f"{module}={told}" for module, told in callers.items())
            ),
            "RTX50_SIMULATE": st.lists(st.tuples(device_names, capability_texts)).map(
                lambda devices: ",".join(map(":".join, devices))
            ),
        }
    )
)
def test_what_as_dict_says_can_be_written_to_a_file_and_read_back(tmp_path_factory, environ):
    folder = tmp_path_factory.mktemp("settings")
    first = load(environ, folder, folder / "config.toml")
    assert first.problems == ()
    said = json.loads(json.dumps(as_dict(first)))
    for name, entry in said.items():
        if entry["value"] is not None:
            settings_file.set_value(folder / "config.toml", name, entry["value"])
    second = load({}, folder, folder / "config.toml")
    assert second.problems == ()
    assert {name: entry["value"] for name, entry in as_dict(second).items()} == {
        name: entry["value"] for name, entry in said.items()
    }


class TestSettingsFile:
    @pytest.mark.parametrize(
        ("before", "key", "value", "after"),
        [
            (None, "mode", "observe", 'mode = "observe"\n'),
            ("", "disable", True, "disable = true\n"),
            ("# mine\n", "disable", True, "# mine\ndisable = true\n"),
            ("a = 1", "b", 2, "a = 1\nb = 2\n"),
            ("a = 1\r\nb = 2\r\n", "c", "x", 'a = 1\r\nb = 2\r\nc = "x"\r\n'),
            ("a = 1\r\nb = 2 # why\r\n", "a", 3, "a = 3\r\nb = 2 # why\r\n"),
            ("ab = 1\na = 2\n", "a", 3, "ab = 1\na = 3\n"),
            ("  'a'=1  # one\nb = 2", "a", 3, "a = 3  # one\nb = 2"),
            ('a = "#1" # two # three\n', "a", "#", 'a = "#" # two # three\n'),
            ("# a = 0\na = 1\n", "a", 3, "# a = 0\na = 3\n"),
            ('b = """\na = 1\n"""\na = 2\n', "a", 3, 'b = """\na = 1\n"""\na = 3\n'),
            ("a = [ # numbers\n 1,\n 2, # two\n] # end\nb = 1\n", "a", ["x"], 'a = ["x"] # end\nb = 1\n'),
            ("a = 1\n[table]\nb = 2\n", "c", 3, "c = 3\na = 1\n[table]\nb = 2\n"),
            ("a = 1\n[table]\na = 2\n", "a", 3, "a = 3\n[table]\na = 2\n"),
            ("a = '\u2028'\nb = 1\n", "b", 2, "a = '\u2028'\nb = 2\n"),
            ("\ufeffa = 1\n", "a", 2, "a = 2\n"),
            ("a = 1\n", "a", 'quote " back \\ tab \t del \x7f nul \0 ✓', None),
        ],
    )
    def test_one_key_changes_and_all_else_stays(self, tmp_path, before, key, value, after):
        path = tmp_path / "new" / "config.toml"
        if before is not None:
            path.parent.mkdir()
            path.write_bytes(before.encode())
        settings_file.set_value(path, key, value)
        if after is not None:
            assert path.read_bytes().decode() == after
        assert settings_file.read_values(path)[key] == value
        assert [entry.name for entry in path.parent.iterdir()] == ["config.toml"]

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ("mode = 'auto'\n", None),
            ("\nmode = 'auto' # with a word\n \n", None),
            ("# mine\nmode = 'auto'\n", "# mine\n"),
            ("a = 1\nmode = [\n'auto',\n]\nb = 2", "a = 1\nb = 2"),
            ("a = 1\n", "a = 1\n"),
        ],
    )
    def test_removing_the_last_word_removes_the_file(self, tmp_path, before, after):
        path = tmp_path / "config.toml"
        path.write_text(before)
        assert settings_file.remove_value(path, "mode") is ("mode" in before)
        assert (path.read_text() if path.exists() else None) == after

    def test_removing_from_a_file_that_is_not_there_does_nothing(self, tmp_path):
        assert settings_file.remove_value(tmp_path / "none.toml", "mode") is False

    @pytest.mark.parametrize("before", ["mode = observe\n", "[mode]\na = 1\n", "mode.a = 1\n", '"\\u006dode" = 1\n'])
    def test_what_cannot_be_changed_alone_is_refused_and_left_as_it_was(self, tmp_path, before):
        path = tmp_path / "config.toml"
        path.write_text(before)
        for change in (
            lambda: settings_file.set_value(path, "mode", "auto"),
            lambda: settings_file.remove_value(path, "mode"),
        ):
            with pytest.raises(SettingsFileError) as caught:
                change()
            assert caught.value.path == path
            assert path.read_text() == before

    def test_a_key_that_toml_would_have_to_quote_is_refused(self, tmp_path):
        with pytest.raises(ValueError, match="bare"):
            settings_file.set_value(tmp_path / "config.toml", "a b", 1)

    def test_a_folder_that_cannot_be_made_is_an_error_of_ours(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(SettingsFileError, match="cannot be written"):
            settings_file.set_value(tmp_path / "file" / "config.toml", "mode", "auto")

    def test_a_failed_write_leaves_the_old_file_and_no_draft(self, tmp_path, monkeypatch):
        path = tmp_path / "config.toml"
        path.write_text("mode = 'auto'\n")

        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Path, "replace", full)
        with pytest.raises(SettingsFileError, match="No space left"):
            settings_file.set_value(path, "mode", "observe")
        assert [(entry.name, entry.read_text()) for entry in tmp_path.iterdir()] == [("config.toml", "mode = 'auto'\n")]

    @pytest.mark.skipif(os.name == "nt", reason="Windows has no file modes, and links need a privilege")
    def test_a_link_and_a_mode_stay(self, tmp_path):
        target, link = tmp_path / "dotfiles.toml", tmp_path / "config.toml"
        target.write_text("mode = 'auto'\n")
        target.chmod(0o640)
        link.symlink_to(target)
        settings_file.set_value(link, "mode", "observe")
        assert link.is_symlink()
        assert target.read_text() == 'mode = "observe"\n'
        assert target.stat().st_mode & 0o777 == 0o640

    def test_the_error_carries_its_data_and_survives_pickling(self, tmp_path):
        error = SettingsFileError(tmp_path / "x.toml", "it is odd")
        assert isinstance(error, RTX50Error)
        assert isinstance(error, OSError)
        again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
        assert (again.path, again.reason, str(again)) == (error.path, error.reason, f"{error.path}: it is odd")
        assert again.filename == str(error.path)

    @property_settings(deadline=None)
    @given(
        comments=st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=12), max_size=4),
        values=st.dictionaries(st.sampled_from("abcd"), st.text(st.characters(codec="utf-8"), max_size=8), min_size=1),
        value=st.booleans() | st.integers() | st.text(st.characters(codec="utf-8")) | st.lists(st.text("ab\"#'\n")),
    )
    def test_any_text_can_be_set_beside_any_other(self, tmp_path_factory, comments, values, value):
        path = tmp_path_factory.mktemp("file") / "config.toml"
        for key, text in values.items():
            settings_file.set_value(path, key, text)
        commented = "".join(f"#{comment}\n" for comment in comments) + path.read_text("utf-8")
        path.write_bytes(commented.encode())
        settings_file.set_value(path, "b", value)
        assert settings_file.read_values(path) == {**values, "b": value}
        assert all(f"#{comment}\n" in path.read_bytes().decode() for comment in comments)
        settings_file.remove_value(path, "b")
        values.pop("b", None)
        assert settings_file.read_values(path) == values
