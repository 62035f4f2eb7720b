"""Long texts, cut to what matters."""

from __future__ import annotations

from typing import Final

from rtx50_autoload.printable import printable

__all__ = ["clip", "shorten"]

_LONGEST_LINE: Final = 600


def shorten(text: str, headline: str, longest: int, *, longest_line: int = _LONGEST_LINE) -> str:
    """Keep what matters of a long text: its end, where a traceback says what happened, and what is around the headline.

    Args:
        text: any text; what a terminal would act on is written out.
        headline: the line that decided, as the diagnosis has it; may be empty.
        longest: the most characters to keep.
        longest_line: the most characters to keep of one line.

    """
    lines = [clip(printable(line.rstrip("\r")), longest_line) for line in text.replace("\r\n", "\n").split("\n")]
    if sum(len(line) + 1 for line in lines) <= longest:
        return "\n".join(lines)
    at = next((index for index, line in enumerate(lines) if headline and headline in line), len(lines) - 1)
    # By nearness to the headline and to the end, until it is full.
    order = sorted(range(len(lines)), key=lambda index: min(abs(index - at), len(lines) - 1 - index))
    kept: set[int] = set()
    size = 0
    for index in order:
        size += len(lines[index]) + 1
        if size > longest:
            break
        kept.add(index)
    return "\n".join(_with_gaps(lines, sorted(kept)))


def _with_gaps(lines: list[str], kept: list[int]) -> list[str]:
    result = []
    before = -1
    for index in kept:
        if index > before + 1:
            result.append(f"[… {index - before - 1} lines left out …]")
        result.append(lines[index])
        before = index
    return result


def clip(line: str, longest: int = _LONGEST_LINE) -> str:
    """Keep both ends of a line that is too long."""
    if len(line) <= longest:
        return line
    half = longest // 2
    return f"{line[:half]} […] {line[-half:]}"
