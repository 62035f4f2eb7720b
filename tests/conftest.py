"""Environments for the tests: the package is tested as it is installed, from a wheel built from this checkout."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Literal, Protocol

import hypothesis
import pytest

import fixing
import rig

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# Whatever a shell starts in the background has Ctrl-C ignored, and so would all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# In a new checkout Hypothesis first makes tables of all characters, for seconds: that is no slow test.
hypothesis.settings.register_profile("ours", suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("ours")


#: Their tests take long, and what they try hardly depends on the Python: real installers and processes by the dozen.
COSTLY = {
    *(
        "test_crash_question",
        "test_docs_blocks",
        "test_json_schemas",
        "test_recorded",
        "test_terminal_output",
        "test_fix_apply",
        "test_fix_killed",
        "test_fix_undo",
        "test_incidents_at_once",
        "test_mcp",
    ),
    *("test_nvcc_output", "test_scripts_command", "test_security_files", "test_security_working_folder"),
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of those modules."""
    for item in items:
        if item.path.stem in COSTLY:
            item.add_marker(pytest.mark.costly)


class MakeVenv(Protocol):
    """What the fixture `make_venv` gives."""

    def __call__(
        self,
        install: Literal["wheel", "editable"] | None = "wheel",
        torch: Literal["real", "fake"] | None = None,
        *,
        source: Path = rig.ROOT,
        coverage: bool = True,
    ) -> rig.Venv:
        """Make an environment.

        Args:
            install: how the package gets there.
            torch: which torch is there; the test is skipped where the real one is asked for and cannot be had.
            source: the checkout that an editable install points to.
            coverage: False where the test looks at what Python does at start-up.

        """


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    rig.uv("build", "--wheel", "--out-dir", folder, rig.ROOT)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def torch_venv(tmp_path_factory: pytest.TempPathFactory) -> rig.Venv:
    """An environment with nothing but the real torch, which others copy."""
    requirement = os.environ.get("RTX50_TEST_TORCH")
    if not requirement:
        pytest.skip("needs the real torch: RTX50_TEST_TORCH is not set to a requirement such as torch==2.13.0")
    venv = rig.create_venv(tmp_path_factory.mktemp("torch") / "venv", pip=True)
    rig.tool([str(venv.python), "-m", "pip", "install", "--quiet", requirement])
    return venv


@pytest.fixture(scope="session")
def _make_session_venv(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> MakeVenv:
    numbers = itertools.count()

    def make(install="wheel", torch=None, *, source=rig.ROOT, coverage=True):
        folder = tmp_path_factory.mktemp("venv", numbered=True)
        venv = rig.create_venv(folder / f"v{next(numbers)}", coverage=coverage)
        if torch == "real":
            rig.copy_site_packages(request.getfixturevalue("torch_venv"), venv)
        elif torch == "fake":
            rig.install_fake_torch(venv)
        wanted = {"wheel": lambda: [request.getfixturevalue("wheel")], "editable": lambda: ["-e", source]}
        packages = wanted[install]() if install else []
        if venv.counts_lines:
            packages.append("coverage")
        if packages:
            rig.uv_pip("install", venv, *packages)
        return venv

    return make


@pytest.fixture
def make_venv(_make_session_venv: MakeVenv) -> MakeVenv:
    """Make an environment that the test may change as it likes."""
    return _make_session_venv


@pytest.fixture(scope="session")
def installed(_make_session_venv: MakeVenv) -> rig.Venv:
    """The package installed from its wheel, without torch. Shared: leave it as it is."""
    return _make_session_venv()


@pytest.fixture(scope="session")
def installed_editable(_make_session_venv: MakeVenv) -> rig.Venv:
    """The package installed as `pip install -e .` does it, without torch. Shared: leave it as it is."""
    return _make_session_venv("editable")


@pytest.fixture(scope="session")
def with_fake_torch(_make_session_venv: MakeVenv) -> rig.Venv:
    """The package beside the stand-in for torch (tests/fakes/torch). Shared: leave it as it is."""
    return _make_session_venv(torch="fake")


@pytest.fixture(scope="session")
def fake_torch_alone(_make_session_venv: MakeVenv) -> rig.Venv:
    """The stand-in for torch without the package. Shared: leave it as it is."""
    return _make_session_venv(None, "fake")


@pytest.fixture(scope="session")
def with_torch(_make_session_venv: MakeVenv) -> rig.Venv:
    """The package beside the real torch; skips where RTX50_TEST_TORCH does not say which. Shared: leave it as it is."""
    return _make_session_venv(torch="real")


@pytest.fixture(scope="session", params=["fake", "real"])
def either_torch(request: pytest.FixtureRequest) -> rig.Venv:
    """The package beside the stand-in for torch and, in a second run of the test, beside the real one."""
    return request.getfixturevalue("with_fake_torch" if request.param == "fake" else "with_torch")


@pytest.fixture(scope="session", params=["fake", "real"])
def either_torch_editable(_make_session_venv: MakeVenv, request: pytest.FixtureRequest) -> rig.Venv:
    """Likewise, installed as `pip install -e .` does it."""
    return _make_session_venv("editable", request.param)


@pytest.fixture
def as_nobody() -> str:
    """The words that start a program as a user whom the system's list does not know and whom permissions stop."""
    command = ["unshare", "--user", "--map-user=12345"]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*command, "true"], check=False, capture_output=True).returncode
    ):
        pytest.skip("needs `unshare --user`, which this system does not have or forbids")
    return f"exec {' '.join(command)}"


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with small real packages of several versions."""
    folder = tmp_path_factory.mktemp("wheels")
    venv = rig.create_venv(tmp_path_factory.mktemp("downloads") / "venv", pip=True)
    for releases in fixing.WHEELS:
        rig.tool([str(venv.python), "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), *releases])
    return folder


@pytest.fixture(scope="session")
def _bench_venvs(wheels: Path, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], rig.Venv]:
    """Make environments that are equal, from one that is kept as it was."""
    numbers = itertools.count()

    def make(tool: str) -> rig.Venv:
        venv = rig.create_venv(tmp_path_factory.mktemp("bench") / f"b{next(numbers)}")
        packages = [str(wheel), *(["pip"] if tool == "pip" else []), *(["coverage"] if venv.counts_lines else [])]
        rig.uv_pip("install", venv, *packages)
        rig.uv_pip("install", venv, "--no-index", "--no-deps", "--find-links", str(wheels), *fixing.BEFORE)
        if tool == "uv":
            fixing.link_uv(venv)
        return venv

    return make


@pytest.fixture
def make_bench(_bench_venvs: Callable[[str], rig.Venv], wheels: Path) -> Callable[[str], fixing.Bench]:
    """Make an environment to be mended, with pip or with uv."""
    return lambda tool: fixing.Bench(_bench_venvs(tool), tool, wheels)


# What pip and uv do depends little on the Python, and takes them long: with both on one of the Pythons, else in turns.
TOOLS = {(3, 11): ["pip", "uv"]}.get(sys.version_info[:2], ["uv", "pip"][sys.version_info[1] % 2 :][:1])


@pytest.fixture(params=TOOLS)
def bench(make_bench: Callable[[str], fixing.Bench], request: pytest.FixtureRequest) -> fixing.Bench:
    """Likewise, with pip, uv, or once with each."""
    return make_bench(request.param)


@pytest.fixture
def uv_bench(make_bench: Callable[[str], fixing.Bench]) -> fixing.Bench:
    """Likewise, with uv, which is the faster one."""
    return make_bench("uv")
