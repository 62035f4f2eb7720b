"""Ask other tools which torch the described machines of the tests should have; judge every answer by the same facts.

The tools are the real ones, each told of the machine in the way in which it looks at it: uv by its variable for the
driver's version and its options for the platform; torchruntime by its functions, with the names that its own table has
for the GPUs; light-the-torch and env-doctor by a `nvidia-smi` that says what the machine's would. Where they ask
download.pytorch.org, `pytorch_index` answers with the wheels that the project's facts list. They are asked for a torch
for a new environment: none of them takes into account what is installed. Linux only.

An answer is right where by the facts the build exists for that Python and platform, holds code for the GPUs that one
build can serve together with the RTX 50, is carried by the driver, and is allowed by what the installed packages
require of torch. Where no build of torch for CUDA serves the machine as it is, an answer is right that names none.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.requirements import Requirement
from packaging.version import Version

import pytorch_index
from rtx50_autoload.evidence.environment.topic import knowledge
from rtx50_autoload.installer.describe import read_goals, read_machine
from rtx50_autoload.installer.plan import Goal
from rtx50_autoload.installer.planner import make_plan

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from rtx50_autoload.installer.machine import Machine

MACHINES = Path(__file__).resolve().parent.parent / "tests" / "machines"
SCRIPTS = Path(sysconfig.get_path("scripts"))
CUDA = re.compile(r"cu\d{2,3}")
#: As uv and pip name the platforms.
UV_PLATFORMS = {
    "linux-x86_64": "x86_64-manylinux_2_28",
    "linux-aarch64": "aarch64-manylinux_2_28",
    "windows-x86_64": "x86_64-pc-windows-msvc",
}
TAGS = {
    "linux-x86_64": "manylinux_2_28_x86_64",
    "linux-aarch64": "manylinux_2_28_aarch64",
    "windows-x86_64": "win_amd64",
}


@dataclass(frozen=True)
class Answer:
    """What a tool says."""

    #: ``"2.11.0"``; None where it names no torch.
    torch: str | None
    #: ``"cu128"``, ``"cpu"``.
    variant: str | None
    #: What it says where it names none.
    note: str = ""

    def __str__(self) -> str:
        return f"{self.torch}+{self.variant}" if self.torch else self.variant or self.note


def main() -> None:
    """Ask all, print the table, and write it where that is wanted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table here")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the answers here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = list(ask_all(Path(folder)))
    text = markdown(rows)
    print(text)
    if options.markdown:
        options.markdown.write_text(text, encoding="utf-8")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def ask_all(folder: Path) -> Iterator[dict[str, Any]]:
    """Ask every tool about every machine."""
    authority, own = pytorch_index.certificate(folder)
    proxy = pytorch_index.serve(wheels(), own)
    # What points the tools of this machine to other indexes would point them there for these questions, too.
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_"))}
    environ |= {"HTTPS_PROXY": proxy, "NO_PROXY": "", "PIP_CONFIG_FILE": os.devnull, "UV_NO_CONFIG": "1"}
    environ |= dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT"), str(authority))
    environ |= {"HOME": str(folder), "PATH": f"{folder}{os.pathsep}{SCRIPTS}{os.pathsep}{os.environ['PATH']}"}
    asked: dict[object, Answer] = {}
    for file in sorted(MACHINES.glob("*.toml")):
        description = tomllib.loads(file.read_text(encoding="utf-8"))
        machine = read_machine(description)
        pretend(folder / "nvidia-smi", machine)
        answers = {"ours": ours(machine, description)}
        for name, ask in PEERS.items():
            # Of all that makes a machine, these tools look at nothing else.
            question = name, machine.gpus, machine.driver, machine.python, where(machine)
            if question not in asked:
                asked[question] = ask(machine, environ)
            answers[name] = asked[question]
        yield {
            "machine": file.stem,
            "gpus": [gpu.name for gpu in machine.gpus],
            "answers": {name: str(answer) for name, answer in answers.items()},
            "right": {name: is_right(answer, machine) for name, answer in answers.items()},
        }


def ours(machine: Machine, description: Mapping[str, Any]) -> Answer:
    """Give the torch that the plan ends with; none where nothing is applied, or a person has to do something first."""
    plan = make_plan(machine, read_goals(description) or (Goal("run", "torch"),))
    if plan.conflicts:
        return Answer(None, None, f"conflict: {plan.conflicts[0].package}")
    if plan.outcome == "impossible":
        return Answer(None, None, plan.unsolved[0].id)
    by_hand = next((step.id for step in plan.steps if step.by_hand and not step.commands), None)
    if by_hand and not any(fits(each, machine, served(machine)) for each in builds(where(machine))):
        return Answer(None, None, f"first {by_hand}")
    changes = [change.after for step in plan.steps for change in step.changes if change.package == "torch"]
    release, _, variant = str(changes[-1] if changes else machine.packages["torch"]).partition("+")
    if not variant:  # as PyPI gave it
        rows = (row for row in knowledge("versions")["torch"] if row["version"] == release)
        variant = next((row["pypi"].get(where(machine)) for row in rows), None)
    return Answer(release, variant or None)


def ask_uv(machine: Machine, environ: Mapping[str, str]) -> Answer:
    """Ask ``uv pip compile --torch-backend=auto``."""
    place = where(machine)
    if place not in UV_PLATFORMS:
        return Answer(None, None, "not asked")
    command = [str(SCRIPTS / "uv"), "pip", "compile", "-", "--no-deps", "--no-cache", "--torch-backend=auto"]
    command += ["--python-version", machine.python.rstrip("t"), "--python-platform", UV_PLATFORMS[place]]
    # Without the variable it looks for a driver here; an AMD card it finds by a file of the kernel.
    driver = {"UV_CUDA_DRIVER_VERSION": machine.driver} if machine.driver else {}
    done = run(command, {**environ, **driver}, "torch\n")
    return found(re.search(r"^torch==(\S+)", done.stdout, re.MULTILINE), done)


def ask_torchruntime(machine: Machine, _environ: Mapping[str, str]) -> Answer:
    """Ask the functions of torchruntime for the variant; the release is what that index then gives."""
    question = {
        "gpus": [gpu.name for gpu in machine.gpus],
        "system": {"windows": "Windows", "macos": "Darwin"}.get(machine.system, "Linux"),
        "processor": "amd64" if machine.system == "windows" else machine.processor,
        "python": list(map(int, machine.python.rstrip("t").split("."))),
    }
    script = Path(__file__).with_name("ask_torchruntime.py")
    done = run([sys.executable, str(script)], os.environ, json.dumps(question))
    variant = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else ""
    if done.returncode or not variant:
        return Answer(None, None, (done.stderr.strip().splitlines() or ["nothing"])[-1][:60])
    if not CUDA.fullmatch(variant):
        return Answer(None, None, variant)
    return Answer(newest(machine, variant), variant, f"{variant}: no wheel")


def ask_light_the_torch(machine: Machine, environ: Mapping[str, str]) -> Answer:
    """Ask ``ltt install --dry-run torch``."""
    place = where(machine)
    if place not in TAGS:
        return Answer(None, None, "not asked")
    arguments = ["install", "--dry-run", "--no-deps", "--ignore-installed", "--no-cache-dir", "--only-binary=:all:"]
    arguments += ["--python-version", machine.python.rstrip("t"), "--platform", TAGS[place], "--target", "/nowhere"]
    system = "Windows" if machine.system == "windows" else "Linux"
    code = (
        f"import platform, sys; platform.system = lambda: {system!r}; sys.argv[0] = 'ltt'; "
        "from light_the_torch._cli import main; sys.exit(main(sys.argv[1:]))"
    )
    done = run([sys.executable, "-c", code, *arguments, "torch"], environ, "")
    # There are names and metadata on that index, and no wheels: it stops at the one that it has chosen.
    return found(re.search(r"/torch-([\w.]+(?:%2B|\+)\w+)-cp", done.stdout + done.stderr), done)


def ask_env_doctor(machine: Machine, environ: Mapping[str, str]) -> Answer:
    """Ask ``env-doctor install torch``; it knows nothing of Pythons and platforms."""
    done = run([str(SCRIPTS / "env-doctor"), "install", "torch"], environ, "")
    command = re.search(r"^pip install torch(?:==(\S+))?.*?(?:whl/(\S+))?$", done.stdout, re.MULTILINE)
    if command is None:
        return Answer(None, None, "pip install torch" if "pip install torch" in done.stdout else "nothing")
    if command[2] is None:
        return Answer(None, None, "pip install torch")
    return Answer(command[1] or newest(machine, command[2]), command[2])


PEERS: Mapping[str, Callable[[Machine, Mapping[str, str]], Answer]] = {
    "uv": ask_uv,
    "torchruntime": ask_torchruntime,
    "light-the-torch": ask_light_the_torch,
    "env-doctor": ask_env_doctor,
}


def run(command: list[str], environ: Mapping[str, str], text: str) -> subprocess.CompletedProcess[str]:
    """Run a tool to its end."""
    return subprocess.run(
        command,
        input=text,
        env=dict(environ),
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
        timeout=120,
    )


def found(match: re.Match[str] | None, done: subprocess.CompletedProcess[str]) -> Answer:
    """Read an answer such as ``2.11.0+cu128``."""
    if match is None:
        return Answer(None, None, "no torch found" if done.returncode else "nothing")
    release, _, variant = match[1].replace("%2B", "+").partition("+")
    return Answer(release, variant or "pypi")


def pretend(file: Path, machine: Machine) -> None:
    """Write a `nvidia-smi` that says what the machine's would, or fails where it has no driver."""
    nvidia = [gpu for gpu in machine.gpus if gpu.vendor == "nvidia" and gpu.capability]
    if machine.driver is None or not nvidia:
        file.write_text("#!/bin/sh\nexit 9\n", encoding="ascii")
    else:
        lines = "\n".join(
            f"{i}, {gpu.name}, 16384 MiB, {'.'.join(map(str, gpu.capability or ()))}" for i, gpu in enumerate(nvidia)
        )
        file.write_text(
            "#!/bin/sh\n"
            'case "$*" in\n'
            f"*driver_version*) printf 'driver_version\\n{machine.driver}\\n' ;;\n"
            f"*compute_cap*) cat <<'END'\n{lines}\nEND\n;;\n"
            f"*) echo '| NVIDIA-SMI {machine.driver}   Driver Version: {machine.driver}   CUDA Version: 0.0 |' ;;\n"
            "esac\n",
            encoding="ascii",
        )
    file.chmod(0o755)


def where(machine: Machine) -> str:
    """Name the platform as the facts do."""
    return f"{'linux' if machine.system == 'wsl' else machine.system}-{machine.processor}"


def builds(place: str) -> Iterator[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]]:
    """Give every torch that the facts list for a platform: its variant, and the rows of build, release and index."""
    facts = knowledge("versions")
    index = {row["variant"]: row for row in facts["index"]}
    for build in facts["build"]:
        for release in facts["torch"]:
            if place in build["platforms"] and reaches(build, release["version"]):
                yield build["variant"], build, release, index[build["variant"]]


def reaches(build: Mapping[str, str], release: str) -> bool:
    """Tell whether a release lies between the first and the last of a build, both included."""
    line = Version(".".join(release.split(".")[: build["last"].count(".") + 1]))
    return Version(build["first"]) <= Version(release) and line <= Version(build["last"])


def newest(machine: Machine, variant: str) -> str | None:
    """Give the newest torch of an index for this Python and platform."""
    known = (each for each in builds(where(machine)) if each[0] == variant and machine.python in each[2]["pythons"])
    return max((release["version"] for _, _, release, _ in known), key=Version, default=None)


def wheels() -> dict[tuple[str, str], dict[str, str]]:
    """List the wheels of torch by variant, as the index pages do; of the CPU builds the same releases."""
    pages: dict[tuple[str, str], dict[str, str]] = {}
    for place, tag in TAGS.items():
        for variant, _, release, _ in builds(place):
            for name in (variant, "cpu"):
                version = f"{release['version']}+{name}"
                text = f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n"
                for python in release["pythons"]:
                    cp = f"cp{python.rstrip('t').replace('.', '')}"
                    abi = cp + "t" * python.endswith("t")
                    pages.setdefault((name, "torch"), {})[f"torch-{version}-{cp}-{abi}-{tag}.whl"] = text
    return pages


def is_right(answer: Answer, machine: Machine) -> bool:
    """Judge an answer; what that means stands at the head of this file."""
    possible = [each for each in builds(where(machine)) if fits(each, machine, served(machine))]
    if answer.torch is None or not CUDA.fullmatch(answer.variant or ""):
        return not possible
    installed = machine.packages.get("torch")
    if installed and answer.torch == installed.version:
        # It may be older than what the facts list, or a nightly build: the variant says what it holds.
        return any(each[0] == answer.variant for each in possible)
    return any(each[0] == answer.variant and each[2]["version"] == answer.torch for each in possible)


def fits(wheel: tuple[str, Any, Any, Any], machine: Machine, capabilities: frozenset[tuple[int, int]]) -> bool:
    """Tell whether a build of torch serves a machine."""
    _, build, release, index = wheel
    branch = int(machine.driver.partition(".")[0]) if machine.driver else 0
    return (
        bool(capabilities)
        and branch >= needed(index, capabilities)
        and machine.python in release["pythons"]
        and all(holds(build, capability) for capability in capabilities)
        and allowed(machine, release["version"])
    )


def needed(index: Mapping[str, Any], capabilities: frozenset[tuple[int, int]]) -> int:
    """Give the driver that a variant needs: on older GPUs any that runs programs of that CUDA's major version."""
    if any(capability[0] >= 10 for capability in capabilities):  # noqa: PLR2004
        return index["driver"]
    return next(
        row["driver"] for row in knowledge("versions")["runtime"] if row["cuda"] == int(index["cuda"].partition(".")[0])
    )


def served(machine: Machine) -> frozenset[tuple[int, int]]:
    """Give the capabilities that a build has to serve: all, or those of the RTX 50 where none serves all."""
    every = frozenset(gpu.capability for gpu in machine.gpus if gpu.capability and gpu.vendor == "nvidia")
    if any(fits(each, machine, every) for each in builds(where(machine))):
        return every
    return frozenset(capability for capability in every if capability[0] == 12) or every  # noqa: PLR2004


def holds(build: Mapping[str, Any], capability: tuple[int, int]) -> bool:
    """Tell whether a build has code that a GPU runs: of the same major version, and not newer."""
    inside = (tuple(map(int, text.split("."))) for text in build["capabilities"])
    return any(each[0] == capability[0] and each <= capability for each in inside)


def allowed(machine: Machine, release: str) -> bool:
    """Tell whether what is installed allows a torch; torchvision and the like come with theirs."""
    beside = {"torchvision", "torchaudio", "xformers", "triton"}
    wanted = [
        requirement.specifier
        for name, package in machine.packages.items()
        if name not in beside
        for requirement in map(Requirement, package.requires)
        if requirement.name == "torch"
    ]
    return all(specifier.contains(release, prereleases=True) for specifier in wanted)


def markdown(rows: list[dict[str, Any]]) -> str:
    """Write the table."""
    tools = list(rows[0]["answers"])
    names = {
        "uv": "uv",
        "torchruntime": "torchruntime",
        "light-the-torch": "light-the-torch",
        "env-doctor": "env-doctor",
    }
    heads = ["rtx50-autoload", *(f"{name} {metadata.version(names[name])}" for name in tools[1:])]
    lines = [f"| machine | {' | '.join(heads)} |", f"|---|{'---|' * len(tools)}"]
    for row in rows:
        cells = [f"{'yes' if row['right'][tool] else 'no'}: {row['answers'][tool]}" for tool in tools]
        lines.append(f"| {row['machine']} | {' | '.join(cells)} |")
    right = [f"**{sum(row['right'][tool] for row in rows)} of {len(rows)}**" for tool in tools]
    lines.append(f"| right | {' | '.join(right)} |")
    day = datetime.now(timezone.utc).date().isoformat()
    return "\n".join([f"Asked on {day}, on Python {sys.version.split()[0]}.", "", *lines, ""])


if __name__ == "__main__":
    main()
