"""`doctor` on real libraries: what xformers and bitsandbytes can do on an RTX 5090 beside a torch without CUDA."""

from __future__ import annotations

import json

import pytest

import rig


@pytest.fixture(scope="module")
def document(_make_session_venv):
    venv = _make_session_venv(torch="real")
    rig.uv_pip("install", venv, "--no-deps", "xformers==0.0.35", "bitsandbytes==0.50.2")
    result = venv.run(venv.script("rtx50-autoload"), "doctor", "--json", "--device", "12.0")
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def libraries(document):
    return {library["name"]: library for library in document["libraries"]}


def test_xformers_runs_by_ptx(libraries):
    (binary,) = libraries["xformers"]["binaries"]
    assert libraries["xformers"]["verdict"] == "jit"
    assert binary["modules"] == {"native": 0, "jit": 11, "missing": 0, "other_gpu": 0}
    assert binary["ptx"] == {"compute_80": 11}


def test_bitsandbytes_runs_by_the_library_for_torchs_cuda(document, libraries):
    if next(library for library in document["libraries"] if library["name"] == "torch")["verdict"] != "no_gpu_code":
        pytest.skip("this torch has CUDA: one library is picked")
    verdicts = {binary["name"][-6:-3]: binary["verdict"] for binary in libraries["bitsandbytes"]["binaries"]}
    assert verdicts == {
        **dict.fromkeys(("118", "121", "124", "126"), "jit"),
        **dict.fromkeys(("128", "130", "132"), "native"),
    }
    assert libraries["bitsandbytes"]["reason"].endswith("native for 12.8, 13.0, 13.2, jit for 11.8, 12.1, 12.4, 12.6")


def test_a_torch_without_cuda_is_the_error(document, libraries):
    if libraries["torch"]["verdict"] != "no_gpu_code":
        pytest.skip("this torch has CUDA")
    # Where there is a GPU, the environment's finding says it with the command that helps.
    assert {"torch-no-gpu-code", "torch-cpu-only"} & {finding["id"] for finding in document["findings"]}


def test_the_cuda_runtime_that_xformers_misses_is_named(document):
    (missing,) = (finding for finding in document["findings"] if finding["id"] == "runtime-library-missing")
    assert "xformers 0.0.35 needs libcudart.so.12" in missing["what"]
