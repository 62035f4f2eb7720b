"""Files for their owner's eyes, written whole: under another name, then renamed, so that nobody reads a part."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from pathlib import Path
from typing import Final

__all__ = ["DRAFT", "write_private"]

#: The end of the name under which a file is written; one that stays was left by a writer that was killed.
DRAFT: Final = ".draft"
_TRIES: Final = 10
_PAUSE: Final = 0.02


def write_private(file: Path, text: str, *, durable: bool = False) -> None:
    """Write a file that only its owner can read, in the place of what it was before.

    Args:
        file: in a folder that exists.
        text: ASCII.
        durable: force it to the disk before its name is taken; otherwise a power cut may leave an empty file.

    Raises:
        OSError: it cannot be written; it is as it was before.

    """
    # mkstemp makes the file readable for its owner only.
    descriptor, name = tempfile.mkstemp(prefix=f".{file.stem}.", suffix=DRAFT, dir=file.parent)
    draft = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii", newline="\n") as stream:
            stream.write(text)
            if durable:
                stream.flush()
                os.fsync(stream.fileno())
        _replace(draft, file)
    except BaseException:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise


def _replace(draft: Path, file: Path) -> None:
    """Rename a file onto another; on Windows that fails while somebody, such as a virus scanner, has it open."""
    for _ in range(_TRIES - 1):
        with contextlib.suppress(PermissionError):
            draft.replace(file)
            return
        time.sleep(_PAUSE)
    draft.replace(file)
