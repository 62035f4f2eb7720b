"""Upgrade from, and downgrade to, the wheels of earlier commits: `python check_history.py WHEEL [--others N | --all]`.

Needs the git history, hatchling, pip and uv. Every distinct start-up surface (start-up file, start-up module, entry
points) is taken at its first and at its last commit, and N other commits between them, evenly. After each step Python
has to start without a word, and `import torch` (a fake one) to work; uninstalling has to leave nothing.
"""

from __future__ import annotations

import argparse
import collections
import io
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import rig

PTH, HOOK = rig.PTH, f"src/{rig.HOOK}.py"
NEEDED = ("src", PTH, "pyproject.toml", "README.md", "LICENSE")
LOOK = f"""
import sys, torch
hook = sys.modules["{rig.HOOK}"]
told = eval("torch.cuda.get_device_capability(0)", {{"__name__": "xformers", "torch": torch}})
print(told, sys.meta_path.count(hook), hook.faults)
"""
SIMULATED = {"RTX50_SIMULATE": "12.0"}


def git(*arguments: str) -> bytes:
    """Ask git."""
    return subprocess.run(["git", *arguments], cwd=rig.ROOT, check=True, capture_output=True).stdout  # noqa: S607


def main() -> int:
    """Go through the steps with every wheel that is asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--others", type=int, default=12)
    parser.add_argument("--all", action="store_true")
    options = parser.parse_args()
    try:
        if git("rev-parse", "--is-shallow-repository").strip() == b"true":
            sys.exit("This checkout has no history: `git fetch --unshallow` brings it.")
    except (OSError, subprocess.CalledProcessError):
        sys.exit("This is no git checkout, so there are no earlier commits to build: use a clone with its history.")
    commits = git("rev-list", "--reverse", "HEAD").decode().split()
    surfaces = collections.defaultdict(list)
    for commit in commits:
        surfaces[surface(commit)].append(commit)
    surfaces.pop(None, None)
    buildable = [commit for each in surfaces.values() for commit in each]
    chosen = buildable if options.all else pick(surfaces, buildable, options.others)
    print(
        f"{len(commits)} commits, {len(buildable)} with a start-up module, {len(surfaces)} distinct start-up surfaces"
    )
    wrong = steps = 0
    with tempfile.TemporaryDirectory() as folder:
        venv = rig.create_venv(Path(folder) / "venv")
        rig.install_fake_torch(venv)
        rig.uv_pip("install", venv, options.wheel)
        rig.uv_pip("uninstall", venv, "rtx50-autoload")
        for number, commit in enumerate(chosen):
            wheel = build(commit, Path(folder) / commit)
            # pip takes ten times as long as uv: with every wheel only where they are few.
            tools = ("uv",) if options.all and number % 10 else ("uv", "pip")
            for tool in tools:
                for name, do in every_step(venv, tool, wheel, options.wheel):
                    do()
                    steps += 1
                    for problem in problems(venv, name):
                        wrong += 1
                        print(f"{commit[:7]} {tool} {name}: {problem}", flush=True)
            print(f"{number + 1} of {len(chosen)}: {commit[:7]}, {steps} steps, {wrong} problems", flush=True)
    print(f"{len(chosen)} wheels of earlier commits, {steps} steps, {wrong} problems")
    return 1 if wrong else 0


def surface(commit: str) -> tuple[str, ...] | None:
    """Give what runs at start-up, and through the second door; None where the module is not there yet."""
    listed = dict(line.split("\t")[::-1] for line in git("ls-tree", "-r", commit, PTH, HOOK).decode().splitlines())
    if HOOK not in listed:
        return None
    doors = git("show", f"{commit}:pyproject.toml").decode().partition("[project.entry-points")[2].partition("\n\n")[0]
    return listed[PTH], listed[HOOK], doors


def pick(surfaces: dict[tuple[str, ...] | None, list[str]], buildable: list[str], others: int) -> list[str]:
    """Take the ends of each surface, and others between."""
    ends = [commit for each in surfaces.values() for commit in (each[0], each[-1])]
    between = buildable[:: max(1, len(buildable) // max(1, others))] if others else []
    return sorted({*ends, *between}, key=buildable.index)


def build(commit: str, folder: Path) -> Path:
    """Build the wheel of a commit."""
    with tarfile.open(fileobj=io.BytesIO(git("archive", commit, *NEEDED))) as archive:
        archive.extractall(folder, filter="data")
    rig.tool([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "dist")], folder)
    (wheel,) = (folder / "dist").glob("*.whl")
    return wheel


def every_step(venv: rig.Venv, tool: str, old: Path, new: Path):
    """Give what is done, in this order."""

    def install(wheel: Path) -> None:
        # Versions have not changed from commit to commit, so the installers are told to go on.
        if tool == "uv":
            rig.uv_pip("install", venv, "--quiet", "--no-deps", "--reinstall", wheel)
        else:
            pip(venv, "install", "--no-deps", "--force-reinstall", str(wheel))

    def uninstall() -> None:
        if tool == "uv":
            rig.uv_pip("uninstall", venv, "rtx50-autoload")
        else:
            pip(venv, "uninstall", "-y", "rtx50-autoload")

    yield "install", lambda: install(old)
    yield "upgrade", lambda: install(new)
    yield "downgrade", lambda: install(old)
    yield "upgrade again", lambda: install(new)
    yield "uninstall", uninstall


def pip(venv: rig.Venv, *arguments: str) -> None:
    """Run our own pip on an environment."""
    rig.tool([sys.executable, "-m", "pip", "--python", str(venv.python), *arguments[:1], "-q", *arguments[1:]])


def problems(venv: rig.Venv, step: str):
    """Say what is not as it has to be."""
    start = venv.run("-c", "pass")
    if start.returncode or start.stdout or start.stderr:
        yield rig.describe(start)
    if step == "uninstall":
        left = [path for path in venv.site_packages.rglob("*") if "rtx50" in path.name.replace("-", "_")]
        # uv leaves the byte code of every package's top-level modules; Python does not run it without the source.
        yield from (f"left behind: {path}" for path in left if path.suffix != ".pyc")
    if not step.startswith("upgrade"):
        # What an earlier version tells whom was its own affair.
        torch = venv.run("-c", "import torch")
        if torch.returncode or torch.stderr:
            yield rig.describe(torch)
        return
    look = venv.run("-c", LOOK, env=SIMULATED)
    if look.stdout != "(9, 0) 1 []\n" or "Traceback" in look.stderr or "Error processing" in look.stderr:
        yield rig.describe(look)


if __name__ == "__main__":
    sys.exit(main())
