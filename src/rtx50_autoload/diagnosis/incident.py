"""One recorded failure: what is kept of it, what makes two failures the same, and how it is written as JSON."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import sys
from dataclasses import dataclass, replace
from datetime import MAXYEAR, MINYEAR, datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

from .diagnosis import Diagnosis, FixStep
from .situation import Gpu, Situation

if TYPE_CHECKING:
    from rtx50_autoload.capability import Capability

__all__ = ["Incident", "Spoken", "facts_of", "identity", "normalised", "situation_of"]

#: The version of the layout of the files; what has another one was not written by this version of the package.
SCHEMA: Final = 1

# What differs from one run, rank or address space to the next while the fault is the same. Short numbers stay: they
# are architectures, versions and error codes.
_VARYING: Final = re.compile(
    r"""
      (?:/tmp|/var/tmp|[A-Za-z]:\\[^\s'"]*\\Temp)[\\/][^\s'",:]*       # a temporary file
    | \b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?             # a time
    | \b0x[0-9a-fA-F]+ | \b[0-9a-f]{16,}\b                             # an address, a hash
    | \b\d+(?:\.\d+)?\ ?(?:[nuµm]?s|sec|seconds?|minutes?|[KMGT]i?B|bytes)\b
    | \b(?P<of>cuda|gpu|device|rank|local_rank|worker|process|pid|thread)(?P<sign>[\ =:\#]*)\d+\b
    | \b\d{4,}\b                                                       # a count of bytes, a port
    """,
    re.VERBOSE | re.IGNORECASE,
)

#: Facts that are texts: their names in a `Situation`, and in the file.
_TEXTS: Final = {
    "torch": "torch",
    "torch_variant": "torch_variant",
    "cuda_toolkit": "cuda_toolkit",
    "driver": "driver",
    "system": "system",
    "python_version": "python",
}

_Kind = TypeVar("_Kind")


@dataclass(frozen=True, slots=True)
class Spoken:
    """Which process said last that this has happened, and when.

    Attributes:
        process: the name that it signs with.
        helper: whether it works for another process, which hears of its errors (`job.is_helper`).

    """

    process: str
    at: datetime
    helper: bool = False

    def as_json(self) -> dict[str, Any]:
        """Give what stands in the file of the incident."""
        return {"process": self.process, "at": self.at.isoformat(), "helper": self.helper}

    @classmethod
    def from_json(cls, data: object) -> Spoken:
        """Take it from the file of an incident.

        Raises:
            ValueError: that is none.

        """
        content = _a(dict, data)
        return cls(_a(str, content.get("process")), _time(content.get("at")), content.get("helper") is True)


@dataclass(frozen=True, slots=True)
class Incident:
    """One recorded failure, however often it has happened.

    Attributes:
        id: twelve hexadecimal digits, made from what makes it this incident (`identity`).
        first_seen: when it was recorded for the first time.
        last_seen: when it was recorded for the last time; all else is of that time, too.
        count: how often.
        exception_type: the name of the exception's class; None where there was none.
        text: the error as the program had it, cut in the middle where it is long.
        diagnosis: what was said of it then.
        environment: what was known of the machine, and `prefix`, the environment's folder.
        program: the name of the program's file, without folder and arguments.
        version: of this package.
        spoken: who said it last; None where nobody has.

    """

    id: str
    first_seen: datetime
    last_seen: datetime
    count: int
    exception_type: str | None
    text: str
    diagnosis: Diagnosis
    environment: dict[str, Any]
    program: str
    version: str
    spoken: Spoken | None = None

    def as_json(self) -> dict[str, Any]:
        """Give the content of its file."""
        return {
            "schema": SCHEMA,
            "id": self.id,
            "first_seen": self.first_seen.isoformat(),
            "last_seen": self.last_seen.isoformat(),
            "count": self.count,
            "exception_type": self.exception_type,
            "text": self.text,
            "diagnosis": self.diagnosis.as_json(),
            "environment": self.environment,
            "program": self.program,
            "version": self.version,
            "spoken": None if self.spoken is None else self.spoken.as_json(),
        }

    @classmethod
    def from_json(cls, data: object) -> Incident:
        """Take it from the content of a file.

        Raises:
            ValueError: that is no incident, or one of another version of the layout.

        """
        content = _a(dict, data)
        if content.get("schema") != SCHEMA:
            raise ValueError(f"its layout is {content.get('schema')!r}, and this version knows {SCHEMA}")
        spoken = content.get("spoken")
        return cls(
            id=_a(str, content.get("id")),
            first_seen=_time(content.get("first_seen")),
            last_seen=_time(content.get("last_seen")),
            count=_a(int, content.get("count")),
            exception_type=_perhaps(str, content.get("exception_type")),
            text=_a(str, content.get("text")),
            diagnosis=_diagnosis(content.get("diagnosis")),
            environment=_environment(content.get("environment")),
            program=_a(str, content.get("program")),
            version=_a(str, content.get("version")),
            spoken=None if spoken is None else Spoken.from_json(spoken),
        )


def identity(diagnosis: Diagnosis, exception_type: str | None, environment: dict[str, Any]) -> str:
    """Give the id that all failures of this kind in this environment have in common.

    Which device of several equal ones failed, and all else that differs between the ranks of one job, is no part of it.
    """
    capabilities = {tuple(gpu["capability"]) for gpu in environment["gpus"] or () if gpu["capability"]}
    parts = [
        diagnosis.category,
        diagnosis.signature,
        exception_type,
        normalised(diagnosis.headline),
        diagnosis.culprit,
        sorted(capabilities),
        *(environment[name] for name in ("torch", "torch_variant", "driver", "prefix")),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


def normalised(headline: str) -> str:
    """Leave out what differs from run to run: addresses, process ids, times, sizes, temporary files, device indexes."""
    return _VARYING.sub(lambda match: f"{match['of'] or ''}{match['sign'] or ''}#", headline)


def facts_of(situation: Situation, prefix: str) -> dict[str, Any]:
    """Give what is known of the machine as JSON has it."""
    gpus = situation.gpus and [
        {"name": gpu.name, "capability": gpu.capability and list(gpu.capability), "vendor": gpu.vendor}
        for gpu in situation.gpus
    ]
    return {
        "gpus": gpus if gpus is None else list(gpus),
        "torch": situation.torch,
        "torch_variant": situation.torch_variant,
        "cuda_toolkit": situation.cuda_toolkit,
        "driver": situation.driver,
        "system": situation.system,
        "python": situation.python_version,
        "versions": dict(situation.versions),
        "prefix": prefix,
    }


def situation_of(environment: dict[str, Any], here: Situation) -> Situation:
    """Give the situation that an incident was recorded in.

    Args:
        environment: what was known of it, as `facts_of` gives it; other content of a file counts as not known.
        here: this machine and this Python, for what is not recorded: how packages are installed, if that is the same.

    """
    is_here = environment.get("prefix") == sys.prefix
    folder = "Scripts/python.exe" if environment.get("system") == "windows" else "bin/python"
    versions = environment.get("versions")
    texts = {name: environment[key] for name, key in _TEXTS.items() if isinstance(environment.get(key), str)}
    return replace(
        here,
        gpus=_gpus(environment.get("gpus")),
        **{**dict.fromkeys(_TEXTS), **texts},
        versions={str(name): str(version) for name, version in versions.items()} if isinstance(versions, dict) else {},
        tool=here.tool if is_here else None,
        python_command=here.python_command if is_here else shlex.quote(f"{environment.get('prefix')}/{folder}"),
    )


def _gpus(data: object) -> tuple[Gpu, ...] | None:
    if not isinstance(data, list):
        return None
    gpus = []
    for gpu in data:
        capability = gpu.get("capability")
        known: Capability | None = None
        match capability:
            case [int(major), int(minor)]:
                known = major, minor
        gpus.append(Gpu(gpu.get("name"), known, gpu.get("vendor")))
    return tuple(gpus)


def _environment(data: object) -> dict[str, Any]:
    content = _a(dict, data)
    for gpu in _perhaps(list, content.get("gpus")) or ():
        _perhaps(str, _a(dict, gpu).get("name"))
    return content


def _diagnosis(data: object) -> Diagnosis:
    content = _a(dict, data)
    return Diagnosis(
        category=_a(str, content.get("category")),
        confidence=_share(content.get("confidence")),
        cause=_a(str, content.get("cause")),
        evidence=_texts(content.get("evidence")),
        missing_evidence=_texts(content.get("missing_evidence")),
        culprit=_perhaps(str, content.get("culprit")),
        fix=tuple(_fix_step(_a(dict, step)) for step in _a(list, content.get("fix"))),
        signature=_perhaps(str, content.get("signature")),
        headline=_a(str, content.get("headline")),
    )


def _fix_step(content: dict[str, Any]) -> FixStep:
    texts = {name: _a(str, content.get(name)) for name in ("step", "why", "changes", "check")}
    return FixStep(commands=_texts(content.get("commands")), **texts)


def _a(kind: type[_Kind] | tuple[type[_Kind], ...], value: object) -> _Kind:
    # True is an int to Python, and no number of anything.
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{value!r} stands where something else was expected")  # noqa: TRY004 - wrong content
    return value


def _perhaps(kind: type[_Kind], value: object) -> _Kind | None:
    return None if value is None else _a(kind, value)


def _share(value: object) -> float:
    share = _a((int, float), value)
    if not 0 <= share <= 1:
        raise ValueError(f"{share!r} is not between 0 and 1")
    return float(share)


def _texts(value: object) -> tuple[str, ...]:
    return tuple(_a(str, one) for one in _a(list, value))


def _time(value: object) -> datetime:
    time = datetime.fromisoformat(_a(str, value))
    # At both ends of the calendar, no local time may exist.
    if time.tzinfo is None or not MINYEAR < time.year < MAXYEAR:
        raise ValueError(f"{value!r} is no time with a time zone")
    return time
