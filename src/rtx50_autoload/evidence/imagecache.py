"""Keeps what was read from binaries: the list of images, which depends on the file alone and on no device.

An entry holds for one path, size and modification time. The cache is one JSON file. A process writes it whole under
another name and renames it, so that readers see the old or the new one and never a part; of two processes that write at
once, both leave a valid file and the later one's entries are sure to be in it. Whatever is wrong with the file, or with
writing it, costs speed and nothing else.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from rtx50_autoload.evidence.arch import parse_architecture
from rtx50_autoload.evidence.fatbin import Container, Image, Role
from rtx50_autoload.evidence.gpucode import READER_VERSION, GpuCode
from rtx50_autoload.private_files import check_folder, make_folder, read_private, write_private
from rtx50_autoload.user_folders import user_folder

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["Binaries", "ImageCache", "cache_file"]

#: The binaries of one file: of a wheel each with its member's name, otherwise one with the name ``""``.
Binaries: TypeAlias = tuple[tuple[str, GpuCode], ...]

#: The oldest entries go first; a venv with all of the AI stack has some two thousand.
_MAX_FILES: Final = 50_000
#: Bytes; some thousand for each file.
_LARGEST: Final = 2**29


def cache_file() -> Path:
    """Return where the cache lies for this user.

    Raises:
        NoHomeError: this user has no home folder.

    """
    return user_folder("cache") / "images.json"


class ImageCache:
    """The images of the files seen so far."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._known: dict[str, Any] | None = None
        self._new: dict[str, Any] = {}

    def get(self, path: Path, status: os.stat_result) -> Binaries | None:
        """Return what is kept for a file with this size and modification time; None where there is nothing."""
        if self._known is None:
            self._known = self._load()
        key = os.path.abspath(path)  # noqa: PTH100 - Path.absolute keeps ".."
        try:
            size, modified, binaries = self._new[key] if key in self._new else self._known[key]
            if (size, modified) != (status.st_size, status.st_mtime_ns):
                return None
            return tuple((str(member), _decode_code(code)) for member, code in binaries)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            return None  # not there, or written by something else

    def put(self, path: Path, status: os.stat_result, binaries: Iterable[tuple[str, GpuCode]]) -> None:
        """Keep what was read from a file; `save` makes it last."""
        entry = [status.st_size, status.st_mtime_ns, [[member, _encode_code(code)] for member, code in binaries]]
        self._new[os.path.abspath(path)] = entry  # noqa: PTH100 - Path.absolute keeps ".."

    def save(self) -> None:
        """Write what is new, beside what other processes have written meanwhile."""
        if not self._new:
            return
        files = self._load()
        for path in self._new:
            files.pop(path, None)  # to the end: the newest entries are kept longest
        files.update(self._new)
        kept = dict(list(files.items())[-_MAX_FILES:])
        text = json.dumps({"reader": READER_VERSION, "files": kept}, separators=(",", ":"))
        # No home, a read-only one, a full disk, or on Windows another process reading it.
        with contextlib.suppress(OSError):
            file = self._file or cache_file()
            make_folder(file.parent)
            write_private(file, text)
        self._known = kept
        self._new = {}

    def _load(self) -> dict[str, Any]:
        try:
            file = self._file or cache_file()
            check_folder(file.parent)
            content = json.loads(read_private(file, _LARGEST))
        except (OSError, ValueError, RecursionError):
            return {}
        if not isinstance(content, dict) or content.get("reader") != READER_VERSION:
            return {}
        files = content.get("files")
        return files if isinstance(files, dict) else {}


def _encode_code(code: GpuCode) -> list[Any]:
    containers = [
        [count, container.role.value, container.empty, [_encode_image(image) for image in container.images]]
        for container, count in code.containers.items()
    ]
    return [code.format, code.size, code.problem, containers]


def _decode_code(data: Any) -> GpuCode:  # noqa: ANN401 - whatever the file holds
    format_, size, problem, containers = data
    return GpuCode(
        format_,
        size,
        {
            Container(Role(role), bool(empty), tuple(map(_decode_image, images))): int(count)
            for count, role, empty, images in containers
        },
        problem,
    )


def _encode_image(image: Image) -> str:
    if image.isa is None:
        return str(image.architecture)
    major, minor = image.isa
    return f"{image.architecture}@{major}.{minor}"


def _decode_image(text: str) -> Image:
    architecture, _, isa = text.partition("@")
    if not isa:
        return Image(parse_architecture(architecture))
    major, minor = isa.split(".")
    return Image(parse_architecture(architecture), (int(major), int(minor)))
