"""The code blocks of the pages, and the commands in them."""

from __future__ import annotations

import re
import shlex
import textwrap
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: What Sphinx makes of them is seen when it builds the pages; none of them holds code to be typed.
_DIRECTIVES = re.compile(r"\{(?!code-block|literalinclude)")
_OPEN = re.compile(r"(?P<indent>.*?)(?P<fence>`{3,}|~{3,}|:{3,}(?=\{code-block))(?P<language>.*)")
_COMMENT = re.compile(r"\s+#\s.*$")
_HEREDOC = re.compile(r"<<'(\w+)'$")


@dataclass(frozen=True)
class Block:
    """One block: the page, the line of its fence, its language, and its text."""

    page: str
    line: int
    language: str
    text: str


@cache
def blocks() -> tuple[Block, ...]:
    """Give every block of the documents at the top and of the pages, what they include of recordings among them."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "howto").glob("*.md")]
    return tuple(block for page in sorted(pages) for block in _blocks_of(page) if page.name != "CHANGELOG.md")


def _blocks_of(page: Path) -> list[Block]:
    name, found = page.relative_to(ROOT).as_posix(), []
    lines = iter(enumerate(page.read_text(encoding="utf-8").split("\n"), 1))
    for number, line in lines:
        opened = _OPEN.fullmatch(line)
        if opened is None:
            continue
        inside = []
        for _, inner in lines:
            if inner.strip() == opened["fence"]:
                break
            inside.append(inner)
        language = opened["language"].strip()
        if _DIRECTIVES.match(language):
            continue
        options = [each for each in inside if language.startswith("{") and each.startswith(":")]
        text = textwrap.dedent("\n".join(inside[len(options) :])).strip("\n")
        if language.startswith("{literalinclude}"):
            file = page.parent / language.split()[1]
            language = next((each.split()[1] for each in options if each.startswith(":language:")), "text")
            found.append(Block(name, number, f"recorded {language}", file.read_text(encoding="utf-8")))
        else:
            found.append(Block(name, number, language.removeprefix("{code-block}").strip(), text))
    return found


def commands(text: str) -> list[str]:
    """Give the commands of a block for a terminal: its lines behind `$`, or all of them where no line has one."""
    lines = iter(text.split("\n"))
    prompted = any(line.startswith("$ ") for line in text.split("\n"))
    found = []
    for line in lines:
        if not line.startswith("$ ") if prompted else not line or line.startswith("#"):
            continue
        command = _COMMENT.sub("", line.removeprefix("$ "))
        until = _HEREDOC.search(command)
        while until or command.endswith("\\"):
            command += "\n" + next(lines)
            if until and command.endswith("\n" + until[1]):
                break
        found.append(command)
    return found


def calls_of_ours(command: str) -> list[list[str]]:
    """Give the arguments of each call of our own command in a line for a shell, other programs' lines among them."""
    words = shlex.shlex(command.split("\n", 1)[0], posix=True, punctuation_chars=True)
    words.whitespace_split = True
    found: list[list[str]] = []
    inside, starts, before = False, True, ""
    for word in words:
        if set(word) <= set("|&;<>()"):
            inside, starts = False, set(word) <= set("|&;(")
        elif inside:
            found[-1].append(word)
        elif (
            re.fullmatch(r".*[/\\]rtx50-autoload", word)
            or (before, word) == ("-m", "rtx50_autoload")
            or (starts and word == "rtx50-autoload")
        ):
            found.append([])
            inside = True
        else:
            # What stands before a command may be variables for it.
            starts = starts and "=" in word
        before = word
    return found


def spoken() -> list[tuple[str, str]]:
    """Give the calls of our command that stand in the sentences of the pages, as page and text."""
    found = []
    for page in sorted({block.page for block in blocks()}):
        sentences = re.sub(r"(?ms)^[^\n]*?(`{3,}).*?^\s*\1$", "", (ROOT / page).read_text(encoding="utf-8"))
        found += [(page, each) for each in re.findall(r"`(rtx50-autoload [^`]+)`", sentences)]
    return found
