"""What was answered about each incident, in files for their owner's eyes, so that no crash asks twice."""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from rtx50_autoload.diagnosis.incident_files import folder as incidents_folder
from rtx50_autoload.private_files import check_folder, make_folder, read_private, write_private

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["KeptAnswer", "answers_folder", "forget_answers", "keep_answer", "kept_answer"]

_FILE: Final = re.compile(r"[0-9a-f]{12}\.json")
#: As many as there are incidents.
_MOST: Final = 200
_LARGEST_FILE: Final = 8_000_000


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """What came of a question about an incident.

    Attributes:
        incident: its id.
        asked: when, in ISO 8601.
        assistant: the name of the one that answered; None where the person did not want one to be asked.
        model: its model, where one was chosen.
        answer: what it said, redacted; empty where nobody was asked.
        scripts: the ids of the scripts in it.

    """

    incident: str
    asked: str
    assistant: str | None = None
    model: str | None = None
    answer: str = ""
    scripts: tuple[str, ...] = ()


def answers_folder() -> Path:
    """Return where answers lie for this user.

    Raises:
        IncidentStoreError: this user has no home folder.

    """
    return incidents_folder().parent / "answers"


def keep_answer(answer: KeptAnswer) -> None:
    """Keep an answer in the place of an earlier one.

    Raises:
        OSError: it cannot be written.

    """
    folder = answers_folder()
    make_folder(folder)
    write_private(folder / f"{answer.incident}.json", json.dumps(asdict(answer), indent=2) + "\n")
    files = sorted(_files(), key=lambda file: file.stat().st_mtime)
    for file in files[: max(0, len(files) - _MOST)]:
        file.unlink(missing_ok=True)


def kept_answer(incident: str) -> KeptAnswer | None:
    """Read what was answered about an incident; None where there is nothing, or nothing that can be read."""
    try:
        file = answers_folder() / f"{incident}.json"
        if not _FILE.fullmatch(file.name):
            return None
        check_folder(file.parent)
        content = json.loads(read_private(file, _LARGEST_FILE))
        kept = KeptAnswer(**{**content, "scripts": tuple(content["scripts"])})
        # As it is shown: at both ends of the calendar, no local time may exist.
        datetime.fromisoformat(kept.asked).astimezone()
    except (OSError, ValueError, TypeError, KeyError, RecursionError, OverflowError):
        return None
    texts = (kept.answer, *kept.scripts, kept.assistant or "", kept.model or "")
    is_sound = all(isinstance(text, str) for text in texts)
    return kept if is_sound else None


def forget_answers(incidents: Iterable[str] | None = None) -> list[Path]:
    """Remove answers, all of them where no incidents are named, and give the files that are gone.

    Raises:
        OSError: one cannot be removed.

    """
    chosen = None if incidents is None else {f"{incident}.json" for incident in incidents}
    files = [file for file in _files() if chosen is None or file.name in chosen]
    for file in files:
        file.unlink()
    return files


def _files() -> list[Path]:
    with contextlib.suppress(OSError):
        return [file for file in sorted(answers_folder().iterdir()) if _FILE.fullmatch(file.name)]
    return []
