"""Stand-ins on 127.0.0.1 for the servers that assistants talk to, as far as the programs need them for one question.

What is faked: Anthropic's Messages API, Google's Gemini API (generateContent, streamGenerateContent), OpenAI's
Responses API, OpenAI's chat completions with `/v1/models` (LM Studio, llama.cpp), Ollama's own API. Nothing thinks
here: every question gets the same answer, or the same trouble. Answers are sent at once, with their length, also where
the real servers stream them; the programs take that.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: What the model "says" unless a test wants something else.
ANSWER = "FORTY-TWO is the answer."


@dataclass
class Vendors:
    """A running server.

    Attributes:
        requests: what was asked: method, path, the body as JSON (or as text where it is none).
        text: what the model says.
        status: the HTTP status of every question; the body is then the vendor's form of an error.
        raw: a body that is sent in the place of all others (a captive portal, garbage).
        redirect: a server to which every question is sent on.
        hang: never answer a question.
        tool: a shell command that the model asks to have run, with every tool that it was offered and with well-known
            names where it was offered none.
        models: what `/v1/models`, `/api/tags` list.
        loaded: what `/api/ps` lists.

    """

    requests: list[tuple[str, str, Any]] = field(default_factory=list)
    text: str = ANSWER
    status: int = 200
    raw: bytes | None = None
    redirect: str = ""
    hang: bool = False
    tool: str = ""
    models: list[dict[str, Any]] = field(default_factory=lambda: [{"name": "small:1b", "model": "small:1b"}])
    loaded: list[dict[str, Any]] = field(default_factory=list)
    port: int = 0

    def __enter__(self):
        self._released = threading.Event()
        self._server = _Server(("127.0.0.1", self.port), type("Handler", (_Handler,), {"vendors": self}))
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def questions(self) -> list[Any]:
        """Give the bodies of all requests that a model would have answered."""
        return [body for method, _, body in self.requests if method == "POST" and isinstance(body, dict)]

    def wait_released(self) -> None:
        """Hold a request until the server ends."""
        self._released.wait()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that were ended in the middle of a request."""


class _Handler(BaseHTTPRequestHandler):
    vendors: Vendors
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def do_HEAD(self) -> None:
        self._answer("text/plain", b"")

    def do_GET(self) -> None:
        self.vendors.requests.append(("GET", self.path, None))
        path = self.path.partition("?")[0]
        if self.vendors.raw is not None:
            self._answer("text/html", self.vendors.raw)
        elif path == "/api/version":
            self._json({"version": "0.17.4"})
        elif path == "/api/tags":
            self._json({"models": self.vendors.models})
        elif path == "/api/ps":
            self._json({"models": self.vendors.loaded})
        elif path == "/v1/models":
            self._json({"object": "list", "data": [{"id": each["name"]} for each in self.vendors.models]})
        else:
            self._json({"error": {"message": "not found"}}, 404)

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        try:
            body = json.loads(raw)
        except ValueError:
            body = raw.decode("utf-8", "replace")
        self.vendors.requests.append(("POST", self.path, body))
        if self.vendors.hang:
            self.vendors.wait_released()
            return
        if self.vendors.raw is not None:
            self._answer("text/html", self.vendors.raw)
            return
        if self.vendors.redirect:
            self._answer("text/plain", b"", 307, location=self.vendors.redirect + self.path)
            return
        path = self.path.partition("?")[0]
        for ending, reply in _PROTOCOLS.items():
            if path.endswith(ending):
                if self.vendors.status != 200:
                    self._json(_error(self.vendors.status), self.vendors.status)
                else:
                    self._answer(*reply(self.vendors, body))
                return
        self._json({"error": {"message": "not found"}}, 404)

    def _json(self, value: object, status: int = 200) -> None:
        self._answer("application/json", json.dumps(value).encode(), status)

    def _answer(self, kind: str, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.send_header("connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.close_connection = True


def _error(status: int) -> dict[str, Any]:
    kind = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}.get(status, "api_error")
    google = {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 429: "RESOURCE_EXHAUSTED"}.get(status, "INTERNAL")
    return {"type": "error", "error": {"type": kind, "code": status, "status": google, "message": f"stub {status}"}}


def _events(*events: dict[str, Any], named: bool = True, end: str = "") -> tuple[str, bytes]:
    lines = []
    for event in events:
        name = f"event: {event['type']}\n" if named else ""
        lines.append(f"{name}data: {json.dumps(event)}\n\n")
    return "text/event-stream", ("".join(lines) + end).encode()


def _offered(body: dict[str, Any], *known: str) -> list[str]:
    """Give the names of the tools that a request declares, or well-known ones where it declares none."""
    declared = [each for tool in body.get("tools") or () for each in tool.get("functionDeclarations", [tool])]
    names = [each.get("name") or each.get("function", {}).get("name") or each.get("type") for each in declared]
    return names or list(known)


def _arguments(command: str, schema: dict[str, Any] | None) -> dict[str, Any]:
    """Make up what a tool requires; a command is the one to be run."""
    made_up = {"integer": 1, "number": 1, "boolean": False, "array": [], "object": {}}
    required = {}
    for name in (schema or {}).get("required", ()):
        about = (schema or {})["properties"][name]
        required[name] = about["enum"][0] if "enum" in about else made_up.get(str(about.get("type")), "x")
    return {"description": "x", **required, "command": command}


def _has_result(body: dict[str, Any], *marks: str) -> bool:
    """Tell whether a tool's result is in the conversation: then the model asks no more."""
    text = json.dumps(body)
    return any(mark in text for mark in marks)


def _anthropic(vendors: Vendors, body: dict[str, Any]) -> tuple[str, bytes]:
    usage = {"input_tokens": 1, "output_tokens": 1}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": body.get("model"), "content": []}
    message |= {"stop_reason": None, "stop_sequence": None, "usage": usage}
    asks = vendors.tool and not _has_result(body, '"tool_result"')
    if asks:
        names = _offered(body, "Bash")
        given = {"command": vendors.tool, "description": "x"}
        blocks = [{"type": "tool_use", "id": f"toolu_{i}", "name": n, "input": given} for i, n in enumerate(names)]
        deltas = [{"type": "input_json_delta", "partial_json": json.dumps(given)} for _ in names]
        stop = "tool_use"
    else:
        blocks, deltas = [{"type": "text", "text": vendors.text}], [{"type": "text_delta", "text": vendors.text}]
        stop = "end_turn"
    if not body.get("stream"):
        return "application/json", json.dumps(message | {"content": blocks, "stop_reason": stop}).encode()
    events = [{"type": "message_start", "message": message}]
    for index, (block, delta) in enumerate(zip(blocks, deltas, strict=True)):
        empty = block | ({"text": ""} if block["type"] == "text" else {"input": {}})
        events += [
            {"type": "content_block_start", "index": index, "content_block": empty},
            {"type": "content_block_delta", "index": index, "delta": delta},
            {"type": "content_block_stop", "index": index},
        ]
    events.append({"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": None}, "usage": usage})
    return _events(*events, {"type": "message_stop"})


def _gemini(vendors: Vendors, body: dict[str, Any]) -> dict[str, Any]:
    if body.get("generationConfig", {}).get("responseMimeType") == "application/json":
        # Its router asks which model shall answer.
        text = json.dumps(
            {"reasoning": "x", "model_choice": "flash", "complexity_reasoning": "x", "complexity_score": 1}
        )
        parts = [{"text": text}]
    elif vendors.tool and not _has_result(body, '"functionResponse"'):
        names = _offered(body, "run_shell_command", "write_file")
        given = {"command": vendors.tool, "description": "x"}
        parts = [{"functionCall": {"name": name, "args": given}} for name in names]
    else:
        parts = [{"text": vendors.text}]
    candidate = {"content": {"role": "model", "parts": parts}, "finishReason": "STOP", "index": 0}
    counts = {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2}
    return {"candidates": [candidate], "usageMetadata": counts}


def _gemini_once(vendors: Vendors, body: dict[str, Any]) -> tuple[str, bytes]:
    return "application/json", json.dumps(_gemini(vendors, body)).encode()


def _gemini_stream(vendors: Vendors, body: dict[str, Any]) -> tuple[str, bytes]:
    return _events(_gemini(vendors, body), named=False)


def _responses(vendors: Vendors, body: dict[str, Any]) -> tuple[str, bytes]:
    if vendors.tool and not _has_result(body, '"function_call_output"', '"custom_tool_call_output"'):
        shell = {"command": ["bash", "-lc", vendors.tool], "cmd": vendors.tool, "input": vendors.tool}
        items = [
            {
                "type": "function_call",
                "id": f"fc_{i}",
                "call_id": f"call_{i}",
                "name": n,
                "arguments": json.dumps(shell),
            }
            for i, n in enumerate([*_offered(body), "shell", "exec_command", "shell_command", "apply_patch"])
        ]
        action = {"type": "exec", "command": ["bash", "-lc", vendors.tool]}
        items.append(
            {"type": "local_shell_call", "id": "ls", "call_id": "cls", "status": "completed", "action": action}
        )
    else:
        content = [{"type": "output_text", "text": vendors.text}]
        items = [{"type": "message", "role": "assistant", "id": "msg_1", "content": content}]
    usage = {"input_tokens": 1, "input_tokens_details": None, "output_tokens": 1, "output_tokens_details": None}
    done = {"id": "resp_1", "usage": usage | {"total_tokens": 2}}
    return _events(
        {"type": "response.created", "response": {"id": "resp_1"}},
        *({"type": "response.output_item.done", "output_index": i, "item": item} for i, item in enumerate(items)),
        {"type": "response.completed", "response": done},
    )


def _chat(vendors: Vendors, body: dict[str, Any]) -> tuple[str, bytes]:
    calls = []
    if vendors.tool and not _has_result(body, '"role": "tool"'):
        names = _offered(body, "bash", "run_shell_command")
        schemas = {tool["function"]["name"]: tool["function"].get("parameters") for tool in body.get("tools") or ()}
        calls = [
            {
                "index": i,
                "id": f"call_{i}",
                "type": "function",
                "function": {"name": n, "arguments": json.dumps(_arguments(vendors.tool, schemas.get(n)))},
            }
            for i, n in enumerate(names)
        ]
    said: dict[str, Any] = {"role": "assistant", "content": None if calls else vendors.text}
    if calls:
        said["tool_calls"] = calls
    stop = "tool_calls" if calls else "stop"
    base = {"id": "c", "created": int(time.time()), "model": body.get("model")}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    if not body.get("stream"):
        choice = {"index": 0, "message": said, "finish_reason": stop}
        whole = {**base, "object": "chat.completion", "choices": [choice], "usage": usage}
        return "application/json", json.dumps(whole).encode()
    kind = {**base, "object": "chat.completion.chunk"}
    return _events(
        {**kind, "choices": [{"index": 0, "delta": said, "finish_reason": None}]},
        {**kind, "choices": [{"index": 0, "delta": {}, "finish_reason": stop}], "usage": usage},
        named=False,
        end="data: [DONE]\n\n",
    )


def _ollama(vendors: Vendors, body: dict[str, Any]) -> tuple[str, bytes]:
    reply = {"model": body.get("model"), "message": {"role": "assistant", "content": vendors.text}, "done": True}
    return "application/json", json.dumps(reply).encode()


_PROTOCOLS = {
    "/v1/messages": _anthropic,
    ":generateContent": _gemini_once,
    ":streamGenerateContent": _gemini_stream,
    "/v1/responses": _responses,
    "/v1/chat/completions": _chat,
    "/api/chat": _ollama,
}
