"""What a fix plan is chosen by: one situation, reduced to what kind of GPU it is about and to facts with names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from rtx50_autoload.capability import Capability, parse_capability
from rtx50_autoload.commands import Shell, Typist
from rtx50_autoload.evidence.environment import torch_builds
from rtx50_autoload.evidence.environment.cuda_libraries import cuda_library
from rtx50_autoload.evidence.environment.topic import CudaVersion, knowledge, parse_version

from .recipes import Build, build_of, load_categories

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .situation import Gpu, Situation

__all__ = ["KINDS", "Case", "Kind", "toolkits_for"]

#: What plans differ by; `plans.toml` describes them.
Kind: TypeAlias = Literal["new", "current", "old", "ancient", "unknown", "amd", "intel", "apple", "none"]
KINDS: Final[tuple[Kind, ...]] = ("new", "current", "old", "ancient", "unknown", "amd", "intel", "apple", "none")

_NVIDIA: Final = frozenset({"new", "current", "old", "ancient"})
#: torch's variant where it is not one for CUDA, or there is no other reason to choose one.
#: What only torch's CUDA builds contain.
_TORCH_CUDA: Final = re.compile(r"(?:lib)?(?:c10|torch)_cuda\w*\.(?:so|dll)")
#: The parts of cuDNN 8 carry the number in their names; those of cuDNN 9 have other ones.
_CUDNN_8: Final = re.compile(r"libcudnn\w*\.so\.8|cudnn\w*64_8\.dll")
_VARIANTS: Final[Mapping[Kind, str]] = {"none": "cpu", "ancient": "cpu", "amd": "rocm6.4", "intel": "xpu"}
_TORCH: Final = ("torch", "torchvision", "torchaudio")
_PORTABLE_PYTHON: Final = r".\python_embeded\python.exe"
_ARCHITECTURE: Final = re.compile(r"(?:sm_?|compute_)?(\d{1,2})\.?(\d)[af]?")
_VERSION: Final = re.compile(r"(\d{1,3})(?:\.(\d{1,3}))?")
_NEW: Final = (10, 0)
_LONGEST: Final = 120
#: About a GPU that is too old, whatever GPUs there are beside it.
_OLD_GPU: Final = "no_kernel_image_old_gpu"
#: Names of facts, for capabilities below these.
_BOUNDS: Final[Mapping[str, Capability]] = {
    "before-half": (5, 3),
    "before-triton": (7, 0),
    "before-ampere": (8, 0),
}


@dataclass(frozen=True)
class Case:
    """One error on one machine."""

    category: str
    situation: Situation
    values: Mapping[str, str]
    culprit: str | None

    @cached_property
    def gpu(self) -> Gpu | None:
        """The GPU that the error is about: the one that the text names, else the most capable of NVIDIA's."""
        gpus = [gpu for gpu in self.situation.gpus or () if gpu.vendor in ("nvidia", None)]
        known = sorted((gpu for gpu in gpus if gpu.capability), key=lambda gpu: gpu.capability or (0, 0))
        named = next((gpu for gpu in known if gpu.capability == self.named), None)
        if named or known:
            return named or known[0 if self.category == _OLD_GPU else -1]
        return next(iter([*gpus, *(self.situation.gpus or ())]), None)

    @cached_property
    def capability(self) -> Capability | None:
        """Of that GPU; where none is known, the one that the text names."""
        if self.situation.system == "macos":
            return None  # CUDA for macOS ended with 10.2, before all GPUs that torch still serves
        if self.gpu and (self.gpu.capability or self.gpu.vendor not in ("nvidia", None)):
            return self.gpu.capability
        if self.situation.gpus == () and self.situation.source != "machine":
            return None
        # An error that names a GPU did not arise on a machine without one: it was brought here from another.
        return self.named if self.category in load_categories("names_gpu") else None

    @cached_property
    def named(self) -> Capability | None:
        """The compute capability in the text; None where there is none, or no GPU has it."""
        match = _ARCHITECTURE.fullmatch(self.values.get("arch", "").strip())
        named = match and (int(match[1]), int(match[2]))
        return named if named and toolkits_for(named) else None

    @cached_property
    def kind(self) -> Kind:
        """What plans differ by."""
        if self.situation.system == "macos":
            return "apple"
        if self.capability is not None:
            return _kind_of(self.capability)
        if self.situation.gpus == ():
            # Another error was brought to this machine from one that has a GPU, or the GPU of this one is hidden.
            is_elsewhere = self.situation.source == "machine" and self.category not in load_categories("without_gpu")
            return "unknown" if is_elsewhere else "none"
        vendor = self.gpu.vendor if self.gpu else None
        if vendor in ("amd", "intel", "apple"):
            return vendor
        return "none" if vendor == "other" else "unknown"

    @cached_property
    def build(self) -> Build | None:
        """What is known of the library at fault."""
        named = (self.values.get(key) for key in ("package", "library", "module", "file"))
        builds = (build_of(name) for name in (self.culprit, *named) if name)
        return next((build for build in builds if build), None)

    @cached_property
    def library(self) -> str | None:
        """What the library at fault is called in a sentence."""
        if self.build:
            return self.build.title
        # What is missing is no library at fault, though nothing else may be named.
        culprit = None if self.culprit == self.values.get("file") else self.culprit
        name = self.values.get("library") or self.values.get("package") or culprit or ""
        return " ".join(name.split())[:_LONGEST] or None

    @cached_property
    def torch_build(self) -> torch_builds.TorchBuild | None:
        """The build of torch for the GPU and the driver; None where there is none, or the GPU is not known."""
        branch = torch_builds.driver_branch(self.situation.driver)
        return torch_builds.build_for(self.capability, branch) if self.capability else None

    @cached_property
    def torch_fits(self) -> bool | None:
        """Whether the torch that is there has code for the GPU; None where one of the two is not known."""
        if self.situation.torch_variant is None or self.capability is None:
            return None
        return torch_builds.serves(self.situation.torch_variant, self.capability)

    @cached_property
    def torch_index(self) -> str | None:
        """The one index that torch and its companions come from there; None where it is not known."""
        variant = self.situation.torch_variant
        if self.torch_build and not self.torch_fits:
            return self.torch_build.url
        if variant and (self.torch_fits or self.kind == "unknown"):
            return torch_builds.index_url(variant)
        if self.kind not in _VARIANTS or (self.kind == "amd" and self.typist.shell == "cmd"):
            return None  # there are no ROCm builds for Windows in torch's own index
        return torch_builds.index_url(_VARIANTS[self.kind])

    @cached_property
    def toolkit(self) -> CudaVersion | None:
        """The version of the CUDA toolkit that is there; None where it is not known."""
        match = _VERSION.match(self.situation.cuda_toolkit or "")
        return (int(match[1]), int(match[2] or 0)) if match else None

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

    def install_torch(self, *options: str) -> str:
        """Install torch and its companions, all from the one index."""
        index = ("--index-url", self.torch_index) if self.torch_index else ()
        return self.typist.pip("install", *options, *_TORCH, *index)

    def run_ours(self, *arguments: str) -> str:
        """Run a command of this package; those of an embedded Python are on no PATH."""
        if self.situation.tool == "embedded":
            return self.typist.run_python("-m", "rtx50_autoload", *arguments)
        return self.typist.line("rtx50-autoload", *arguments)

    @cached_property
    def facts(self) -> frozenset[str]:
        """What conditions in the tables may name, beside what is known by name (`Words`)."""
        facts: set[str] = {self.kind, self.situation.tool or "tool-unknown", *_system_facts(self.typist.shell, self)}
        if self.kind in _NVIDIA:
            facts.add("nvidia")
        if self.build:
            facts.add(f"is-{self.build.package}")
        if not self.library:
            facts.add("library-unknown")
        if self.capability is not None:
            facts.update(name for name, bound in _BOUNDS.items() if self.capability < bound)
            if self.named:
                facts.add("names-this-gpu" if self.capability == self.named else "names-another-gpu")
            facts.update(self._toolkit_facts(self.capability))
        if self.torch_index is None and self.kind != "apple":
            facts.add("torch-nowhere" if self.kind == "unknown" else "torch-elsewhere")
        if "libcuda.so" in self.values.get("file", "") or self.values.get("file") == "-lcuda":
            facts.add("lacks-libcuda")
        if _CUDNN_8.search(self.values.get("file", "")):
            facts.add("lacks-cudnn-8")
        if _TORCH_CUDA.search(self.values.get("file", "")):
            facts.add("lacks-torch-cuda")
        return frozenset(facts | self._torch_facts() | self._driver_facts())

    def _toolkit_facts(self, capability: Capability) -> set[str]:
        row, found = toolkits_for(capability), self.toolkit
        if row is None or found is None:
            return set()
        fits = parse_version(row["first"]) <= found <= parse_version(row.get("last", "99.0"))
        return {"toolkit-fits" if fits else "toolkit-wrong"}

    def _torch_facts(self) -> set[str]:
        if self.torch_fits is None:
            return {"torch-unknown"} if self.situation.torch_variant is None else set()
        return {"torch-fits"} if self.torch_fits else {"torch-lacks"}

    def _driver_facts(self) -> set[str]:
        branch = torch_builds.driver_branch(self.situation.driver)
        if branch is None or self.torch_build is None:
            return {"driver-unknown"} if branch is None else set()
        return {"driver-too-old" if branch < self.torch_build.driver else "driver-fits"}

    def runtime_package(self) -> tuple[str, str] | None:
        """Give the package that brings the CUDA library that was not found, and its folder; None where it is none."""
        library = cuda_library(PurePath(self.values.get("file", "")).name)
        if library is None:
            return None
        cuda = torch_builds.cuda_of(self.situation.torch_variant)
        package = library.package(cuda and cuda[0])
        return package, f"nvidia/{library.folder_of(package)}/lib"


def toolkits_for(capability: Capability) -> Mapping[str, Any] | None:
    """Give which CUDA toolkits compile for a GPU, ``first`` and, where there is one, ``last``; None for no GPU."""
    rows = ((parse_capability(row["oldest"]), row) for row in knowledge("versions")["toolkit"])
    oldest, row = next(((oldest, row) for oldest, row in rows if oldest <= capability), ((0, 0), None))
    return row if oldest[0] == capability[0] else None


def _kind_of(capability: Capability) -> Kind:
    if torch_builds.build_for(capability, None) is None:
        return "ancient" if capability < torch_builds.oldest_capability() else "unknown"
    if capability >= _NEW:
        return "new"
    newest = torch_builds.build_for(capability, torch_builds.newest_driver())
    return "current" if newest and newest.driver == torch_builds.newest_driver() else "old"


def _system_facts(shell: Shell, case: Case) -> set[str]:
    if shell == "cmd":
        return {"windows"}
    system = case.situation.system
    if system is None:
        return {"system-unknown"}
    return {system, "linux-like"} if system in ("linux", "wsl") else {system}
