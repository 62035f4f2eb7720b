"""All checks of rtx50-autoload: `nox` runs those that have to pass, `nox -l` lists all.

Nothing has to be installed beside nox: each session makes its own environment.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import nox

nox.needs_version = ">=2025.5.1"
# Not what a person may have chosen for other projects: sessions ask for pip in their environments.
nox.options.default_venv_backend = "virtualenv"
nox.options.error_on_missing_interpreters = True

ROOT = Path(__file__).resolve().parent
OLDEST = (3, 10)
HOOK = "_rtx50_autoload_importlib_bootstrap.py"

# pip is the one that the tests uninstall with; uv makes their environments.
TEST_REQUIREMENTS = ("pytest>=8", "pytest-xdist>=3.5", "hypothesis", "uv", "pip", "coverage[toml]>=7.13")
TORCH = "torch==2.13.0"


def find_interpreters() -> dict[str, str]:
    """Find every CPython of this machine that we support: by version, the path of one, and our own first."""
    folders = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    home = Path.home()
    # pyenv's own folder is known by its shims too, where HOME is another one.
    shims = next((folder.parent for folder in folders if folder.name == "shims"), home / ".pyenv")
    for pattern, base in (
        ("versions/*/bin", Path(os.environ.get("PYENV_ROOT", shims))),
        ("uv/python/*/bin", Path(os.environ.get("XDG_DATA_HOME", home / ".local" / "share"))),
    ):
        folders += sorted(base.glob(pattern), reverse=True)
    candidates = [getattr(sys, "_base_executable", sys.executable)]
    for folder in folders:
        if folder.is_dir():
            candidates += sorted(str(path) for path in folder.iterdir() if re.fullmatch(r"python3\.\d+", path.name))
    # A shim of a version manager may name a Python that it does not run; a system's Python may lack venv.
    code = (
        "import sys, json, venv, ensurepip, sysconfig; json.dump([sys.implementation.name, list(sys.version_info[:2]),"
        " sys.executable, sys.prefix == sys.base_prefix], sys.stdout)"
    )
    found: dict[str, str] = {}
    for candidate in dict.fromkeys(candidates):
        try:
            result = subprocess.run(
                [candidate, "-I", "-c", code], capture_output=True, text=True, check=True, timeout=60
            )
            name, version, executable, is_base = json.loads(result.stdout)
        except (OSError, subprocess.SubprocessError, ValueError):
            continue
        if name == "cpython" and tuple(version) >= OLDEST and is_base:
            found.setdefault(f"{version[0]}.{version[1]}", executable)
    return dict(sorted(found.items(), key=lambda item: [int(part) for part in item[0].split(".")]))


INTERPRETERS = find_interpreters()
VERSIONS = list(INTERPRETERS)
OWN = f"{sys.version_info[0]}.{sys.version_info[1]}"
# Where nox looks for them by their names; before a version manager's shims, which stand there first.
os.environ["PATH"] = os.pathsep.join(
    [*dict.fromkeys(str(Path(executable).parent) for executable in INTERPRETERS.values()), os.environ.get("PATH", "")]
)

nox.options.sessions = ["lint", "types", "tests", "coverage", "package", "docs"]


@nox.session(python=VERSIONS)
def tests(session: nox.Session) -> None:
    """Run the tests on every Python found: the package is a start-up file of Python, so each version is another world.

    Lines are counted on the Python that runs nox, in the interpreters that the tests start too; the session `coverage`
    shows them. Counting slows each of those interpreters by half, so the other Pythons go without.
    """
    session.install(".", *TEST_REQUIREMENTS)
    env: dict[str, str | None] = {"PYTHONDONTWRITEBYTECODE": None}
    if session.python == OWN:
        env["COVERAGE_PROCESS_START"] = str(ROOT / "pyproject.toml")
        env["COVERAGE_FILE"] = str(ROOT / ".coverage")
    torch = os.environ.get("RTX50_TEST_TORCH")
    if torch is None and session.python == OWN and is_small(session, TORCH):
        torch = TORCH
    if torch:
        env["RTX50_TEST_TORCH"] = torch
    # Most tests wait for interpreters that they start; more workers than that wait for each other.
    workers = str(min(os.cpu_count() or 1, 8))
    session.run("python", "-m", "pytest", "--numprocesses", workers, *session.posargs, env=env)


def is_small(session: nox.Session, requirement: str) -> bool:
    """Tell whether pip would install a torch for the CPU: one for CUDA brings gigabytes of libraries with it.

    Set RTX50_TEST_TORCH to a requirement to have that one whatever it brings, or to nothing to have none.
    """
    report = Path(session.create_tmp()) / "report.json"
    arguments = ("--dry-run", "--quiet", "--ignore-installed", "--report", str(report), requirement)
    done = session.run("python", "-m", "pip", "install", *arguments, success_codes=[0, 1], silent=True)
    if not report.exists():
        session.warn(f"tests with the real torch are skipped: pip finds no {requirement}\n{done}")
        return False
    names = {item["metadata"]["name"].lower() for item in json.loads(report.read_text())["install"]}
    large = sorted(name for name in names if name.startswith(("nvidia-", "cuda-", "triton")))
    if large:
        session.warn(f"tests with the real torch are skipped: pip would fetch the CUDA build, with {', '.join(large)}")
    return not large


@nox.session
def coverage(session: nox.Session) -> None:
    """Show which lines the tests have run."""
    session.install("coverage[toml]>=7.13")
    env = {"COVERAGE_FILE": str(ROOT / ".coverage")}
    # A process that runs nothing of ours, so that a file which no test imports is shown with 0 %. Without the settings:
    # they name what is counted by its files, and that would count only files that are imported.
    options = (f"--rcfile={os.devnull}", "--branch", "--parallel-mode", "--source=src")
    session.run("coverage", "run", *options, "-m", "json.tool", os.devnull, env=env, silent=True, success_codes=[0, 1])
    session.run("coverage", "combine", "--quiet", env=env)
    session.run("coverage", "report", env=env)


@nox.session
def lint(session: nox.Session) -> None:
    """Check format and style; pinned, because a new ruff brings new rules."""
    session.install("ruff==0.17.6")
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")


@nox.session(python=list(dict.fromkeys((VERSIONS[0], VERSIONS[-1]))))
def types(session: nox.Session) -> None:
    """Check the types on the oldest and the newest Python: the library and the dependencies differ between them."""
    session.install("mypy>=1.19", ".")
    session.run("mypy", "--strict", f"--python-version={session.python}", "src")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation; a warning is an error, a reference to nothing too."""
    session.install("sphinx", "furo", "myst-parser", ".")
    session.run("sphinx-build", "-W", "--keep-going", "-n", "-b", "html", "docs", "docs/_build/html")


@nox.session
def package(session: nox.Session) -> None:
    """Build both archives and check what is in them: what is uploaded has to be what stands in the repository."""
    session.install("build", "check-wheel-contents", "twine", "packaging")
    folder = Path(session.create_tmp()) / "dist"
    for old in folder.glob("*"):
        old.unlink()
    # The wheel is built from the source archive, which so has to be complete.
    session.run("python", "-m", "build", "--outdir", str(folder), silent=True)
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    session.run("check-wheel-contents", str(wheel))
    session.run("twine", "check", "--strict", str(wheel), str(sdist))
    compare_with_checkout(session, wheel, sdist)
    environment = Path(session.create_tmp()) / "from-sdist"
    session.run("python", "-m", "venv", "--clear", str(environment))
    python = environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    session.run(str(python), "-m", "pip", "install", "--quiet", str(sdist), external=True)
    code = (
        f"import sys; assert sys.modules[{HOOK.removesuffix('.py')!r}] in sys.meta_path; import rtx50_autoload as us; \
print(us.__version__, 'works from the source archive')"
    )
    session.run(str(python), "-c", code, external=True)


def compare_with_checkout(session: nox.Session, wheel: Path, sdist: Path) -> None:
    """Fail where the wheel or the source archive holds a file that the checkout does not have like this."""
    expected = {
        str(path.relative_to(ROOT / "src").as_posix()): path.read_bytes()
        for path in (ROOT / "src").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    expected["rtx50_autoload.pth"] = (ROOT / "rtx50_autoload.pth").read_bytes()
    with zipfile.ZipFile(wheel) as archive:
        inside = {name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name}
    different = {name for name in expected.keys() | inside.keys() if expected.get(name) != inside.get(name)}
    with tarfile.open(sdist) as archive:
        for member in archive.getmembers():
            name = member.name.partition("/")[2]
            file = archive.extractfile(member)
            if file is not None and name != "PKG-INFO":
                there = ROOT / name
                if not there.is_file() or there.read_bytes() != file.read():
                    different.add(f"{name} (source archive)")
    if different:
        session.error(f"not as in the checkout: {', '.join(sorted(different))}")
    session.log(f"{len(inside)} files in the wheel, all as in the checkout")


@nox.session
def bench_startup(session: nox.Session) -> None:
    """Count the instructions that we add to the start of each Python, beside well-known start-up files.

    Needs valgrind. Fails where it is more than the ceiling.
    """
    session.install("uv")
    session.run("python", "benchmarks/startup.py", *every_python(INTERPRETERS.values()), *session.posargs)


@nox.session
def bench_exceptions(session: nox.Session) -> None:
    """Compare what errors that are none of ours cost with the error hooks installed and without them.

    Fails where raising and catching one takes 1.02 times as long.
    """
    session.install(".", TORCH)
    session.run("python", "benchmarks/exceptions.py", *session.posargs)


@nox.session
def peers(session: nox.Session) -> None:
    """Ask other tools which torch the described machines of the tests should have, and write the table of the docs.

    On Linux, in about ten minutes. light-the-torch patches pip and wants one that it knows.
    """
    session.install(".", "trustme", "uv", "torchruntime", "light-the-torch", "env-doctor", "pip==25.1")
    session.run("python", "benchmarks/peers.py", "--markdown", "docs/recorded/peers.md", *session.posargs)


@nox.session
def bench_scan(session: nox.Session) -> None:
    """Time the reader of GPU code beside NVIDIA's cuobjdump, on the largest library of a CUDA build of torch.

    Fetches that build, which is large.
    """
    session.install(".")
    session.run("python", "benchmarks/scan_speed.py", *session.posargs)


@nox.session
def truth(session: nox.Session) -> None:
    """Read real wheels and compare what is found with what NVIDIA's tool and the loading rules say of them.

    Fetches the wheels of up to 600 MB; `-- --largest 2000` takes all.
    """
    session.install(".")
    session.run("python", "tests/truth/check_wheels.py", *session.posargs)


@nox.session
def corpus(session: nox.Session) -> None:
    """Judge the classifier of error texts by reports whose category is known, as they are and behind log prefixes.

    Prints what it got wrong, and fails below the thresholds. Takes other reports than the project's own after ``--``.
    """
    session.install(".")
    session.run("python", "tests/error_corpus.py", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Fuzz all that reads bytes or text from outside, guided by the code that the inputs reach.

    `-- --seconds 3600 fatbin redact` takes more time and fewer targets; `-- --help` names them all. What it reaches is
    kept beside the environment for the next run, and so is what it finds, by which it fails.
    """
    session.install(".", "atheris>=2.3")
    folder = Path(session.create_tmp()).resolve() / "fuzz"
    session.run("python", "tests/fuzz/run.py", "--folder", str(folder), *session.posargs)


@nox.session
def patterns(session: nox.Session) -> None:
    """Measure how the time that each regular expression takes grows with the text that it searches, on a quiet machine.

    Fails where twice the text takes more than three times as long, and the texts may be of any length.
    """
    session.install(".")
    session.run("python", "tests/fuzz/regexes.py", *session.posargs)


@nox.session
def assistants(session: nox.Session) -> None:
    """Ask the real programs of assistants, against servers of the test's own, and see that they cannot act.

    Not among the default sessions: npm fetches hundreds of megabytes. Needs Node.js, npm and strace, on Linux.
    `-- PACKAGE@VERSION` takes these packages in the place of the newest ones.
    """
    packages = ("@anthropic-ai/claude-code", "@google/gemini-cli", "@openai/codex")
    # Absolute: a relative folder is never looked in.
    folder = Path(session.create_tmp()).resolve() / "npm"
    shutil.rmtree(folder, ignore_errors=True)
    session.install(".", "pytest>=8", "llm")
    options = ("--prefix", str(folder), "--no-audit", "--no-fund")
    session.run("npm", "install", *options, *(session.posargs or packages), external=True)
    env = {"RTX50_TEST_ASSISTANTS": os.pathsep.join([str(folder / "node_modules" / ".bin"), session.bin])}
    session.run("python", "-m", "pytest", "tests/real_assistants/check_programs.py", env=env)


@nox.session
def cpython_suites(session: nox.Session) -> None:
    """Let CPython's own tests judge the import hook, with every import of theirs going through it.

    Not among the default sessions: it takes minutes for each Python, and many installations come without these tests.
    Not on 3.10, where a re-raised error keeps frames that 3.11 leaves out: its traceback tests differ by that.
    """
    session.install("uv", "build")
    folder = Path(session.create_tmp()) / "dist"
    for old in folder.glob("*"):
        old.unlink()
    session.run("python", "-m", "build", "--wheel", "--outdir", str(folder), silent=True)
    (wheel,) = folder.glob("*.whl")
    pythons = [path for version, path in INTERPRETERS.items() if int(version.partition(".")[2]) > OLDEST[1]]
    session.run("python", "tests/cpython/suites.py", str(wheel), *every_python(pythons), *session.posargs)


def every_python(executables: object) -> list[str]:
    """Give the arguments that name interpreters."""
    return [argument for executable in executables for argument in ("--python", executable)]  # type: ignore[attr-defined]
