"""Model servers on this machine, by stand-ins: real ones were not at hand."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import closing
from dataclasses import replace

import pytest

from fakes.vendors import ANSWER, Vendors
from rtx50_autoload.troubleshooter.asking import ask
from rtx50_autoload.troubleshooter.assistant_errors import (
    CrashedError,
    EmptyAnswerError,
    GarbledAnswerError,
    NotFoundError,
    TimedOutError,
    UnreachableError,
)
from rtx50_autoload.troubleshooter.assistants import load_knowledge
from rtx50_autoload.troubleshooter.local_servers import find_servers

SERVERS = {server.name: server for server in load_knowledge().servers}


@pytest.fixture(params=["ollama", "lmstudio"])
def protocol(request):
    return request.param


def find(name, port, **environ):
    """Look for one server, at another port than its usual one."""
    return next(iter(find_servers([replace(SERVERS[name], port=port)], environ)), None)


def free_port():
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        return server.getsockname()[1]


def test_a_server_is_found_with_its_models_and_asked(protocol):
    with Vendors() as server:
        found = find(protocol, server.port)
        assert (found.local, found.ready, found.models) == (True, True, ("small:1b",))
        assert found.where == server.url
        assert "stays on this machine" in found.destination
        answer = ask(found, "What is it?", time_limit=30)
    assert (answer.text, answer.assistant, answer.model) == (ANSWER, protocol, "small:1b")
    (question,) = server.questions()
    assert question["messages"] == [{"role": "user", "content": "What is it?"}]
    assert "tools" not in question


def test_nobody_who_listens_is_nobody_found(protocol):
    assert find(protocol, free_port()) is None


@pytest.mark.parametrize("body", [b"<html>Jupyter</html>", b"[]", b"{}", b"null", b'{"data": 1}', b'{"version": "1"}'])
def test_another_server_at_the_port_is_not_taken_for_it(protocol, body):
    with Vendors(raw=body) as server:
        assert find(protocol, server.port) is None


def test_one_that_accepts_and_says_nothing_is_not_waited_for(protocol):
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        assert find(protocol, silent.getsockname()[1]) is None


def test_a_server_without_a_model_is_not_ready(protocol):
    with Vendors(models=[]) as server:
        found = find(protocol, server.port)
        assert (found.ready, found.next) == (False, SERVERS[protocol].add_model)
        with pytest.raises(NotFoundError, match="has no model"):
            ask(found, "What is it?", time_limit=30)
    assert not server.questions()


def test_models_that_ollama_would_ask_elsewhere_are_left_out():
    models = [
        {"name": "big:cloud"},
        {"name": "gpt-oss:120b-cloud"},
        {"name": "far:1b", "remote_host": "https://ollama.com:443"},
        {"name": "away:1b", "remote_model": "away"},
        {"name": "near:1b", "remote_host": ""},
    ]
    with Vendors(models=models) as server:
        assert find("ollama", server.port).models == ("near:1b",)
        server.models = models[:-1]
        assert find("ollama", server.port).ready is False


def test_a_model_in_memory_comes_first_and_stays_there():
    with Vendors(models=[{"name": "a:1b"}, {"name": "b:1b"}], loaded=[{"name": "b:1b"}]) as server:
        found = find("ollama", server.port)
        assert found.models == ("b:1b", "a:1b")
        ask(found, "What is it?", time_limit=30)
        ask(found, "What is it?", time_limit=30, model="a:1b")
    loaded, other = server.questions()
    assert (loaded["model"], other["model"]) == ("b:1b", "a:1b")
    assert loaded["options"].keys() == {"num_ctx"}
    assert "keep_alive" not in loaded
    # The GPU is what the question may be about.
    assert other["options"]["num_gpu"] == 0
    assert other["keep_alive"] == 0


def test_ollama_is_given_room_for_the_whole_question():
    with Vendors() as server:
        found = find("ollama", server.port)
        ask(found, "short", time_limit=30)
        ask(found, "x" * 60_000, time_limit=30)
    short, long = (question["options"]["num_ctx"] for question in server.questions())
    assert short == 4096
    assert long >= 60_000 // 3


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "http://127.0.0.1:{port}", "localhost:{port}", "0.0.0.0:{port}"])
def test_ollama_is_looked_for_where_its_variable_says(host):
    with Vendors() as server:
        found = find("ollama", free_port(), OLLAMA_HOST=host.format(port=server.port))
        assert (found.ready, found.where) == (True, server.url)


@pytest.mark.parametrize(
    "host",
    [
        "192.168.1.7:11434",
        "http://gpu-box:11434",
        "https://ollama.example.com",
        "[2001:db8::1]:1",
        "127.0.0.1.nip.io",
        "::",
    ],
)
def test_ollama_on_another_machine_is_not_spoken_to(host, monkeypatch):
    def forbidden(*_arguments, **_options):
        raise AssertionError("an address was spoken to or looked up")

    monkeypatch.setattr(socket, "create_connection", forbidden)
    monkeypatch.setattr(socket, "getaddrinfo", forbidden)
    found = find("ollama", 1, OLLAMA_HOST=host)
    assert found.ready is False
    assert "another machine" in found.reason
    with pytest.raises(NotFoundError):
        ask(found, "What is it?", time_limit=30)


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "ALL_PROXY"])
def test_no_proxy_is_asked(protocol, monkeypatch, variable):
    with Vendors() as server, Vendors() as proxy:
        monkeypatch.setenv(variable, proxy.url)
        assert ask(find(protocol, server.port), "What is it?", time_limit=30).text == ANSWER
    assert proxy.requests == []


def test_an_error_of_the_server_is_told(protocol):
    with Vendors(status=500) as server, pytest.raises(CrashedError, match="stub 500"):
        ask(find(protocol, server.port), "What is it?", time_limit=30)


def test_an_empty_answer_is_none(protocol):
    with Vendors(text=" \x1b[0m\n") as server, pytest.raises(EmptyAnswerError):
        ask(find(protocol, server.port), "What is it?", time_limit=30)


@pytest.mark.parametrize("body", [b"garbage", b"[]", b"{}", b'{"choices": []}', b'{"message": 1}', b"\xff"])
def test_garbage_is_no_answer(protocol, body):
    with Vendors() as server:
        found = find(protocol, server.port)
        server.raw = body
        with pytest.raises(GarbledAnswerError):
            ask(found, "What is it?", time_limit=30)


def test_an_answer_of_100_kb_comes_whole_and_one_without_an_end_is_none(protocol):
    with Vendors(text="x" * 100_000) as server:
        found = find(protocol, server.port)
        assert len(ask(found, "What is it?", time_limit=30).text) == 100_000
        server.text = "x" * (1 << 20)
        with pytest.raises(GarbledAnswerError, match="has no end"):
            ask(found, "What is it?", time_limit=30)


def test_the_answer_steers_no_terminal(protocol):
    with Vendors(text="\x1b[31mred\x1b[0m\u202e") as server:
        assert ask(find(protocol, server.port), "What is it?", time_limit=30).text == "red"


def test_the_time_limit_holds_and_ends_the_connection(protocol):
    before = threading.active_count()
    seconds = []
    with Vendors() as server:
        found = find(protocol, server.port)
        server.hang = True
        with pytest.raises(TimedOutError, match="within 1 seconds"):
            ask(found, "What is it?", time_limit=1, on_progress=seconds.append)
    assert seconds
    deadline = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert threading.active_count() <= before


@pytest.mark.parametrize(
    "head", ["HTTP/1.1 200 OK\r\nContent-Length: 1000", "HTTP/1.0 200 OK", "HTTP/1.1 200 OK\r\nX: "]
)
def test_a_server_that_drips_does_not_outlast_the_limit(head):
    """Each piece comes in time, and the whole never does."""

    def drip(listener):
        connection, _ = listener.accept()
        with connection:
            connection.sendall(head.encode() if head.endswith(": ") else f"{head}\r\n\r\n".encode())
            while True:
                try:
                    connection.sendall(b"x")
                except OSError:
                    return
                time.sleep(0.05)

    with Vendors() as server:
        found = find("ollama", server.port)
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        thread = threading.Thread(target=drip, args=(listener,))
        thread.start()
        where = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(TimedOutError):
            ask(replace(found, where=where), "What is it?", time_limit=1)
        thread.join(10)
        assert not thread.is_alive()


def test_a_server_that_has_gone_is_said_so(protocol):
    with Vendors() as server:
        found = find(protocol, server.port)
    with pytest.raises(UnreachableError, match="broke off"):
        ask(found, "What is it?", time_limit=30)


def test_a_redirection_leads_nowhere(protocol):
    with Vendors() as server, Vendors() as other:
        found = find(protocol, server.port)
        server.redirect = other.url
        with pytest.raises(CrashedError, match="did not take the question"):
            ask(found, "What is it?", time_limit=30)
    assert other.requests == []
