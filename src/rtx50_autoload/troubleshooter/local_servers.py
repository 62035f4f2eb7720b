"""Model servers on this machine: Ollama, LM Studio, llama.cpp. Only literal loopback addresses are spoken to.

A name such as ``localhost`` is never looked up, no proxy is asked, and no redirection is followed: what is sent here
cannot reach another machine by any of them.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from .answers import clean
from .assistant_errors import (
    AssistantError,
    CrashedError,
    EmptyAnswerError,
    GarbledAnswerError,
)
from .assistants import Found, Server
from .exchange import LONGEST_REPLY, Exchange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["ask_server", "find_servers"]

#: How long a server may take to accept a connection, and to say what it is, in seconds.
_CONNECT: Final = 0.05
_INTRODUCTION: Final = 0.5
_OK: Final = 200
_FIRST_SERVER_ERROR: Final = 500

#: What a language model takes for one token is hardly ever shorter, in bytes.
_BYTES_PER_TOKEN: Final = 3
_ROOM_FOR_ANSWER: Final = 2048
_CONTEXT_STEP: Final = 4096


def find_servers(servers: Iterable[Server], environ: Mapping[str, str]) -> list[Found]:
    """Find the servers that run on this machine, and what models they have, all at the same time."""
    servers = list(servers)
    with ThreadPoolExecutor(len(servers)) as pool:
        return [found for found in pool.map(lambda server: _find(server, environ), servers) if found is not None]


def ask_server(
    found: Found, prompt: str, model: str, *, time_limit: float, on_progress: Callable[[float], None] | None
) -> str:
    """Put one question to a server.

    Raises:
        AssistantError: there is no answer; which one says why.

    """
    server = found.assistant
    assert isinstance(server, Server)  # noqa: S101 - what `ask` gives us
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": prompt}], "stream": False}
    path = "/v1/chat/completions"
    if server.protocol == "ollama":
        path = "/api/chat"
        body.update(_care_for_the_gpu(found, model, prompt))
    address = urlsplit(found.where)
    assert address.hostname is not None  # noqa: S101 - we have made it
    exchange = Exchange(address.hostname, address.port or server.port, path, json.dumps(body).encode())
    status, raw = exchange.run(found.title, time_limit, on_progress)
    try:
        reply = json.loads(raw)
    except (ValueError, RecursionError):
        reply = None
    if status != _OK:
        raise _refusal(found, status, reply)
    try:
        message = reply["message"] if server.protocol == "ollama" else reply["choices"][0]["message"]
        text = message["content"] or ""
    except (KeyError, IndexError, TypeError):
        raise GarbledAnswerError(
            f"What listens at {found.where} did not answer as {found.title} does.",
            f"Look at what runs there; {found.title} may have another address.",
            clean(raw.decode("utf-8", "replace"))[:500],
        ) from None
    if not isinstance(text, str) or not clean(text).strip():
        raise EmptyAnswerError(f"{found.title} gave an empty answer.", "Try again, or with another model.")
    return text


def _care_for_the_gpu(found: Found, model: str, prompt: str) -> dict[str, Any]:
    """Keep a model that is not in memory yet off the GPU that the question may be about.

    Ollama would cut what is longer than its context without a word, so its size is always given.
    """
    tokens = len(prompt.encode()) // _BYTES_PER_TOKEN + _ROOM_FOR_ANSWER
    options: dict[str, Any] = {"num_ctx": -(-tokens // _CONTEXT_STEP) * _CONTEXT_STEP}
    if model in found.models[: found.loaded or 0]:
        return {"options": options}
    # On the processor, and out of memory again at once.
    return {"options": {**options, "num_gpu": 0}, "keep_alive": 0}


def _find(server: Server, environ: Mapping[str, str]) -> Found | None:
    host, port, remote = "127.0.0.1", server.port, ""
    if server.protocol == "ollama" and environ.get("OLLAMA_HOST"):
        host, port, remote = _ollama_address(environ["OLLAMA_HOST"], server.port)
    if remote:
        reason = f"OLLAMA_HOST names another machine ({clean(remote)}), and the question would leave this one."
        return Found(server, clean(remote), ready=False, reason=reason, next="Unset OLLAMA_HOST to use this machine's.")
    where = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    found = Found(server, where)
    try:
        with socket.create_connection((host, port), _CONNECT):
            pass
        return _introduce(server, found, host, port)
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        # Nobody listens, or somebody else does: many programs use these ports.
        return None


def _introduce(server: Server, found: Found, host: str, port: int) -> Found:
    """Ask a server what it is and which models it has.

    Raises:
        Exception: it is not the server that we look for.

    """
    version: str | None = None
    if server.protocol == "ollama":
        version = str(_get(host, port, "/api/version")["version"])
        loaded = _on_this_machine(_get(host, port, "/api/ps"))
        models = _on_this_machine(_get(host, port, "/api/tags"))
    else:
        loaded = []
        models = [str(entry["id"]) for entry in _get(host, port, "/v1/models")["data"]]
    models = list(dict.fromkeys((*loaded, *models)))
    found = replace(
        found,
        version=version and clean(version),
        models=tuple(models),
        loaded=len(loaded) if version else None,
    )
    if not models:
        return replace(found, ready=False, reason=f"{found.title} runs and has no model.", next=server.add_model)
    return replace(found, ready=True, reason=f"It runs; the model would be {clean(models[0])}.")


def _on_this_machine(reply: Any) -> list[str]:  # noqa: ANN401 - what JSON gives
    """Give the names of models that Ollama runs itself: it also passes questions on to models elsewhere."""
    return [
        str(entry["name"])
        for entry in reply["models"] or ()
        if not entry.get("remote_host") and not entry.get("remote_model") and not str(entry["name"]).endswith("cloud")
    ]


def _ollama_address(text: str, port: int) -> tuple[str, int, str]:
    """Read OLLAMA_HOST: the host and the port, and the text again where it is not this machine."""
    try:
        parts = urlsplit(text if "//" in text else f"//{text}")
        host, port = parts.hostname or "127.0.0.1", parts.port or port
        if host.lower() == "localhost":
            host = "127.0.0.1"
        address = ipaddress.ip_address(host)
    except ValueError:
        return "", port, text
    if address.is_unspecified:  # the server's own way of saying "every address of mine"
        return ("127.0.0.1" if address.version == 4 else "::1"), port, ""  # noqa: PLR2004 - IPv4
    return str(address), port, "" if address.is_loopback and parts.scheme != "https" else text


def _get(host: str, port: int, path: str) -> Any:  # noqa: ANN401 - what JSON gives
    with closing(http.client.HTTPConnection(host, port, timeout=_INTRODUCTION)) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        if response.status != _OK:
            raise ValueError(response.status)
        return json.loads(response.read(LONGEST_REPLY))


def _refusal(found: Found, status: int, reply: object) -> AssistantError:
    error = reply.get("error") if isinstance(reply, dict) else None
    said = error.get("message") if isinstance(error, dict) else error
    details = clean(str(said or f"HTTP status {status}"))[:500]
    if status >= _FIRST_SERVER_ERROR:
        return CrashedError(
            f"{found.title} could not answer: {details}.",
            "A smaller model may fit the memory of this machine; the server's own window or log says more.",
            details,
        )
    return CrashedError(f"{found.title} did not take the question: {details}.", "Try another of its models.", details)
