"""The plan for an installation as plain text, readable from 60 columns up, with commands that can be copied."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING, Any, Final

from rtx50_autoload.installer.check_words import besides, conflicts
from rtx50_autoload.installer.commanding import typed_lines
from rtx50_autoload.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


__all__ = ["besides_text", "fold", "plan_text", "typed"]

_UNTIL_THEN: Final = (
    "The steps would break it. Update or remove it first, or make an environment of its own for what is wanted here."
)
_COMMAND: Final = re.compile("`[^`]+`")


def plan_text(document: Mapping[str, Any], width: int) -> Iterator[str]:
    """Write the steps of the plan, each with its reason, its commands, and the way to see that it has worked."""
    for number, step in enumerate(document["plan"]["steps"], start=1):
        yield from fold(f"{number}. {step['what']}", width, "   ")
        yield from fold(f"   Why: {step['why']}", width, "   ")
        for command in step["commands"]:
            yield from (f"     {line}" for line in typed(command, document["system"]))
        for text in step["by_hand"]:
            yield from _instruction("   ", text, width)
        if step["download"]:
            yield f"   It fetches about {step['download'] / 2**30:.1f} GiB."
        for title, text in (("Check", step["check"]), ("Way back", step["back"])):
            if text:
                yield from _instruction(f"   {title}: ", text, width)


def besides_text(document: Mapping[str, Any], width: int) -> Iterator[str]:
    """Write what the steps do not mend, each with what can be done about it."""
    for each in besides(document):
        yield from fold(f"- {each['what']} {each['why']}", width, "  ")
        if each["next"]:
            yield from _instruction("  Next: ", each["next"], width)
    for text in conflicts(document["plan"]):
        yield from fold(f"- {text} {_UNTIL_THEN}", width, "  ")


def _instruction(lead: str, text: str, width: int) -> Iterator[str]:
    """Write a sentence, a command, or a sentence with a command behind its colon; a command stands in one line."""
    indent = " " * (len(lead) - len(lead.lstrip()))
    sentence, colon, command = text.rstrip().rpartition(": ")
    if text.rstrip().endswith("."):
        yield from fold(f"{lead}{text}", width, indent)
    elif colon:
        yield from fold(f"{lead}{sentence}:", width, indent)
        yield f"{indent}  {printable(command.strip('`'))}"
    else:
        yield f"{lead}{printable(text)}"


def typed(command: Mapping[str, Any], system: str) -> list[str]:
    """Write a command of a plan as it has to be typed, with the variables that are set for it alone."""
    return list(map(printable, typed_lines(command["arguments"], command["environ"], system)))


def fold(text: str, width: int, indent: str = "") -> list[str]:
    """Break a text into lines; words stay whole, and so do commands between backticks."""
    lead = text[: len(text) - len(text.lstrip())]
    # textwrap does not break at this blank.
    whole = _COMMAND.sub(lambda match: match[0].replace(" ", "\xa0"), printable(" ".join(text.split())))
    lines = textwrap.wrap(
        whole, width, initial_indent=lead, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return [line.replace("\xa0", " ") for line in lines]
