"""The facts about versions: what the tables say, what a newer file must look like, and that it is used from then on."""

from __future__ import annotations

import re
import stat
import sys
from datetime import date, timedelta
from importlib.resources import files
from itertools import pairwise

import pytest
from packaging.version import Version

from rtx50_autoload.errors import UsageError
from rtx50_autoload.evidence.environment import torch_builds, versions_file
from rtx50_autoload.evidence.environment.topic import knowledge
from rtx50_autoload.installer.facts import load_facts, platform_of
from rtx50_autoload.installer.machine import Machine
from rtx50_autoload.installer.refresh import facts_problem, refresh_facts

OWN = files("rtx50_autoload.evidence.environment").joinpath("versions.toml").read_text(encoding="ascii")
TODAY = date.fromisoformat(re.search(r'^dated = "(.*)"$', OWN, re.MULTILINE)[1])
TOMORROW = TODAY + timedelta(days=1)
NEWER = OWN.replace(f'dated = "{TODAY}"', f'dated = "{TOMORROW}"')


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """Where facts are kept, for a user who has none yet."""
    for name in ("XDG_DATA_HOME", "LOCALAPPDATA", "HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    forget()
    yield versions_file.kept_file()
    forget()


@pytest.fixture
def newer(tmp_path):
    file = tmp_path / "versions.toml"
    file.write_text(NEWER, encoding="ascii")
    return file


def forget():
    """What the process has read is read again, as another process would."""
    versions_file.in_use.cache_clear()
    knowledge.cache_clear()


# What the tables say


def test_every_row_says_how_its_facts_are_known():
    for name, rows in knowledge("versions").items():
        assert name == "dated" or all(row["source"] for row in rows), name


def test_each_release_of_torch_has_a_build_for_each_platform_that_cuda_has_and_its_own_on_pypi():
    facts = load_facts()
    assert [each.parsed for each in facts.releases] == sorted((each.parsed for each in facts.releases), reverse=True)
    for release in facts.releases:
        for platform, variant in release.pypi.items():
            assert variant == "cpu" or facts.capabilities(variant, release.version, platform), release
        for platform in ("linux-x86_64", "windows-x86_64"):
            variants = [each for each in facts.indexes if facts.capabilities(each.variant, release.version, platform)]
            assert variants, release
        # From 2.7 on there is a build for the RTX 50 series, and before that none.
        serving = any(
            (12, 0) in (facts.capabilities(each.variant, release.version, "linux-x86_64") or ())
            for each in facts.indexes
        )
        assert serving is (release.parsed >= Version("2.7"))


@pytest.mark.parametrize(
    ("variant", "release", "platform", "held", "lacking"),
    [
        ("cu128", "2.11.0", "linux-x86_64", (12, 0), (7, 0)),
        ("cu128", "2.10.0", "linux-x86_64", (7, 0), (6, 1)),
        ("cu128", "2.7.1", "windows-x86_64", (6, 1), (11, 0)),
        ("cu126", "2.14.1", "windows-x86_64", (5, 0), (12, 0)),
        ("cu130", "2.9.1", "linux-aarch64", (11, 0), (7, 5)),
    ],
)
def test_what_wheels_hold_code_for_depends_on_variant_release_and_platform(variant, release, platform, held, lacking):
    capabilities = load_facts().capabilities(variant, release, platform)
    assert held in capabilities
    assert lacking not in capabilities


@pytest.mark.parametrize(
    ("variant", "release", "platform"),
    [
        ("cu128", "2.12.0", "linux-x86_64"),
        ("cu130", "2.8.0", "linux-x86_64"),
        ("cu126", "2.15.0", "linux-x86_64"),
        ("cu129", "2.12.0", "linux-x86_64"),
        ("cu129", "2.13.0", "windows-x86_64"),
        ("cu128", "2.8.0", "linux-aarch64"),
        ("cu130", "not a version", "linux-x86_64"),
        ("cu999", "2.9.1", "linux-x86_64"),
    ],
)
def test_a_build_that_is_not_written_down_does_not_exist(variant, release, platform):
    assert load_facts().capabilities(variant, release, platform) is None


def test_no_two_rows_speak_of_one_build():
    facts = load_facts()
    for release in facts.releases:
        for index in facts.indexes:
            for platform in ("linux-x86_64", "linux-aarch64", "windows-x86_64"):
                rows = [
                    build
                    for build in facts.builds
                    if build.variant == index.variant and platform in build.platforms and build.holds(release.parsed)
                ]
                assert len(rows) <= 1, (release.version, index.variant, platform)


def test_the_driver_that_a_gpu_needs_is_the_later_one_of_its_own_and_of_its_cuda():
    facts = load_facts()
    assert facts.driver((12, 8), (12, 0)) == 570
    assert facts.driver((12, 8), (8, 9)) == 525
    assert facts.driver((13, 2), (12, 1)) == 580


def test_sizes_are_known_where_they_were_measured():
    facts = load_facts()
    release = facts.release("2.9.1")
    download, installed = facts.size(release, facts.index("cu128"), "linux-x86_64")
    assert 3 * 10**9 < download < installed < 10**10
    assert facts.size(release, facts.index("cu130"), "linux-x86_64") is None
    assert facts.size(release, facts.index("cu128"), "windows-x86_64") is None


def test_cuda_exists_for_three_platforms():
    assert platform_of(Machine(system="wsl")) == "linux-x86_64"
    assert platform_of(Machine(processor="aarch64")) == "linux-aarch64"
    assert platform_of(Machine(system="windows")) == "windows-x86_64"
    assert platform_of(Machine(system="windows", processor="aarch64")) is None
    assert platform_of(Machine(system="macos", processor="aarch64")) is None


def test_the_last_torch_for_a_python_is_known():
    last = torch_builds.last_torch_by_python()
    assert last["3.9"] == "2.8.0"
    assert last["3.10"] == "2.14.1"
    assert last["3.13t"] == "2.12.0"
    assert "3.8" not in last
    assert [*last] == sorted(last, key=lambda name: (Version(name.rstrip("t")), name))


def test_the_triton_of_a_release_is_known():
    assert torch_builds.triton_for("2.10.0") == "3.6"
    assert torch_builds.triton_for("2.99.0") is None


# A newer file


@pytest.mark.usefixtures("kept")
def test_a_newer_file_is_used_from_then_on(newer):
    changed = NEWER.replace(
        "https://download.pytorch.org/whl/cu130", "https://download.pytorch.org/whl/of-tomorrow/cu130"
    )
    newer.write_text(changed, encoding="ascii")

    assert refresh_facts(newer) == TOMORROW

    assert load_facts().dated == TOMORROW
    assert load_facts().index("cu130").host == "download.pytorch.org"
    assert torch_builds.build_for((12, 0), 580).url == "https://download.pytorch.org/whl/of-tomorrow/cu130"
    forget()
    assert load_facts().dated == TOMORROW
    assert facts_problem() is None


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_the_kept_file_is_its_owners_alone(kept, newer):
    refresh_facts(newer)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700


def test_the_package_s_own_facts_win_again_once_they_are_newer(kept):
    kept.parent.mkdir(parents=True)
    older = OWN.replace(str(TODAY), "2026-11-01")
    kept.write_text(older.replace("whl/cu130", "whl/cu999"), encoding="ascii")
    forget()
    assert "cu999" not in str(knowledge("versions"))
    assert facts_problem() is None


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"dated = ", b'dated = "2027-01-01"', b"[" * 5000, b"#" * 1_000_001]
)
def test_a_damaged_kept_file_is_passed_over_and_that_is_said(kept, content):
    kept.parent.mkdir(parents=True)
    kept.write_bytes(content)
    forget()
    assert load_facts().dated == TODAY
    assert facts_problem().startswith("the kept facts are not used: ")


def test_a_folder_in_its_place_is_passed_over_too(kept):
    kept.mkdir(parents=True)
    forget()
    assert load_facts().releases
    assert facts_problem()


def test_what_is_not_newer_is_refused_with_both_days(kept, newer):
    newer.write_text(OWN, encoding="ascii")
    with pytest.raises(UsageError, match=f"is of {TODAY}, which is not newer than the facts in use, of {TODAY}"):
        refresh_facts(newer)
    assert not kept.exists()


@pytest.mark.usefixtures("kept")
def test_a_day_far_off_is_refused(newer):
    newer.write_text(NEWER.replace(str(TOMORROW), "2999-01-01"), encoding="ascii")
    with pytest.raises(UsageError, match="2999-01-01, which is yet to come"):
        refresh_facts(newer)


@pytest.mark.usefixtures("kept")
def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"nothing\.toml cannot be read"):
        refresh_facts(tmp_path / "nothing.toml")


def test_facts_that_cannot_be_kept_are_an_error(kept, newer):
    kept.parent.parent.mkdir(parents=True)
    kept.parent.write_text("a file in the folder's place", encoding="ascii")
    with pytest.raises(UsageError, match="the facts cannot be kept"):
        refresh_facts(newer)


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ("", "x = [", "not TOML"),
        ("# What is", "# \u00fcber", "plain ASCII"),
        (f'dated = "{TOMORROW}"', "", "`dated` has to be the day of the facts"),
        (f'dated = "{TOMORROW}"', 'dated = "soon"', "`dated` has to be the day of the facts"),
        ("[[known-bad]]", "[[nonsense]]", r"\[\[nonsense\]\] is no table of facts: minimum, runtime"),
        ("[[minimum]]", "[[runtime]]", r"\[\[minimum\]\] has to be a table of 1 to 500 rows"),
        ('cuda = "13.2"', 'cuda = "13"', r"row 1 of \[\[index\]\]: `cuda` has to be two numbers such as 12\.8"),
        ("own_driver = 595", "", r"row 1 of \[\[index\]\]: `own_driver` is missing: a driver branch"),
        ("own_driver = 595", "own_driver = true", "`own_driver` has to be a driver branch"),
        ("own_driver = 595", "own_driver = 595\nextra = 1", "'extra' is no key of this table: variant, cuda"),
        ('offered = "never"', 'offered = "often"', "`offered` has to be one of always, same-release, never"),
        (
            "https://download.pytorch.org/whl/cu132",
            "http://download.pytorch.org/whl/cu132",
            "`url` has to be an address",
        ),
        ("https://download.pytorch.org/whl/cu132", "https://me:secret@example.org/whl", "`url` has to be an address"),
        ("https://download.pytorch.org/whl/cu132", "https://example.org/whl --pre", "`url` has to be an address"),
        ("https://download.pytorch.org/whl/cu132", "https://example.org/../x", "`url` has to be an address"),
        ('"3.15t"]', '"3.15t; rm"]', r"row 1 of \[\[torch\]\]: `pythons` has to be a list of 1 to 40, each a Python"),
        (
            'torchvision = "0.29.2"',
            'torchvision = "0.29.2 @ https://example.org"',
            "`torchvision` has to be an exact version",
        ),
        ('pypi = { linux-x86_64 = "cu132"', 'pypi = { linux-x86_64 = "--pre"', "`pypi` has to be a table of platforms"),
        ('package = "flash-attn"', 'package = "-r evil.txt"', "`package` has to be a normalised name"),
        ('what = "', 'what = "\\u001b[31m', "`what` has to be a sentence of printable ASCII"),
        ('capabilities = ["7.5"', 'capabilities = [7.5, "7.5"', "`capabilities` has to be a list"),
        ('variant = "cu121"', 'variant = "cu124"', "names a variant twice"),
        ('version = "2.15.0"', 'version = "2.3.0"', "the newest first"),
        (
            'first = "2.12"\nlast = "2.15"',
            'first = "2.16"\nlast = "2.15"',
            r"row 1 of \[\[build\]\]: `first` comes after",
        ),
        ('variants = ["cu126", "cu128", "cu129"]', 'variants = ["cu777"]', "cu777 is used"),
    ],
)
def test_what_is_no_file_of_facts_is_refused_and_says_why(kept, newer, before, after, complaint):
    assert before in NEWER
    newer.write_text(NEWER.replace(before, after, 1), encoding="utf-8")
    with pytest.raises(UsageError, match=complaint) as refusal:
        refresh_facts(newer)
    assert str(newer) in str(refusal.value)
    assert not kept.exists()


@pytest.mark.usefixtures("kept")
def test_a_file_that_is_too_large_is_refused(newer):
    newer.write_text(NEWER + "#" * 1_000_000, encoding="ascii")
    with pytest.raises(UsageError, match="larger than 1,000,000 bytes"):
        refresh_facts(newer)


def test_the_rows_of_a_variant_begin_with_its_newest_releases():
    # Those who ask for the newest wheels of a variant take the first row.
    facts = load_facts()
    for index in facts.indexes:
        for platform in ("linux-x86_64", "linux-aarch64", "windows-x86_64"):
            rows = [each for each in facts.builds if each.variant == index.variant and platform in each.platforms]
            assert all(newer.first > older.last for newer, older in pairwise(rows)), index.variant
