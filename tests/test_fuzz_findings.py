"""What `nox -s fuzz` has found: inputs that did something else than they should, and what they should do."""

from __future__ import annotations

import json

import pytest

from fake_binaries import container, elf
from fake_distributions import install, torch_version
from fake_machine import Machine
from rtx50_autoload.diagnosis.described import read_description
from rtx50_autoload.errors import SettingsFileError, UsageError
from rtx50_autoload.evidence.environment import versions_file
from rtx50_autoload.evidence.environment.versions_schema import FactsFileError
from rtx50_autoload.evidence.imagecache import ImageCache
from rtx50_autoload.evidence.installed import installed_distributions
from rtx50_autoload.evidence.scan import scan_file
from rtx50_autoload.evidence.torch_build import torch_build
from rtx50_autoload.evidence.verdict import Target
from rtx50_autoload.installer import journal, saved_state
from rtx50_autoload.installer.environment import Environment
from rtx50_autoload.installer.errors import FixError
from rtx50_autoload.settings import ENVIRONMENT_FILE, load
from rtx50_autoload.settings_file import set_value
from rtx50_autoload.troubleshooter import kept_answers
from rtx50_autoload.troubleshooter.scripts import store

NESTED = "[" * 100_000
NUL_URL = '{"url": "file:///a%00b", "dir_info": {"editable": true}}'
MOMENT = "2026-11-22T18:27:09+00:00"


def test_a_number_too_long_to_be_written_is_a_bad_value_like_others(tmp_path):
    (tmp_path / ENVIRONMENT_FILE).write_text(f"disable = 0x{'f' * 5000}\n")
    settings = load({}, tmp_path, tmp_path / "none")
    assert settings.disable is False
    assert "a number that is too long" in settings.problems[0]


def test_a_name_that_is_no_utf_8_is_refused_and_leaves_the_settings_file_as_it_was(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text("quiet = true\n")
    with pytest.raises(SettingsFileError, match="UTF-8"):
        set_value(file, "assistant", ["ollama=\udcff"])
    assert [path.name for path in tmp_path.iterdir()] == ["config.toml"]
    assert file.read_text() == "quiet = true\n"


def test_facts_with_a_number_too_long_to_be_read_are_refused():
    with pytest.raises(FactsFileError, match="not TOML"):
        versions_file.parse(f"a = {'9' * 5000}")


def test_a_count_without_end_in_the_cache_of_images_is_read_over(tmp_path):
    library = tmp_path / "x.so"
    library.write_bytes(elf([container("sm_120")]))
    cache = ImageCache(tmp_path / "images.json")
    scan_file(library, Target((12, 0)), cache)
    cache.save()
    text = (tmp_path / "images.json").read_text()
    (tmp_path / "images.json").write_text(text.replace('[[1,"module"', '[[1e999,"module"'))
    assert ImageCache(tmp_path / "images.json").get(library, library.stat()) is None


def test_a_folder_that_cannot_be_looked_into_costs_none_of_an_editable_installs_libraries(tmp_path):
    tree = tmp_path / "tree"
    deep = tree
    tree.mkdir()
    (tree / "a.so").touch()
    # Too long a path cannot be looked at, not by root either.
    while len(str(deep)) < 3900:
        deep /= "d" * min(200, 4085 - len(str(deep)))
        deep.mkdir()
    (deep / ("d" * (4090 - len(str(deep))))).mkdir()
    install(tmp_path, "a", "1", direct_url={"url": tree.as_uri(), "dir_info": {"editable": True}})
    (found,) = installed_distributions([str(tmp_path)])
    assert [name for name, _ in found.binaries] == ["a.so"]


@pytest.mark.parametrize("mapping", ["{'a', 'b'}", "{[]: 1}", "{" * 10_000 + "}", f"{{{'(' * 1000}}}", "{1: -'a'}"])
def test_a_finder_that_is_none_of_setuptools_points_nowhere(tmp_path, mapping):
    install(tmp_path, "a", "1", {"__editable___a_finder.py": f"MAPPING = {mapping}\n"})
    (found,) = installed_distributions([str(tmp_path)])
    assert found.origin == "record"


@pytest.mark.parametrize(
    "text", [f'{{"url": {NESTED}', "7", "[]", '{"url": 7, "dir_info": {"editable": true}}', NUL_URL]
)
def test_a_damaged_direct_url_says_nothing(tmp_path, text):
    install(tmp_path, "a", "1", {"a-1.dist-info/direct_url.json": text})
    (found,) = installed_distributions([str(tmp_path)])
    assert found.origin == "record"


def test_a_version_file_that_is_nested_too_deep_is_none(tmp_path):
    install(tmp_path, "torch", "2.9.1", {"torch/version.py": torch_version() + f"x = {'(' * 50_000}{')' * 50_000}\n"})
    (torch,) = installed_distributions([str(tmp_path)])
    assert torch_build(torch) is None


@pytest.mark.parametrize("value", ["g++ '", 'ccache "g++', "g++\\"])
def test_a_compiler_with_half_a_quotation_is_looked_at_all_the_same(tmp_path, value):
    machine = Machine(tmp_path)
    machine.environ["CXX"] = value
    assert "not-examined" not in machine.findings()


@pytest.mark.parametrize(
    "text",
    [
        "supported_arches = [[1], '12.0', 7]",
        "named_arches = OrderedDict([(1, 2), ('A', '12.0')])",
        "named_arches = OrderedDict([1])",
        f"supported_arches = [{'-' * 100_000}1]",
    ],
)
def test_lists_of_architectures_that_torch_never_had_are_read_over(tmp_path, text):
    machine = Machine(tmp_path)
    machine.environ["TORCH_CUDA_ARCH_LIST"] = "12.0"
    machine.write(machine.site / "torch" / "utils" / "cpp_extension.py", text)
    assert "not-examined" not in machine.findings()


def story(**changes):
    command = {"arguments": ["pip"], "status": "failed", "pid": 1, "started": MOMENT, "ended": MOMENT}
    steps = [{"id": "install-torch", "what": "Install.", "commands": [command]}]
    return {"prefix": "/venv", "pid": 7, "started": MOMENT, "status": "failed", "steps": steps, **changes}


@pytest.mark.parametrize(
    "content",
    [
        "8",
        '"steps"',
        "null",
        NESTED,
        json.dumps(story(started="2026-11-22T18:7209:+00:00")),
        json.dumps(story(started="2026-11-22T18:27:09")),
        json.dumps(story(status=[])),
        json.dumps(story(status="lost")),
        json.dumps(story(expected=7)),
        json.dumps(story(goals=[7])),
        json.dumps(story(steps=[{"id": "x", "what": 7, "commands": []}])),
    ],
)
def test_a_damaged_story_of_a_fix_is_said_to_be_damaged(tmp_path, content):
    file = tmp_path / "journal.json"
    file.write_text(json.dumps(story()))
    assert journal._read(file).stopped_in[0] == 1
    file.write_text(content)
    with pytest.raises(FixError, match="is damaged"):
        journal._read(file)


def kept(**changes):
    file = {"path": "lib/x.py", "size": 1, "changed": 2, "link": None}
    package = {"name": "torch", "version": "2", "info": "lib/torch.dist-info", "files": [{**file, **changes}]}
    return {"way": "links", "installed": {"torch": ["2"]}, "touched": ["torch"], "kept": [package]}


@pytest.mark.parametrize(
    "content",
    [
        "7",
        NESTED,
        json.dumps({**kept(), "way": "none"}),
        json.dumps({**kept(), "installed": [7]}),
        json.dumps({**kept(), "installed": {"torch": [7]}}),
        json.dumps({**kept(), "touched": [7]}),
        json.dumps(kept(path=7)),
        json.dumps(kept(size="1")),
        json.dumps(kept(changed=None)),
        json.dumps(kept(link=7)),
    ],
)
def test_a_damaged_list_of_what_was_kept_is_said_to_be_damaged(tmp_path, content):
    (tmp_path / "freeze.txt").write_text("")
    (tmp_path / "listing.txt").write_text('"lib/x.py"')
    (tmp_path / "kept.json").write_text(json.dumps(kept()))
    assert saved_state.load(tmp_path).touched == ("torch",)
    (tmp_path / "kept.json").write_text(content)
    with pytest.raises(FixError, match="is damaged"):
        saved_state.load(tmp_path)


@pytest.mark.parametrize("record", [NESTED, '{"language": "bash", "saved": "2026-11-22T18:27:09"}', "[]", "7"])
def test_a_damaged_record_of_a_script_costs_none_of_the_others(tmp_path, monkeypatch, record):
    monkeypatch.setattr(store, "scripts_folder", lambda: tmp_path)
    content = {"language": "bash", "assistant": "a", "incident": "i", "saved": MOMENT, "sha256": ""}
    for name, text in (("01234567", record), ("89abcdef", json.dumps(content))):
        (tmp_path / f"{name}.json").write_text(text)
        (tmp_path / f"{name}.sh").write_text("echo\n")
    scripts, problems = store.load_all()
    assert [script.id for script in scripts] == ["89abcdef"]
    assert len(problems) == 1


@pytest.mark.parametrize(
    "changes",
    [{"asked": "0001-01-01T00:00:00+14:00"}, {"asked": 7}, {"assistant": 7}, {"model": ["m"]}, {"scripts": [7]}],
)
def test_a_damaged_answer_is_none(tmp_path, monkeypatch, changes):
    monkeypatch.setattr(kept_answers, "answers_folder", lambda: tmp_path)
    content = {
        "incident": "0123456789ab",
        "asked": MOMENT,
        "assistant": "a",
        "model": "m",
        "answer": "b",
        "scripts": [],
    }
    file = tmp_path / "0123456789ab.json"
    file.write_text(json.dumps(content))
    assert kept_answers.kept_answer("0123456789ab") is not None
    file.write_text(json.dumps({**content, **changes}))
    assert kept_answers.kept_answer("0123456789ab") is None


def nested(depth):
    value = ["12.8"]
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [nested(100_000), 10**5000, "0" * 10**6, ["x" * 10**6] * 10**3, float("inf"), "\ud800"],
    ids=["nested", "a huge number", "many digits", "long", "infinite", "no UTF-8"],
)
def test_a_description_of_any_size_is_read_in_passing(value):
    situation = read_description(dict.fromkeys(("gpu", "torch", "cuda", "driver", "os", "python", "xformers"), value))
    assert situation.source == "file"


def test_a_capability_too_long_to_be_written_is_none():
    with pytest.raises(UsageError, match="capability"):
        read_description({"capability": 10**5000})


def test_a_distribution_whose_metadata_names_nothing_is_called_as_its_folder(tmp_path):
    site = tmp_path / "site-packages"
    (site / "a-1.dist-info").mkdir(parents=True)
    (site / "a-1.dist-info" / "METADATA").write_text("")
    (found,) = Environment(tmp_path / "python", tmp_path, (site,), tmp_path).distributions()
    assert (found.name, found.version) == ("a", "1")
