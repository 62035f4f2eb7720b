"""Modules that answer to the names of flash_attn's, for a process that has no usable flash_attn and asked for these.

They are what other libraries import from flash_attn where they find it; all else is not there, and says so. Each
module's docstring says what it is, and `__version__` is a local version of this package's.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from rtx50_autoload.rescue import flash_attn, flash_padding, flash_rotary, flash_rotary_layers

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from importlib.metadata import DistributionFinder

__all__ = ["VERSION", "StandInDistribution", "build_module", "find_distributions"]

#: The version of flash_attn whose functions these are; what stands behind the plus sign says whose they truly are.
VERSION = "2.8.3+rtx50.standin"

_CONTENTS: dict[str, Mapping[str, Any]] = {
    "flash_attn": {name: getattr(flash_attn, name) for name in flash_attn.__all__},
    "flash_attn.flash_attn_interface": {name: getattr(flash_attn, name) for name in flash_attn.__all__},
    "flash_attn.bert_padding": {name: getattr(flash_padding, name) for name in flash_padding.__all__},
    "flash_attn.layers": {},
    "flash_attn.layers.rotary": {name: getattr(flash_rotary_layers, name) for name in flash_rotary_layers.__all__},
    "flash_attn.ops": {},
    "flash_attn.ops.triton": {},
    "flash_attn.ops.triton.rotary": {"apply_rotary": flash_rotary.apply_rotary},
}
_PACKAGES = {name.rpartition(".")[0] for name in _CONTENTS}


def build_module(version_note: str) -> dict[str, ModuleType]:
    """Make the modules, by their names, the outermost first.

    Args:
        version_note: why they stand in, as a sentence: what is, or is not, installed.

    """
    modules = {}
    for name, contents in _CONTENTS.items():
        modules[name] = module = ModuleType(name, _docstring(name, version_note))
        spec = importlib.util.spec_from_loader(name, loader=None, origin=__file__, is_package=name in _PACKAGES)
        module.__spec__ = spec
        module.__package__ = name if name in _PACKAGES else name.rpartition(".")[0]
        module.__file__ = __file__
        if name in _PACKAGES:
            # Empty, so that a part that is not provided is looked for nowhere and not found.
            module.__path__ = []
        vars(module).update(contents)
        vars(module)["__all__"] = list(contents)
        vars(module)["__getattr__"] = _refusal(name)
        parent, _, own = name.rpartition(".")
        if parent:
            setattr(modules[parent], own, module)
    modules["flash_attn"].__version__ = VERSION  # type: ignore[attr-defined]
    return modules


def _docstring(name: str, version_note: str) -> str:
    return (
        f"This is not {name}: rtx50-autoload stands in for it, with functions that torch's own attention answers.\n\n"
        f"{version_note}\n\nIt is here because RTX50_RESCUE asks for it."
    )


def _refusal(module: str) -> Any:  # noqa: ANN401 - the module's own __getattr__
    def refuse(name: str) -> Any:  # noqa: ANN401 - it gives nothing
        raise AttributeError(
            f"rtx50-autoload, which stands in for flash_attn here, provides no {module}.{name}", name=name, obj=module
        )

    return refuse


class StandInDistribution(importlib.metadata.Distribution):
    """What `importlib.metadata` says of the stand-in, where no flash_attn is installed.

    transformers and diffusers ask it for the version before they import anything.
    """

    _FILES = {  # noqa: RUF012 - nobody changes it
        "METADATA": (
            f"Metadata-Version: 2.1\nName: flash-attn\nVersion: {VERSION}\n"
            "Summary: Not flash_attn: rtx50-autoload stands in for it in this process.\n"
        ),
        "top_level.txt": "flash_attn\n",
        "INSTALLER": "rtx50-autoload\n",
    }

    def read_text(self, filename: str) -> str | None:
        """Give the text of a file of the metadata."""
        return self._FILES.get(filename)

    def locate_file(self, path: Any) -> Path:  # noqa: ANN401 - the base class takes any path
        """Give where a file would lie; there is none."""
        return Path(__file__).parent / path


def find_distributions(context: DistributionFinder.Context) -> Iterable[importlib.metadata.Distribution]:
    """Give the stand-in's metadata where it is asked for: all of this process's distributions, or this name.

    Who looks into a certain folder, as pip does, is not told of it: it lies in none.
    """
    if "path" in vars(context):
        return ()
    name = context.name
    return [StandInDistribution()] if name is None or name.replace("_", "-").lower() == "flash-attn" else ()
