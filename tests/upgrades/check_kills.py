"""Kill pip and uv at each change that they make to the file system, and look at what is left.

`python check_kills.py WHEEL OLD_WHEEL [--tool TOOL] [--every N]`, on Linux, with strace, pip and uv.

After each kill, Python is started with nothing to do and with torch (a fake one) to import. It has to end with exit
code 0. What it must not print is counted: Python's own message of a start-up file whose module is gone. Then the same
tool installs the package again, and `status --verify` has to find nothing.

One loss is known, and counted: pip puts the old metadata aside under a name with which Python still finds them. If it
is killed before the new files are there, torch finds an entry point whose module is gone, and refuses to be imported.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import rig

CHANGES = "rename,renameat,renameat2,unlink,unlinkat,rmdir,link,linkat,symlink,symlinkat,mkdir,mkdirat"
ORPHAN = "Error processing line 1 of"


def main() -> int:
    """Kill each action of each tool at one change after the other."""
    parser = argparse.ArgumentParser()
    parser.add_argument("wheel", type=Path)
    parser.add_argument("old", type=Path)
    parser.add_argument("--tool", choices=["pip", "uv"], action="append")
    parser.add_argument("--action", choices=["uninstall", "upgrade", "install"], action="append")
    parser.add_argument("--every", type=int, default=1, help="kill at each n-th change only")
    options = parser.parse_args()
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        for tool in options.tool or ["uv", "pip"]:
            base = rig.create_venv(Path(folder) / f"{tool}-base", pip=True)
            rig.install_fake_torch(base)
            rig.uv_pip("install", base, options.wheel, "pip")
            for action in options.action or ["uninstall", "upgrade", "install"]:
                wrong += kill_everywhere(tool, action, base, options)
    return 1 if wrong else 0


def kill_everywhere(tool: str, action: str, base: rig.Venv, options: argparse.Namespace) -> int:
    """Kill one action at every change, and print what was counted."""
    before = {"uninstall": options.wheel, "upgrade": options.old, "install": None}[action]
    rig.uv_pip("uninstall", base, "rtx50-autoload")
    if before:
        rig.uv_pip("install", base, "--no-deps", before)
    kept = base.root.with_name("kept")
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(base.site_packages, kept, symlinks=True)
    seen: collections.Counter[str] = collections.Counter()
    orphaned = []
    for number in itertools.count(1, options.every):
        shutil.rmtree(base.site_packages)
        shutil.copytree(kept, base.site_packages, symlinks=True)
        killed = run_and_kill(tool, action, base, options.wheel, number)
        start, torch = (base.run("-c", code) for code in ("pass", "import torch"))
        if not start.returncode and is_put_aside(base, torch.stderr):
            seen["torch refuses metadata that pip has put aside"] += 1
        elif start.returncode or torch.returncode:
            seen["Python or import torch failed"] += 1
            print(tool, action, number, rig.describe(start), rig.describe(torch))
        elif ORPHAN in start.stderr:
            seen["Python names a start-up file whose module is gone"] += 1
            orphaned.append(number)
        elif start.stderr or "Traceback" in torch.stderr:
            seen["something else is printed"] += 1
            print(tool, action, number, rig.describe(start), rig.describe(torch))
        else:
            seen["silent"] += 1
        install = (
            [str(base.python), "-m", "pip", "install"] if tool == "pip" else [*uv_pip(base, "install"), "--reinstall"]
        )
        arguments = ["--force-reinstall"] if tool == "pip" else []
        again = subprocess.run(
            [*install, *arguments, "-q", "--no-deps", options.wheel], check=False, capture_output=True, text=True
        )
        verified = base.run("-m", "rtx50_autoload", "status", "--verify")
        seen["mended by installing again" if not again.returncode and not verified.returncode else "NOT mended"] += 1
        if again.returncode or verified.returncode:
            print(tool, action, number, again.stderr, verified.stdout, verified.stderr)
        if not killed:
            break
    print(
        f"{tool} {action}: {seen.total() // 2} ends, {dict(seen)}; start-up file alone after change {orphaned}",
        flush=True,
    )
    return seen["Python or import torch failed"] + seen["something else is printed"] + seen["NOT mended"]


def is_put_aside(venv: rig.Venv, stderr: str) -> bool:
    """Tell whether torch has found the metadata that pip put aside, and not the module that they name."""
    aside = list(venv.site_packages.glob("~*.dist-info"))
    return bool(aside) and f"No module named '{rig.SECOND_DOOR}'" in stderr


def uv_pip(venv: rig.Venv, verb: str) -> list[str]:
    """Give the command of uv that works on an environment."""
    return [sys.executable, "-m", "uv", "pip", verb, "--python", str(venv.python)]


def run_and_kill(tool: str, action: str, venv: rig.Venv, wheel: Path, number: int) -> bool:
    """Do it, killed right after the n-th change; tell whether it came to that."""
    verb = "uninstall" if action == "uninstall" else "install"
    package = ["rtx50-autoload"] if verb == "uninstall" else ["--no-deps", str(wheel)]
    if tool == "pip":
        yes = ["-y"] if verb == "uninstall" else ["--force-reinstall"]
        command = [str(venv.python), "-m", "pip", verb, "-q", *yes, *package]
    else:
        command = [*uv_pip(venv, verb), "-q", *(["--reinstall"] if verb == "install" else []), *package]
    # pip makes hundreds of changes in folders of its own, and takes seconds for each run.
    where = [argument for path in paths(venv) for argument in ("-P", str(path))] if tool == "pip" else []
    inject = f"inject={CHANGES}:signal=SIGKILL:when={number}"
    strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={CHANGES}", "-e", inject, *where]
    done = subprocess.run([*strace, *command], check=False, capture_output=True, text=True)
    return done.returncode in (-9, 137)


def paths(venv: rig.Venv) -> list[Path]:
    """Give what lies at the top of site-packages and is of the package, and where pip puts it while it works."""
    site = venv.site_packages
    folders = [site / "rtx50_autoload", *site.glob("rtx50_autoload-*")]
    moved = [folder.with_name(f"~{folder.name[1:]}") for folder in folders]
    return [
        site / rig.PTH,
        site / f"{rig.HOOK}.py",
        site / f"{rig.WATCHING}.py",
        site / f"{rig.SECOND_DOOR}.py",
        *folders,
        *moved,
    ]


if __name__ == "__main__":
    sys.exit(main())
