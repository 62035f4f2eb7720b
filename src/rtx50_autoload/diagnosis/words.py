"""What the placeholders in the texts and commands of fix plans stand for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from rtx50_autoload.capability import Capability, format_capability
from rtx50_autoload.evidence.environment import torch_builds
from rtx50_autoload.evidence.environment.topic import dotted, parse_version

from .case import toolkits_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .case import Case
    from .situation import Situation

__all__ = ["words_of"]

#: What may stand in a command. All else that a text says is left out of them: it comes from outside.
_IN_COMMANDS: Final = {
    "package": re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,60}"),
    "file": re.compile(r"[A-Za-z0-9./\\][^\x00-\x1f\"'`$%!<>|&^;*?]{0,260}"),
}
_ABSOLUTE: Final = re.compile(r"/|[A-Za-z]:[\\/]")
_IN_TEXTS: Final = ("required",)
_LONGEST: Final = 120
#: The newest version of GCC that a CUDA toolkit accepts, as its error says it.
_COMPILER: Final = re.compile(r"[5-9]|1\d|2\d")


def words_of(case: Case) -> Mapping[str, str]:
    """Give all that is known, by the names of the placeholders."""
    return {
        **_of_program(case),
        **_of_text(case),
        **_of_torch(case.situation),
        **(_of_gpu(case.capability) if case.capability else {}),
        **_of_builds(case),
    }


def _of_program(case: Case) -> dict[str, str]:
    typist = case.typist
    arch_list = "import torch; print(torch.__version__, torch.cuda.get_arch_list())"
    return {
        "gpu": _gpu(case),
        "library": case.library or "the library",
        "python": typist.python,
        "doctor": case.run_ours("doctor"),
        "torch_check": typist.run_python("-c", arch_list),
        "cuda_check": typist.run_python("-c", "import torch; print(torch.cuda.is_available())"),
    }


def _gpu(case: Case) -> str:
    name = case.gpu.name if case.gpu and case.gpu.capability == case.capability else None
    if case.capability is None:
        return f"your {name}" if name else "your GPU"
    return f"your {name or 'GPU'} (compute capability {format_capability(case.capability)})"


def _of_text(case: Case) -> dict[str, str]:
    values = case.values
    words = {name: _one_line(values[name]) for name in _IN_TEXTS if values.get(name)}
    words |= {name: values[name] for name, safe in _IN_COMMANDS.items() if safe.fullmatch(values.get(name, ""))}
    if case.build:
        words.pop("package", None)
        words |= {"package": case.build.package} if case.build.package else {}
    if _COMPILER.fullmatch(values.get("limit", "")):
        words["compiler"] = values["limit"]
    if _ABSOLUTE.match(words.get("file", "")):
        words["path"] = words["file"]
    if runtime := case.runtime_package():
        words["runtime_package"], words["runtime_folder"] = runtime
    return words


def _one_line(text: str) -> str:
    return " ".join(text.split())[:_LONGEST]


def _of_torch(situation: Situation) -> dict[str, str]:
    words = {}
    if situation.torch:
        words["torch"] = situation.torch.partition("+")[0]
        if triton := torch_builds.triton_for(words["torch"]):
            words["triton"] = triton
    if situation.torch_variant:
        words["variant"] = situation.torch_variant
        words["variant_index"] = torch_builds.index_url(situation.torch_variant)
    if situation.driver:
        words["driver"] = situation.driver
    if situation.python_version:
        words["python_release"] = ".".join(situation.python_version.split(".")[:2])
    return words


def _of_gpu(capability: Capability) -> dict[str, str]:
    major, minor = capability
    words = {
        "capability": format_capability(capability),
        "arch": f"{major}{minor}",
        "sm": f"sm_{major}{minor}",
        "family": f"{major}0",
    }
    if row := toolkits_for(capability):
        words |= {f"{name}_toolkit": row[name] for name in ("first", "last") if name in row}
    return words


def _of_builds(case: Case) -> dict[str, str]:
    build, toolkit = case.torch_build, _toolkit(case)
    words = {"newest_driver": str(torch_builds.newest_driver())}
    if build:
        words |= {"cuda": dotted(build.cuda), "index": build.url, "needed_driver": str(build.driver)}
        words["torch_sm"] = "sm_{}{}".format(*build.code)
    if toolkit:
        on_windows = case.typist.shell == "cmd"
        home = r"C:\Program Files\NVIDIA GPU Computing Toolkit\CUDA\v{}" if on_windows else "/usr/local/cuda-{}"
        folder, separator = home.format(toolkit), "\\" if on_windows else "/"
        words |= {"toolkit": toolkit, "toolkit_folder": folder, "toolkit_bin": f"{folder}{separator}bin"}
        words["nvcc"] = f"{words['toolkit_bin']}{separator}nvcc"
    return words


def _toolkit(case: Case) -> str | None:
    """Give the CUDA toolkit to build with: that of the torch that stays, or of the one that comes."""
    cuda = case.torch_build.cuda if case.torch_build else None
    if case.torch_fits is not False:
        cuda = torch_builds.cuda_of(case.situation.torch_variant) or cuda
    if cuda is None or case.capability is None:
        return cuda and dotted(cuda)
    if "toolkit-fits" in case.facts and case.toolkit and case.toolkit[0] == cuda[0]:
        return dotted(case.toolkit)
    row = toolkits_for(case.capability)
    first = parse_version(row["first"]) if row else cuda
    # A later toolkit of the same major version goes with torch, too.
    return dotted(max(cuda, first) if first[0] == cuda[0] else cuda)
