"""One question to an HTTP server on this machine, with a time limit that holds whatever the server does."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Final

from .answers import clean
from .assistant_errors import GarbledAnswerError, TimedOutError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LONGEST_REPLY", "Exchange"]

#: No answer of a server's is longer, in bytes.
LONGEST_REPLY: Final = 1 << 20
#: How long a server may take to accept the connection, in seconds.
_CONNECT: Final = 0.5
#: How often the one who waits is told of it, in seconds.
_TICK: Final = 0.2


class Exchange:
    """One request in a thread of its own, which a time limit or Ctrl+C can end wherever it stands."""

    def __init__(self, host: str, port: int, path: str, body: bytes) -> None:
        self._connection = http.client.HTTPConnection(host, port, timeout=_CONNECT)
        self._socket: socket.socket | None = None
        self._path, self._body = path, body
        self._result: tuple[int, bytes] | None = None
        self._error: Exception | None = None

    def run(self, title: str, time_limit: float, on_progress: Callable[[float], None] | None) -> tuple[int, bytes]:
        """Wait for the answer.

        Raises:
            AssistantError: there is none.

        """
        start = time.monotonic()
        thread = threading.Thread(target=self._talk, daemon=True)
        thread.start()
        try:
            while thread.is_alive():
                thread.join(_TICK)
                seconds = time.monotonic() - start
                if seconds > time_limit and thread.is_alive():
                    raise TimedOutError(
                        f"{title} gave no answer within {time_limit:g} seconds.",
                        "A large model takes minutes to load: try again, with more time or a smaller model.",
                    )
                if on_progress is not None:
                    on_progress(seconds)
        finally:
            self._hang_up()
        if self._result is not None:
            return self._result
        if isinstance(self._error, OverflowError):
            raise GarbledAnswerError(f"The answer of {title} has no end.", "Try again, or with another model.")
        raise UnreachableError(
            f"{title} broke off ({clean(str(self._error) or type(self._error).__name__)}).",
            "Look whether it still runs, and try again.",
        ) from self._error

    def _talk(self) -> None:
        try:
            with closing(self._connection):
                self._connection.connect()
                self._socket = self._connection.sock
                # Now the one who waits keeps the time.
                self._socket.settimeout(None)
                self._connection.request("POST", self._path, self._body, {"Content-Type": "application/json"})
                with closing(self._connection.getresponse()) as response:
                    raw = response.read(LONGEST_REPLY + 1)
                if len(raw) > LONGEST_REPLY:
                    raise OverflowError  # noqa: TRY301 - told apart where it is waited for
                self._result = response.status, raw
        except Exception as error:  # noqa: BLE001 - handed over to the one who waits
            self._error = error

    def _hang_up(self) -> None:
        """Wake the thread where it waits for the server; it closes the rest."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
