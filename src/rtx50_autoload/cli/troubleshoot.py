"""``troubleshoot [FILE|-|--last|--incident ID]``: what an error means, and what your own assistant says of it."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rtx50_autoload.cli.exit_codes import FINDING, OK
from rtx50_autoload.cli.explain import latest_incident

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from rtx50_autoload.cli.command_parser import CommandParser
    from rtx50_autoload.diagnosis.incident import Incident
    from rtx50_autoload.settings import Settings
    from rtx50_autoload.troubleshooter.consult import Case, Consultation
    from rtx50_autoload.troubleshooter.conversation import Outcome

__all__ = ["add_parser", "run"]


def add_parser(subparsers: argparse._SubParsersAction[CommandParser]) -> None:
    """Add the command to the program's parser; what it parses carries `run` as ``run``."""
    parser = subparsers.add_parser(
        "troubleshoot",
        help="explain an error and, if you agree, put it to your AI assistant",
        description="Say what an error means, then ask whether your AI assistant may be asked. Without FILE: what is "
        "piped, or at a terminal the latest incident. Exit status: 0 answered, or diagnosed without asking; 1 nobody "
        "answered, or nothing can be said; 2 usage.",
        examples=(
            ("rtx50-autoload troubleshoot error.txt", "explain an error, and ask an assistant if you agree"),
            ("rtx50-autoload troubleshoot --last", "the latest error that was recorded here"),
            ("rtx50-autoload troubleshoot --last --show-prompt", "what would be sent; nobody is asked"),
        ),
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument("file", nargs="?", metavar="FILE", help="a traceback or a log; - for what is piped or typed")
    source.add_argument("--last", action="store_true", help="the latest incident")
    source.add_argument("--incident", metavar="ID", help="the incident of this id, or of what it begins with")
    parser.add_argument(
        "--assistant",
        action="append",
        default=[],
        metavar="NAME",
        help="ask this one this time, as `rtx50-autoload assistants` names it; 'ollama/qwen3:4b' names a model, too",
    )
    parser.add_argument("--show-prompt", action="store_true", help="print what would be sent, and ask nobody")
    parser.add_argument("--json", action="store_true", help="the result as JSON on stdout")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Explain an error, and put it to an assistant where that is allowed and wanted.

    Returns:
        0 where an assistant has answered, or where the diagnosis stands without one; 1 where those that were asked
        gave no answer, or nothing can be said.

    Raises:
        UsageError: there is no text or no such incident, or an assistant is not known.
        IncidentStoreError: the incidents cannot be read.

    """
    # A command imports what it needs: the parser of every other command is built without these.
    from rtx50_autoload.cli.explain_console import show_diagnosis  # noqa: PLC0415
    from rtx50_autoload.cli.troubleshoot_console import as_json, show_answer, show_no_answer  # noqa: PLC0415
    from rtx50_autoload.settings import load  # noqa: PLC0415
    from rtx50_autoload.troubleshooter import person  # noqa: PLC0415

    case, incident = _case(arguments)
    if arguments.show_prompt:
        prompt = case.prompt()
        print(prompt.text, end="")  # noqa: T201
        person.tell(f"Nothing was sent. It has {person.taken_out(prompt)}.")
        return OK
    show = not arguments.json
    if show:
        show_diagnosis(case.diagnosis, incident)
    settings = load()
    for problem in settings.problems:
        person.tell(problem)
    case, outcome = _talk(case, settings, arguments.assistant, show_answer if show else None)
    if not show:
        print(json.dumps(as_json(case, outcome), indent=2))  # noqa: T201
    elif outcome.consultation is None:
        show_no_answer(outcome)
    elif not outcome.consultation.is_kept:
        show_answer(outcome.consultation)
    if outcome.consultation is not None:
        return OK
    return FINDING if case.diagnosis.abstains or outcome.end == "unanswered" else OK


def _talk(
    case: Case, settings: Settings, names: Sequence[str], show: Callable[[Consultation], None] | None
) -> tuple[Case, Outcome]:
    """Have the conversation; what was answered before comes first, and is asked again only if somebody wants it.

    Args:
        case: what to ask about; it is recorded if it may be asked about.
        settings: who may be asked.
        names: who is asked this time.
        show: shows an earlier answer; None where nobody reads along.

    """
    from rtx50_autoload.troubleshooter import person  # noqa: PLC0415
    from rtx50_autoload.troubleshooter.consent import consent  # noqa: PLC0415
    from rtx50_autoload.troubleshooter.consult import recall  # noqa: PLC0415
    from rtx50_autoload.troubleshooter.conversation import Outcome, converse  # noqa: PLC0415

    allowed = consent(settings.ai, "command")
    if case.incident is None and allowed.answer != "no":
        case = replace(case, incident=_recorded(case))
    earlier = None if names or case.incident is None else recall(case.incident)
    if earlier is None:
        return case, converse(case, settings, "command", names=names)
    kept = Outcome("answered", allowed, earlier)
    if show is None:
        return case, kept
    show(earlier)
    if allowed.answer != "ask":
        return case, kept
    person.tell("Another question would say that this has not helped.")
    outcome = converse(case, settings, "command")
    return case, kept if outcome.end == "declined" else outcome


def _case(arguments: argparse.Namespace) -> tuple[Case, Incident | None]:
    from rtx50_autoload.cli.error_text import read_file, read_stdin  # noqa: PLC0415
    from rtx50_autoload.diagnosis import classify, this_machine  # noqa: PLC0415
    from rtx50_autoload.diagnosis.incident import situation_of  # noqa: PLC0415
    from rtx50_autoload.diagnosis.incidents import load  # noqa: PLC0415
    from rtx50_autoload.explaining import without_own_lines  # noqa: PLC0415
    from rtx50_autoload.troubleshooter.consult import Case  # noqa: PLC0415

    here = this_machine.look()
    if arguments.file not in {None, "-"}:
        text = read_file(Path(arguments.file))
    elif arguments.file == "-" or not (arguments.last or arguments.incident or sys.stdin is None or sys.stdin.isatty()):
        text = read_stdin()
    else:
        incident = load(arguments.incident) if arguments.incident else latest_incident()
        situation = situation_of(incident.environment, here)
        return Case(incident.text, incident.diagnosis, situation, incident.id), incident
    text = without_own_lines(text)
    return Case(text, classify(text, here), here), None


def _recorded(case: Case) -> str | None:
    """Record an error that was given as text, so that what is answered about it can be found again."""
    from rtx50_autoload.diagnosis.incidents import record  # noqa: PLC0415
    from rtx50_autoload.troubleshooter.redaction import redact  # noqa: PLC0415

    recorded = record(case.diagnosis, case.text, case.situation, redact=lambda told: redact(told).text)
    return recorded.incident_id
