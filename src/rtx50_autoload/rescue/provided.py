"""Modules that answer to the names of flash_attn's, for a process that has no usable flash_attn and asked for these.

They are what other libraries import from flash_attn where they find it; all else is not there, and says so. Each
module's docstring says what it is, and `__version__` is a local version of this package's.
"""

from __future__ import annotations

import importlib.util
from types import ModuleType
from typing import TYPE_CHECKING, Any

from rtx50_autoload.rescue import flash_attn, flash_bindings, flash_padding, flash_rotary, flash_rotary_layers
from rtx50_autoload.rescue.provided_distribution import VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["build_module"]

_CONTENTS: dict[str, Mapping[str, Any]] = {
    "flash_attn": {name: getattr(flash_attn, name) for name in flash_attn.__all__},
    "flash_attn.flash_attn_interface": {
        **{name: getattr(flash_attn, name) for name in flash_attn.__all__},
        "flash_attn_gpu": flash_bindings.flash_attn_gpu,
        "_wrapped_flash_attn_forward": flash_bindings.wrapped_forward,
        "_wrapped_flash_attn_backward": flash_bindings.wrapped_backward,
    },
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
        vars(module)["__all__"] = [public for public in contents if not public.startswith("_")]
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


def _refusal(module: str) -> Any:
    def refuse(name: str) -> Any:
        raise AttributeError(
            f"rtx50-autoload, which stands in for flash_attn here, provides no {module}.{name}", name=name, obj=module
        )

    return refuse
