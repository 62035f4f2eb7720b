"""A mistake in a file of profiles is named with what to write instead, and costs its own entry alone."""

from __future__ import annotations

import re
import sys
from importlib.resources import files

import pytest

import rig
from profile_files import profile
from rtx50_autoload.masquerading.known_profiles import read_file
from rtx50_autoload.masquerading.profile_schema import PROFILE_KEYS, RULE_KEYS, read_profiles
from rtx50_autoload.masquerading.profiles import Origin, load_profiles

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ORIGIN = Origin("user", "/home/me/profiles.toml")
SOUND = profile("sound")


def read(text):
    return read_profiles(tomllib.loads(text), ORIGIN)


def test_the_built_in_profiles_have_this_form():
    text = files("rtx50_autoload.masquerading").joinpath("profiles.toml").read_text(encoding="utf-8")
    result = read(text)
    assert result.problems == ()
    assert [each.library for each in result.listed] == [each.library for each in load_profiles()]


def test_a_profile_is_read_as_it_is_written():
    (mylib,) = read(
        """
[[profile]]
library = "my library"
modules = ["mylib", "mylib_kernels.hopper"]
distribution = "my-lib"
masquerade = "truth"

[[profile.rule]]
versions = ">=1.2,<2"
unversioned = true
report = "target"
reason = "r"
source = "s"

[[profile.rule]]
report = "truth"
reason = "other versions"
source = "s"
"""
    ).listed
    assert (mylib.library, mylib.modules, mylib.distribution) == (
        "my library",
        ("mylib", "mylib_kernels.hopper"),
        "my-lib",
    )
    assert (mylib.masquerade, mylib.origin) == ("truth", ORIGIN)
    assert [mylib.rule(version).report for version in ("1.1", "1.2", "2.0", None)] == [
        "truth",
        "target",
        "truth",
        "target",
    ]


RULE = "[[profile.rule]]\nreport = 'truth'\nreason = 'r'\nsource = 's'\n"
MISTAKES = {
    "an unknown key": (profile(module="['x']"), "'module' is no key here; known are library, modules, distribution"),
    "an unknown key of a rule": (profile() + "reasons = 'x'\n", "rule 1: 'reasons' is no key here; known are versions"),
    "no library": (profile().replace("library", "distribution", 1), "'library' is missing; write the library's name"),
    "no modules": (profile().replace("modules", "distribution", 1), "'modules' is missing; write names of modules"),
    "no rule": (profile().partition("[[profile.rule]]")[0], "'rule' is missing; write tables [[profile.rule]]"),
    "no reason": (profile().replace("reason = 'measured by a test'\n", ""), "rule 1: 'reason' is missing; write why"),
    "no source": (profile().replace("source = 'a test'\n", ""), "rule 1: 'source' is missing; write the file and ver"),
    "an empty source": (profile().replace("'a test'", "' '"), "rule 1: 'source' is or holds ' '; write the file"),
    "a number for a text": (profile(library="3"), "'library' is or holds a number; write the library's name"),
    "a huge number": (profile(library="0x" + "f" * 9999), "'library' is or holds a number; write the library's name"),
    "a text for a list": (profile().replace("['mylib']", "'mylib'"), "'modules' is or holds 'mylib'; write names of"),
    "an empty list": (profile().replace("['mylib']", "[]"), "'modules' is or holds an empty list; write names of"),
    "an empty module": (profile(""), "'modules' is or holds ''; write names of modules in a list"),
    "a path for a module": (profile("my-lib/x"), "'modules' is or holds 'my-lib/x'; write names of modules in a list"),
    "an unknown word": (profile(report="9.0"), "rule 1: 'report' is or holds '9.0'; write \"target\" or \"truth\""),
    "a long word": (profile(report="9" * 999), f"rule 1: 'report' is or holds '{'9' * 60}…'; write"),
    "a date": (profile(masquerade="2026-01-01"), "'masquerade' is or holds a date or a time; write \"target\""),
    "a bad range": (
        profile(distribution="'x'") + "versions = 'newer'\n" + RULE,
        "rule 1: 'versions' is or holds 'newer'; write a range of versions, such as",
    ),
    "a version for a range": (
        profile(distribution="'x'") + "versions = 1.2\n" + RULE,
        "rule 1: 'versions' is or holds a number; write a range of versions",
    ),
    "a text for a switch": (profile() + "unversioned = 'yes'\n", "'unversioned' is or holds 'yes'; write true or fal"),
    "an unknown adjustment": (
        profile() + "adjust = ['fa4-off']\n",
        "rule 1: 'adjust' is or holds 'fa4-off'; write switches that are known here, in a list: xformers-fa3-off, ",
    ),
    "a switch of another library": (
        profile() + "adjust = ['xformers-fa3-off']\n",
        "rule 1: 'xformers-fa3-off' is a switch of xformers.ops.fmha.dispatch, which 'modules' do not hold",
    ),
    "a range in the last rule": (
        profile(distribution="'x'") + "versions = '<2'\n",
        "rule 1: all other versions have no rule; write one after it, without 'versions'",
    ),
    "a rule that is never reached": (profile() + RULE, "rule 1: without 'versions' it holds for all; write it last"),
    "a range of nothing": (
        profile() + "versions = '<2'\n" + RULE,
        "'distribution' says whose 'versions' are compared; write the name that pip knows it by",
    ),
    "two rules for an unknown version": (
        profile(distribution="'x'") + "versions = '<2'\nunversioned = true\n" + RULE + "unversioned = true\n",
        "'unversioned' is true in two rules",
    ),
    "a module twice": (profile().replace("['mylib']", "['a', 'a']"), "'modules' names 'a' twice"),
    "a module of the profile before": (profile("sound"), "profile 1 of this file names the module 'sound', too"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_and_the_other_profiles_hold(mistake):
    text, said = MISTAKES[mistake]
    result = read(SOUND + text + profile("sound_too"))
    assert [each.library for each in result.listed] == ["sound", "sound_too"]
    (problem, *_) = [str(each) for each in result.problems if said in each.what]
    assert problem.startswith("/home/me/profiles.toml, profile 2")
    assert problem.endswith(".")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("profile = 3", "'profile' is no list of tables; write [[profile]]"),
        ("[profile]\nlibrary = 'x'", "'profile' is no list of tables; write [[profile]]"),
        ("profile = [3]", "it is a number; write [[profile]]"),
        ("[[profiles]]\nlibrary = 'x'", "'profiles' is nothing that this file can hold; write tables [[profile]]"),
        ("mode = 'auto'", "'mode' is nothing that this file can hold; write tables [[profile]]"),
    ],
)
def test_a_file_of_another_form_is_told_what_to_write(text, said):
    result = read(text)
    assert result.listed == ()
    assert [each.what for each in result.problems] == [said]


def test_all_mistakes_of_an_entry_are_named_at_once():
    assert len(read("[[profile]]\nlibrary = ''\nmodule = 1\n").problems) == 5


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[", "it is not TOML ("),
        (b"a = " + b"[" * 100_000, "it is not TOML ("),
        (SOUND.encode("utf-16"), "it is not UTF-8 ("),
        (SOUND.replace("a test", "\xe9").encode("latin-1"), "it is not UTF-8 ("),
        (SOUND.encode() + b"\0", "it is not TOML ("),
        (SOUND.encode() + b"# " + b"x" * 200_000, "it is larger than 200,000 bytes"),
    ],
)
def test_a_file_that_cannot_be_read_is_ignored_as_a_whole(tmp_path, content, said):
    (tmp_path / "profiles.toml").write_bytes(content)
    result = read_file(tmp_path / "profiles.toml")
    assert result.listed == ()
    (problem,) = map(str, result.problems)
    assert problem.startswith(f"{tmp_path / 'profiles.toml'}: all of it is ignored: {said}")


def test_a_file_of_windows_is_read(tmp_path):
    (tmp_path / "profiles.toml").write_bytes(b"\xef\xbb\xbf" + SOUND.replace("\n", "\r\n").encode())
    assert [each.library for each in read_file(tmp_path / "profiles.toml").listed] == ["sound"]


def test_the_page_names_the_keys_that_the_code_knows():
    page = (rig.ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    tables = page.partition("## What a file holds")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \|\s*([^|]*?)\s*\|", tables, re.MULTILINE)
    keys = {**PROFILE_KEYS, **RULE_KEYS}
    assert [name for name, _ in rows] == list(keys)
    assert {name for name, needed in rows if needed == "needed"} == {name for name, key in keys.items() if key.required}
