"""One consultation: the chosen assistants are asked one after the other, and what is answered is kept.

Nothing here asks for the person's consent (that is `conversation.py`), and nothing here runs a script.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Final, Protocol

from filelock import FileLock, Timeout

from rtx50_autoload.diagnosis.incident_files import folder as incidents_folder
from rtx50_autoload.errors import RTX50Error
from rtx50_autoload.private_files import make_folder

from .asking import ask
from .assistant_errors import AssistantError
from .kept_answers import KeptAnswer, keep_answer, kept_answer
from .prompt import Prompt, compose
from .redaction import placeholders, redact
from .scripts import NoSuchScriptError, ScriptStoreError, check, extract, load, save
from .shorten import shorten

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rtx50_autoload.diagnosis.diagnosis import Diagnosis
    from rtx50_autoload.diagnosis.situation import Situation

    from .asking import Answer
    from .choice import Chosen
    from .scripts import SavedScript, Script

__all__ = ["BusyError", "Case", "Consultation", "Listener", "NobodyAnsweredError", "Question", "consult", "recall"]

#: Seconds that one assistant may take: a large local model on a CPU needs minutes.
TIME_LIMIT: Final = 300.0
_LONGEST_LOG: Final = 1_500
#: Where a script comes from that belongs to no recorded incident.
_NO_INCIDENT: Final = "none"


class BusyError(RTX50Error):
    """No consultation can begin: another one runs at this moment, or it cannot be made sure that none does."""


class NobodyAnsweredError(RTX50Error):
    """None of the assistants gave an answer."""

    #: By name of the assistant, why not.
    failures: Mapping[str, AssistantError]

    def __init__(self, failures: Mapping[str, AssistantError]) -> None:
        super().__init__(failures)
        self.failures = failures

    def __str__(self) -> str:
        return "; ".join(f"{name}: {error}" for name, error in self.failures.items())


class Question(Protocol):
    """What is to be asked."""

    @property
    def incident(self) -> str | None:
        """The id of the incident that it is about, None where it is about none."""

    def prompt(self, more: Sequence[str] = ()) -> Prompt:
        """Write it.

        Args:
            more: what was tried besides what is kept of earlier questions.

        """


@dataclass(frozen=True, slots=True)
class Case:
    """An error that is to be asked about.

    Attributes:
        text: the error.
        diagnosis: what this package makes of it.
        situation: what is known of the machine.
        incident: under which id it is recorded, None where it is not.

    """

    text: str
    diagnosis: Diagnosis
    situation: Situation
    incident: str | None = None

    def prompt(self, more: Sequence[str] = ()) -> Prompt:
        """Write the question; `Question.prompt` says more."""
        return compose(self.text, self.diagnosis, self.situation, tried=(*_tried(self.incident), *more))


@dataclass(frozen=True, slots=True)
class Consultation:
    """What came of it.

    Attributes:
        assistant: the name of the one that answered.
        model: its model, where one was chosen.
        answer: what it said, as text that can be shown.
        asked: when.
        scripts: the scripts that were in the answer, as they were saved; none of them has run.
        failures: by name of the assistant, why those that were asked before did not answer.
        problems: what could not be kept, a sentence each.
        is_kept: whether it is an earlier one, which was kept.

    """

    assistant: str
    model: str | None
    answer: str
    asked: datetime
    scripts: tuple[SavedScript, ...] = ()
    failures: Mapping[str, AssistantError] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    is_kept: bool = False


class Listener(Protocol):
    """Who is told how a consultation goes, so that a person sees why they wait."""

    def asks(self, chosen: Chosen, prompt: Prompt) -> None:
        """Hear that an assistant is going to be asked."""

    def waits(self, seconds: float) -> None:
        """Hear, again and again, for how long the answer is being waited for."""

    def failed(self, chosen: Chosen, error: AssistantError) -> None:
        """Hear that there is no answer."""

    def asks_again(self, chosen: Chosen, errors: Sequence[str]) -> None:
        """Hear that a script cannot be run as it is, and that the assistant is asked once to mend it."""


def consult(
    case: Question,
    assistants: Sequence[Chosen],
    listener: Listener,
    *,
    again: bool = True,
    time_limit: float = TIME_LIMIT,
) -> Consultation:
    """Ask until one answers.

    Only one consultation of a user runs at a time. Ctrl-C ends the one that is asked, with its children.

    Args:
        case: what to ask about.
        assistants: those that the person has chosen, in their order; nobody else is asked.
        listener: who is told how it goes.
        again: ask also where an answer about this incident is kept; where False, that one is given.
        time_limit: seconds that each of them may take.

    Raises:
        BusyError: another process is asking at this moment.
        NobodyAnsweredError: none of them gave an answer; it says why of each.

    """
    with _alone():
        earlier = None if again or case.incident is None else recall(case.incident)
        return earlier or _ask_one_after_the_other(case, assistants, listener, time_limit)


def recall(incident: str) -> Consultation | None:
    """Give the consultation about an incident that was kept, None where there is none."""
    kept = kept_answer(incident)
    if kept is None or kept.assistant is None:
        return None
    return Consultation(
        kept.assistant,
        kept.model,
        kept.answer,
        datetime.fromisoformat(kept.asked),
        tuple(_scripts(kept)),
        is_kept=True,
    )


@contextmanager
def _alone() -> Iterator[None]:
    """Keep other processes of this user from a consultation meanwhile.

    Raises:
        BusyError: there is one, or it cannot be known.

    """
    try:
        folder = incidents_folder().parent
        make_folder(folder)
        lock = FileLock(folder / "consultation.lock", timeout=0, mode=0o600)
        lock.acquire()
    except Timeout:
        raise BusyError("another program is asking an assistant at this moment; ask when it is done") from None
    except (OSError, NotImplementedError) as error:
        raise BusyError(
            f"nobody was asked, because a second question cannot be kept away by a lock ({error})"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _ask_one_after_the_other(
    case: Question, assistants: Sequence[Chosen], listener: Listener, time_limit: float
) -> Consultation:
    failures: dict[str, AssistantError] = {}
    prompt = case.prompt()
    for chosen in assistants:
        listener.asks(chosen, prompt)
        try:
            answer = _answer(chosen, prompt, listener, time_limit)
        except AssistantError as error:
            failures[chosen.found.name] = error
            listener.failed(chosen, error)
            continue
        text, scripts = _mended(case, chosen, answer.text, listener, time_limit)
        return _keep(case, answer, text, scripts, failures)
    raise NobodyAnsweredError(failures)


def _answer(chosen: Chosen, prompt: Prompt, listener: Listener, time_limit: float) -> Answer:
    return ask(chosen.found, prompt.text, time_limit=time_limit, model=chosen.model, on_progress=listener.waits)


def _mended(
    case: Question, chosen: Chosen, answer: str, listener: Listener, time_limit: float
) -> tuple[str, tuple[Script, ...]]:
    """Give the answer and its scripts; scripts that cannot be run go back once, with the errors."""
    scripts = extract(answer)
    faulty = {script: errors for script in scripts if (errors := _errors(script))}
    if not faulty:
        return answer, scripts
    listener.asks_again(chosen, [error for errors in faulty.values() for error in errors])
    back = [
        line
        for script, errors in faulty.items()
        for line in (f"This {script.language} script of yours cannot be run:", *errors, script.text)
    ]
    try:
        second = _answer(chosen, case.prompt(back), listener, time_limit).text
    except AssistantError as error:
        # What was said first stands, with its error shown.
        listener.failed(chosen, error)
        return answer, scripts
    mended = extract(second)
    return (second, mended) if mended else (answer, scripts)


def _errors(script: Script) -> tuple[str, ...]:
    """Say why a script cannot be run as it is.

    `bash -n` lets ``<home>/bin/python`` pass: read from ``home``, write to ``/bin/python``.
    """
    inside = dict.fromkeys(placeholders().findall(script.text))
    return (*check(script).syntax_errors, *(f"{word} stands in it, which is no path or word" for word in inside))


def _keep(
    case: Question, answer: Answer, text: str, scripts: Sequence[Script], failures: Mapping[str, AssistantError]
) -> Consultation:
    """Keep what was answered; a disk that is full costs what is kept, and never the answer."""
    asked = datetime.now(timezone.utc)
    saved: list[SavedScript] = []
    problems = []
    try:
        for script in scripts:
            saved.append(save(script, answer.assistant, case.incident or _NO_INCIDENT))  # noqa: PERF401 - see above
    except ScriptStoreError as error:
        problems.append(f"A script was not kept: {error}.")
    if case.incident is not None:
        ids = tuple(script.id for script in saved)
        kept = redact(text).text
        try:
            keep_answer(KeptAnswer(case.incident, asked.isoformat(), answer.assistant, answer.model, kept, ids))
        except OSError as error:
            problems.append(f"The answer was not kept: {error}.")
    return Consultation(answer.assistant, answer.model, text, asked, tuple(saved), dict(failures), tuple(problems))


def _scripts(kept: KeptAnswer) -> Iterator[SavedScript]:
    for id_ in kept.scripts:
        try:
            yield load(id_)
        except (NoSuchScriptError, ScriptStoreError):  # noqa: PERF203 - somebody may have removed or damaged it since
            continue


def _tried(incident: str | None) -> Iterator[str]:
    """Tell what was answered about an incident before, and what came of the scripts that a person has run for it."""
    kept = None if incident is None else kept_answer(incident)
    if kept is None or kept.assistant is None:
        return
    yield f"An assistant ({kept.assistant}) answered:"
    yield kept.answer
    for script in _scripts(kept):
        logs = sorted(script.path.parent.glob(f"{script.id}-*.log"))
        if logs:
            yield f"The {script.script.language} script of that answer was run, and printed at its end:"
            try:
                yield shorten(logs[-1].read_text(encoding="utf-8", errors="replace"), "", _LONGEST_LOG)
            except OSError:
                continue
