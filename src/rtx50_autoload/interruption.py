"""The wish of the person, or of the system, that a child be ended, as something to look at."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["interruption"]


@contextmanager
def interruption() -> Iterator[threading.Event]:
    """Give what is set by Ctrl-C and by the end of the terminal or of this process: a child would outlive them.

    An exception could come at any place, also where the child has just been started and nobody knows of it yet. For
    the main thread only.
    """
    event = threading.Event()
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, lambda *_: event.set()) for number in numbers}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
