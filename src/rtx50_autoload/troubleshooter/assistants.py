"""The assistants that we know, read from `assistants.toml`, and those of them that are on this machine."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from rtx50_autoload.knowledge import read_tables

from .assistant_errors import NotFoundError, UnknownAssistantError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Credentials", "Failure", "Found", "Knowledge", "Program", "Server", "choose", "load_knowledge"]


@dataclass(frozen=True, slots=True)
class Credentials:
    """What shows that an assistant has a login."""

    variables: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Program:
    """A program that can be asked; what its fields mean stands in the file."""

    name: str
    title: str
    sends_to: str
    command: str
    identity: str
    versions: str
    arguments: tuple[str, ...]
    answer: Literal["text", "claude", "codex", "gemini", "opencode"]
    keep: tuple[str, ...]
    login: str
    update: str
    credentials: Credentials
    perhaps: tuple[str, ...] = ()
    keychain: tuple[str, ...] = ()
    keep_if: Mapping[str, Sequence[str]] = field(default_factory=dict)
    set: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    traces: tuple[str, ...] = ()
    package: str = ""
    distribution: str = ""
    hopeless: str = ""


@dataclass(frozen=True, slots=True)
class Server:
    """A server on this machine that can be asked."""

    name: str
    title: str
    port: int
    protocol: Literal["ollama", "openai"]
    add_model: str


@dataclass(frozen=True, slots=True)
class Failure:
    """One kind of failure, known by what the assistant says of it."""

    error: str
    texts: tuple[str, ...]
    reason: str
    next: str


@dataclass(frozen=True, slots=True)
class Knowledge:
    """All that the file says."""

    places: Mapping[str, Sequence[str]]
    keep: tuple[str, ...]
    set: Mapping[str, str]
    servers: tuple[Server, ...]
    programs: tuple[Program, ...]
    failures: tuple[Failure, ...]
    #: Names of assistants that are left out, and why.
    left_out: Mapping[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all assistants, in the order in which they are to be preferred."""
        return (*(server.name for server in self.servers), *(program.name for program in self.programs))


@dataclass(frozen=True, slots=True)
class Found:
    """An assistant on this machine.

    Attributes:
        assistant: which one it is.
        where: the program's path, or the server's address.
        command: what is run to start it; nothing for a server.
        version: None where it is not known without starting it; it is looked at before the first question then.
        ready: whether it can be asked; None where only trying tells.
        reason: why it can be asked or cannot, a sentence.
        next: what to do where it cannot; empty where there is nothing to do.
        models: a server's models on this machine; those in memory first.
        loaded: how many of them are in memory already; None where the server does not tell.

    """

    assistant: Program | Server
    where: str
    command: tuple[str, ...] = ()
    version: str | None = None
    ready: bool | None = None
    reason: str = ""
    next: str = ""
    models: tuple[str, ...] = ()
    loaded: int | None = None

    @property
    def name(self) -> str:
        """How settings and commands call it."""
        return self.assistant.name

    @property
    def title(self) -> str:
        """How its makers call it."""
        return self.assistant.title

    @property
    def local(self) -> bool:
        """Whether a question stays on this machine for sure."""
        return isinstance(self.assistant, Server)

    @property
    def destination(self) -> str:
        """Where a question goes, as a sentence."""
        if isinstance(self.assistant, Server):
            return f"The question stays on this machine ({self.where})."
        return f"The question leaves this machine; it goes to {self.assistant.sends_to}."

    def as_json(self) -> dict[str, Any]:
        """Give one entry of `assistants --json`."""
        return {
            "name": self.name,
            "title": self.title,
            "where": self.where,
            "version": self.version,
            "local": self.local,
            "destination": self.destination,
            "ready": self.ready,
            "reason": self.reason,
            "next": self.next,
            "models": list(self.models),
        }


@cache
def load_knowledge() -> Knowledge:
    """Read `assistants.toml`.

    Raises:
        TypeError: a key of the file is unknown or missing (the tests read the file, so a release's is sound).

    """
    tables = read_tables(__package__, "assistants.toml")
    programs = []
    for entry in tables["program"]:
        credentials = {key: tuple(values) for key, values in entry.pop("credentials").items()}
        programs.append(Program(**_frozen(entry), credentials=Credentials(**credentials)))
    return Knowledge(
        places=tables["places"],
        keep=tuple(tables["environment"]["keep"]),
        set=tables["environment"]["set"],
        servers=tuple(Server(**entry) for entry in tables["server"]),
        programs=tuple(programs),
        failures=tuple(Failure(**_frozen(entry)) for entry in tables["failure"]),
        left_out={entry["name"]: entry["reason"] for entry in tables["left_out"]},
    )


def _frozen(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}


def choose(found: Sequence[Found], setting: str) -> tuple[Found, str | None]:
    """Give the assistant that a setting names, and the model: ``claude``, ``ollama`` or ``ollama/qwen3:4b``.

    Raises:
        UnknownAssistantError: nobody of that name is known.
        NotFoundError: it is not on this machine, or does not have the model.

    """
    knowledge = load_knowledge()
    wanted, _, model = setting.strip().partition("/")
    name = wanted.lower()
    known = f"Known are {', '.join(knowledge.names)}."
    if name in knowledge.left_out:
        raise UnknownAssistantError(f"{name} is left out on purpose: {knowledge.left_out[name]}.", known)
    if name not in knowledge.names:
        raise UnknownAssistantError(f"{setting!r} is not an assistant that we know.", known)
    one = next((each for each in found if each.name == name), None)
    if one is None:
        here = ", ".join(each.name for each in found)
        raise NotFoundError(
            f"{name} is not on this machine, or is not running.",
            f"Here are: {here}." if here else "Install one of those that `rtx50-autoload assistants` names.",
        )
    if model and model not in one.models:
        there = f"It has {', '.join(one.models)}." if one.models else "A model can be named for a server's models only."
        raise NotFoundError(f"{one.title} has no model {model!r} on this machine.", there)
    return one, model or None
