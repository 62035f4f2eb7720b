"""What is not provided, and what is not tried: the decisions that need no torch."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest

import _rtx50_autoload_importlib_bootstrap as hook
from fake_distributions import install
from rtx50_autoload.evidence.devices import Device, Survey
from rtx50_autoload.rescue.functions import load_libraries
from rtx50_autoload.rescue.providing import Provider
from rtx50_autoload.rescue.stepping_in import SteppingIn

UNDEFINED = ImportError("flash_attn_2_cuda.so: undefined symbol: _ZN3c105ErrorC2E")


@pytest.mark.parametrize(
    ("rescue", "name", "error"),
    [
        ("1", "flash_attn", UNDEFINED),
        ("0", "flash_attn", UNDEFINED),
        ("import", "xformers", UNDEFINED),
        ("import", "flash_attn.flash_attn_interface", UNDEFINED),
        # A Python package that only has to be installed.
        ("import", "flash_attn", ModuleNotFoundError("No module named 'einops'", name="einops")),
        ("provide", "flash_attn", RuntimeError("something else")),
    ],
)
def test_no_module_of_ours_takes_the_place_of_one_unless_that_is_asked_for(rescue, name, error):
    assert not Provider(rescue).replace(name, error)
    assert "flash_attn" not in sys.modules


@pytest.mark.parametrize(("rescue", "name"), [("1", "flash_attn"), ("import", "flash_attn"), ("provide", "xformers")])
def test_nothing_else_is_provided(rescue, name):
    assert Provider(rescue).find_spec(name) is None


def test_an_installed_flash_attn_keeps_its_own_distribution(tmp_path, monkeypatch):
    from importlib.metadata import DistributionFinder  # noqa: PLC0415

    provider, context = Provider("provide"), DistributionFinder.Context(name="flash_attn")
    assert [found.version for found in provider.find_distributions(context)] == ["2.8.3+rtx50.standin"]
    install(tmp_path, "flash-attn", "2.8.3")
    monkeypatch.syspath_prepend(tmp_path)
    assert list(provider.find_distributions(context)) == []
    assert list(Provider("import").find_distributions(context)) == []


def test_the_hook_is_asked_to_provide_only_while_that_is_wanted():
    for rescue in ("provide", "import"):
        provider = Provider(rescue)
        provider.install()
        assert hook.provides is (rescue == "provide")
        provider.remove()
        assert hook.provides is False


@pytest.mark.parametrize(
    ("version", "applied", "built", "foreseen"),
    [
        ("0.0.32.post2", {}, object(), True),
        ("0.0.32.post2", {"xformers-fa3-off": "failed: gone"}, object(), True),
        ("0.0.32.post2", {"xformers-fa3-off": "applied"}, object(), False),
        ("0.0.32.post2", {}, None, False),
        ("0.0.35", {}, object(), False),
    ],
)
def test_flash_attention_3_is_not_tried_where_xformers_would_choose_it(monkeypatch, version, applied, built, foreseen):
    flash3 = ModuleType("xformers.ops.fmha.flash3")
    vars(flash3)["_C_flashattention3"] = built
    torch = ModuleType("torch")
    vars(torch).update(
        cuda=SimpleNamespace(torch=torch, OutOfMemoryError=MemoryError), float16="float16", bfloat16="bfloat16"
    )
    fmha = ModuleType("xformers.ops.fmha")
    exec("def memory_efficient_attention(query, key, value): pass", vars(fmha))  # noqa: S102 - the text before
    for module in (flash3, torch, fmha):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    devices = (
        Device(0, "NVIDIA GeForce RTX 4090", (8, 9), "nvml", None),
        Device(1, "NVIDIA GeForce RTX 5090", (12, 0), "nvml", None),
    )
    stepping_in = SteppingIn(
        SimpleNamespace(rescue="1", simulate=devices, quiet=True),
        lambda _distribution: version,
        lambda: Survey(devices, "580", "NVML names them."),
        applied,
        SimpleNamespace(attend=lambda _error: None),
    )
    stepping_in.arrived(fmha)
    watched = stepping_in.watched["xformers.ops.fmha.memory_efficient_attention"]
    assert set(watched.foreseen) == ({(1, "float16"), (1, "bfloat16")} if foreseen else set())
    stepping_in.restore()
    assert stepping_in.watched == {}


def test_every_version_range_can_be_read():
    for library in load_libraries():
        assert library.covers("99") in {True, False}
