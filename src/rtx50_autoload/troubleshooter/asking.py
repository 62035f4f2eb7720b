"""Put one question to one assistant that may do nothing but answer."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import sys
import time
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from .answers import clean
from .assistant_errors import CrashedError, NotFoundError, PromptTooLongError, TooOldError
from .assistants import Found, Program, load_knowledge
from .child import Outcome, run_child
from .local_servers import ask_server
from .programs import expand, not_usable
from .understanding import LONGEST_COMPLAINT, understand

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["LONGEST_PROMPT", "Answer", "ask"]

#: No question is longer, in bytes: some assistants cut it without a word.
LONGEST_PROMPT: Final = 100_000
#: How long an assistant may take to say its version, in seconds.
_VERSION_LIMIT: Final = 20.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What an assistant said.

    Attributes:
        text: without anything that steers a terminal or cannot be seen.
        assistant: its name.
        version: the program's or the server's; None where it tells none.
        model: the model, where we chose it.
        seconds: how long it took.
        left: files that the assistant wrote into the folder that it ran in, which is removed: path and size.

    """

    text: str
    assistant: str
    version: str | None
    model: str | None
    seconds: float
    left: tuple[str, ...] = ()


def ask(  # noqa: PLR0913 - what a caller may leave out goes by name
    found: Found,
    prompt: str,
    *,
    time_limit: float,
    model: str | None = None,
    on_progress: Callable[[float], None] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Answer:
    """Ask once and wait for the answer; the assistant's processes and our folder are gone afterwards, whatever happens.

    Nothing here asks for the user's consent: that has been given when this is called.

    Args:
        found: what `detect` gave.
        prompt: the question; it goes through the program's stdin, never into its arguments.
        time_limit: in seconds, for all of it.
        model: one of a server's models; by default its first one.
        on_progress: told the seconds that have passed, again and again.
        environ: the environment variables of which some are passed on, by default the process's.

    Raises:
        AssistantError: there is no answer; which one says why, and what to do.

    """
    if len(prompt.encode("utf-8", "replace")) > LONGEST_PROMPT:
        raise PromptTooLongError(
            f"The question has more than {LONGEST_PROMPT:,} bytes.", "Ask with fewer lines of the error."
        )
    if isinstance(found.assistant, Program):
        return _Asking(found, found.assistant, os.environ if environ is None else environ).ask(
            prompt, time_limit, on_progress
        )
    if not found.models:
        raise NotFoundError(found.reason, found.next)
    start = time.monotonic()
    chosen = model or found.models[0]
    text = ask_server(found, prompt, chosen, time_limit=time_limit, on_progress=on_progress)
    return Answer(clean(text).strip(), found.name, found.version, chosen, time.monotonic() - start)


class _Asking:
    """One question to one program."""

    def __init__(self, found: Found, program: Program, environ: Mapping[str, str]) -> None:
        self._found, self._program, self._environ = found, program, environ

    def ask(self, prompt: str, time_limit: float, on_progress: Callable[[float], None] | None) -> Answer:
        found, program = self._found, self._program
        if not found.command:
            raise NotFoundError(found.reason, found.next)
        start = time.monotonic()
        # The folder's name is ours alone: some assistants keep the question under it.
        name = f"rtx50-ask-{secrets.token_hex(8)}"
        with TemporaryDirectory(prefix="rtx50-", ignore_cleanup_errors=True) as top:
            self._cwd, self._files, self._temporary = (Path(top, part) for part in (name, "files", "tmp"))
            for folder in (self._cwd, self._files, self._temporary):
                folder.mkdir()
            for file, content in program.files.items():
                (self._files / file).write_text(content, encoding="utf-8")
            answer = self._files / "answer"
            try:
                version = self._checked_version(start + time_limit)
                arguments = [
                    argument.replace("{files}", str(self._files)).replace("{answer}", str(answer))
                    for argument in program.arguments
                ]
                outcome = self._run(arguments, prompt, time_limit - (time.monotonic() - start), on_progress)
                text = understand(program, outcome, answer, prompt, time_limit)
                left = self._left()
            finally:
                self._remove_traces(name)
        return Answer(text, found.name, version, None, time.monotonic() - start, left)

    def _checked_version(self, deadline: float) -> str:
        """Give the version, and be sure that it can be kept from acting.

        Raises:
            AssistantError: it cannot, or is another program.

        """
        program, version = self._program, self._found.version
        if version is None:
            limit = min(_VERSION_LIMIT, deadline - time.monotonic())
            said = clean(self._run(["--version"], "", limit, None).stdout)
            match = re.search(program.identity, said, re.MULTILINE)
            if match is None:
                raise NotFoundError(
                    f"{self._found.where} does not say that it is {program.title}.",
                    f"Another program may have this name: `{program.command} --version` tells.",
                    said[:LONGEST_COMPLAINT],
                )
            version = match[1]
        fault = not_usable(program, version)
        if fault is not None:
            raise TooOldError(*fault)
        return version

    def _run(
        self, arguments: list[str], prompt: str, limit: float, on_progress: Callable[[float], None] | None
    ) -> Outcome:
        try:
            return run_child(
                [*self._found.command, *arguments],
                folder=self._cwd,
                output=self._files,
                environment=self._environment(),
                stdin=prompt.encode("utf-8", "replace"),
                time_limit=limit,
                hopeless=re.compile(self._program.hopeless.encode()) if self._program.hopeless else None,
                on_progress=on_progress,
            )
        except OSError as error:
            raise CrashedError(
                f"{self._program.title} cannot be started ({error.strerror}).",
                "Install it again, or ask another assistant.",
                str(error),
            ) from error

    def _environment(self) -> dict[str, str]:
        """Give what the assistant needs of the user's environment, and nothing else."""
        knowledge, program, environ = load_knowledge(), self._program, self._environ
        patterns = [*knowledge.keep, *program.keep]
        for name, more in program.keep_if.items():
            if environ.get(name):
                patterns += more
        # Windows' names have no case.
        shape = str.upper if sys.platform == "win32" else str
        patterns = [shape(pattern) for pattern in patterns]
        kept = {
            name: value
            for name, value in environ.items()
            if any(fnmatchcase(shape(name), pattern) for pattern in patterns)
        }
        # What it needs, such as Node.js, often lies beside it and not on the PATH of a notebook or a desktop program.
        beside = os.pathsep.join(
            dict.fromkeys((str(Path(self._found.where).parent), str(Path(self._found.command[0]).parent)))
        )
        path = os.pathsep.join(filter(None, (kept.get("PATH"), beside)))
        temporary = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(self._temporary))
        # A repository around the folder would be told of to the assistant.
        git = {"GIT_CEILING_DIRECTORIES": str(self._cwd.parent)}
        return {**kept, "PATH": path, **temporary, **git, **knowledge.set, **program.set}

    def _left(self) -> tuple[str, ...]:
        """Tell what the assistant has written into the folders that it was given, before they are removed."""
        return tuple(
            f"{clean(path.relative_to(folder.parent).as_posix())} ({path.lstat().st_size} bytes)"
            for folder in (self._cwd, self._temporary)
            for path in sorted(folder.rglob("*"))
            if not path.is_dir()
        )

    def _remove_traces(self, name: str) -> None:
        for trace in self._program.traces:
            folder = expand(trace.format(folder=name), self._environ)
            if folder:
                shutil.rmtree(folder, ignore_errors=True)
