"""What the installed torch was built for, and the extensions that it has compiled."""

from __future__ import annotations

import sys

import pytest

from fake_distributions import install, torch_version
from rtx50_autoload.evidence.installed import installed_distributions
from rtx50_autoload.evidence.torch_build import TorchBuild, compiled_extensions, torch_build


def read(tmp_path, text):
    install(tmp_path, "torch", "2.8.0", {"torch/version.py": text})
    (torch,) = installed_distributions([str(tmp_path)])
    return torch_build(torch)


def test_the_version_file_tells_version_and_cuda(tmp_path):
    assert read(tmp_path, torch_version("13.0", "2.13.0+cu130")) == TorchBuild("2.13.0+cu130", (13, 0))


def test_the_version_file_of_old_releases_is_read_too(tmp_path):
    text = "__version__ = '2.0.1+cu118'\ndebug = False\ncuda = '11.8'\ngit_version = 'e9eb'\nhip = None\n"
    assert read(tmp_path, text) == TorchBuild("2.0.1+cu118", (11, 8))


@pytest.mark.parametrize(("cuda", "hip"), [(None, None), (None, "6.3.42131"), ("weird", None), ("13", None)])
def test_a_torch_without_cuda_has_none(tmp_path, cuda, hip):
    assert read(tmp_path, torch_version(cuda, hip=hip)) == TorchBuild("2.8.0", None, hip)


@pytest.mark.parametrize("text", ["", "__version__ = f()\n", "__version__ = 3\n", "what is this", "\0"])
def test_a_version_file_that_says_something_else_is_none(tmp_path, text):
    assert read(tmp_path, text) is None


@pytest.fixture
def extension(tmp_path):
    for name in ("fused/fused.so", "fused/build.ninja", "fused/fused.o", "half/lock"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def found(torch, environ):
    return [
        (one.name, one.version, one.origin, [name for name, _ in one.binaries])
        for one in compiled_extensions(torch, environ)
    ]


def test_extensions_lie_where_the_variable_says(extension):
    assert found(TorchBuild("2.8.0", (12, 8)), {"TORCH_EXTENSIONS_DIR": str(extension)}) == [
        ("fused", None, "torch_extensions", ["fused/fused.so"])
    ]


@pytest.mark.parametrize(
    ("torch", "accelerator"),
    [
        (TorchBuild("2.8.0", (12, 8)), "cu128"),
        (TorchBuild("2.8.0", None), "cpu"),
        (TorchBuild("2.8.0", None, "6.3.4"), "rocm634"),
    ],
)
def test_by_default_only_those_for_this_python_and_torch_count(tmp_path, monkeypatch, torch, accelerator):
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path / name)
    python = f"py{sys.version_info[0]}{sys.version_info[1]}{sys.abiflags}"
    for folder in (f"{python}_{accelerator}", f"{python}_cu999", "py27_cu128"):
        file = tmp_path / "torch_extensions" / folder / "x" / "x.so"
        file.parent.mkdir(parents=True)
        file.touch()
    (one,) = compiled_extensions(torch, {})
    assert one.roots == (tmp_path / "torch_extensions" / f"{python}_{accelerator}",)


def test_no_cache_is_no_extension(tmp_path):
    assert found(TorchBuild("2.8.0", None), {"TORCH_EXTENSIONS_DIR": str(tmp_path / "nowhere")}) == []
