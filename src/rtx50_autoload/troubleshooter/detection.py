"""Which assistants are on this machine."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .assistants import load_knowledge
from .local_servers import find_servers
from .programs import find_programs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .assistants import Found

__all__ = ["detect"]


def detect(environ: Mapping[str, str] | None = None) -> tuple[Found, ...]:
    """Look for every assistant that we know; those that stay on this machine come first.

    Nothing is started, and only addresses of this machine are spoken to.

    Args:
        environ: the environment variables, by default the process's.

    """
    environ = os.environ if environ is None else environ
    knowledge = load_knowledge()
    return (*find_servers(knowledge.servers, environ), *find_programs(knowledge, environ))
