"""What a machine tells: packages, programs' output, variables, system files; and descriptions in free words."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path
from unittest import mock

from target import Chooser, Target, scratch, text_of

from fake_machine import Machine
from rtx50_autoload.capability import parse_capability
from rtx50_autoload.diagnosis.conditions import capability_number
from rtx50_autoload.diagnosis.described import read_description
from rtx50_autoload.diagnosis.gpu_names import find_gpus
from rtx50_autoload.errors import UsageError
from rtx50_autoload.evidence import installed as installed_module
from rtx50_autoload.evidence.arch import driver_branch, parse_architecture
from rtx50_autoload.evidence.environment.place import Place
from rtx50_autoload.evidence.environment.topic import parse_version
from rtx50_autoload.evidence.installed import installed_distributions
from rtx50_autoload.evidence.torch_build import torch_build
from rtx50_autoload.installer.describe import split_version
from rtx50_autoload.installer.distribution_files import files_of, is_complete
from rtx50_autoload.installer.environment import Environment
from rtx50_autoload.knowledge import within
from rtx50_autoload.mcp_server import worker
from rtx50_autoload.mcp_server.facts import TOOLS

_FILES = ("METADATA", "RECORD", "direct_url.json", "WHEEL", "entry_points.txt", "installed-files.txt", "top_level.txt")
_BESIDE = ("__editable___a_finder.py", "a.pth", "torch/version.py")


def check_distribution(data):
    """Whatever the metadata holds, packages are listed, and no file outside of the environment is one of theirs."""
    choose = Chooser(data)
    name = choose.one_of(
        ("torch-2.9.1.dist-info", "a-1.dist-info", "torch-2.9.1.egg-info", "x.dist-info", "~orch-2.dist-info")
    )
    site = scratch() / "venv" / "site-packages"
    shutil.rmtree(site.parent, ignore_errors=True)
    (site / name).mkdir(parents=True)
    (site / "torch").mkdir()
    (site / "a.so").touch()
    parts = choose.rest().split(b"\xff")
    for file, part in zip((*(f"{name}/{each}" for each in _FILES), *_BESIDE), parts, strict=False):
        if part:
            (site / file).write_bytes(part)
    # What the input points to elsewhere is not this machine's to be walked through.
    below = installed_module._loadable_below
    walked = mock.patch.object(
        installed_module, "_loadable_below", lambda folder: below(folder) if folder.is_relative_to(site.parent) else ()
    )
    with walked:
        found = list(installed_distributions([str(site)]))
    for installed in found:
        assert isinstance(installed.name, str)
        assert installed.version is None or isinstance(installed.version, str)
        build = torch_build(installed)
        assert build is None or isinstance(build.version, str)
    environment = Environment(site.parent / "bin" / "python", site.parent, (site,), site.parent / "bin")
    for each in environment.distributions():
        is_complete(each)
        for path in files_of(each, environment):
            assert Path(path).resolve().is_relative_to(site.parent.resolve()), path
            environment.relative(path)


def _distributions():
    metadata = b"Metadata-Version: 2.1\nName: torch\nVersion: 2.9.1\nRequires-Dist: numpy\n\nLong.\n"
    record = b"torch/version.py,sha256=x,10\na.so,,\n../../bin/x,,\n"
    version = b"__version__ = '2.9.1+cu128'\ncuda: Optional[str] = '12.8'\nhip: Optional[str] = None\n"
    finder = b"MAPPING: dict[str, str] = {'a': '/x/a'}\n"
    url = b'{"url": "file:///x", "dir_info": {"editable": true}}'
    yield b"\0" + b"\xff".join((metadata, record, url, b"Wheel-Version: 1.0", b"", b"", b"", finder, b"/x\n", version))
    yield b"\2" + b"\xff".join((metadata, b"", b"", b"", b"", b"../a.so\n"))


_PACKAGING = (
    *(
        b"\xff",
        b"Name: ",
        b"Version: ",
        b"Requires-Dist: ",
        b"../../",
        b"/etc/passwd",
        b'",',
        b'"',
        b",,\n",
        b"\0",
        b"MAPPING = {",
    ),
    *(
        b"__version__ = ",
        b"cuda = ",
        b"file://",
        b"//[",
        b"%00",
        b"import ",
        b"\n\n",
        b"((((((((",
        b"'",
        b"-" * 8,
        b"\\N{",
        b"9" * 30,
    ),
)

_TEXTS = (
    "/proc/version",
    "/proc/sys/kernel/osrelease",
    "/proc/driver/nvidia/version",
    "/proc/meminfo",
    "/etc/os-release",
    "/etc/ld.so.cache",
    "/proc/self/cgroup",
    "/sys/fs/cgroup/memory.max",
)
_VARIABLES = (
    *(
        "TORCH_CUDA_ARCH_LIST",
        "CUDAARCHS",
        "CXX",
        "CUDA_HOME",
        "LD_LIBRARY_PATH",
        "CUDA_VISIBLE_DEVICES",
        "PYTORCH_CUDA_ALLOC_CONF",
    ),
    *(
        "NVIDIA_VISIBLE_DEVICES",
        "NVIDIA_DRIVER_CAPABILITIES",
        "BNB_CUDA_VERSION",
        "CUDA_MODULE_LOADING",
        "MAX_JOBS",
        "PATH",
    ),
)


def check_environment(data):
    """No topic of an examination fails, whatever programs print and variables, system files and packages hold."""
    choose = Chooser(data)
    machine = _machine()
    platform = choose.one_of(("linux", "linux", "win32", "darwin"))
    parts = choose.rest().split(b"\xff")
    printed = text_of(parts[0])
    texts = [text_of(part).replace("\0", "") for part in parts[1:]]
    environ = {name: text for name, text in zip(_VARIABLES, texts, strict=False) if text}
    machine.environ = {"PATH": str(machine.bin), **environ}
    machine.platform = platform
    for name, text in zip(_TEXTS, texts[len(_VARIABLES) :], strict=False):
        machine.system(name).write_bytes(text.encode("utf-8", "surrogateescape"))
    rest = texts[len(_VARIABLES) + len(_TEXTS) :]
    if rest:
        extension = machine.site / "torch" / "utils" / "cpp_extension.py"
        extension.write_bytes(rest[0].encode("utf-8", "surrogateescape"))
    with mock.patch.object(Place, "run", lambda *_: printed):
        examined = machine.examine()
    assert [each for each in examined.findings if each.id == "not-examined"] == []
    json.dumps({topic: dict(facts) for topic, facts in examined.facts.items()})


def _machine():
    folder = scratch() / "machine"
    shutil.rmtree(folder, ignore_errors=True)
    return Machine(folder)


def _environments():
    nvcc = b"Cuda compilation tools, release 12.8, V12.8.93\ng++ (Debian 12.2.0-14) 12.2.0"
    variables = (
        b"8.0;12.0+PTX",
        b"120a-real;native",
        b"ccache g++-13",
        b"/usr/local/cuda",
        b"/a:/b/stubs",
        b"0,GPU-8f6b",
    )
    others = (b"expandable_segments:True", b"all", b"compute,utility", b"128", b"LAZY", b"4", b"/bin")
    texts = (
        b"Linux version 6",
        b"5.15.153.1-microsoft-standard-WSL2",
        b"NVRM version: NVIDIA UNIX Open Kernel Module",
        b"MemTotal: 1 kB",
    )
    yield b"\0" + b"\xff".join((nvcc, *variables, *others, *texts, b'ID="ubuntu"\n', b"", b"0::/docker", b"max"))
    yield b"\2" + b"\xff".join(
        (b"Microsoft (R) C/C++ Optimizing Compiler Version 19.44.35211 for x64", b"native", b"all")
    )
    yield b"\0" + b"\xff" * 22 + b"supported_arches = ['12.0']\nnamed_arches = OrderedDict([('A', '12.0')])"


_TOLD = (
    *(
        b"\xff",
        b"release ",
        b"12.8",
        b"+PTX",
        b"-real",
        b";",
        b"native",
        b"'",
        b'"',
        b"g++",
        b"MIG-",
        b"GPU-",
        b"-1",
        b"kB",
        b"max",
    ),
    *(
        b"supported_arches = [",
        b"named_arches = OrderedDict([",
        b"])",
        b"9" * 50,
        b"microsoft",
        b"glibc-ld.so.cache1.1",
    ),
)


def check_described(data):
    """An environment that somebody describes, any JSON, is understood or refused; a tool then answers."""
    choose = Chooser(data)
    text, _, description = choose.rest().partition(b"\xff")
    try:
        environment = json.loads(description)
    except (ValueError, RecursionError):
        environment = {"gpu": text_of(description), "torch": text_of(description), "os": text_of(description)}
    try:
        situation = read_description(environment)
        json.dumps([gpu.name for gpu in situation.gpus or ()])
    except UsageError as error:
        assert str(error)
    if not isinstance(environment, dict) or not environment:
        return
    answer = worker._answer("explain", {"text": text_of(text), "environment": environment})
    assert "internal fault" not in answer.get("error", ""), answer
    json.dumps(answer)
    assert len(json.dumps(answer)) < 100_000
    assert set(TOOLS) >= {"explain"}


def _descriptions():
    yield (
        b"\0CUDA error: no kernel image\xff"
        b'{"gpu": "RTX 5090", "torch": "2.7.1+cu128", "os": "Ubuntu 24.04", "driver": "570.1"}'
    )
    yield (
        b"\0sm_120 is not compatible\xff"
        b'{"capability": [12, 0], "cuda": "nvcc 12.8", "python": "3.12", "machine": "x", "xformers": "0.0.35"}'
    )
    yield b"\0x\xff" + b'{"gpu": ["RTX 3090", "RTX 5090 (sm_120)"], "torch": "2.4 -> nightly cu128"}'


_WORDS = (
    *(
        b'"gpu"',
        b'"capability"',
        b'"torch"',
        b'"cuda"',
        b'"driver"',
        b'"os"',
        b'"python"',
        b'"tool"',
        b"\xff",
        b"sm_120",
        b"null",
    ),
    *(
        b"RTX 5090",
        b"[12, 0]",
        b"12.0",
        b"(",
        b")",
        b"nvcc",
        b"->",
        b"wsl",
        b"9" * 40,
        b"1e999",
        b"NaN",
        b"[[[[",
        b"\\ud800",
        b"{}",
    ),
)


def check_versions(data):
    """Versions and names are read or refused in the way that their readers say."""
    text = text_of(data)
    for read in (parse_capability, parse_architecture, driver_branch, parse_version):
        with contextlib.suppress(ValueError):
            read(text)
    number = capability_number(text)
    assert number is None or len(number) == 2
    assert within(text, ">=2.4,<3") in {True, False, None}
    assert split_version(text).version or text.startswith("+") or not text
    for bare in (True, False):
        for gpu in find_gpus(text, bare=bare):
            assert gpu.name in text


def _versions():
    yield from (
        b"12.0",
        b"sm_90a",
        b"570.124.06",
        b"12.8.1",
        b"2.9.1+cu128",
        b"1!2.0rc1",
        b"NVIDIA GeForce RTX 5090",
        b"3.5.1.post24",
    )


TARGETS = (
    Target("distribution", check_distribution, _distributions, _PACKAGING, 1024),
    Target("environment", check_environment, _environments, _TOLD, 1024),
    Target("described", check_described, _descriptions, _WORDS, 512),
    Target(
        "versions", check_versions, _versions, (b"9" * 60, b"sm_", b"+cu128", b"rtx ", b"!", b".post", b"titan "), 128
    ),
)
