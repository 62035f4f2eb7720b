"""The predecessor's check of an installation, with what it promised: `SmartInstaller` and `check_install`."""

from __future__ import annotations

import shutil
import subprocess
import sys
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from rtx50_autoload.installer import check
from rtx50_autoload.installer.check_text import besides_text, fold, plan_text
from rtx50_autoload.installer.check_words import issues as issues_of
from rtx50_autoload.installer.check_words import left_open
from rtx50_autoload.installer.issue_texts import sentences
from rtx50_autoload.own_python import own_command
from rtx50_autoload.printable import print_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["SmartInstaller", "check_install"]

_FIX: Final = "rtx50-autoload fix --apply"
_NARROWEST: Final = 60
_WIDEST: Final = 88


class SmartInstaller:
    """Checks this environment and tells a person what mends it; all of it is printed on stdout.

    The check runs in a process of its own, so no library is imported here and CUDA is not initialised; it needs no
    network. What it has found is kept in the object. No method raises an error because of what it finds or is given.
    """

    def __init__(self) -> None:
        self._document: Mapping[str, Any] | None = None
        self._problem = ""

    @cached_property
    def assistants(self) -> dict[str, bool]:
        """The assistants on this machine, each with True, as `AIAssistant.detect_assistants` gives them."""
        from rtx50_autoload.assistance import AIAssistant  # noqa: PLC0415 - most checks ask none

        return AIAssistant.detect_assistants()

    def check_environment(self) -> list[str]:
        """Check this environment anew.

        Returns:
            what is wrong, each in one sentence, the most important first; empty where nothing is.

        """
        try:
            self._document = check.check()
        except check.CheckError as error:
            self._document, self._problem = None, str(error)
        return self._issues()

    def auto_fix_issues(self, issues: Iterable[object] | str | None = None) -> bool:
        """Print what mends issues: the plan for this environment first, then what an assistant says of the rest.

        Nothing is changed without a yes at the terminal. An assistant is asked only about what the steps of the plan do
        not mend, and only as RTX50_AI and the person allow.

        Args:
            issues: sentences of `check_environment`, findings of `doctor`, errors, texts of your own; one or several.
                None stands for all that the check has found.

        Returns:
            True where steps or an answer were given, or where there was nothing to do.

        """
        wanted = None if issues is None else list(sentences(issues))
        if wanted == []:
            return True
        found = self._issues_found()
        if self._document is None:
            print_lines(self._instead())
            return False
        wanted = found if wanted is None else wanted
        if not wanted:
            return True
        is_helped = self._tell_plan(self._document)
        open_ = left_open(self._document)
        rest = [issue for issue in wanted if issue not in found or issue in open_]
        if rest:
            is_helped |= _explain([issue for issue in rest if issue not in found])
            is_helped |= _ask(rest, self._document)
        if _can_be_done(self._document["plan"]):
            _offer()
        return is_helped

    def install_with_ai_help(self) -> bool:
        """Check this environment, and print what was found and what mends it.

        Returns:
            True where nothing is wrong.

        """
        print_lines(["Checking this environment: its libraries, the driver, the machine.", ""])
        issues = self.check_environment()
        if self._document is None:
            print_lines(self._instead())
            return False
        if not issues:
            print_lines(["Nothing wrong was found.", *fold(self._document["plan"]["summary"], _width())])
            return True
        print_lines([f"{len(issues)} issue{'' if len(issues) == 1 else 's'} found:"])
        print_lines(line for issue in issues for line in fold(f"- {issue}", _width(), "  "))
        print_lines([""])
        self.auto_fix_issues(issues)
        return False

    def get_manual_instructions(self) -> str:
        """Give what to do by hand on this machine: the steps of the plan with their commands, and what they leave."""
        self._issues_found()
        if self._document is None:
            return "\n".join(self._instead())
        width = _width()
        lines = [*plan_text(self._document, width), *besides_text(self._document, width)]
        return "\n".join(lines or fold(self._document["plan"]["summary"], width))

    def _issues_found(self) -> list[str]:
        """Give what the last check has found; where there was none, check now."""
        return self.check_environment() if self._document is None else self._issues()

    def _issues(self) -> list[str]:
        return [self._problem] if self._document is None else issues_of(self._document)

    def _instead(self) -> list[str]:
        """Say why there is no plan, and which command shows more."""
        return [*fold(self._problem, _width()), "", "This tells more: rtx50-autoload doctor"]

    def _tell_plan(self, document: Mapping[str, Any]) -> bool:
        """Print the plan, and what it leaves with what helps there; tell whether it has steps."""
        plan, width = document["plan"], _width()
        print_lines([*fold(f"The plan: {plan['summary']}", width), ""])
        print_lines(plan_text(document, width))
        rest = list(besides_text(document, width))
        if rest:
            print_lines(["", "These steps do not mend:" if plan["steps"] else "What can be done:", *rest])
        if _can_be_done(plan):
            print_lines(["", *fold("This does the steps, and can take them back:", width), f"  {_FIX}"])
        return bool(plan["steps"])


def check_install() -> bool:
    """Check this environment, and print what was found and what mends it.

    Returns:
        True where nothing is wrong.

    """
    return SmartInstaller().install_with_ai_help()


def _can_be_done(plan: Mapping[str, Any]) -> bool:
    """Tell whether there is something that a command of ours may do."""
    return any(step["commands"] and step["changes"] for step in plan["steps"]) and not plan["conflicts"]


def _explain(issues: Sequence[str]) -> bool:
    """Print what is known of a program's own issues without asking anybody; tell whether anything is."""
    from rtx50_autoload.second_opinion import explain_known  # noqa: PLC0415 - most checks need none

    lines = explain_known(issues) if issues else []
    return bool(lines) and print_lines(["", *lines])


def _ask(issues: Sequence[str], document: Mapping[str, Any]) -> bool:
    """Print what an assistant says, or why none was asked; tell whether there is an answer."""
    from rtx50_autoload.second_opinion import ask  # noqa: PLC0415 - likewise

    is_answered, lines = ask(issues, document)
    print_lines(["", *(lines if is_answered else [*lines, "What stands above holds without one."])])
    return is_answered


def _offer() -> None:
    """Start the command that does the steps, if somebody at the terminal wants it."""
    if not _is_at_terminal():
        return
    try:
        answer = input("Start it now? It asks before it changes anything. [y/N] ")
    except (EOFError, KeyboardInterrupt):
        print_lines([""])
        return
    if answer.strip().lower() in {"y", "yes"}:
        # The terminal is its own meanwhile.
        with suppress(OSError):
            subprocess.run(own_command("fix", "--apply"), check=False)  # noqa: S603 - this program


def _is_at_terminal() -> bool:
    try:
        return sys.stdin.isatty() and sys.stdout.isatty()
    except (AttributeError, ValueError):  # a program without them (pythonw), or one that has closed them
        return False


def _width() -> int:
    return min(max(shutil.get_terminal_size().columns, _NARROWEST), _WIDEST)
