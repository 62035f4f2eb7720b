"""What a person sees of a consultation at the terminal, and a program as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from rtx50_autoload.cli.layout import show
from rtx50_autoload.safe_console import SafeConsole
from rtx50_autoload.troubleshooter.answer_text import answer_lines
from rtx50_autoload.troubleshooter.scripts import check

if TYPE_CHECKING:
    from rich.console import Console

    from rtx50_autoload.troubleshooter.consult import Case, Consultation
    from rtx50_autoload.troubleshooter.conversation import Outcome

__all__ = ["as_json", "show_answer", "show_no_answer"]


def show_answer(consultation: Consultation) -> None:
    """Print an answer as it came, lines not folded, so that commands can be copied whole."""
    console = _console()
    console.print()
    for line in answer_lines(consultation):
        console.print(Text(line, "bold" if line.startswith("#") else ""), soft_wrap=True)


def show_no_answer(outcome: Outcome) -> None:
    """Print why there is no answer, and that what was printed before stands without one."""
    console = _console()
    console.print()
    # What an assistant failed of has been told when it failed; one that is not here has not been.
    show(console, outcome.reason)
    if outcome.end == "unanswered":
        show(console, "What to do is said above, without an assistant.")


def as_json(case: Case, outcome: Outcome) -> dict[str, Any]:
    """Give what `troubleshoot --json` prints."""
    consultation = outcome.consultation
    return {
        "diagnosis": case.diagnosis.as_json(),
        "incident": case.incident,
        "consent": {"answer": outcome.consent.answer, "reason": outcome.consent.reason},
        "end": outcome.end,
        "reason": outcome.reason,
        "assistant": consultation and consultation.assistant,
        "model": consultation and consultation.model,
        "asked": consultation and consultation.asked.isoformat(),
        "kept": consultation is not None and consultation.is_kept,
        "answer": consultation and consultation.answer,
        "scripts": [
            {**saved.as_json(), "syntax_errors": list(check(saved.script).syntax_errors)}
            for saved in (consultation.scripts if consultation else ())
        ],
        "failures": [
            {"assistant": name, "error": type(error).__name__, "reason": error.reason, "next": error.next}
            for name, error in outcome.failures.items()
        ],
        "problems": list(consultation.problems if consultation else ()),
    }


def _console() -> Console:
    return SafeConsole()
