"""Has a process of its own find the facts for one call, and ends it if nobody wants them any more."""

from __future__ import annotations

import json
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, cast

import anyio
from mcp.server.mcpserver.exceptions import ToolError

from rtx50_autoload.mcp_server.worker import PROGRAM
from rtx50_autoload.own_python import python_command

if TYPE_CHECKING:
    from anyio.abc import ByteReceiveStream, ByteSendStream, Process

__all__ = ["ask"]

#: No call takes longer, in seconds: probes may take minutes, and cold disks too.
_LIMIT: Final = 1800.0
#: How long a process that is no longer wanted may take to clean up behind itself, in seconds.
_GRACE: Final = 10.0


async def ask(tool: str, **arguments: object) -> dict[str, Any]:
    """Call a tool of `facts`.

    Raises:
        ToolError: it cannot do what was asked; the text says why.

    """
    process = await anyio.open_process(
        python_command(PROGRAM),
        stderr=None,
        # Ctrl+C ends us; it then finds out by itself, and has nothing to clean up twice.
        start_new_session=True,
    )
    try:
        with anyio.fail_after(_LIMIT):
            output = await _talk(process, json.dumps({"tool": tool, "arguments": arguments}))
            await process.wait()
    except TimeoutError:
        raise ToolError(f"there was no answer within {_LIMIT / 60:.0f} minutes") from None
    finally:
        await _end(process)
    try:
        answer = json.loads(output.rpartition(b"\n")[2])
    except ValueError:
        raise ToolError(f"the process that looks for the facts ended with {_exit_of(process)}") from None
    if "error" in answer:
        raise ToolError(answer["error"])
    document: dict[str, Any] = answer["document"]
    return document


async def _talk(process: Process, call: str) -> bytes:
    # A process that has ended at once does not read; how it ended is told by what it leaves.
    with suppress(anyio.BrokenResourceError):
        await _stdin(process).send(call.encode() + b"\n")
    return b"".join([piece async for piece in cast("ByteReceiveStream", process.stdout)])


async def _end(process: Process) -> None:
    """End it, whatever it is doing: it stops by itself when its stdin ends."""
    with anyio.CancelScope(shield=True):
        await _stdin(process).aclose()
        with anyio.move_on_after(_GRACE):
            await process.wait()
        if process.returncode is None:
            process.kill()
        await process.aclose()


def _stdin(process: Process) -> ByteSendStream:
    return cast("ByteSendStream", process.stdin)


def _exit_of(process: Process) -> str:
    code = process.returncode or 0
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
