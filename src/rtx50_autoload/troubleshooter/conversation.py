"""From an error to an answer, with the person: consent, choice, question, and what they are told meanwhile.

Only here an assistant is reached, whether a command, a crash or a program's call leads to it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from rich.text import Text

from rtx50_autoload.errors import SettingsFileError
from rtx50_autoload.safe_console import SafeConsole
from rtx50_autoload.user_folders import NoHomeError

from . import person
from .choice import HOW_TO_CHOOSE, Choice, choice, keep
from .consent import consent
from .consult import BusyError, NobodyAnsweredError, consult
from .detection import detect

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rtx50_autoload.settings import Settings

    from .assistant_errors import AssistantError
    from .assistants import Found
    from .choice import Chosen
    from .consent import Consent, Occasion
    from .consult import Consultation, Question
    from .prompt import Prompt

__all__ = ["HOW_TO_GET_ONE", "End", "Outcome", "converse"]

HOW_TO_GET_ONE: Final = (
    "`rtx50-autoload assistants` lists those that are known. Ollama and LM Studio run a model on your own machine."
)
#: Seconds for which a program that has crashed is kept alive by a question: it may hold the GPU's memory meanwhile.
_PATIENCE_AFTER_A_CRASH: Final = 60.0
#: How often a person is told that an assistant is still being waited for, in seconds.
_TELL_EVERY: Final = 15.0


#: How a conversation ends. "none here": no assistant is on this machine, or none of those that were chosen.
End: TypeAlias = Literal[
    "answered", "declined", "not allowed", "none here", "none chosen", "nobody chosen", "busy", "unanswered"
]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a conversation.

    Attributes:
        end: how it ended.
        consent: whether an assistant could be asked, and why.
        consultation: the answer; None where there is none.
        failures: by name, why assistants did not answer.
        reason: why there is no answer, sentences with the next step; empty where there is one.

    """

    end: End
    consent: Consent
    consultation: Consultation | None = None
    failures: Mapping[str, AssistantError] = field(default_factory=dict)
    reason: str = ""


def converse(  # noqa: PLR0911 - one for each way to end
    question: Question, settings: Settings, occasion: Occasion, *, names: Sequence[str] = (), again: bool = True
) -> Outcome:
    """Put a question to the assistants of the person's choice, if they want it.

    Args:
        question: what to ask.
        settings: of them `ai` and `assistant`.
        occasion: what leads to it.
        names: who is to be asked this time, rather than those of the setting.
        again: ask also where an answer is kept.

    Raises:
        UnknownAssistantError: a name is none of an assistant that this package knows.

    """
    allowed = consent(settings.ai, occasion)
    if allowed.answer == "no":
        return Outcome("not allowed", allowed, reason=f"No assistant was asked, because {allowed.reason}.")
    found = detect()
    wanted = choice(found, names or settings.assistant)
    if wanted.is_nobody:
        return Outcome("nobody chosen", allowed, reason=f"Nobody was asked: that was chosen. {HOW_TO_CHOOSE}")
    is_agreed = allowed.answer == "yes"
    patience = _PATIENCE_AFTER_A_CRASH if occasion == "crash" else None
    if not wanted.assistants and not wanted.missing:
        if all(each.ready is False for each in found):
            return Outcome("none here", allowed, reason=f"{_none_ready(found)} {HOW_TO_GET_ONE}")
        if not allowed.person or (is_agreed and occasion == "crash"):
            return Outcome("none chosen", allowed, reason=f"No assistant was asked: none is chosen. {HOW_TO_CHOOSE}")
        _introduce(occasion)
        wanted = choice(found, person.picks(found, question.prompt(), _keep_choice, patience))
        # Whoever names one has seen where the question goes.
        is_agreed = bool(wanted.assistants)
    elif wanted.assistants and not is_agreed:
        _introduce(occasion)
        is_agreed = person.agrees(wanted.assistants, question.prompt(), patience)
    if wanted.missing and not wanted.assistants:
        return Outcome(
            "none here", allowed, failures=wanted.missing, reason=" ".join(map(str, wanted.missing.values()))
        )
    if not is_agreed:
        return Outcome("declined", allowed, failures=wanted.missing, reason="Nobody was asked.")
    return _consult(question, wanted, allowed, again=again)


def _introduce(occasion: Occasion) -> None:
    if occasion == "crash":
        person.tell("\nThis error can be put to an AI assistant. RTX50_AI=off switches this question off.")


def _consult(question: Question, wanted: Choice, allowed: Consent, *, again: bool) -> Outcome:
    for missing in wanted.missing.values():
        person.tell(f"Not asked: {missing}")
    listener = _Teller()
    try:
        consultation = consult(question, wanted.assistants, listener, again=again)
    except BusyError as error:
        return Outcome("busy", allowed, failures=wanted.missing, reason=f"{str(error)[:1].upper()}{str(error)[1:]}.")
    except NobodyAnsweredError as error:
        failures = {**wanted.missing, **error.failures}
        return Outcome("unanswered", allowed, failures=failures, reason="None of the chosen assistants answered.")
    finally:
        listener.close()
    return Outcome("answered", allowed, consultation, {**wanted.missing, **consultation.failures})


def _none_ready(found: Sequence[Found]) -> str:
    if not found:
        return "No assistant that is known is on this machine."
    return " ".join(["No assistant is ready.", *(f"{each.title}: {each.reason} {each.next}" for each in found)])


def _keep_choice(names: Sequence[str]) -> None:
    try:
        keep(names)
    except (NoHomeError, SettingsFileError) as error:
        person.tell(f"The choice holds for this time only: {error}.")


class _Teller:
    """Tells the person on stderr how it goes: in one line that changes at a terminal, else in a few lines."""

    def __init__(self) -> None:
        self._console = SafeConsole(stderr=True)
        self._status = self._console.status("")
        self._title = ""
        self._told = 0.0

    def asks(self, chosen: Chosen, prompt: Prompt) -> None:
        self._title = chosen.found.title
        person.tell(f"Asking {self._title}. {chosen.found.destination} It has {len(prompt.text):,} characters.")
        self._told = 0.0

    def waits(self, seconds: float) -> None:
        if self._console.is_interactive:
            self._status.update(Text(f"{self._title} has been thinking for {seconds:.0f} s; Ctrl+C stops it"))
            self._status.start()
        elif seconds - self._told >= _TELL_EVERY:
            self._told = seconds
            person.tell(f"Still waiting for {self._title}, {seconds:.0f} s.")

    def failed(self, chosen: Chosen, error: AssistantError) -> None:
        self.close()
        person.tell(f"No answer from {chosen.found.title}: {error}")

    def asks_again(self, chosen: Chosen, errors: Sequence[str]) -> None:
        self.close()
        person.tell(f"The script of {chosen.found.title} cannot be run as it is ({'; '.join(errors)}).")
        person.tell("It is asked once to mend it.")
        self._told = 0.0

    def close(self) -> None:
        self._status.stop()
