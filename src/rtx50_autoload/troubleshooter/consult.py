"""One consultation: the chosen assistants are asked one after the other, and the script of an answer is kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

import platformdirs
from filelock import FileLock, Timeout

from rtx50_autoload.errors import RTX50Error

from .asking import ask
from .assistant_errors import AssistantError
from .prompt import Prompt, compose
from .scripts import check, extract, save

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from rtx50_autoload.diagnosis.diagnosis import Diagnosis
    from rtx50_autoload.diagnosis.situation import Situation

    from .choice import Chosen
    from .scripts import SavedScript, Script

__all__ = ["BusyError", "Case", "Consultation", "Listener", "NobodyAnsweredError", "consult"]

#: Seconds that one assistant may take: a large local model on a CPU needs minutes.
TIME_LIMIT: Final = 300.0


class BusyError(RTX50Error):
    """Another process of this user is asking at this moment."""

    def __str__(self) -> str:
        return "Another program is asking an assistant at this moment; ask again when it is done."


class NobodyAnsweredError(RTX50Error):
    """None of the assistants gave an answer."""

    #: By name of the assistant, why not.
    failures: Mapping[str, AssistantError]

    def __init__(self, failures: Mapping[str, AssistantError]) -> None:
        super().__init__(failures)
        self.failures = failures

    def __str__(self) -> str:
        return "; ".join(f"{name}: {error}" for name, error in self.failures.items())


@dataclass(frozen=True, slots=True)
class Case:
    """What is to be asked about.

    Attributes:
        text: the error.
        diagnosis: what this package makes of it.
        situation: what is known of the machine.
        incident_id: under which id it is recorded, None where it is not.
        question: what the person wants to know besides how to mend it.

    """

    text: str
    diagnosis: Diagnosis
    situation: Situation
    incident_id: str | None = None
    question: str = ""

    def prompt(self, tried: Sequence[str] = ()) -> Prompt:
        """Write the question that is sent for it."""
        return compose(self.text, self.diagnosis, self.situation, tried=tried, question=self.question)


@dataclass(frozen=True, slots=True)
class Consultation:
    """What came of it.

    Attributes:
        assistant: the name of the one that answered.
        answer: what it said, as text that can be shown.
        scripts: the scripts that were in the answer, as they were saved; none of them has run.
        failures: by name of the assistant, why those that were asked before did not answer.

    """

    assistant: str
    answer: str
    scripts: tuple[SavedScript, ...]
    failures: dict[str, AssistantError] = field(default_factory=dict)


class Listener(Protocol):
    """Who is told how a consultation goes, so that a person sees why they wait."""

    def asks(self, chosen: Chosen, prompt: Prompt) -> None:
        """Hear that an assistant is going to be asked."""

    def waits(self, seconds: float) -> None:
        """Hear, again and again, for how long the answer is being waited for."""

    def failed(self, chosen: Chosen, error: AssistantError) -> None:
        """Hear that there is no answer."""

    def asks_again(self, chosen: Chosen, script: Script, errors: Sequence[str]) -> None:
        """Hear that its script has syntax errors, and that it is going to be asked once to mend them."""


def consult(
    case: Case, assistants: Sequence[Chosen], listener: Listener, time_limit: float = TIME_LIMIT
) -> Consultation:
    """Ask until one answers.

    Only one consultation of a user runs at a time. Ctrl-C ends the one that is asked, with its children.

    Args:
        case: what to ask about.
        assistants: those that the person has chosen, in their order; nobody else is asked.
        listener: who is told how it goes.
        time_limit: seconds that each of them may take.

    Raises:
        BusyError: another process is asking at this moment.
        NobodyAnsweredError: none of them gave an answer; it says why of each.

    """
    lock = _lock_file()
    try:
        with FileLock(lock, timeout=0):
            return _ask_one_after_the_other(case, assistants, listener, time_limit)
    except Timeout:
        raise BusyError from None


def _ask_one_after_the_other(
    case: Case, assistants: Sequence[Chosen], listener: Listener, time_limit: float
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
        answer, scripts = _mended(case, chosen, answer, listener, time_limit)
        saved = tuple(save(script, chosen.found.name, case.incident_id) for script in scripts)
        return Consultation(chosen.found.name, answer, saved, failures)
    raise NobodyAnsweredError(failures)


def _mended(
    case: Case, chosen: Chosen, answer: str, listener: Listener, time_limit: float
) -> tuple[str, tuple[Script, ...]]:
    """Give the answer and its scripts; a script that is no valid one goes back once, with the error."""
    scripts = extract(answer)
    for script in scripts:
        errors = check(script).syntax_errors
        if errors:
            listener.asks_again(chosen, script, errors)
            tried = (f"Your script is not valid {script.shell}:", *errors, script.text)
            try:
                second = _answer(chosen, case.prompt(tried), listener, time_limit)
            except AssistantError as error:
                # What was said first stands, with its error shown.
                listener.failed(chosen, error)
                return answer, scripts
            return second, extract(second) or scripts
    return answer, scripts


def _answer(chosen: Chosen, prompt: Prompt, listener: Listener, time_limit: float) -> str:
    answer = ask(chosen.found, prompt.text, time_limit=time_limit, model=chosen.model, on_progress=listener.waits)
    return answer.text


def _lock_file() -> Path:
    folder = platformdirs.user_state_path("rtx50-autoload", appauthor=False)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder / "consultation.lock"
