"""What the user has set: ``RTX50_*`` variables, and TOML files for the environment and for the user.

Each setting is taken from the first layer that names it: the process's environment, ``rtx50-autoload.toml`` in
``sys.prefix``, the user's ``config.toml``, the default. A value that cannot be understood does not fall through to the
next layer: the user meant something else than what stands there, so the default holds and a problem says so.

Every `import torch` waits for this module. Its larger classes are written out because it takes longer to make a data
class, or a named tuple of as many fields, than to read all settings.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, TypeVar

from rtx50_autoload.capability import Capability, format_capability, parse_capability
from rtx50_autoload.errors import SettingsFileError
from rtx50_autoload.settings_file import read_values
from rtx50_autoload.user_folders import NoHomeError, has_config_folder, user_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = [
    "ENVIRONMENT_FILE",
    "FIELDS",
    "AiConsent",
    "CapabilityMap",
    "Field",
    "Mode",
    "Rescue",
    "Settings",
    "SimulatedDevice",
    "as_dict",
    "load",
    "user_settings_file",
]

Mode: TypeAlias = Literal["auto", "masquerade", "observe"]
Rescue: TypeAlias = Literal["0", "1", "import", "provide"]
AiConsent: TypeAlias = Literal["ask", "auto", "off"]

#: The name of an environment's settings file, which stands in its ``sys.prefix``.
ENVIRONMENT_FILE = "rtx50-autoload.toml"

_PREFIX = "RTX50_"

_Meaning = TypeVar("_Meaning")


class CapabilityMap(NamedTuple):
    """Which capability stands for which true one, as in ``12.0:9.0`` or, for every minor version, ``12.*:9.0``."""

    #: ``((major, minor), target)``; a minor version of ``None`` stands for all of them.
    rules: tuple[tuple[tuple[int, int | None], Capability], ...]

    @classmethod
    def parse(cls, text: str) -> CapabilityMap:
        """Read comma-separated rules.

        Raises:
            ValueError: there is no rule, one is malformed, or two speak of the same capability.

        """
        rules: dict[tuple[int, int | None], Capability] = {}
        for item in _items(text):
            pattern, _, target = item.partition(":")
            major, star, rest = pattern.strip().partition(".*")
            key = (parse_capability(f"{major}.0")[0], None) if star and not rest else parse_capability(pattern)
            if key in rules:
                raise ValueError(f"{pattern!r} is mapped twice")
            rules[key] = parse_capability(target)
        if not rules:
            raise ValueError("nothing is mapped")
        return cls(tuple(rules.items()))

    def target(self, capability: Capability) -> Capability | None:
        """Return what stands for the capability, or None where nothing does; an exact rule beats a ``.*`` one."""
        major, _ = capability
        rules = dict(self.rules)
        return rules.get(capability, rules.get((major, None)))

    def begins_at(self, capability: Capability) -> bool:
        """Tell whether nothing stands for a capability below this one."""
        return all((major, minor or 0) >= capability for (major, minor), _ in self.rules)

    def __str__(self) -> str:
        return ",".join(
            f"{major}.{'*' if minor is None else minor}:{format_capability(target)}"
            for (major, minor), target in self.rules
        )


class SimulatedDevice(NamedTuple):
    """A device that is not there, for a library's CI and for tests."""

    name: str
    capability: Capability

    @classmethod
    def parse(cls, text: str) -> SimulatedDevice:
        """Read ``12.0`` or ``NVIDIA GeForce RTX 5090:12.0``.

        Raises:
            ValueError: the text does not end in a compute capability.

        """
        name, _, capability_text = text.rpartition(":")
        capability = parse_capability(capability_text)
        return cls(name.strip() or "simulated device", capability)

    def __str__(self) -> str:
        return f"{self.name}:{format_capability(self.capability)}"


class Settings(SimpleNamespace):
    """What holds for this process."""

    #: Nothing at all happens.
    disable: bool
    #: Who is told another capability: by evidence, every AI-stack caller, nobody.
    mode: Mode
    #: What stands for a capability where another one is reported.
    masquerade: CapabilityMap
    #: Further callers by module name, and what each is told; None is the truth.
    callers: Mapping[str, Capability | None]
    #: Devices that replace the machine's own.
    simulate: tuple[SimulatedDevice, ...]
    #: Attention stand-ins where a kernel cannot load.
    rescue: Rescue
    #: Whether an error may be put to an assistant.
    ai: AiConsent
    #: The assistants to ask, the first one first; none have been chosen where empty.
    assistant: tuple[str, ...]
    #: Run the installation check at the first watched import.
    check_install: bool
    #: The easter egg.
    batman_mode: bool
    #: Say nothing.
    quiet: bool
    #: Say everything.
    debug: bool
    #: Where each field above comes from: ``environment``, a settings file's path, or ``default``.
    sources: Mapping[str, str]
    #: What could not be understood, one sentence each.
    problems: tuple[str, ...]


class Field:
    """One setting: how it is named, read, and written.

    Attributes:
        name: in :class:`Settings` and in a settings file.
        parse: reads the setting's text; raises ValueError.
        default: as text.
        allowed: what the text may be, to follow "allowed are".
        write: writes a value as what a settings file accepts for it; JSON can say it too.

    """

    def __init__(
        self,
        name: str,
        parse: Callable[[str], Any],
        default: str,
        allowed: str,
        write: Callable[[Any], object] = lambda value: value,
    ) -> None:
        self.name = name
        self.parse = parse
        self.default = default
        self.allowed = allowed
        self.write = write

    @property
    def variable(self) -> str:
        """The name of the environment variable."""
        return _PREFIX + self.name.upper()


def _items(text: str) -> list[str]:
    return [item for item in map(str.strip, text.split(",")) if item]


_SWITCH = dict.fromkeys(("1", "true", "yes", "on"), True) | dict.fromkeys(("0", "false", "no", "off", ""), False)


def _parse_switch(text: str) -> bool:
    return _parse_word(text, _SWITCH)


def _parse_word(text: str, words: Mapping[str, _Meaning]) -> _Meaning:
    try:
        return words[text.strip().lower()]
    except KeyError:
        raise ValueError(f"{text!r} is not a known word") from None


def _one_of(*words: str) -> Callable[[str], str]:
    return lambda text: _parse_word(text, {word: word for word in words})


def _parse_rescue(text: str) -> str:
    switch = {word: str(int(on)) for word, on in _SWITCH.items()}
    return _parse_word(text, switch | {"import": "import", "provide": "provide"})


def _parse_ai(text: str) -> str:
    # Whoever switches it off with another word of that meaning is not asked.
    no = [word for word, on in _SWITCH.items() if not on]
    return _parse_word(text, {"ask": "ask", "auto": "auto", "off": "off"} | dict.fromkeys(no, "off"))


def _parse_callers(text: str) -> dict[str, Capability | None]:
    callers: dict[str, Capability | None] = {}
    for item in _items(text):
        module, _, told = map(str.strip, item.partition("="))
        if not all(part.isidentifier() for part in module.split(".")):
            raise ValueError(f"{module!r} is not a module's name")
        if module in callers:
            raise ValueError(f"{module!r} is named twice")
        callers[module] = None if told.lower() == "true" else parse_capability(told)
    return callers


def _write_callers(callers: Mapping[str, Capability | None]) -> list[str]:
    return [f"{module}={'true' if told is None else format_capability(told)}" for module, told in callers.items()]


def _parse_simulate(text: str) -> tuple[SimulatedDevice, ...]:
    return tuple(map(SimulatedDevice.parse, _items(text)))


def _write_simulate(devices: Iterable[SimulatedDevice]) -> list[str]:
    return [str(device) for device in devices]


def _switch(name: str) -> Field:
    return Field(name, _parse_switch, "0", "1, true, yes, on, 0, false, no and off")


#: Every setting, in the order of :class:`Settings`.
FIELDS = (
    _switch("disable"),
    Field("mode", _one_of("auto", "masquerade", "observe"), "auto", "auto, masquerade and observe"),
    Field("masquerade", CapabilityMap.parse, "12.*:9.0", "mappings such as 12.0:9.0 or 12.*:9.0, with commas", str),
    Field("callers", _parse_callers, "", "entries such as mylib=9.0 or otherlib=true, with commas", _write_callers),
    Field("simulate", _parse_simulate, "", "devices such as 12.0 or My GPU:12.0, with commas", _write_simulate),
    Field("rescue", _parse_rescue, "1", "0, 1, import and provide"),
    Field("ai", _parse_ai, "ask", "ask, auto and off"),
    Field("assistant", lambda text: tuple(_items(text)), "", "names of assistants, with commas", list),
    _switch("check_install"),
    _switch("batman_mode"),
    _switch("quiet"),
    _switch("debug"),
)


class _Layer:
    def __init__(self, source: str, values: Mapping[str, object], label: Callable[[Field], str]) -> None:
        #: ``environment``, or the file's path.
        self.source = source
        #: Field names and what is set for them, not yet read.
        self.values = values
        #: How the layer's owner knows a field, to name it in a problem.
        self.label = label


def user_settings_file() -> Path:
    """Return where the user's own settings file stands, whether it exists or not.

    Raises:
        NoHomeError: this user has no home folder, and so no such file.

    """
    return user_folder("config") / "config.toml"


def load(
    environ: Mapping[str, str] | None = None,
    prefix: str | os.PathLike[str] | None = None,
    user_file: str | os.PathLike[str] | None = None,
) -> Settings:
    """Read the settings; whatever is wrong with them ends in :attr:`Settings.problems`, never in an exception.

    An empty environment variable counts as not set.

    Args:
        environ: the environment variables, by default the process's.
        prefix: the environment's root, by default ``sys.prefix``.
        user_file: the user's settings file, by default :func:`user_settings_file`.

    """
    environ = os.environ if environ is None else environ
    problems: list[str] = []
    layers = [
        _environment_layer(environ, problems),
        _file_layer(Path(sys.prefix if prefix is None else prefix, ENVIRONMENT_FILE), problems, shared=True),
    ]
    if user_file is not None or has_config_folder():
        with suppress(NoHomeError):
            user = user_settings_file() if user_file is None else Path(user_file)
            layers.append(_file_layer(user, problems, shared=False))
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for field in FIELDS:
        values[field.name], sources[field.name] = _resolve(field, layers, problems)
    return Settings(**values, sources=sources, problems=tuple(problems))


def as_dict(settings: Settings) -> dict[str, dict[str, object]]:
    """Return each field's value, as a settings file accepts it and JSON can say it, and where it comes from."""
    return {
        field.name: {"value": field.write(getattr(settings, field.name)), "source": settings.sources[field.name]}
        for field in FIELDS
    }


def _resolve(field: Field, layers: Iterable[_Layer], problems: list[str]) -> tuple[Any, str]:
    for layer in layers:
        if field.name in layer.values:
            value = layer.values[field.name]
            try:
                return field.parse(_text(value)), layer.source
            except ValueError:
                problems.append(
                    f"{layer.label(field)} is {_shown(value)}, but allowed are {field.allowed}: "
                    f"the default {field.default!r} holds."
                )
                break
    return field.parse(field.default), "default"


def _text(value: object) -> str:
    """Write a TOML value as it would stand in an environment variable."""
    if isinstance(value, list):
        return ",".join(map(_text, value))
    if isinstance(value, (str, bool, int, float)):
        return str(value)
    raise ValueError(f"{value!r} is no text, switch, number or array")


def _shown(value: object) -> str:
    try:
        return repr(value)
    except ValueError:  # Python writes no number of more than 4,300 digits, though it reads one as 0xfff…
        return "a number that is too long"


def _environment_layer(environ: Mapping[str, str], problems: list[str]) -> _Layer:
    fields = {field.variable: field.name for field in FIELDS}
    given = {name: value for name, value in environ.items() if name.startswith(_PREFIX) and value}
    for name in sorted(given.keys() - fields.keys()):
        meant = _closest(name.removeprefix(_PREFIX), (known.removeprefix(_PREFIX) for known in fields))
        # Others may have variables of this prefix; only what looks like one of ours misspelt is worth a word.
        if meant:
            problems.append(f"{name} is not a setting; perhaps {_PREFIX}{meant} is meant.")
    values = {fields[name]: value for name, value in given.items() if name in fields}
    return _Layer("environment", values, lambda field: field.variable)


def _file_layer(path: Path, problems: list[str], *, shared: bool) -> _Layer:
    names = [field.name for field in FIELDS]
    try:
        values = read_values(path, shared=shared)
    except SettingsFileError as error:
        problems.append(f"{path} is ignored: {error.reason}.")
        values = {}
    for key in sorted(values.keys() - set(names)):
        meant = _closest(key, names)
        problems.append(f"{key!r} in {path} is not a setting{f'; perhaps {meant!r} is meant' if meant else ''}.")
    return _Layer(str(path), values, lambda field: f"{field.name!r} in {path}")


def _closest(word: str, words: Iterable[str]) -> str | None:
    import difflib  # noqa: PLC0415 - only a misspelt setting needs it

    # 0.75 finds two letters swapped in the shortest names and keeps apart the names that we know.
    return next(iter(difflib.get_close_matches(word, list(words), n=1, cutoff=0.75)), None)
