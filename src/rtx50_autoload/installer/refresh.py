"""Newer facts about versions, from a file that somebody gives: looked at, and kept for this user."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from rtx50_autoload.evidence.environment.topic import knowledge
from rtx50_autoload.evidence.environment.versions_file import in_use, kept_file, parse, read_text
from rtx50_autoload.evidence.environment.versions_schema import FactsFileError, dated
from rtx50_autoload.private_files import make_folder, write_private

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path

__all__ = ["facts_problem", "refresh_facts"]


def refresh_facts(file: Path) -> date:
    """Take a newer file of facts, which is used from then on, until the package brings a newer one.

    Returns:
        the day of the new facts.

    Raises:
        FactsFileError: it cannot be read or kept, is no file of facts, or is not newer than the one in use.

    """
    try:
        text = read_text(file)
        day = dated(parse(text))
    except OSError as error:
        raise FactsFileError(f"{file} cannot be read: {error.strerror or error}") from None
    except FactsFileError as error:
        raise FactsFileError(f"{file} cannot be used: {error}") from None
    current = dated(in_use().tables)
    if day <= current:
        raise FactsFileError(f"{file} is of {day}, which is not newer than the facts in use, of {current}")
    # Somebody's clock may be ahead of ours; a day far off would keep every later file away.
    if day > datetime.now(timezone.utc).date() + timedelta(days=1):
        raise FactsFileError(f"{file} is of {day}, which is yet to come")
    try:
        kept = kept_file()
        make_folder(kept.parent)
        write_private(kept, text)
    except OSError as error:
        raise FactsFileError(f"the facts cannot be kept: {error}") from None
    in_use.cache_clear()
    knowledge.cache_clear()
    return day


def facts_problem() -> str | None:
    """Say why kept facts are not used, in a clause; None where nothing is wrong."""
    return in_use().problem
