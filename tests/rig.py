"""The rig of the tests: virtual environments that are made and thrown away, and interpreters run in them."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import textwrap
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parent.parent
FAKES = Path(__file__).resolve().parent / "fakes"
PTH = "rtx50_autoload.pth"
HOOK = "_rtx50_autoload_importlib_bootstrap"
WATCHING = f"{HOOK}_watching"
SECOND_DOOR = "rtx50_autoload_second_door"

#: No child of a test runs longer; a hook that dead-locks an import fails the test instead of stopping it for ever.
TIMEOUT = 180

# What a child keeps of our own environment: what an operating system needs to run a program, and nothing of Python's,
# of ours or of the person's who runs the tests.
_KEPT = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT", "COMSPEC", "PATHEXT")
# Set by the nox session `tests`, which measures the lines run in children too.
_COVERAGE = ("COVERAGE_PROCESS_START", "COVERAGE_FILE")
# What pip is told of the registry, and what uv calls it.
_PIP_TO_UV = {"cert": "SSL_CERT_FILE", "index-url": "UV_DEFAULT_INDEX"}


@dataclass
class Venv:
    """A virtual environment of the interpreter that runs the tests.

    Files of installed packages may share their inode with an installer's cache: replace such a file, never write to it.

    Attributes:
        python: its interpreter.
        home: an empty folder, the HOME of everything that runs in it.
        coverage: whether lines run in its children are counted where the session counts lines. Off where a test looks
            at what Python does at start-up: counting adds to that.

    """

    root: Path
    coverage: bool = True
    python: Path = field(init=False)
    home: Path = field(init=False)

    def __post_init__(self) -> None:
        self.python = self.script("python")
        self.home = self.root.with_name(self.root.name + "-home")
        self.home.mkdir(exist_ok=True)

    @property
    def counts_lines(self) -> bool:
        """Whether its children count the lines that they run."""
        return self.coverage and "COVERAGE_PROCESS_START" in os.environ

    @property
    def site_packages(self) -> Path:
        """Where packages lie."""
        if os.name == "nt":
            return self.root / "Lib" / "site-packages"
        threads = "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
        return self.root / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}{threads}" / "site-packages"

    def script(self, name: str) -> Path:
        """Give the path of a command of the environment."""
        folder, suffix = ("Scripts", ".exe") if os.name == "nt" else ("bin", "")
        return self.root / folder / (name + suffix)

    def environment(self, env: Mapping[str, str] | None = None) -> dict[str, str]:
        """Give the whole environment of a child: a clean one, and `env` on top."""
        keep = _KEPT + (_COVERAGE if self.coverage else ())
        folders = {
            "HOME": self.home,
            "USERPROFILE": self.home,
            "APPDATA": self.home / "appdata",
            "LOCALAPPDATA": self.home / "localappdata",
            "XDG_CONFIG_HOME": self.home / "config",
            "XDG_CACHE_HOME": self.home / "cache",
            "XDG_DATA_HOME": self.home / "data",
            "XDG_STATE_HOME": self.home / "state",
        }
        return {
            **{name: os.environ[name] for name in keep if name in os.environ},
            **{name: str(folder) for name, folder in folders.items()},
            **(env or {}),
        }

    def run(
        self,
        *args: str | Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        check: bool = False,
        timeout: float = TIMEOUT,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program, in the environment's home unless `cwd` says otherwise.

        Args:
            args: the program and its arguments; the interpreter where the first one begins with a dash.
            env: variables on top of a clean environment.
            check: an exit code other than 0 fails the test, with both outputs.

        """
        __tracebackhide__ = True
        command = [str(argument) for argument in args]
        if not command or command[0].startswith("-"):
            command.insert(0, str(self.python))
        result = subprocess.run(
            command,
            env=self.environment(env),
            cwd=cwd or self.home,
            check=False,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=timeout,
        )
        if check:
            assert result.returncode == 0, describe(result)
        return result

    def run_code(
        self,
        code: str,
        *options: str,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        check: bool = True,
        timeout: float = TIMEOUT,
    ) -> subprocess.CompletedProcess[str]:
        """Run (dedented) source as `python *options -c code`."""
        __tracebackhide__ = True
        code = textwrap.dedent(code)
        return self.run(self.python, *options, "-c", code, env=env, cwd=cwd, check=check, timeout=timeout)

    def snapshot(self) -> set[str]:
        """Give every path in the environment and its home, byte code left out."""
        return {
            str(path.relative_to(self.root.parent))
            for top in (self.root, self.home)
            for path in top.rglob("*")
            if "__pycache__" not in path.parts
        }


def too_wide(text: str, width: int) -> list[str]:
    """Give the lines that do not fit a terminal.

    A path is to be copied, and so stands on one line, alone or behind a dash or a name.
    """
    return [line for line in text.splitlines() if len(line) > width and not re.fullmatch(r" *(- |\w+  +)?\S+", line)]


def describe(result: subprocess.CompletedProcess[str]) -> str:
    """Give all that a failed child has said."""
    command = " ".join(result.args)
    return f"{command}\nexited with {result.returncode}\n--- stdout\n{result.stdout}\n--- stderr\n{result.stderr}"


def create_venv(root: Path, *, coverage: bool = True, pip: bool = False) -> Venv:
    """Create an environment with nothing in it."""
    command = [sys.executable, "-m", "venv", *(() if pip else ("--without-pip",)), str(root)]
    tool(command)
    return Venv(root, coverage=coverage)


def uv(*args: str | Path) -> str:
    """Run uv with the surroundings of the person who runs the tests: their registry, their cache."""
    from uv import find_uv_bin  # noqa: PLC0415 - only those who install need it

    return tool([find_uv_bin(), *map(str, args)], **_registry_of_pip())


@cache
def _registry_of_pip() -> dict[str, str]:
    """Give the variables that send uv where pip is configured to go: behind a company's mirror, only pip may be."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(command, check=False, capture_output=True, text=True).stdout
    settings = {}
    for line in listed.splitlines():
        key, _, value = line.partition("=")
        variable = _PIP_TO_UV.get(key.rpartition(".")[2])
        if variable and variable not in os.environ:
            settings[variable] = ast.literal_eval(value)
    return settings


def uv_pip(verb: str, venv: Venv, *args: str | Path) -> str:
    """Run `uv pip <verb>` on an environment."""
    return uv("pip", verb, "--python", venv.python, *args)


def tool(command: list[str], cwd: Path = ROOT, **variables: str) -> str:
    """Run a tool that has to succeed, in our own environment without what Python reads there."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "RTX50_", "COV"))}
    env.pop("VIRTUAL_ENV", None)
    env |= variables
    result = subprocess.run(command, env=env, check=False, capture_output=True, text=True, cwd=cwd)
    assert result.returncode == 0, describe(result)
    return result.stdout


def build_driver(folder: Path, *options: str) -> Path | None:
    """Compile the stand-in for the driver's management library into a folder, and give it; None without a compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        return None
    command = [compiler, *options, "-pthread", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run([*command, FAKES / "nvml.c", "-o", folder / "libnvidia-ml.so.1"], check=True)
    return folder


def install_fake_torch(venv: Venv) -> None:
    """Put the stand-in for torch in an environment, as an installer would."""
    shutil.copytree(FAKES / "torch", venv.site_packages / "torch", ignore=shutil.ignore_patterns("__pycache__"))
    info = venv.site_packages / "torch-2.13.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.13.0\n", encoding="utf-8")
    (info / "INSTALLER").write_text("tests\n", encoding="utf-8")
    (info / "WHEEL").write_text("Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    files = [*(venv.site_packages / "torch").rglob("*.py"), *info.iterdir(), info / "RECORD"]
    record = "".join(f"{path.relative_to(venv.site_packages).as_posix()},,\n" for path in files)
    (info / "RECORD").write_text(record, encoding="utf-8")


def copy_site_packages(source: Venv, target: Venv) -> None:
    """Give an environment the packages of another one, without a second copy of their contents where that can be."""

    def link(source: str, target: str) -> None:
        try:
            os.link(source, target)
        except OSError:
            shutil.copy2(source, target)

    shutil.copytree(
        source.site_packages,
        target.site_packages,
        copy_function=link,
        symlinks=True,
        dirs_exist_ok=True,
        # What `venv` itself put there is not part of torch; setuptools has a start-up file of its own.
        ignore=shutil.ignore_patterns("pip", "pip-*", "setuptools*", "_distutils_hack", "distutils-precedence.pth"),
    )


def extension_suffix() -> str:
    """Give the suffix of this interpreter's extension modules."""
    return sysconfig.get_config_var("EXT_SUFFIX")
