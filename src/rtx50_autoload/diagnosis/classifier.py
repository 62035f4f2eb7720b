"""From the text of an error and what is known of the machine to a diagnosis."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rtx50_autoload.diagnosis.culprit import find_culprit
from rtx50_autoload.diagnosis.diagnosis import ABSTENTIONS, Diagnosis
from rtx50_autoload.diagnosis.facts import facts_of, numbers_in
from rtx50_autoload.diagnosis.normalise import normalise
from rtx50_autoload.diagnosis.plans import plan
from rtx50_autoload.diagnosis.printed import complete
from rtx50_autoload.diagnosis.sentences import fill_in, sentences_about
from rtx50_autoload.diagnosis.signatures import EVIDENCE, RANKS, load_signatures
from rtx50_autoload.diagnosis.situation import Situation

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rtx50_autoload.diagnosis.conditions import Value
    from rtx50_autoload.diagnosis.normalise import NormalisedText
    from rtx50_autoload.diagnosis.signatures import Outcome, Signature

__all__ = ["classify"]

#: What one missing piece of evidence leaves of the confidence.
_MISSING: Final = 0.8
_LONGEST_HEADLINE: Final = 240
#: Between two errors of which the first is the cause.
_CHAINED: Final = re.compile(r"during handling of the above exception|the above exception was the direct cause")
_EXCEPTION: Final = re.compile(r"(?<![\w.])[A-Za-z_][\w.]{0,200}(?:Error|Exception|Exit|Interrupt)(?=: | ?$)")
#: What a report about a GPU or an installation speaks of, and how failures are told.
_TOPIC: Final = re.compile(
    r"\b(?:cuda|gpu|nvidia|torch|pytorch|nvcc|driver|cudnn|nccl|wheel|pip|cmake|ninja|sm_\d|rtx)\b"
)
_FAILURE: Final = re.compile(
    r"\b(?:errors?|failed|failure|fatal|cannot|could not|unable|not found|aborted|crash(?:ed)?)\b"
)


@dataclass(frozen=True, slots=True)
class _Match:
    signature: Signature
    outcome: Outcome
    start: int
    end: int
    values: dict[str, str]


def classify(text: str, situation: Situation | None = None) -> Diagnosis:
    """Say what an error means; the same text and situation always give the same answer.

    The statement that explains most of the others decides, and what is known of the machine decides between its causes.
    Nothing is raised, the time is linear in the length of the text, and of a huge one only the beginning and the end
    are read.

    Args:
        text: the error as a person or a program has it: a traceback, a log, one line.
        situation: what is known of the machine that it comes from; nothing where None.

    """
    normalised = normalise(text)
    known = complete(situation or Situation(), normalised)
    facts = facts_of(known)
    match = _decide(list(_matches(normalised, facts)), normalised)
    if match is None:
        return _abstain(normalised, known)
    return _diagnose(match, normalised, known, facts)


def _matches(text: NormalisedText, facts: Mapping[str, Value]) -> Iterator[_Match]:
    for signature in load_signatures():
        if any(pattern.search(text.lower) for pattern in signature.unless):
            continue
        for pattern in signature.patterns:
            # Of one statement that a log repeats, the first and the last count; a chain makes the first the cause.
            for match in _first_and_last(pattern, text.lower):
                values = {
                    name: text.flat[slice(*match.span(name))] for name, group in match.groupdict().items() if group
                }
                outcome = _outcome(signature, {**facts, **numbers_in(values)})
                if outcome is not None:
                    yield _Match(signature, outcome, match.start(), match.end(), values)


def _first_and_last(pattern: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    first = last = None
    for last in pattern.finditer(text):
        first = first or last
    if first is not None:
        yield first
    if last is not None and last is not first:
        yield last


def _outcome(signature: Signature, values: Mapping[str, Value]) -> Outcome | None:
    return next((outcome for outcome in signature.outcomes if outcome.holds(values)), None)


def _decide(matches: list[_Match], text: NormalisedText) -> _Match | None:
    """Choose the statement that explains the others."""
    if not matches:
        return None
    rank = max(match.outcome.rank for match in matches)
    best = [match for match in matches if match.outcome.rank == rank]
    # Where two begin at one place, the file's order decides: min and max keep the first.
    first, last = min(best, key=_start), max(best, key=_start)
    if rank == RANKS["notice"]:
        # A notice is no reason for an error that comes after it and that nothing here knows.
        unknown = _last_exception(text)
        best = [match for match in best if unknown is None or unknown.start() < match.end]
        return min(best, key=_start) if best else None
    if rank >= RANKS["root"]:
        return first
    # Errors: the last one ended the program, unless it was raised because of an earlier one.
    return first if _CHAINED.search(text.lower, first.end, max(first.end, last.start)) else last


def _start(match: _Match) -> int:
    return match.start


def _diagnose(match: _Match, text: NormalisedText, situation: Situation, facts: Mapping[str, Value]) -> Diagnosis:
    outcome = match.outcome
    headline = _headline(match, text)
    missing = tuple(ask for ask in outcome.asks if ask not in facts)
    culprit = None if outcome.category in ABSTENTIONS else _culprit(match, text)
    return Diagnosis(
        category=outcome.category,
        confidence=round(outcome.confidence * _MISSING ** len(missing), 2),
        cause=fill_in(outcome.cause, match.values, situation),
        evidence=(f"The text says: {headline}", *sentences_about(situation)),
        missing_evidence=tuple(EVIDENCE[ask] for ask in missing),
        culprit=culprit,
        fix=plan(outcome.category, situation, match.values, culprit),
        signature=match.signature.id,
        headline=headline,
    )


def _culprit(match: _Match, text: NormalisedText) -> str | None:
    known = match.signature.culprit
    return find_culprit(text, match.values) if known is None else known or None


def _headline(match: _Match, text: NormalisedText) -> str:
    """Give the line that decided; of a text pasted as one line, the part around what matched."""
    if match.outcome.rank == RANKS["gate"]:
        return _last_error(text)
    line = _error_line(match, text) or text.line_at(match.start)
    if len(line) <= _LONGEST_HEADLINE:
        return line
    start = max(text.line_start(match.start), match.start - _LONGEST_HEADLINE // 4)
    exception = next(iter(_EXCEPTION.finditer(text.flat, start, match.start)), None)
    start = exception.start() if exception else match.start
    return text.flat[start : start + _LONGEST_HEADLINE].strip()


def _error_line(match: _Match, text: NormalisedText) -> str | None:
    """Give the line that names the exception where it says the same: torch's hints below it name the error again."""
    for exception in reversed(list(_EXCEPTION.finditer(text.flat, 0, match.end))):
        line = text.line_at(exception.start())
        return line if any(pattern.search(line.lower()) for pattern in match.signature.patterns) else None
    return None


def _last_exception(text: NormalisedText) -> re.Match[str] | None:
    return next(reversed(list(_EXCEPTION.finditer(text.flat))), None)


def _last_error(text: NormalisedText) -> str:
    """Give the last exception that a text names, else its first line."""
    exception = _last_exception(text)
    line = text.flat[exception.start() :] if exception else text.line_at(0)
    return line[:_LONGEST_HEADLINE].strip()


def _abstain(text: NormalisedText, situation: Situation) -> Diagnosis:
    """Say that nothing is known of this text, and ask for more where it may be an error of this kind."""
    if not _last_exception(text) and _TOPIC.search(text.lower) and _FAILURE.search(text.lower):
        return Diagnosis(
            "other",
            0.2,
            "This may be a fault of the GPU's software or of an installation, but no line of it says which.",
            evidence=tuple(sentences_about(situation)),
            missing_evidence=(EVIDENCE["traceback"], EVIDENCE["log"]),
            headline=text.lines[-1][:_LONGEST_HEADLINE],
        )
    return Diagnosis(
        "unrelated",
        0.3,
        "No sign of a fault of the GPU's architecture, of a compiled library or of an installation.",
        headline=_last_error(text),
    )
