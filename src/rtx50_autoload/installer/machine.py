"""A machine and one Python environment on it, as far as a plan depends on them."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rtx50_autoload.diagnosis.situation import Gpu, OperatingSystem

__all__ = ["EnvironmentKind", "Installer", "Machine", "Package", "Processor"]

#: `embedded` is a Python inside an application's folder, such as that of ComfyUI portable; `system` is any other that
#: is no environment of its own.
EnvironmentKind: TypeAlias = Literal["venv", "conda", "embedded", "system"]
#: What installs packages there.
Installer: TypeAlias = Literal["uv", "pip"]
Processor: TypeAlias = Literal["x86_64", "aarch64"]


@dataclass(frozen=True, slots=True)
class Package:
    """One installed distribution.

    Attributes:
        version: as its metadata says, without the variant: ``"2.11.0"``.
        variant: what it was built for, where it says so: ``"cu128"``, ``"cpu"``, ``"rocm6.4"``.
        requires: what it requires, as its metadata writes it.
        origin: the file or address that it was installed from, where it was not an index.
        names_variant: whether its version names the variant, as in torch's own indexes; PyPI's wheels do not.

    """

    version: str
    variant: str | None = None
    requires: tuple[str, ...] = ()
    origin: str | None = None
    names_variant: bool = True

    def __str__(self) -> str:
        return self.version if self.variant is None else f"{self.version}+{self.variant}"


@dataclass(frozen=True)
class Machine:
    """What is known; None is not known.

    Attributes:
        gpus: the GPUs that a program sees, the first one first; empty where there is none.
        driver: the version of the NVIDIA driver, ``"570.124.06"``; None where there is none, or none is known.
        python: ``"3.12"``, ``"3.13t"`` where it runs without the global lock.
        executable: the interpreter whose environment is meant, as an absolute path.
        container: its kind, ``"docker"``; None outside of any.
        externally_managed: the distribution forbids pip to install there (PEP 668).
        packages: the installed distributions, by normalised name; of two with one name, the one that an import finds.
        hidden: the other one, by normalised name.
        memory: in bytes, what a build may use.
        free_disk: in bytes, where packages are installed.
        toolkit: the version of the CUDA toolkit whose nvcc a build would use, ``"12.8"``.
        toolkit_home: its folder, what `CUDA_HOME` names.
        compiler: the C++ compiler that a build would use, ``("gcc", 13)``; of MSVC as its macro `_MSC_VER` has it.

    """

    gpus: tuple[Gpu, ...] = ()
    driver: str | None = None
    system: OperatingSystem = "linux"
    processor: Processor = "x86_64"
    python: str = "3.12"
    executable: str = "python"
    kind: EnvironmentKind = "venv"
    installer: Installer = "pip"
    container: str | None = None
    externally_managed: bool = False
    packages: Mapping[str, Package] = field(default_factory=lambda: MappingProxyType({}))
    hidden: Mapping[str, Package] = field(default_factory=lambda: MappingProxyType({}))
    cores: int | None = None
    memory: int | None = None
    free_disk: int | None = None
    toolkit: str | None = None
    toolkit_home: str | None = None
    compiler: tuple[str, int | None] | None = None
    ninja: bool = False
