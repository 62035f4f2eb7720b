"""A process that answers one call: it finds the facts, prints them as JSON, and ends.

A process of its own sees what is installed now and not what was when the server started, and can be ended with all
that it does: by the server, or by itself, once the server is gone.
"""

from __future__ import annotations

import _thread
import json
import os
import signal
import sys
import threading
import traceback
from typing import Any

__all__ = ["PROGRAM", "main"]

#: What starts it; the working directory is the assistant's and may hold anything.
PROGRAM = "from rtx50_autoload.mcp_server.worker import main; main()"


def main() -> None:
    """Read one call from stdin, a line of JSON, and print the answer to stdout as the last line.

    The end of stdin, before there is an answer, ends it.
    """
    # The answer alone goes to stdout; what libraries and their children print there goes where errors go.
    wire = os.dup(1)
    os.dup2(2, 1)
    # It may have been started where Ctrl+C is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    call = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    try:
        answer = _answer(call["tool"], call["arguments"])
    except KeyboardInterrupt:
        return
    with os.fdopen(wire, "wb") as stdout:
        stdout.write(b"\n" + json.dumps(answer).encode())


def _answer(tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Give the document, or the error: both in the form in which they may leave."""
    from rtx50_autoload.errors import RTX50Error  # noqa: PLC0415 - behind the watch over stdin
    from rtx50_autoload.mcp_server.facts import TOOLS  # noqa: PLC0415
    from rtx50_autoload.mcp_server.outgoing import fit, outgoing  # noqa: PLC0415

    answer: dict[str, Any]
    try:
        answer = {"document": fit(TOOLS[tool](**arguments))}
    except RTX50Error as error:
        answer = {"error": str(error)}
    except Exception as error:  # noqa: BLE001 - the assistant is told, and the person finds it in the server's log
        traceback.print_exc()
        answer = {"error": f"internal fault: {type(error).__name__}: {error}"}
    sent: dict[str, Any] = outgoing(answer)
    return sent


def _end_with_stdin() -> None:
    """Wait until nobody waits for the answer any more, and interrupt the work, so that it cleans up behind itself."""
    # Not through sys.stdin: Python could not end while this waits with its lock.
    while os.read(0, 1):
        pass
    if sys.platform == "win32":
        _thread.interrupt_main()
    else:
        # Only a signal to this very thread ends a wait in the operating system.
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
