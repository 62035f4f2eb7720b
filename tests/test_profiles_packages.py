"""Profiles that other packages bring: read without importing them, and for their own modules alone."""

from __future__ import annotations

import os
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

import rig
from probes import ASK_ALL, answers
from profile_files import install, profile
from rtx50_autoload.masquerading.package_profiles import package_profiles

TRUTH, HOPPER = {(12, 0)}, {(9, 0)}


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder of packages that comes first on `sys.path`."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return folder


def libraries():
    return [each.library for each in package_profiles().listed]


def problems():
    return [str(each) for each in package_profiles().problems]


@pytest.fixture
def told(with_fake_torch, site):
    """Ask in the name of callers in a program that finds the folder's packages."""

    def ask(*callers, **variables):
        env = {"PYTHONPATH": str(site), "RTX50_SIMULATE": "12.0", **variables}
        result = with_fake_torch.run("-c", ASK_ALL, *callers, env=env, check=True)
        return answers(result), result.stderr

    return ask


def test_a_package_speaks_for_its_modules_and_is_not_imported(told, site):
    install(site, "mylib", profile())
    answer, said = told("mylib", "mylib.kernels", "mylibrary")
    assert answer == {"mylib": HOPPER, "mylib.kernels": HOPPER, "mylibrary": TRUTH}
    assert said.count("\n") == 1
    assert "mylib is told that" in said


def test_its_name_and_version_are_its_origin(site):
    install(site, "mylib", profile(), version="1.2")
    (mylib,) = package_profiles().listed
    assert (str(mylib.origin), mylib.origin.place) == ("mylib 1.2", "mylib 1.2 (mylib/rtx50.toml)")


def test_a_file_in_a_package_within_the_package_is_found(site):
    install(site, "mylib", None, points="mylib.data:p.toml", files={"mylib/data/p.toml": profile()})
    assert libraries() == ["mylib"]


NOT_ITS_OWN = {
    "torch": "'torch' has a built-in profile, that of torch",
    "torch.nn.mine": "'torch.nn.mine' has a built-in profile, that of torch",
    "flash_attn.cute": "'flash_attn.cute' has a built-in profile, that of flash_attn.cute (FlashAttention-4)",
    "comfy": "'comfy' has a built-in profile, that of ComfyUI",
    "numpy": "sloppy has installed no module 'numpy'",
    "sloppyish": "sloppy has installed no module 'sloppyish'",
}


@pytest.mark.parametrize("module", NOT_ITS_OWN)
def test_a_package_that_names_the_modules_of_another_is_refused(told, site, module):
    install(site, "sloppy", profile(module) + profile("sloppy"))
    assert libraries() == ["sloppy"]
    (problem,) = problems()
    assert problem.startswith(f"sloppy 1.0 (sloppy/rtx50.toml), profile '{module}': {NOT_ITS_OWN[module]}; ")
    assert "in their own profiles.toml" in problem
    answer, said = told(module, "sloppy")
    assert answer == {module: TRUTH, "sloppy": HOPPER}
    assert module not in said


def test_one_that_lists_the_files_of_torch_as_its_own_is_refused_too(site):
    # As a wheel can, which then lies in torch's folder.
    install(site, "hostile", profile("torch"), files={"torch/__init__.py": ""})
    assert libraries() == []
    assert "'torch' has a built-in profile" in problems()[0]


def test_the_package_of_a_built_in_profile_may_replace_it(told, site):
    install(site, "flash_attn_4", profile("flash_attn.cute"), module="flash_attn", version="4.0")
    assert problems() == []
    assert told("flash_attn.cute", "flash_attn.cute.interface")[0]["flash_attn.cute.interface"] == HOPPER


@pytest.mark.parametrize(
    ("files", "module", "owned"),
    [
        ({"acme/vision/__init__.py": ""}, "acme.vision", True),
        ({"acme/vision/__init__.py": ""}, "acme.vision.ops", True),
        ({"acme/vision/__init__.py": ""}, "acme", False),
        ({"acme/vision/ops.py": ""}, "acme.vision.ops", True),
        ({"acme/vision/ops.py": ""}, "acme.vision", False),
        ({"single.py": ""}, "single", True),
        ({f"compiled{rig.extension_suffix()}": ""}, "compiled", True),
    ],
)
def test_its_own_are_the_modules_whose_files_it_has_installed(site, files, module, owned):
    install(site, "mylib", profile(module), files=files)
    assert libraries() == ([module] if owned else [])


def test_of_two_packages_for_one_module_neither_holds(told, site):
    install(site, "mylib", profile() + profile("mylib.a", report="truth"))
    install(site, "fork", profile(), files={"mylib/__init__.py": ""})
    assert libraries() == ["mylib.a"]
    assert sorted(problems()) == [
        f"{one}, profile 'mylib': {other} has a profile for 'mylib', too, so neither holds; one of them has to go."
        for one, other in (
            ("fork 1.0 (fork/rtx50.toml)", "mylib 1.0 (mylib/rtx50.toml)"),
            ("mylib 1.0 (mylib/rtx50.toml)", "fork 1.0 (fork/rtx50.toml)"),
        )
    ]
    assert told("mylib")[0] == {"mylib": TRUTH}


def test_of_two_installations_the_one_that_is_imported_speaks(site, tmp_path, monkeypatch):
    later = tmp_path / "later"
    install(later, "mylib", profile("mylib"), version="1.0")
    install(site, "mylib", profile("mylib.new"), version="2.0")
    monkeypatch.setattr(sys, "path", [*sys.path, str(later)])
    assert libraries() == ["mylib.new"]


def test_an_older_installation_does_not_speak_for_a_newer_one_without_profiles(site, tmp_path, monkeypatch):
    later = tmp_path / "later"
    install(later, "mylib", profile())
    install(site, "mylib", None, version="2.0", files={"mylib-2.0.dist-info/entry_points.txt": ""})
    monkeypatch.setattr(sys, "path", [*sys.path, str(later)])
    assert (libraries(), problems()) == ([], [])


@pytest.mark.parametrize(
    "value",
    [
        "mylib",
        "mylib:rtx50",
        "mylib:../secret.toml",
        "../mylib:rtx50.toml",
        "/etc:passwd.toml",
        "mylib:a/b.toml",
        ":x.toml",
    ],
)
def test_a_value_that_names_no_file_of_a_package_is_refused(site, value):
    install(site, "mylib", profile(), points=value)
    (problem,) = problems()
    assert problem == (
        f"mylib 1.0, entry point 'mylib': {value!r} names no file; "
        "write its package and its name, such as mylib:rtx50_profiles.toml."
    )


def test_it_is_refused_in_the_same_way_where_a_program_has_imported_importlib_metadata(installed, site):
    install(site, "mylib", profile(), points="mylib:a/b.toml")
    code = (
        "import importlib_metadata\nfrom rtx50_autoload.masquerading.package_profiles import package_profiles\n"
        "print(package_profiles().problems[0])"
    )
    result = installed.run_code(code, env={"PYTHONPATH": str(site)})
    assert "'mylib:a/b.toml' names no file" in result.stdout


def test_a_file_that_was_not_packed_is_named(site):
    install(site, "mylib", None)
    (problem,) = problems()
    assert problem == (
        "mylib 1.0 (mylib/rtx50.toml): all of it is ignored: "
        "the package has no such file; have it built into the wheel, beside the modules."
    )


def test_a_file_of_another_package_is_not_read(site):
    install(site, "other", profile("other"))
    install(site, "sloppy", None, points="other:rtx50.toml")
    assert libraries() == ["other"]
    assert "sloppy 1.0 (other/rtx50.toml): all of it is ignored: the package has no such file" in problems()[0]


def hostile_files():
    return {
        "huge": b"# " + b"x" * 10_000_000,
        "no TOML": b"[[",
        "nested deep": b"a = " + b"[" * 100_000,
        "UTF-16": profile().encode("utf-16"),
        "no text": bytes(range(256)),
        "steering": profile("mylib", library='"\\u001b[2J\\u202e"').encode(),
        "many": (profile("mylib.x") * 1500).encode()[:199_000],
    }


@pytest.mark.parametrize("content", hostile_files())
def test_a_hostile_file_leaves_the_program_and_the_other_packages_as_they_are(told, site, content):
    install(site, "mylib", hostile_files()[content])
    install(site, "sound", profile("sound"))
    answer, said = told("sound", "xformers", "__main__")
    assert answer == {"sound": HOPPER, "xformers": HOPPER, "__main__": TRUTH}
    # What another package has wrong is no matter of the person's, unless they ask for everything.
    assert said.count("\n") == 1
    assert "\x1b" not in said
    asked_for = told("sound", RTX50_DEBUG="1")[1]
    assert ("mylib 1.0 (mylib/rtx50.toml)" in asked_for) is (content != "steering")
    assert "Traceback" not in asked_for


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
def test_a_pipe_is_not_waited_for(told, site):
    install(site, "mylib", profile())
    (site / "mylib" / "rtx50.toml").unlink()
    os.mkfifo(site / "mylib" / "rtx50.toml")
    assert told("mylib")[0] == {"mylib": TRUTH}
    assert "the package has no such file" in problems()[0]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("entry_points.txt", "no section\n[rtx50_autoload.profiles]\nx = x:y.toml\n"),
        ("RECORD", '"\0'),
        ("METADATA", "Name\n"),
    ],
)
def test_damaged_metadata_costs_that_package_alone(told, site, name, text):
    install(site, "broken", profile("broken"))
    (site / "broken-1.0.dist-info" / name).write_text(text, encoding="utf-8")
    install(site, "sound", profile("sound"))
    assert libraries() == ["sound"]
    assert told("sound", "broken")[0] == {"sound": HOPPER, "broken": TRUTH}


def test_malformed_entry_points_of_a_stranger_do_not_matter(site):
    install(site, "stranger", None, files={"stranger-1.0.dist-info/entry_points.txt": "\xff[\nx"})
    install(site, "mylib", profile())
    assert (libraries(), problems()) == (["mylib"], [])


def test_a_wheel_that_is_itself_on_the_path_is_read(site, tmp_path, monkeypatch):
    install(site, "mylib", profile())
    wheel = tmp_path / "mylib-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for file in filter(Path.is_file, site.rglob("*")):
            archive.write(file, file.relative_to(site).as_posix())
    monkeypatch.setattr(sys, "path", [str(wheel), *(each for each in sys.path if each != str(site))])
    assert metadata.version("mylib") == "1.0"
    assert (libraries(), problems()) == (["mylib"], [])


def install_editable(site, project, pth):
    """Put an editable install in place whose start-up file points to a folder; None for one with code of its own."""
    where = {"url": project.as_uri(), "dir_info": {"editable": True}}
    files = {"_mylib.pth": "import _mylib_loader\n" if pth is None else f"{pth}\n"}
    install(site, "mylib", None, files=files, direct_url=where)
    # Its modules lie elsewhere.
    (site / "mylib" / "__init__.py").unlink()
    record = site / "mylib-1.0.dist-info" / "RECORD"
    record.write_text(record.read_text().replace("mylib/__init__.py,,\n", ""))


@pytest.mark.parametrize(("layout", "pth"), [("src", "src"), (".", "."), ("src", None), (".", None)])
def test_the_source_tree_of_an_editable_install_is_its_own(site, tmp_path, layout, pth):
    package = tmp_path / "project" / layout / "mylib"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "rtx50.toml").write_text(profile())
    install_editable(site, tmp_path / "project", pth and tmp_path / "project" / pth)
    assert (libraries(), problems()) == (["mylib"], [])


def test_what_a_start_up_file_points_to_elsewhere_is_not(site, tmp_path):
    for folder, module in (("project", "mylib"), ("elsewhere", "other")):
        (tmp_path / folder / module).mkdir(parents=True)
        (tmp_path / folder / module / "__init__.py").touch()
    (tmp_path / "project" / "mylib" / "rtx50.toml").write_text(profile() + profile("other"))
    install_editable(site, tmp_path / "project", tmp_path / "elsewhere")
    assert libraries() == []
    install_editable(site, tmp_path / "project", tmp_path / "project")
    assert libraries() == ["mylib"]
    assert "mylib has installed no module 'other'" in problems()[0]


BACKENDS = {
    "hatchling": ("hatchling", "hatchling.build", "src"),
    "setuptools": ("setuptools", "setuptools.build_meta", "src"),
    "setuptools, without src": ("setuptools", "setuptools.build_meta", "."),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("editable", [False, True], ids=["wheel", "editable"])
def test_what_build_tools_make_is_read(make_venv, tmp_path, backend, editable):
    requirement, build, source = BACKENDS[backend]
    module = tmp_path / "project" / source / "mylib"
    module.mkdir(parents=True)
    (module / "__init__.py").write_text("raise SystemExit('it was imported')\n")
    (module / "rtx50.toml").write_text(profile() + profile("torch"))
    (tmp_path / "project" / "pyproject.toml").write_text(
        f'[build-system]\nrequires = ["{requirement}"]\nbuild-backend = "{build}"\n'
        '[project]\nname = "my-lib"\nversion = "1.0"\n'
        '[project.entry-points."rtx50_autoload.profiles"]\nmylib = "mylib:rtx50.toml"\n'
        '[tool.setuptools.package-data]\nmylib = ["rtx50.toml"]\n'
        f'[tool.hatch.build.targets.wheel]\npackages = ["{source}/mylib"]\n'
    )
    venv = make_venv(torch="fake")
    rig.uv_pip("install", venv, *(["-e"] if editable else []), tmp_path / "project")
    result = venv.run("-c", ASK_ALL, "mylib", "torch", env={"RTX50_SIMULATE": "12.0", "RTX50_DEBUG": "1"}, check=True)
    assert answers(result) == {"mylib": HOPPER, "torch": TRUTH}
    assert "my-lib 1.0 (mylib/rtx50.toml), profile 'torch': 'torch' has a built-in profile" in result.stderr
