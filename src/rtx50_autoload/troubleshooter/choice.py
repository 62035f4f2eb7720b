"""Which assistants are asked: those that the person has chosen, and nobody else.

To ask nobody is a choice, too: it is kept as the name `nobody`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from rtx50_autoload import settings as settings_module
from rtx50_autoload import settings_file

from .assistant_errors import NotFoundError
from .assistants import choose

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .assistants import Found

__all__ = ["HOW_TO_CHOOSE", "NOBODY", "Choice", "Chosen", "choice", "keep"]

NOBODY: Final = "nobody"
HOW_TO_CHOOSE: Final = (
    "`rtx50-autoload troubleshoot --assistant NAME` asks one this time; RTX50_ASSISTANT=NAME, or "
    '`assistant = ["NAME"]` in the settings file, names one for good. `rtx50-autoload assistants` lists all.'
)


@dataclass(frozen=True, slots=True)
class Chosen:
    """An assistant that may be asked, and which model of it; None leaves that to the assistant."""

    found: Found
    model: str | None


@dataclass(frozen=True, slots=True)
class Choice:
    """What a person's choice comes to on this machine.

    Attributes:
        assistants: those that were chosen and are here, in the order of the choice.
        missing: by name, why others that were chosen cannot be asked.
        is_nobody: whether the person has chosen that nobody is asked.

    """

    assistants: tuple[Chosen, ...] = ()
    missing: Mapping[str, NotFoundError] = field(default_factory=dict)
    is_nobody: bool = False


def choice(found: Sequence[Found], names: Sequence[str]) -> Choice:
    """Find the chosen assistants among those that are here.

    Args:
        found: the assistants that are here.
        names: the chosen ones, the first one first, as RTX50_ASSISTANT names them.

    Raises:
        UnknownAssistantError: a name is none of an assistant that this package knows.

    """
    if NOBODY in names:
        return Choice(is_nobody=True)
    assistants = []
    missing = {}
    for name in names:
        try:
            assistants.append(Chosen(*choose(found, name)))
        except NotFoundError as error:  # noqa: PERF203 - a handful of names
            missing[name] = error
    return Choice(tuple(assistants), missing)


def keep(names: Sequence[str]) -> None:
    """Keep a choice in the user's settings file, so that nobody has to be asked again.

    Raises:
        SettingsFileError: the file cannot be read or written.
        NoHomeError: this user has no home folder, and so no such file.

    """
    settings_file.set_value(settings_module.user_settings_file(), "assistant", list(names))
