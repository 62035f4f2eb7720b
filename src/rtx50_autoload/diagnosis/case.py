"""What a fix plan is chosen by: one situation, reduced to facts that can be named and words that stand in its texts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from rtx50_autoload.capability import Capability, format_capability, parse_capability
from rtx50_autoload.commands import Shell, Typist
from rtx50_autoload.diagnosis.recipes import Build, build_of
from rtx50_autoload.evidence.environment import torch_builds
from rtx50_autoload.evidence.environment.cuda_libraries import cuda_library
from rtx50_autoload.evidence.environment.topic import dotted, knowledge, parse_version

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rtx50_autoload.diagnosis.situation import Gpu, Situation

__all__ = ["KINDS", "Case", "Kind"]

#: What plans differ by: `new` is 10.0 and later, which needs builds of its own; `current` has code in all builds of
#: today; `old` only in those for older CUDA versions; `ancient` in none. The others have no CUDA.
Kind: TypeAlias = Literal["new", "current", "old", "ancient", "unknown", "amd", "intel", "apple", "none"]
KINDS: Final[tuple[Kind, ...]] = ("new", "current", "old", "ancient", "unknown", "amd", "intel", "apple", "none")

_NVIDIA: Final = frozenset({"new", "current", "old", "ancient"})
_ARCHITECTURE: Final = re.compile(r"(?:sm_|compute_)?(\d{1,2})\.?(\d)[af]?")
#: What may stand in a command. All else that a text says is left out: it comes from outside.
_IN_COMMANDS: Final = {
    "package": re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,60}"),
    "module": re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,80}"),
    "file": re.compile(r"[^\x00-\x1f\"'`$%!<>|&^;*?]{1,260}"),
}
_LONGEST_WORD: Final = 120
_PORTABLE_PYTHON: Final = r".\python_embeded\python.exe"
_TORCH: Final = ("torch", "torchvision", "torchaudio")
_FOLDERS_OF_TOOLKIT: Final[Mapping[Shell, str]] = {
    "posix": "/usr/local/cuda-{}",
    "cmd": r"C:\Program Files\NVIDIA GPU Computing Toolkit\CUDA\v{}",
    "any": "/usr/local/cuda-{}",
}


@dataclass(frozen=True)
class Case:
    """One error on one machine."""

    situation: Situation
    values: Mapping[str, str]
    culprit: str | None
    #: The error is about a GPU that is too old, whatever GPU is in this machine.
    about_old_gpu: bool = False

    @cached_property
    def gpu(self) -> Gpu | None:
        """The GPU that the error is about: the one that the text names, else the most capable of NVIDIA's."""
        gpus = [gpu for gpu in self.situation.gpus or () if gpu.vendor in ("nvidia", None)]
        known = sorted((gpu for gpu in gpus if gpu.capability), key=lambda gpu: gpu.capability or (0, 0))
        named = next((gpu for gpu in known if gpu.capability == self._in_text), None)
        if named or known:
            return named or known[0 if self.about_old_gpu else -1]
        return next(iter([*gpus, *(self.situation.gpus or ())]), None)

    @cached_property
    def capability(self) -> Capability | None:
        """Of that GPU; where no GPU is known, the one that the text names."""
        if self.situation.system == "macos":
            # CUDA for macOS ended with 10.2, before all GPUs that torch still serves.
            return None
        if self.gpu is not None and (self.gpu.capability or self.gpu.vendor not in ("nvidia", None)):
            return self.gpu.capability
        return None if self.situation.gpus == () else self._in_text

    @cached_property
    def kind(self) -> Kind:
        """What plans differ by."""
        if self.situation.system == "macos":
            return "apple"
        if self.situation.gpus == ():
            return "none"
        if self.capability is not None:
            return _kind_of(self.capability)
        vendor = self.gpu.vendor if self.gpu else None
        if vendor in ("amd", "intel", "apple"):
            return vendor
        return "none" if vendor == "other" else "unknown"

    @cached_property
    def build(self) -> Build | None:
        """What is known of the library at fault."""
        names = (self.values.get("package"), self.values.get("library"), self.culprit, self.values.get("module"))
        builds = (build_of(name) for name in names if name)
        return next((build for build in builds if build), None)

    @cached_property
    def package(self) -> str | None:
        """The library at fault as pip calls it."""
        if self.build:
            return self.build.package
        return self._safe("package")

    @cached_property
    def torch_build(self) -> torch_builds.TorchBuild | None:
        """The build of torch for the GPU and the driver; None where there is none, or the GPU is not known."""
        branch = torch_builds.driver_branch(self.situation.driver)
        return torch_builds.build_for(self.capability, branch) if self.capability else None

    @cached_property
    def typist(self) -> Typist:
        """How commands are typed there."""
        situation = self.situation
        embedded = situation.tool == "embedded"
        on_windows = situation.system == "windows" or (situation.system is None and embedded)
        shell: Shell = "cmd" if on_windows else "any" if situation.system is None else "posix"
        python = situation.python_command
        if embedded:
            # As ComfyUI portable has it; -s leaves out the packages of the user's own Python.
            python = f"{_PORTABLE_PYTHON if on_windows and python == 'python' else python} -s"
        return Typist(shell, python, situation.tool == "uv")

    @cached_property
    def facts(self) -> frozenset[str]:
        """What conditions in the tables may name."""
        situation = self.situation
        facts = {self.kind, *(f"knows-{name}" for name in self.words if not name.startswith("_"))}
        if self.kind in _NVIDIA:
            facts.add("nvidia")
        facts.update(_system_facts(situation))
        facts.add(situation.tool or "tool-unknown")
        if self.capability is not None:
            facts.update(_capability_facts(self.capability))
        facts.update(self._torch_facts())
        facts.update(self._driver_facts())
        if self._torch_index() is None and self.kind != "apple":
            facts.add("torch-nowhere")
        if situation.cuda_toolkit and self.capability:
            facts.add("toolkit-fits" if self._toolkit_fits(situation.cuda_toolkit) else "toolkit-wrong")
        return frozenset(facts)

    @cached_property
    def words(self) -> Mapping[str, str]:
        """What placeholders stand for; those that are not known are not in it."""
        situation, typist = self.situation, self.typist
        words = {
            "gpu": self._gpu_in_words(),
            "library": self._library_in_words(),
            "python": typist.python,
            "torch_check": typist.run_python(
                "-c", "import torch; print(torch.__version__, torch.cuda.get_arch_list())"
            ),
            "doctor": self.run_ours("doctor"),
            "cuda_check": typist.run_python("-c", "import torch; print(torch.cuda.is_available())"),
        }
        for name in ("package", "file", "module"):
            if value := self._safe(name):
                words[name] = value
        if self.package:
            words["package"] = self.package
        for name in ("required", "limit", "found", "symbol"):
            if value := self.values.get(name):
                words[name] = " ".join(value.split())[:_LONGEST_WORD]
        if situation.torch:
            words["torch"] = situation.torch.partition("+")[0]
        if situation.torch_variant:
            words["variant"] = situation.torch_variant
            words["variant_index"] = torch_builds.index_url(situation.torch_variant)
        if situation.driver:
            words["driver"] = situation.driver
        if triton := _triton_for(situation.torch):
            words["triton"] = ".".join(map(str, triton))
            words["next_triton"] = f"{triton[0]}.{triton[1] + 1}"
        if situation.python_version:
            words["python_release"] = ".".join(situation.python_version.split(".")[:2])
        if runtime := self._runtime_package():
            words["runtime_package"] = runtime
        return words | self._words_of_gpu()

    def _gpu_in_words(self) -> str:
        if self.capability is None:
            return f"your {self.gpu.name}" if self.gpu and self.gpu.name else "your GPU"
        number = format_capability(self.capability)
        name = self.gpu.name if self.gpu and self.gpu.capability and self.gpu.name else "GPU"
        return f"your {name} (compute capability {number})"

    def _library_in_words(self) -> str:
        if self.build:
            return self.build.title
        name = self.values.get("library") or self.values.get("package") or self.culprit
        return " ".join(name.split())[:_LONGEST_WORD] if name else "the library"

    def _words_of_gpu(self) -> dict[str, str]:
        if self.capability is None:
            return {}
        major, minor = self.capability
        words = {
            "capability": format_capability(self.capability),
            "arch": f"{major}{minor}",
            "sm": f"sm_{major}{minor}",
            "family": f"{major}0",
        }
        row = _toolkit_row(self.capability)
        if row:
            words["first_toolkit"] = row["first"]
            if "last" in row:
                words["last_toolkit"] = row["last"]
        held = [parse_capability(text) for text in knowledge("versions")["wheels"]["capabilities"]]
        if served := [each for each in held if each[0] == major and each <= self.capability]:
            words["torch_sm"] = "sm_{}{}".format(*served[-1])
        if self.torch_build:
            toolkit = self._toolkit_for(self.torch_build)
            folder = _FOLDERS_OF_TOOLKIT[self.typist.shell].format(toolkit)
            separator = "\\" if self.typist.shell == "cmd" else "/"
            words |= {
                "cuda": dotted(self.torch_build.cuda),
                "index": self.torch_build.url,
                "needed_driver": str(self.torch_build.driver),
                "newest_driver": str(torch_builds.newest_driver()),
                "toolkit": toolkit,
                "toolkit_folder": folder,
                "toolkit_bin": f"{folder}{separator}bin",
                "nvcc": f"{folder}{separator}bin{separator}nvcc",
            }
        return words

    def _toolkit_for(self, build: torch_builds.TorchBuild) -> str:
        """Give the CUDA toolkit to build extensions with: that of the torch that stays, or of the one that comes."""
        variant = self.situation.torch_variant or ""
        stays = self.capability and torch_builds.serves(variant, self.capability)
        cuda = (int(variant[2:-1]), int(variant[-1])) if stays else build.cuda
        first = parse_version(self._first_toolkit())
        return dotted(max(cuda, first) if cuda[0] == first[0] else cuda)

    def _first_toolkit(self) -> str:
        row = _toolkit_row(self.capability) if self.capability else None
        return row["first"] if row else "0.0"

    def _toolkit_fits(self, version: str) -> bool:
        row = _toolkit_row(self.capability) if self.capability else None
        if row is None:
            return False
        found = parse_version(f"{version}.0")
        return parse_version(row["first"]) <= found <= parse_version(row.get("last", "99.0"))

    def _torch_facts(self) -> set[str]:
        variant = self.situation.torch_variant
        if variant is None:
            return {"torch-unknown"}
        if not variant.startswith("cu"):
            return {"torch-without-cuda", *({"torch-cpu"} if variant == "cpu" else ())}
        serves = torch_builds.serves(variant, self.capability) if self.capability else None
        return {"torch-cuda", *({} if serves is None else {"torch-fits" if serves else "torch-lacks"})}

    def _driver_facts(self) -> set[str]:
        branch = torch_builds.driver_branch(self.situation.driver)
        if branch is None:
            return {"driver-unknown"}
        if self.torch_build is None:
            return set()
        return {"driver-too-old" if branch < self.torch_build.driver else "driver-fits"}

    def _safe(self, name: str) -> str | None:
        value = self.values.get(name)
        return value if value and _IN_COMMANDS[name].fullmatch(value) else None

    def _runtime_package(self) -> str | None:
        """Give the package that brings the CUDA library that was not found."""
        library = cuda_library(PurePath(self.values.get("file", "")).name)
        variant = self.situation.torch_variant or ""
        return library.package(int(variant[2:-1]) if torch_builds.is_cuda(variant) else None) if library else None

    def _torch_index(self) -> str | None:
        """Give the one index that torch and its companions come from there; None where it is not known."""
        if self.torch_build:
            variant = self.situation.torch_variant or ""
            fits = self.capability and torch_builds.serves(variant, self.capability)
            return torch_builds.index_url(variant) if fits else self.torch_build.url
        if self.kind == "amd" and self.typist.shell == "cmd":
            return None
        variants = {"none": "cpu", "ancient": "cpu", "amd": "rocm6.4", "intel": "xpu"}
        return torch_builds.index_url(variants[self.kind]) if self.kind in variants else None

    def install_torch(self, *options: str) -> str:
        """Install torch and its companions, all from the one index."""
        index = self._torch_index()
        return self.typist.pip("install", *options, *_TORCH, *(("--index-url", index) if index else ()))

    def run_ours(self, *arguments: str) -> str:
        """Run a command of this package, which an embedded Python has on no PATH."""
        if self.situation.tool == "embedded":
            return self.typist.run_python("-m", "rtx50_autoload", *arguments)
        return self.typist.line("rtx50-autoload", *arguments)

    @cached_property
    def _in_text(self) -> Capability | None:
        match = _ARCHITECTURE.fullmatch(self.values.get("arch", "").strip())
        if match is None:
            return None
        named = int(match[1]), int(match[2])
        return named if _toolkit_row(named) else None


def _kind_of(capability: Capability) -> Kind:
    if capability >= (10, 0):
        return "new"
    oldest = [parse_capability(row["oldest"]) for row in knowledge("versions")["index"]]
    if capability >= max(oldest):
        return "current"
    return "old" if capability >= min(oldest) else "ancient"


def _system_facts(situation: Situation) -> set[str]:
    if situation.system is None:
        return {"windows"} if situation.tool == "embedded" else {"system-unknown"}
    return {situation.system, *({"linux-like"} if situation.system in ("linux", "wsl") else ())}


def _capability_facts(capability: Capability) -> set[str]:
    bounds = {"before-triton": (7, 0), "before-ampere": (8, 0), "before-half": (5, 3)}
    facts = {name for name, bound in bounds.items() if capability < bound}
    return facts | {f"major-{capability[0]}"}


def _toolkit_row(capability: Capability) -> dict[str, str] | None:
    rows: list[dict[str, str]] = knowledge("versions")["toolkit"]
    fitting = (row for row in rows if parse_capability(row["oldest"]) <= capability)
    row = next(fitting, None)
    return row if row and parse_capability(row["oldest"])[0] == capability[0] else None


def _triton_for(torch: str | None) -> tuple[int, int] | None:
    if torch is None:
        return None
    release = ".".join(torch.split(".")[:2])
    rows = knowledge("versions")["triton"]
    return next((parse_version(row["triton"]) for row in rows if row["torch"] == release), None)
