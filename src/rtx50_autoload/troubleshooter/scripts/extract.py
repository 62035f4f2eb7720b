"""Scripts in an assistant's answer, and the languages that they may be written in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

__all__ = ["LANGUAGES", "Language", "Script", "extract"]


@dataclass(frozen=True, slots=True)
class Language:
    """A language of scripts.

    Attributes:
        id: its name with us and with Pygments.
        fences: what a fenced block of it calls it.
        extension: of its files, with the dot.
        comment: what makes the rest of a line a comment.
        continuation: what, at a line's end, goes on with the next line.

    """

    id: str
    fences: frozenset[str]
    extension: str
    comment: str
    continuation: str


#: Not Python: what a program does can be seen far less in its lines than what a shell's script does.
LANGUAGES: Final = {
    language.id: language
    for language in (
        Language("bash", frozenset({"bash", "sh", "shell", "shellscript"}), ".sh", "#", "\\"),
        Language("powershell", frozenset({"powershell", "pwsh", "ps1", "ps"}), ".ps1", "#", "`"),
        Language("batch", frozenset({"batch", "bat", "cmd", "dosbatch"}), ".cmd", "rem", "^"),
    )
}

# The marks that Python puts under a line of a traceback, ~~~~^^^^, are no fence.
_FENCE: Final = re.compile(r"[ \t]*(?:[-*>][ \t]+)?(?P<mark>`{3,}|~{3,}(?![~^]))[ \t]*(?P<name>[\w-]*)[^`]*")


@dataclass(frozen=True, slots=True)
class Script:
    """A script as it was written: nothing says that it is sound or harmless.

    Attributes:
        language: a key of `LANGUAGES`.
        text: its lines, each ended by a line feed.

    """

    language: str
    text: str


def extract(answer: str) -> tuple[Script, ...]:
    """Give the scripts of an answer: its fenced blocks that name a language of `LANGUAGES`, in their order.

    A block without an end is left out: the answer may have been cut off in the middle of a command.
    """
    scripts = []
    mark = ""
    language: Language | None = None
    block: list[str] = []
    for line in re.split(r"\r\n|\n", answer):
        fence = _FENCE.fullmatch(line)
        if not mark:
            if fence:
                mark, block = fence["mark"], []
                language = next((known for known in LANGUAGES.values() if fence["name"].lower() in known.fences), None)
        elif fence and not fence["name"] and fence["mark"].startswith(mark):
            if language is not None and any(map(str.strip, block)):
                scripts.append(Script(language.id, "\n".join(_without_margin(block)) + "\n"))
            mark = ""
        else:
            block.append(line)
    return tuple(scripts)


def _without_margin(lines: list[str]) -> list[str]:
    """Take off what all lines are indented by, as in a list; here-documents end only at the margin."""
    margin = min(len(line) - len(line.lstrip(" ")) for line in lines if line.strip())
    return [line[margin:] for line in lines]
