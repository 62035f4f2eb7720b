"""The calls of the predecessor, rtx50-compat, with what they gave there: `AIAssistant` and `get_ai_help_for_error`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from rtx50_autoload import settings as settings_module
from rtx50_autoload.diagnosis import classify, this_machine
from rtx50_autoload.diagnosis.described import read_description
from rtx50_autoload.errors import RTX50Error, UsageError
from rtx50_autoload.explaining import without_own_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rtx50_autoload.diagnosis.situation import Situation
    from rtx50_autoload.troubleshooter.prompt import Prompt

__all__ = ["AIAssistant", "get_ai_help_for_error"]

_NONE_FOUND: Final = "No AI assistants found. Install claude or gemini CLI."
#: Names under which programs put all of their environment variables into a context.
_ENVIRONMENTS: Final = frozenset({"env", "environ", "environment"})


class AIAssistant:
    """The AI assistants on this machine. None of them is asked without the consent that RTX50_AI stands for."""

    @staticmethod
    def detect_assistants() -> dict[str, bool]:
        """Give the assistants that are on this machine, each with True; nothing is started for it."""
        from rtx50_autoload.troubleshooter.detection import detect  # noqa: PLC0415 - when it is used

        return {each.name: True for each in detect() if each.command or each.models}

    @staticmethod
    def create_troubleshooting_prompt(error: str, context: Mapping[str, Any] | str) -> str:
        """Write the question to an assistant, with all that looks private taken out.

        Args:
            error: the error's text.
            context: what the program knows of the machine: a mapping such as ``{"gpu": "RTX 5090"}``, or text. Of
                environment variables only those that such errors depend on are taken over.

        """
        from rtx50_autoload.troubleshooter.prompt import compose  # noqa: PLC0415

        known = _mapping(context)
        situation = _situation(known)
        text = without_own_lines(error)
        lines = [str(context)] if known is None else list(_lines(known))
        return compose(text, classify(text, situation), situation, context=lines).text

    @staticmethod
    def get_ai_help(prompt: str, assistant: str = "claude") -> str | None:
        """Put a question to one assistant and wait for the answer.

        Args:
            prompt: the question; all that looks private is taken out of it.
            assistant: its name. Where the person has chosen assistants (RTX50_ASSISTANT), it has to be one of them.

        Returns:
            the answer; None where there is none, also because RTX50_AI, the surroundings or the person say no.

        """
        from rtx50_autoload.troubleshooter.conversation import converse  # noqa: PLC0415

        settings = settings_module.load()
        chosen = {name.partition("/")[0] for name in settings.assistant}
        if chosen and assistant.partition("/")[0] not in chosen:
            return None
        try:
            outcome = converse(_Written(prompt), settings, "command", names=(assistant,))
        except (RTX50Error, OSError):
            return None
        return None if outcome.consultation is None else outcome.consultation.answer


def get_ai_help_for_error(error: str) -> str:
    """Say what mends an error: an assistant's answer or, where none may be asked or answers, what is known without one.

    Args:
        error: the error's text.

    Returns:
        always a text. Where no assistant is on this machine, the sentence of the predecessor.

    """
    from rtx50_autoload.troubleshooter.answer_text import answer_lines  # noqa: PLC0415
    from rtx50_autoload.troubleshooter.consult import Case  # noqa: PLC0415
    from rtx50_autoload.troubleshooter.conversation import converse  # noqa: PLC0415
    from rtx50_autoload.troubleshooter.offline import offline_text  # noqa: PLC0415

    if not AIAssistant.detect_assistants():
        return _NONE_FOUND
    text = without_own_lines(str(error))
    situation = this_machine.look()
    case = Case(text, classify(text, situation), situation)
    try:
        outcome = converse(case, settings_module.load(), "command")
    except (RTX50Error, OSError) as fault:
        return f"{offline_text(case.diagnosis)}\n\n{fault}"
    if outcome.consultation is not None:
        return "\n".join(answer_lines(outcome.consultation))
    return f"{offline_text(case.diagnosis)}\n\n{outcome.reason}"


@dataclass(frozen=True, slots=True)
class _Written:
    """A question that a program has written."""

    text: str
    incident: str | None = None

    def prompt(self, more: Sequence[str] = ()) -> Prompt:
        from rtx50_autoload.troubleshooter.prompt import Prompt  # noqa: PLC0415
        from rtx50_autoload.troubleshooter.redaction import redact  # noqa: PLC0415

        redacted = redact("\n\n".join((self.text, *more)))
        return Prompt(redacted.text, redacted.counts)


def _mapping(context: Mapping[str, Any] | str) -> Mapping[str, Any] | None:
    if not isinstance(context, str):
        return context
    try:
        known = json.loads(context)
    except (ValueError, RecursionError):
        return None
    return known if isinstance(known, dict) else None


def _situation(known: Mapping[str, Any] | None) -> Situation:
    try:
        described = read_description({str(key).lower(): value for key, value in (known or {}).items()})
    except UsageError:
        return this_machine.look()
    return described if described.gpus or described.torch else this_machine.look()


def _lines(known: Mapping[str, Any]) -> Iterator[str]:
    from rtx50_autoload.troubleshooter.redaction import environment_facts  # noqa: PLC0415

    for name, value in known.items():
        if str(name).lower() in _ENVIRONMENTS:
            variables = {str(key): str(text) for key, text in value.items()} if isinstance(value, dict) else {}
            yield from (f"{key}={text}" for key, text in environment_facts(variables).items())
        else:
            yield f"{name}: {value}"
