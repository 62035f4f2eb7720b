"""A machine as a file describes it: a table with the names of `Machine`'s fields, and nothing else."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, cast, get_args

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidName, canonicalize_name
from packaging.version import InvalidVersion, Version

from rtx50_autoload.capability import parse_capability
from rtx50_autoload.diagnosis.gpu_names import find_gpus
from rtx50_autoload.diagnosis.situation import Gpu, OperatingSystem, Vendor
from rtx50_autoload.installer.described_values import (
    MachineError,
    as_list,
    as_table,
    read_choice,
    read_size,
    read_switch,
    read_text,
    read_whole,
    refuse_unknown,
)
from rtx50_autoload.installer.machine import EnvironmentKind, Installer, Machine, Package, Processor
from rtx50_autoload.installer.plan import Goal

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MachineError", "read_goals", "read_machine", "split_version"]

#: Its text, by the field of `Machine` that it is; what else a description may hold has a function of its own below.
_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "system": get_args(OperatingSystem),
    "processor": get_args(Processor),
    "kind": get_args(EnvironmentKind),
    "installer": get_args(Installer),
    "container": ("docker", "podman", "kubernetes", "container"),
}
_PATTERNS: Final[Mapping[str, tuple[re.Pattern[str], str]]] = {
    "driver": (re.compile(r"\d{3}(?:\.\d+){0,2}"), '"570.124.06"'),
    "python": (re.compile(r"3\.\d{1,2}t?"), '"3.12", or "3.14t" without the global lock'),
    "toolkit": (re.compile(r"\d{1,2}\.\d"), '"12.8"'),
    "toolkit_home": (re.compile(r".*\S.*"), '"/usr/local/cuda-12.8"'),
    "executable": (re.compile(r".*\S.*"), '"/home/me/venv/bin/python"'),
}
_SWITCHES: Final = ("externally_managed", "ninja")
#: In GiB here and in bytes in `Machine`.
_SIZES: Final = {"memory_gib": "memory", "free_disk_gib": "free_disk"}
_VARIANT: Final = re.compile(r"cu\d{3}|cpu|xpu|rocm\d[\d.]*")
_COMPILER: Final = re.compile(r"(gcc|clang|msvc)(?: (\d+))?")
#: What a file may hold beside the machine: what is wanted of it, and what the tests expect.
_BESIDE: Final = ("goals", "expected")
_GPU_KEYS: Final = ("name", "capability", "vendor")
_PACKAGE_KEYS: Final = ("version", "variant", "requires", "origin", "names_variant")


def read_machine(description: object) -> Machine:
    """Read a description; what it does not hold is as `Machine` has it.

    Args:
        description: a mapping with the names of `Machine`'s fields as keys, ``gpu`` as a list of tables with ``name``,
            ``capability`` and ``vendor``, ``memory_gib`` and ``free_disk_gib``, and packages as texts
            (``"2.9.1+cu128"``) or tables. ``goals`` and ``expected`` are left alone.

    Raises:
        MachineError: an unknown key, or a value that cannot be understood.

    """
    table = as_table(description, "the description of a machine")
    known = (*_CHOICES, *_PATTERNS, *_SWITCHES, *_SIZES, "cores", "compiler", "gpu", "packages", "hidden", *_BESIDE)
    refuse_unknown(table, known, "")
    values: dict[str, Any] = {name: read_choice(table, name, allowed) for name, allowed in _CHOICES.items()}
    values |= {name: read_text(table, name, *rule) for name, rule in _PATTERNS.items()}
    values |= {name: read_switch(table, name) for name in _SWITCHES}
    values |= {field: read_size(table, name) for name, field in _SIZES.items()}
    values |= {"cores": read_whole(table, "cores"), "compiler": _compiler(table)}
    values |= {"packages": _packages(table, "packages"), "hidden": _packages(table, "hidden")}
    values["gpus"] = tuple(_gpu(each) for each in as_list(table.get("gpu", []), "gpu"))
    return Machine(**{name: value for name, value in values.items() if value is not None})


def read_goals(description: Mapping[str, Any]) -> tuple[Goal, ...]:
    """Read under ``goals`` what is wanted of the machine: ``["run torch", "build flash-attn"]``.

    Raises:
        MachineError: one of them is none.

    """
    return tuple(_goal(each) for each in as_list(description.get("goals", []), "goals"))


def split_version(text: str) -> Package:
    """Read a version with its variant: ``"2.9.1+cu128"``; a local part that is no variant stays in the version."""
    version, _, local = text.partition("+")
    variant = _VARIANT.fullmatch(local)
    return Package(version, variant[0]) if variant else Package(text)


def _goal(text: object) -> Goal:
    kind, _, package = text.partition(" ") if isinstance(text, str) else ("", "", "")
    if kind == "run" and package:
        return Goal("run", _name(package))
    if kind == "build" and package:
        return Goal("build", _name(package))
    raise MachineError(f'"goals" lists texts such as "run torch" and "build flash-attn", not {text!r}')


def _gpu(value: object) -> Gpu:
    table = as_table(value, "gpu")
    refuse_unknown(table, _GPU_KEYS, "gpu.")
    name = table.get("name")
    if not isinstance(name, str) or not name.strip():
        raise MachineError('"gpu.name" has to be what the driver calls it, such as "NVIDIA GeForce RTX 5090"')
    found = find_gpus(name, bare=True)
    stated = read_choice(table, "vendor", get_args(Vendor), "gpu.")
    vendor = cast("Vendor", stated) if stated else found[0].vendor if found else "nvidia"
    capability = table.get("capability", found[0].capability if found else None)
    if isinstance(capability, str):
        try:
            capability = parse_capability(capability)
        except ValueError as error:
            raise MachineError(f'"gpu.capability": {error}') from error
    if capability is not None and not isinstance(capability, tuple):
        raise MachineError(f'"gpu.capability" has to be a text such as "12.0", not {capability!r}')
    return Gpu(name, capability, vendor)


def _packages(table: Mapping[str, Any], key: str) -> Mapping[str, Package]:
    entries = as_table(table.get(key, {}), key)
    return MappingProxyType({_name(name): _package(f"{key}.{name}", each) for name, each in entries.items()})


def _name(text: str) -> str:
    """Read a package's name; anything else could be an option, an address or a path to an installer."""
    try:
        return canonicalize_name(text, validate=True)
    except InvalidName as error:
        raise MachineError(f'a package has a name such as "flash-attn", not {text!r}') from error


def _package(where: str, value: object) -> Package:
    if isinstance(value, str):
        package = split_version(value)
    else:
        table = as_table(value, where)
        refuse_unknown(table, _PACKAGE_KEYS, f"{where}.")
        texts = {name: table.get(name) for name in ("version", "variant", "origin")}
        for name, text in texts.items():
            if not isinstance(text, str) and (text is not None or name == "version"):
                raise MachineError(f'"{where}.{name}" has to be a text, not {text!r}')
        requires = tuple(_requirement(where, each) for each in as_list(table.get("requires", []), f"{where}.requires"))
        names_variant = read_switch(table, "names_variant") is not False
        package = Package(str(texts["version"]), texts["variant"], requires, texts["origin"], names_variant)
    try:
        Version(package.version)
    except InvalidVersion as error:
        raise MachineError(f'"{where}" has to be a version such as "2.9.1+cu128", not {package.version!r}') from error
    return package


def _requirement(where: str, text: object) -> str:
    try:
        Requirement(str(text))
    except InvalidRequirement as error:
        raise MachineError(f'"{where}.requires" lists requirements such as "torch>=2.4", not {text!r}') from error
    return str(text)


def _compiler(table: Mapping[str, Any]) -> tuple[str, int | None] | None:
    value = table.get("compiler")
    if value is None:
        return None
    match = _COMPILER.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise MachineError(f'"compiler" has to be gcc, clang or msvc with its number, such as "gcc 13", not {value!r}')
    return match[1], int(match[2]) if match[2] else None
