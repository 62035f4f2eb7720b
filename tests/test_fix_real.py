"""A real case: a torchvision that does not fit torch is mended, and brought back."""

from __future__ import annotations

import json
import os

import fixing
import rig


def registry() -> dict[str, str]:
    """What the person who runs the tests has set for pip."""
    names = [name for name in os.environ if name.startswith(("PIP_", "SSL_", "HTTP", "http"))]
    return {**{name: os.environ[name] for name in names}, "HOME": os.environ["HOME"]}


def test_a_torchvision_that_does_not_fit_torch_is_mended_and_brought_back(make_venv, tmp_path):
    venv = make_venv(torch="real")
    torch = json.loads(venv.run_code("import json, torch; print(json.dumps(torch.__version__))").stdout).partition("+")[
        0
    ]
    rig.uv_pip("install", venv, "pip")
    rig.tool([str(venv.python), "-m", "pip", "install", "--quiet", "--no-deps", "torchvision==0.22.1"])
    bench = fixing.Bench(venv, "pip", tmp_path)
    bench.environ |= registry()
    # Which torchvision fits is for pip to find.
    bench.plan(bench.step([str(venv.python), "-m", "pip", "install", "torchvision", f"torch=={torch}"]), verify=True)
    applied = bench.json("--apply", "--yes")
    assert applied["fix"]["status"] == "done", applied
    assert bench.version("torchvision") != "0.22.1"
    assert any("torchvision 0.22.1 requires torch==2.7.1" in line for line in applied["verification"]["solved"])
    undone = bench.fix("--undo", "--yes")
    assert undone.returncode == 0, rig.describe(undone)
    assert bench.is_as_before()
