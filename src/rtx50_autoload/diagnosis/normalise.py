"""The text of an error without what surrounds it: log prefixes, colours, line ends, and the way in which it was pasted.

What comes out is one flat line, so that a text pasted as one line, a wrapped one and a log with a prefix on each line
are the same to the patterns of `signatures.toml`.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from typing import Final

__all__ = ["NormalisedText", "lowered", "normalise"]

#: What is kept of a longer text: the beginning, where builds and imports fail, and the end, where programs do.
HEAD: Final = 32_000
TAIL: Final = 96_000

_ESCAPES: Final = re.compile(
    r"\x1b\[[0-9;?]{0,40}[ -/]{0,4}[@-~]"  # colours and movements
    r"|\x1b\][^\x07\x1b]{0,300}(?:\x07|\x1b\\)"  # titles and links
    r"|\x1b[@-_]"
    r"|\[\d{1,3}(?:;\d{1,3}){0,4}m"  # what is left of a colour where only the escape character was taken out
    r"|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u200b-\u200f\u2060\ufeff]"
)
#: A line break that a JSON log or a Python `repr` has written as two characters; not the start of ``\nvcc`` in a path.
_WRITTEN_BREAK: Final = re.compile(r"(?:\\r)?\\n(?=[\s\"'(\[A-Z]|$)|(?<=[^\w:.)\\])(?:\\r)?\\n")
_SAME: Final = str.maketrans(
    {"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u00a0": " ", "\u202f": " ", "\uff1a": ":"}
)
_ASCII_LOWER: Final = str.maketrans({chr(upper): chr(upper + 32) for upper in range(ord("A"), ord("Z") + 1)})

_LEVEL: Final = (
    r"(?:TRACE|DEBUG|INFO|NOTICE|WARNING|WARN|ERROR|FATAL|CRITICAL|trace|debug|info|warning|warn|error|fatal)"
)
_CLOCK: Final = r"\d{1,2}:\d\d:\d\d(?:[.,]\d{1,9})?"
#: What programs that carry a log put before each line, taken off again and again until none is left.
_PREFIXES: Final = re.compile(
    "|".join(
        (
            # journald and syslog: Nov 22 17:41:01 host unit[123]:
            rf"[A-Z][a-z]{{2}} [ \d]?\d {_CLOCK} [\w.-]{{1,80}} [\w.@/-]{{1,80}}(?:\[\d{{1,10}}\])?: ",
            # 2025-11-22T17:41:01.123Z, with or without brackets; also with slashes
            (
                rf"\[?\d{{4}}[-/]\d\d[-/]\d\d[T ]{_CLOCK}(?:Z| ?[+-]\d\d:?\d\d)?(?: UTC)?\]?:{{0,2}}"
                r"(?: [\w.-]{1,80} [\w.@/-]{1,80}\[\d{1,10}\]: )?"
            ),
            rf"\[?\d\d[-/]\d\d[-/]\d{{4}}[- ]{_CLOCK}\]?",
            rf"\[?{_CLOCK}\]?(?= |$)",
            # Kubernetes: stdout F
            r"std(?:out|err)(?: [FP]|/[A-Z]{3,8}|:)(?= )",
            # docker compose, foreman: service-1  |
            r"[A-Za-z][\w.-]{0,60} {0,30}\|(?= |$)",
            # docker build: #12 34.56
            r"#\d{1,4} \d{1,6}\.\d{1,4}(?= |$)",
            # GitHub Actions
            r"##\[\w{1,12}\]",
            # vLLM and SGLang: ERROR 08-13 04:39:39 [engine.py:400]
            rf"{_LEVEL} \d\d-\d\d {_CLOCK} (?:\[[\w./-]{{1,80}}:\d{{1,6}}\]|[\w./-]{{1,80}}:\d{{1,6}}\])",
            # Ray and vLLM's workers: (EngineCore_DP0 pid=123)  (RayTrainWorker pid=123, ip=10.0.0.1)
            (
                r"\([A-Za-z_][\w.:<>+-]{0,60}(?:\([^()]{0,60}\))?"
                r"(?:[ ,]{1,2}(?:pid|ip|rank|TP|DP|PP|EP)[=:]?[\w.:-]{1,45}){1,4}\)"
            ),
            r"\((?:pid=\d{1,10}|raylet|autoscaler)(?:, ip=[\w.:]{1,45})?\)",
            # torchrun, mpirun, srun: [rank0]:  [default0]:  [1,0]<stderr>:
            r"\[(?:rank|default|local_rank)_? ?\d{1,5}\]:?",
            r"\[\d{1,4},\d{1,5}\]<std(?:out|err)>:?",
            r"\d{1,4}:(?= )",
            # glog and absl: E0000 00:00:1753232013.685876   24341 file.cc:2431]
            r"[IWEF]\d{4} [\d:.]{8,30} {1,8}\d{1,10} [\w./-]{1,120}:\d{1,6}\]",
            # Python's logging: - name - LEVEL -
            rf"- [\w.-]{{1,80}} - {_LEVEL} -",
            rf"\[?{_LEVEL}\]?(?:\s{{0,4}}[:|-])?(?= )",
            # a quoted line of a message
            r">(?= (?!>))",
        )
    )
)
_MOST_PREFIXES: Final = 8
_MARGIN: Final = re.compile(r"[\s|]*")


@dataclass(frozen=True, slots=True)
class NormalisedText:
    """A text, ready for the patterns.

    Attributes:
        flat: all lines without prefixes, with one space between words and between lines.
        lower: the same in lower case (ASCII only, so that places are the same in both).
        lines: the lines without prefixes, none empty.
        starts: where each line begins in `flat`.

    """

    flat: str
    lower: str
    lines: tuple[str, ...]
    starts: tuple[int, ...]

    def line_at(self, place: int) -> str:
        """Give the line that holds a place of `flat`."""
        return self.lines[max(bisect_right(self.starts, place) - 1, 0)] if self.lines else ""

    def line_start(self, place: int) -> int:
        """Give where the line that holds a place of `flat` begins."""
        return self.starts[max(bisect_right(self.starts, place) - 1, 0)] if self.starts else 0


def normalise(text: str) -> NormalisedText:
    """Take off what is not the error's own; of a huge text, keep the beginning and the end."""
    if len(text) > HEAD + TAIL:
        text = f"{text[:HEAD]}\n{text[-TAIL:]}"
    text = _ESCAPES.sub("", text.translate(_SAME).replace("\r", "\n"))
    text = _WRITTEN_BREAK.sub("\n", text)
    lines = [line for line in (" ".join(_without_prefixes(line).split()) for line in text.splitlines()) if line]
    starts: list[int] = []
    place = 0
    for line in lines:
        starts.append(place)
        place += len(line) + 1
    flat = " ".join(lines)
    return NormalisedText(flat, lowered(flat), tuple(lines), tuple(starts))


def lowered(text: str) -> str:
    """Write ASCII letters small and leave all others, so that the text keeps its length."""
    return text.translate(_ASCII_LOWER)


def _without_prefixes(line: str) -> str:
    place = 0
    for _ in range(_MOST_PREFIXES):
        match = _PREFIXES.match(line, _skip(line, place))
        if match is None:
            break
        place = match.end()
    return line[place:]


def _skip(line: str, place: int) -> int:
    match = _MARGIN.match(line, place)
    return match.end() if match else place
