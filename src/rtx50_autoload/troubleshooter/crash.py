"""After an error that has ended a program: one question at the terminal, or none.

The traceback has been shown when this runs. Nothing here changes how the program ends.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

from rtx50_autoload import settings as settings_module
from rtx50_autoload import voice

from .consent import consent
from .kept_answers import KeptAnswer, keep_answer, kept_answer

if TYPE_CHECKING:
    from rtx50_autoload.diagnosis.diagnosis import Diagnosis
    from rtx50_autoload.diagnosis.situation import Situation
    from rtx50_autoload.settings import Settings

    from .consult import Case
    from .conversation import Outcome

__all__ = ["after_crash"]


def after_crash(text: str, diagnosis: Diagnosis, situation: Situation, incident: str | None) -> None:
    """Put an error to an assistant, if the settings and the person want it.

    To be called in the one process that speaks of the incident.

    Args:
        text: the error.
        diagnosis: what it means.
        situation: what is known of the machine.
        incident: its id. What could not be recorded is not asked about: nothing would keep it from being asked again.

    Raises:
        Exception: a fault of ours, or of the disk.

    """
    settings = settings_module.load()
    if settings.quiet or settings.ai == "off" or incident is None:
        return
    allowed = consent(settings.ai, "crash")
    kept = kept_answer(incident)
    if allowed.answer == "no":
        # Whoever has not switched it on expects nothing: the note on the error names the next command.
        if settings.ai == "auto":
            _say(f"No assistant was asked, because {allowed.reason}", incident)
    elif kept is not None:
        _say(_before(kept), incident)
    else:
        # Loaded here: most crashes end before, and should end soon.
        from .consult import Case  # noqa: PLC0415

        _talk(Case(text, diagnosis, situation, incident), incident, settings)


def _talk(case: Case, incident: str, settings: Settings) -> None:
    from . import person  # noqa: PLC0415 - likewise
    from .answer_text import answer_lines  # noqa: PLC0415
    from .assistant_errors import UnknownAssistantError  # noqa: PLC0415
    from .conversation import converse  # noqa: PLC0415

    try:
        outcome = converse(case, settings, "crash", again=False)
    except UnknownAssistantError as error:
        _say(str(error).rstrip("."), incident)
        return
    except KeyboardInterrupt:
        person.tell("\nNobody is asked any more.")
        return
    if outcome.consultation is not None:
        person.tell()
        for line in answer_lines(outcome.consultation):
            person.tell(line)
    elif outcome.end == "declined":
        _keep_no(incident)
        _say("Nobody was asked", incident)
    elif _is_worth_a_line(outcome, settings):
        _say(outcome.reason.rstrip("."), incident)


def _is_worth_a_line(outcome: Outcome, settings: Settings) -> bool:
    """Tell whether a person wants to know why there is no answer, at each crash anew."""
    if outcome.end == "busy":
        return settings.ai == "ask"  # who has said yes; else the one that is asking speaks
    return outcome.end != "nobody chosen" and (settings.ai == "auto" or bool(outcome.failures))


def _before(kept: KeptAnswer) -> str:
    if kept.assistant is None:
        return "Nobody is asked about this error, for you have said no"
    return f"{kept.assistant} was asked about this error on {datetime.fromisoformat(kept.asked).astimezone():%Y-%m-%d}"


def _keep_no(incident: str) -> None:
    keep_answer(KeptAnswer(incident, datetime.now(timezone.utc).isoformat()))


def _say(text: str, incident: str) -> None:
    voice.say(f"{text}. Run: rtx50-autoload troubleshoot --incident {incident}", speaks=True)
